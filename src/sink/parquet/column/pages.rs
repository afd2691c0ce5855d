//! The pages of a column chunk, and what a file says of them: sizes, statistics, and the two page indexes.

use parquet::basic::{BoundaryOrder, Compression, Encoding, EncodingMask, PageType, Type};
use parquet::column::page::Page;
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnIndexBuilder, LevelHistogram, OffsetIndexBuilder, PageEncodingStats,
};
use parquet::file::properties::EnabledStatistics;
use parquet::file::statistics::{Statistics, ValueStatistics};
use std::collections::BTreeSet;
use std::sync::Arc;

use super::Settings;
use super::bounds::{Bounds, read};
use super::pieces::{ChunkPages, Pieces};
use super::snappy::{Habit, Snappy};

/// Memory that any number of columns use in turns.
#[derive(Default)]
pub(in super::super) struct Scratch {
    pub(super) cells: Vec<u128>,
    pub(super) levels: Vec<u8>,
    pub(super) values: Vec<u8>,
    pub(super) compressed: Vec<u8>,
    snappy: Option<Snappy>,
    zstd: Option<(i32, zstd::bulk::Compressor<'static>)>,
}

/// What is in a page, besides its bytes.
#[derive(Debug)]
pub(super) struct PageFacts {
    pub(super) rows: usize,
    pub(super) nulls: usize,
    pub(super) encoding: Encoding,
    pub(super) bounds: Option<Bounds>,
    /// Bytes of texts, without their lengths.
    pub(super) text_bytes: Option<usize>,
}

pub(super) struct Pages {
    settings: Settings,
    data: Pieces,
    dictionary: Pieces,
    encodings: BTreeSet<Encoding>,
    encoding_stats: Vec<PageEncodingStats>,
    rows: u64,
    nulls: u64,
    text_bytes: Option<i64>,
    uncompressed_bytes: usize,
    bounds: Option<Bounds>,
    column_index: ColumnIndexBuilder,
    offset_index: Option<OffsetIndexBuilder>,
    /// What has been written of the last page that has bounds, and whether both have only grown, or shrunk, up to there.
    last: Option<Bounds>,
    is_ascending: bool,
    is_descending: bool,
}

impl Pages {
    pub(super) fn new(settings: Settings) -> Self {
        let mut column_index = ColumnIndexBuilder::new(settings.column.physical_type());
        if settings.statistics != EnabledStatistics::Page {
            column_index.to_invalid();
        }
        Self {
            offset_index: settings.has_offset_index.then(OffsetIndexBuilder::new),
            settings,
            data: Pieces::default(),
            dictionary: Pieces::default(),
            encodings: BTreeSet::from([Encoding::RLE]),
            encoding_stats: Vec::new(),
            rows: 0,
            nulls: 0,
            text_bytes: None,
            uncompressed_bytes: 0,
            bounds: None,
            column_index,
            last: None,
            is_ascending: true,
            is_descending: true,
        }
    }

    /// Bytes that the pages have so far.
    pub(super) fn len(&self) -> usize {
        self.data.bytes + self.dictionary.bytes
    }

    pub(super) fn memory(&self) -> usize {
        self.data.memory() + self.dictionary.memory()
    }

