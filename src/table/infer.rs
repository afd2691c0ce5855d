//! The schema of a record table that declares no columns: the first matching member of several archives is looked at.

use std::sync::Arc;

use arrow::datatypes::Schema;
use futures::{StreamExt, TryStreamExt, stream};

use crate::archive::{ArchiveReader, NextMember};
use crate::crew::Crew;
use crate::error::{Error, ErrorKind, Result};
use crate::locator::redacted;
use crate::member::content::MemberContent;
use crate::member::unite::unite;
use crate::member::{MemberFormat, avro, csv, json};
use crate::memory::{Allowance, Memory};
use crate::policy::{OnError, OnUnreachable};
use crate::scan::{ScanOptions, is_record_member, with_remedy};
use crate::stats::Stats;
use crate::store::{FetchTarget, ObjectReader};

/// Archives that inference looks into.
pub(super) const ARCHIVES_MAX: usize = 8;

/// Bytes of a member that inference looks at, however few records they hold.
const SAMPLE_BYTES_MAX: usize = 4 << 20;

/// The beginning of a member.
struct Sample {
    bytes: Vec<u8>,
    /// True where the member has no more.
    complete: bool,
}

/// The united schema of the first matching members of `archives`, in their order.
///
/// # Errors
/// No archive has a matching member, a sample can't be read, or holds no schema.
pub(super) async fn infer(
    archives: &[FetchTarget],
    options: &ScanOptions,
    records_max: usize,
    memory: &Memory,
    stats: &Arc<Stats>,
) -> Result<Schema> {
    let first = archives.iter().take(ARCHIVES_MAX).cloned();
    let looks = first.map(|target| look(target, options, records_max, memory, stats));
    let schemas: Vec<Option<Schema>> = stream::iter(looks).buffered(ARCHIVES_MAX).try_collect().await?;
    let schemas: Vec<Schema> = schemas.into_iter().flatten().collect();
    if schemas.is_empty() {
        let members = options.members.as_ref().map_or_else(|| "a file".to_owned(), |glob| format!("'{}'", glob.text()));
        let looked = archives.len().min(ARCHIVES_MAX);
        let message = format!(
            "no member is {members} in the first {looked} archives: declare the columns (option 'columns'), or correct the member glob"
        );
        let first = archives.first().map(|target| redacted(&target.url)).unwrap_or_default();
        return Err(Error::new(ErrorKind::Schema, message).in_archive(first));
    }
    Ok(unite(schemas))
}

/// The schema of the first matching member of one archive; `None` where there is none, or a policy skips the archive.
async fn look(
    target: FetchTarget,
    options: &ScanOptions,
    records_max: usize,
    memory: &Memory,
    stats: &Arc<Stats>,
) -> Result<Option<Schema>> {
    let url = redacted(&target.url);
    let error = match sample(target, options, records_max, memory, stats).await {
        Ok(None) => return Ok(None),
        Ok(Some((path, sample))) => match schema_of(&sample, options, records_max) {
            Ok(schema) => return Ok(Some(schema)),
            Err(error) => with_remedy(error.in_member(path).in_archive(url), options),
        },
        Err(error) => error,
    };
    let skipped = match error.kind() {
        ErrorKind::Archive | ErrorKind::Compression | ErrorKind::Member | ErrorKind::Limit => {
            options.on_error == OnError::Skip
        }
        ErrorKind::Unreachable => options.on_unreachable == OnUnreachable::Skip,
        _ => false,
    };
    // The scan meets the same damage again, and counts and reports it.
    if skipped { Ok(None) } else { Err(error) }
}

async fn sample(
    target: FetchTarget,
    options: &ScanOptions,
    records_max: usize,
    memory: &Memory,
    stats: &Arc<Stats>,
) -> Result<Option<(String, Sample)>> {
    let url: Arc<str> = redacted(&target.url).into();
    let allowance = Allowance::new(memory);
    allowance.settle().await.map_err(|error| error.in_archive(url.as_ref()))?;
    let reader = ObjectReader::new(target, options.fetch.clone(), allowance.clone(), Arc::clone(stats));
    let (compression, crew) = (options.archive_compression, Crew::alone());
    let mut archive = ArchiveReader::open(url, reader, compression, crew, Arc::clone(stats)).await?;
    loop {
        let NextMember::Member(member) = archive.next_member().await? else { return Ok(None) };
        if !is_record_member(options, &member) {
            continue;
        }
        let mut content = MemberContent::new(Arc::clone(stats)).within(&allowance);
        let sample = read(&mut archive, &mut content, options, records_max).await;
        let sample = sample.map_err(|error| archive.locate(error))?;
        return Ok(Some((member.path_lossy().into_owned(), sample)));
    }
}

async fn read(
    archive: &mut ArchiveReader,
    content: &mut MemberContent,
    options: &ScanOptions,
    records_max: usize,
) -> Result<Sample> {
    let mut bytes = Vec::new();
    let mut ended = false;
    loop {
        while let Some(piece) = content.pull()? {
            bytes.extend_from_slice(&piece);
            if bytes.len() >= SAMPLE_BYTES_MAX || is_enough(&bytes, options, records_max) {
                return Ok(Sample { bytes, complete: false });
            }
        }
        if let Some(shortage) = content.shortage() {
            shortage.settle().await?;
            continue;
        }
        if ended {
            return Ok(Sample { bytes, complete: true });
        }
        match archive.next_content().await? {
            Some(piece) => content.push(piece),
            None => {
                ended = true;
                content.end();
            }
        }
    }
}

/// Whether `bytes` hold the records that inference wants to see.
fn is_enough(bytes: &[u8], options: &ScanOptions, records_max: usize) -> bool {
    match options.format {
        MemberFormat::Avro => avro::infer(bytes).is_ok(),
        MemberFormat::Json => json::has_records(bytes, records_max),
        // A record may have any number of lines.
        _ if options.csv.newlines_in_values => false,
        // A header, the cut last line, and some comments and blank lines on top.
        _ => bytes.iter().filter(|&&byte| byte == b'\n').count() > records_max.saturating_mul(2).saturating_add(16),
    }
}

fn schema_of(sample: &Sample, options: &ScanOptions, records_max: usize) -> Result<Schema> {
    let Sample { bytes, complete } = sample;
    match options.format {
        MemberFormat::Json => json::infer(bytes, *complete, records_max, options.on_bad_row),
        MemberFormat::Avro => avro::infer(bytes),
        _ => csv::infer(bytes, *complete, &options.csv, records_max, options.on_bad_row),
    }
}
