//! [`Bundle`]: the archives behind one of DataFusion's files.
//!
//! Usually that is one. DataFusion copies its list of files whenever it rewrites a plan, and a file takes half a kilobyte,
//! so that where a locator names very many archives, neighbours share a file; what is dealt to partitions, and stolen
//! by idle ones, is then a bundle.

use std::ops::Range;
use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::datasource::listing::PartitionedFile;
use object_store::{ObjectMeta, ObjectStore};

use crate::store::{ArchiveObject, FetchTarget};

/// Up to so many archives have a file each; more of them are bundled to about as many files.
const FILES_MAX: usize = 4_096;

/// Archives of one store, all with the same hive-style columns.
#[derive(Clone)]
pub(super) struct Bundle {
    store: Arc<dyn ObjectStore>,
    /// Of the whole listing: bundles share it.
    archives: Arc<Vec<ArchiveObject>>,
    range: Range<usize>,
}

impl Bundle {
    /// What to read, in order.
    pub(super) fn targets(self) -> impl Iterator<Item = FetchTarget> + Send {
        let Self { store, archives, range } = self;
        range.map(move |place| fetch_target(&archives[place], &store))
    }

    fn of(&self, range: Range<usize>) -> Self {
        Self { range, ..self.clone() }
    }

    /// As DataFusion knows files: by the name of the first archive, and the size of all.
    fn file(self, values: Vec<ScalarValue>) -> PartitionedFile {
        let archives = &self.archives[self.range.clone()];
        let first = &archives[0];
        let meta = ObjectMeta {
            location: first.location.clone(),
            last_modified: first.last_modified,
            size: bytes_of(archives),
            e_tag: first.e_tag.clone(),
            version: first.version.clone(),
        };
        PartitionedFile::new_from_meta(meta).with_extension(self).with_partition_values(values)
    }
}

/// How archives become files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bundling {
    /// Each is a file.
    Never,
    /// Where there are very many.
    Auto,
}

/// The archives as DataFusion's files. `values` has the hive-style columns of each archive, or is empty where the table
/// has none.
pub(super) fn files(
    archives: Vec<ArchiveObject>,
    values: &[Vec<ScalarValue>],
    store: &Arc<dyn ObjectStore>,
    bundling: Bundling,
) -> Vec<PartitionedFile> {
    let files_max = if bundling == Bundling::Never { usize::MAX } else { FILES_MAX };
    let sizes: Vec<u64> = archives.iter().map(|archive| archive.size.unwrap_or(0)).collect();
    let all = Bundle { store: Arc::clone(store), range: 0..archives.len(), archives: Arc::new(archives) };
    let values_of = |place: usize| values.get(place).cloned().unwrap_or_default();
    let is_alike = |one: usize, other: usize| values.get(one) == values.get(other);
    cut(&sizes, files_max, is_alike)
        .into_iter()
        .map(|range| {
            let values = values_of(range.start);
            all.of(range).file(values)
        })
        .collect()
}

/// Cuts archives of the given sizes into neighbours: none of many bytes beside others, and none beside what `is_alike`
/// tells apart.
fn cut(sizes: &[u64], files_max: usize, is_alike: impl Fn(usize, usize) -> bool) -> Vec<Range<usize>> {
    if sizes.len() <= files_max {
        return (0..sizes.len()).map(|place| place..place + 1).collect();
    }
    let count_max = sizes.len().div_ceil(files_max);
    let all: u64 = sizes.iter().fold(0, |sum, size| sum.saturating_add(*size));
    let bytes_max = all / u64::try_from(files_max).unwrap_or(u64::MAX);
    let (mut ranges, mut start, mut bytes) = (Vec::new(), 0, 0_u64);
    for (place, &size) in sizes.iter().enumerate() {
        let is_full = place - start >= count_max || bytes.saturating_add(size) > bytes_max;
        if place > start && (is_full || !is_alike(start, place)) {
            ranges.push(start..place);
            (start, bytes) = (place, 0);
        }
        bytes = bytes.saturating_add(size);
    }
    ranges.push(start..sizes.len());
    ranges
}

/// Their sizes, added up.
pub(super) fn bytes_of(archives: &[ArchiveObject]) -> u64 {
    // Web servers may claim any size.
    archives.iter().filter_map(|archive| archive.size).fold(0, u64::saturating_add)
}

pub(super) fn fetch_target(archive: &ArchiveObject, store: &Arc<dyn ObjectStore>) -> FetchTarget {
    FetchTarget {
        store: Arc::clone(store),
        location: archive.location.clone(),
        url: archive.url.clone(),
        size: archive.size,
        e_tag: archive.e_tag.clone(),
        version: archive.version.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_archives_are_files_of_their_own() {
        assert_eq!(cut(&[5, 1, 9], 3, |_, _| true), [0..1, 1..2, 2..3]);
        assert!(cut(&[], 3, |_, _| true).is_empty());
    }

    #[test]
    fn many_archives_are_bundled_with_their_neighbours() {
        for (sizes, is_alike, want) in [
            // By number, and by bytes: a large one stays alone.
            (&[1, 1, 1, 1, 1, 1][..], &(|_, _| true) as &dyn Fn(usize, usize) -> bool, vec![0..2, 2..4, 4..6]),
            (&[1, 1, 90, 1, 1, 1], &|_, _| true, vec![0..2, 2..3, 3..5, 5..6]),
            (&[0, 0, 0, 0], &|_, _| true, vec![0..2, 2..4]),
            // What differs in a column is not one file.
            (&[1, 1, 1, 1, 1, 1], &|one, other| one / 3 == other / 3, vec![0..2, 2..3, 3..5, 5..6]),
        ] {
            assert_eq!(cut(sizes, 3, is_alike), want, "{sizes:?}");
        }
    }

    #[test]
    fn every_archive_is_in_one_bundle_and_there_are_few() {
        for files_max in [1, 7, 100, 999] {
            let sizes: Vec<u64> = (0..1_000).map(|n| n * 7_919 % 1_009).collect();
            let ranges = cut(&sizes, files_max, |_, _| true);
            let places: Vec<usize> = ranges.iter().cloned().flatten().collect();
            assert_eq!(places, (0..1_000).collect::<Vec<_>>());
            assert!(ranges.len() <= 2 * files_max + 1 && ranges.iter().all(|range| !range.is_empty()), "{files_max}");
        }
    }
}