    /// Appends a page. `texts` is where in it plain values with lengths begin, if it has such.
    pub(super) fn put_data(
        &mut self,
        page: &[u8],
        texts: Option<usize>,
        facts: PageFacts,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let num_values = number(facts.rows)?;
        let encoding = facts.encoding;
        self.index(&facts);
        let mut habit = self.settings.history.habit(encoding);
        compress(page, self.settings.compression, texts, &mut habit, scratch)?;
        self.settings.history.keep_habit(encoding, habit);
        let data_page = |buf| Page::DataPage {
            buf,
            num_values,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let offset = self.data.bytes;
        let spec = self.data.put_page(data_page, page.len(), scratch)?;
        if let Some(index) = &mut self.offset_index {
            index.append_offset_and_size(as_i64(offset), i32::try_from(spec.compressed_size).unwrap_or(i32::MAX));
        }
        self.uncompressed_bytes += spec.uncompressed_size;
        self.encodings.insert(encoding);
        match self.encoding_stats.last_mut() {
            Some(stats) if stats.encoding == encoding => stats.count += 1,
            _ => self.encoding_stats.push(PageEncodingStats { page_type: PageType::DATA_PAGE, encoding, count: 1 }),
        }
        Ok(())
    }

    /// Sets the dictionary page: the last thing that is known, and the first thing in the chunk.
    pub(super) fn put_dictionary(&mut self, page: &[u8], values: usize, scratch: &mut Scratch) -> Result<()> {
        let (num_values, encoding) = (number(values)?, Encoding::PLAIN);
        compress(page, self.settings.compression, None, &mut Habit::default(), scratch)?;
        let dictionary_page = |buf| Page::DictionaryPage { buf, num_values, encoding, is_sorted: false };
        let spec = self.dictionary.put_page(dictionary_page, page.len(), scratch)?;
        self.uncompressed_bytes += spec.uncompressed_size;
        self.encodings.insert(encoding);
        let stats = PageEncodingStats { page_type: PageType::DICTIONARY_PAGE, encoding, count: 1 };
        self.encoding_stats.insert(0, stats);
        Ok(())
    }

    fn index(&mut self, facts: &PageFacts) {
        self.rows += facts.rows as u64;
        self.nulls += facts.nulls as u64;
        if let Some(bytes) = facts.text_bytes {
            *self.text_bytes.get_or_insert(0) += as_i64(bytes);
        }
        if let Some(Bounds { least, greatest }) = &facts.bounds {
            Bounds::widen(&mut self.bounds, self.settings.kind.order(), least, greatest);
        }
        self.index_bounds(facts);
        if let Some(histogram) = self.histogram(facts.rows as u64, facts.nulls as u64) {
            self.column_index.append_histograms(&None, &Some(histogram));
        }
        if let Some(index) = &mut self.offset_index {
            index.append_row_count(as_i64(facts.rows));
            index.append_unencoded_byte_array_data_bytes(facts.text_bytes.map(as_i64));
        }
    }

    fn index_bounds(&mut self, facts: &PageFacts) {
        if !self.column_index.valid() {
            return;
        }
        let nulls = as_i64(facts.nulls);
        if facts.nulls == facts.rows {
            self.column_index.append(true, Vec::new(), Vec::new(), nulls);
            return;
        }
        let (order, cut, most) = (self.settings.kind.order(), self.settings.cut, self.settings.index_length);
        let Some(bounds) = &facts.bounds else { return self.column_index.to_invalid() };
        let Some((greatest, _)) = cut.above(&bounds.greatest, most) else { return self.column_index.to_invalid() };
        let written = Bounds { least: cut.below(&bounds.least, most).0, greatest };
        if let Some(last) = &self.last {
            let is_less = |one: &Bounds, other: &Bounds| {
                order.is_greater(&other.least, &one.least) || order.is_greater(&other.greatest, &one.greatest)
            };
            self.is_ascending &= !is_less(&written, last);
            self.is_descending &= !is_less(last, &written);
        }
        self.column_index.append(false, written.least.clone(), written.greatest.clone(), nulls);
        self.last = Some(written);
    }

    /// How many rows have which definition level: NULL or not.
    fn histogram(&self, rows: u64, nulls: u64) -> Option<LevelHistogram> {
        if self.settings.statistics == EnabledStatistics::None {
            return None;
        }
        let mut histogram = LevelHistogram::try_new(self.settings.column.max_def_level())?;
        histogram.increment_by(0, i64::try_from(nulls).unwrap_or(i64::MAX));
        histogram.increment_by(1, i64::try_from(rows - nulls).unwrap_or(i64::MAX));
        Some(histogram)
    }

    pub(super) fn close(mut self) -> Result<ClosedChunk> {
        let settings = &self.settings;
        let mut metadata = ColumnChunkMetaData::builder(Arc::clone(&settings.column))
            .set_compression(settings.compression)
            .set_encodings_mask(EncodingMask::new_from_encodings(self.encodings.iter()))
            .set_page_encoding_stats(std::mem::take(&mut self.encoding_stats))
            .set_total_compressed_size(as_i64(self.len()))
            .set_total_uncompressed_size(as_i64(self.uncompressed_bytes))
            .set_num_values(i64::try_from(self.rows).unwrap_or(i64::MAX))
            .set_data_page_offset(0);
        if settings.statistics != EnabledStatistics::None {
            metadata = metadata
                .set_statistics(self.statistics())
                .set_unencoded_byte_array_data_bytes(self.text_bytes)
                .set_definition_level_histogram(self.histogram(self.rows, self.nulls));
        }
        let boundaries = match (self.is_ascending, self.is_descending) {
            (true, _) => BoundaryOrder::ASCENDING,
            (false, true) => BoundaryOrder::DESCENDING,
            (false, false) => BoundaryOrder::UNORDERED,
        };
        self.column_index.set_boundary_order(boundaries);
        let bytes = self.data.bytes + self.dictionary.bytes;
        let close = ColumnCloseResult {
            bytes_written: bytes as u64,
            rows_written: self.rows,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: if self.column_index.valid() { Some(self.column_index.build()?) } else { None },
            offset_index: self.offset_index.map(OffsetIndexBuilder::build),
        };
        let close = close.update_dictionary_location(self.dictionary.bytes)?;
        let mut pieces = self.dictionary;
        pieces.pieces.extend(self.data.pieces);
        pieces.bytes = bytes;
        Ok(ClosedChunk { pages: ChunkPages::new(pieces), close })
    }

    /// Of the whole chunk.
    fn statistics(&self) -> Statistics {
        let Settings { cut, statistics_length, .. } = self.settings;
        let (least, greatest) = match &self.bounds {
            Some(Bounds { least, greatest }) => (Some(least.as_slice()), Some(greatest.as_slice())),
            None => (None, None),
        };
        let nulls = Some(self.nulls);
        // Old readers look at other fields, which compare texts wrongly: numbers alone are written there too.
        match self.settings.column.physical_type() {
            Type::BOOLEAN => {
                let flag = |bytes: &[u8]| bytes != [0];
                Statistics::boolean(least.map(flag), greatest.map(flag), None, nulls, false)
            }
            Type::INT32 => {
                let number = |bytes: &[u8]| read(bytes, i32::from_le_bytes);
                with_old(ValueStatistics::new(least.map(number), greatest.map(number), None, nulls, false))
            }
            Type::INT64 => {
                let number = |bytes: &[u8]| read(bytes, i64::from_le_bytes);
                with_old(ValueStatistics::new(least.map(number), greatest.map(number), None, nulls, false))
            }
            Type::FLOAT => {
                let number = |bytes: &[u8]| read(bytes, f32::from_le_bytes);
                with_old(ValueStatistics::new(least.map(number), greatest.map(number), None, nulls, false))
            }
            Type::DOUBLE => {
                let number = |bytes: &[u8]| read(bytes, f64::from_le_bytes);
                with_old(ValueStatistics::new(least.map(number), greatest.map(number), None, nulls, false))
            }
            _ => {
                let greatest = greatest.and_then(|value| cut.above(value, statistics_length));
                let least = least.map(|value| cut.below(value, statistics_length)).filter(|_| greatest.is_some());
                let is_exact = |bound: &Option<(Vec<u8>, bool)>| bound.as_ref().is_none_or(|(_, is_exact)| *is_exact);
                let (least_is_exact, greatest_is_exact) = (is_exact(&least), is_exact(&greatest));
                let value = |bound: Option<(Vec<u8>, bool)>| bound.map(|(value, _)| ByteArray::from(value));
                Statistics::ByteArray(
                    ValueStatistics::new(value(least), value(greatest), None, nulls, false)
                        .with_min_is_exact(least_is_exact)
                        .with_max_is_exact(greatest_is_exact),
                )
            }
        }
    }
}

fn with_old<T>(statistics: ValueStatistics<T>) -> Statistics
where
    Statistics: From<ValueStatistics<T>>,
{
    statistics.with_backwards_compatible_min_max(true).into()
}

fn as_i64(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn number(values: usize) -> Result<u32> {
    u32::try_from(values).map_err(|_| ParquetError::General(format!("{values} values in one page are too many")))
}

/// Bytes that `page` would have, compressed.
pub(super) fn compressed(
    page: &[u8],
    compression: Compression,
    texts: Option<usize>,
    scratch: &mut Scratch,
) -> Result<usize> {
    compress(page, compression, texts, &mut Habit::default(), scratch)?;
    Ok(scratch.compressed.len())
}

/// Compresses `page` to the scratch memory.
fn compress(
    page: &[u8],
    compression: Compression,
    texts: Option<usize>,
    habit: &mut Habit,
    scratch: &mut Scratch,
) -> Result<()> {
    let out = &mut scratch.compressed;
    match compression {
        Compression::SNAPPY => {
            return scratch.snappy.get_or_insert_with(Snappy::new).compress(page, texts, habit, out);
        }
        Compression::ZSTD(level) => {
            let level = level.compression_level();
            if scratch.zstd.as_ref().is_none_or(|(current, _)| *current != level) {
                scratch.zstd = Some((level, zstd::bulk::Compressor::new(level)?));
            }
            let most = zstd::zstd_safe::compress_bound(page.len());
            if out.len() < most {
                out.resize(most, 0);
            }
            if let Some((_, zstd)) = &mut scratch.zstd {
                let bytes = zstd.compress_to_buffer(page, &mut out[..])?;
                out.truncate(bytes);
            }
        }
        _ => {
            out.clear();
            out.extend_from_slice(page);
        }
    }
    Ok(())
}

/// A column chunk that waits for its place in a file.
pub(in super::super) struct ClosedChunk {
    pub(super) pages: ChunkPages,
    pub(super) close: ColumnCloseResult,
}
