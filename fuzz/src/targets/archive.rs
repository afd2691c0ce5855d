//! The whole path, from an object in a store to members: ranges, decompression, parser, content, skips.
//!
//! It is compared with what its parts give when they are put together in the plainest way, without ranges, skips or
//! waiting; and with the `tar` crate.

use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

use super::decompress::{End, MEMORY_BYTES_MAX, OUTPUT_BYTES_MAX, inflate};
use crate::allocation::peak_of;
use crate::archive::{ArchiveReader, NextMember};
use crate::chunks::Chunks;
use crate::compression::Compression;
use crate::crew::Crew;
use crate::error::{Error, ErrorKind, Result};
use crate::memory::{ALLOWANCE_BYTES_MIN, Allowance, Memory, MemoryPool};
use crate::mutate::{self, Dice};
use crate::reading::{self, Facts};
use crate::second_opinion;
use crate::stats::Stats;
use crate::store::{FetchSettings, FetchTarget, ObjectReader};
use crate::tar::{BLOCK_LEN, Limits, Member, is_header, is_zero_block};

/// Pieces of content that are taken of one member, before it is skipped: a hole may be as long as it says.
const PIECES_MAX: usize = 64;

const URL: &str = "memory://archive";

pub(super) fn check(data: &[u8]) {
    let compression = detect(data);
    let plain = inflate(compression, MEMORY_BYTES_MAX[2], data, &mut Chunks::whole(), &mut Chunks::whole());
    if plain.bytes.len() >= OUTPUT_BYTES_MAX || is_over_limit(&plain.end) {
        return;
    }
    let facts = reading::read(&plain.bytes, &mut Chunks::whole(), Limits::default());
    if plain.end == End::Whole {
        second_opinion::compare(&plain.bytes, &facts);
    }
    let mut dice = Dice::new(Chunks::of_tail(data).next(1 << 20) as u64 ^ data.len() as u64);
    for _ in 0..2 {
        let read = fetch(data, Allowance::unlimited(), &mut dice, true);
        compare(&read, &facts, &plain.end);
        if plain.end == End::Whole && read.end.is_ok() {
            check_account(&read.stats, plain.bytes.len());
        }
    }
    check_memory(data, &mut dice, facts.end.is_ok() && plain.end == End::Whole);
}

/// What the pool of a scan may have: little more than an allowance has for itself, and what some decoders ask for.
const POOL_BYTES: [u64; 3] = [ALLOWANCE_BYTES_MIN, 8 << 20, 32 << 20];

/// By how much a pool may be overdrawn: by the smallest range and block, by what a decompressor takes unasked, and by the
/// headers of a member, for inputs as short as these.
const OVERDRAFT_BYTES: u64 = 1 << 20;

/// What isn't accounted, since it has a small bound: the parser, the store, the runtime, errors.
const UNACCOUNTED_BYTES: u64 = 2 << 20;

/// Within a limited pool it is the same, or an error of the limit; the pool is not overdrawn, holds what is there, and
/// has all of it back in the end.
fn check_memory(data: &[u8], dice: &mut Dice, is_whole: bool) {
    let pool = Pool { state: Arc::default(), limit: POOL_BYTES[dice.below(3)] };
    let allowance = Allowance::new(&Memory::of(pool.clone(), 1));
    let (read, held) = peak_of(|| fetch(data, allowance, dice, false));
    let (reserved, peak) = *pool.state.lock().expect("nobody panics with it");
    let kind = read.end.as_ref().err().map(Error::kind);
    assert!(kind == Some(ErrorKind::Limit) || kind.is_none() == is_whole, "{:?} within {}", read.end, pool.limit);
    assert_eq!(reserved, 0, "all is given back");
    assert!(peak <= pool.limit + OVERDRAFT_BYTES, "{peak} of {} bytes were taken", pool.limit);
    assert!(held <= peak + UNACCOUNTED_BYTES, "{held} bytes were held, and {peak} accounted for");
}

/// Bytes that are taken, and the most that ever were.
#[derive(Clone)]
struct Pool {
    state: Arc<Mutex<(u64, u64)>>,
    limit: u64,
}

impl Pool {
    fn take(&self, bytes: u64, limit: u64) -> bool {
        let (reserved, peak) = &mut *self.state.lock().expect("nobody panics with it");
        let fits = *reserved + bytes <= limit;
        if fits {
            *reserved += bytes;
            *peak = (*peak).max(*reserved);
        }
        fits
    }
}

impl MemoryPool for Pool {
    fn try_grow(&self, bytes: u64) -> bool {
        self.take(bytes, self.limit)
    }

    fn grow(&self, bytes: u64) {
        self.take(bytes, u64::MAX);
    }

    fn shrink(&self, bytes: u64) {
        self.state.lock().expect("nobody panics with it").0 -= bytes;
    }

    fn limit(&self) -> Option<u64> {
        Some(self.limit)
    }

    fn reserved(&self) -> u64 {
        self.state.lock().expect("nobody panics with it").0
    }

    fn pause(&self, _millis: u64) -> BoxFuture<'static, ()> {
        // Nobody else is there to give anything back.
        Box::pin(std::future::ready(()))
    }
}

/// The archive's own limit is higher than the one here.
fn is_over_limit(end: &End) -> bool {
    matches!(end, End::Failed(ErrorKind::Limit, _))
}

/// As the loop decides.
fn detect(data: &[u8]) -> Compression {
    match data.get(..BLOCK_LEN) {
        Some(block) if is_header(block) || is_zero_block(block) => Compression::None,
        _ => Compression::detect(data),
    }
}

/// What the loop found.
struct Read {
    /// With the content that was taken, and whether that was all of it.
    members: Vec<(Member, Vec<u8>, bool)>,
    end: Result<()>,
    stats: Arc<Stats>,
}

/// Reads the object in ranges of any size, and of each member all of its content, some, or none; what was read is kept,
/// or not.
fn fetch(data: &[u8], allowance: Allowance, dice: &mut Dice, keeps: bool) -> Read {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime without threads");
    let mut read = Read { members: Vec::new(), end: Ok(()), stats: Arc::new(Stats::default()) };
    read.end = runtime.block_on(async {
        let store = InMemory::new();
        let location = Path::from("archive");
        store.put(&location, PutPayload::from(data.to_vec())).await.expect("memory takes everything");
        let size = Some(data.len() as u64).filter(|_| dice.below(4) > 0);
        let target = FetchTarget {
            store: Arc::new(store) as Arc<dyn ObjectStore>,
            location,
            url: URL.to_owned(),
            size,
            e_tag: None,
            version: None,
        };
        allowance.settle().await?;
        let reader = ObjectReader::new(target, settings(dice), allowance, Arc::clone(&read.stats));
        let mut archive = ArchiveReader::open(URL.into(), reader, None, Crew::alone(), Arc::clone(&read.stats)).await?;
        while let NextMember::Member(member) = archive.next_member().await? {
            let pieces = [0, 1, PIECES_MAX, PIECES_MAX][dice.below(4)];
            read.members.truncate(if keeps { usize::MAX } else { 0 });
            read.members.push((*member, Vec::new(), false));
            let (_, content, is_whole) = read.members.last_mut().expect("just pushed");
            for _ in 0..pieces {
                match archive.next_content().await? {
                    Some(piece) => content.extend_from_slice(&piece[..if keeps { piece.len() } else { 0 }]),
                    None => {
                        *is_whole = true;
                        break;
                    }
                }
            }
        }
        Ok(())
    });
    read
}

fn settings(dice: &mut Dice) -> FetchSettings {
    let bytes =
        |dice: &mut Dice| [1, 7, 100, 512, 513, 4096, 65_536, 1 << 20][dice.below(8)].max(1 + dice.below(64) as u64);
    FetchSettings {
        // A range for each byte takes as long as a thousand inputs.
        first_range_bytes: bytes(dice).max(256),
        hop_range_bytes: bytes(dice).max(64),
        range_bytes: bytes(dice).max(256),
        prefetch_bytes: bytes(dice),
        hop_bytes_min: bytes(dice),
        ..FetchSettings::default()
    }
}

fn compare(read: &Read, facts: &Facts, inflated: &End) {
    let message = read.end.as_ref().err().map(Error::to_string);
    let message = message.unwrap_or_default();
    assert!(!message.contains("report this archive as a bug"), "{message}");
    let is_damaged = facts.end.is_err() || *inflated != End::Whole;
    assert_eq!(read.end.is_err(), is_damaged, "'{message}', where the parts say {:?} and {inflated:?}", facts.end);
    // The last one may be a member whose content is cut.
    let extra = read.members.len().checked_sub(facts.members.len());
    assert!(extra.is_some_and(|extra| extra == 0 || extra == 1 && is_damaged), "{extra:?} more members: {message}");
    for ((member, content, is_whole), (expected, stored)) in read.members.iter().zip(&facts.members) {
        assert_eq!(member, expected);
        let file = reading::file(expected, stored, &mut Chunks::whole());
        let Some(file) = file.filter(|_| member.sparse.is_some() || member.size == member.stored_size) else {
            continue;
        };
        assert!(if *is_whole { *content == file } else { file.starts_with(content) }, "the content of {member:?}");
    }
}

/// What the bytes were taken for adds up to their number.
fn check_account(stats: &Stats, len: usize) {
    let parts = ["header_bytes", "content_bytes", "skipped_bytes", "padding_bytes", "trailer_bytes"];
    let sum: u64 = stats.iter().filter(|(name, _)| parts.contains(name)).map(|(_, value)| value).sum();
    assert_eq!((sum, stats.length_bytes.value()), (len as u64, len as u64), "{parts:?}");
}

/// As for a plain archive, or as for any bytes, whatever is nearer.
pub(super) fn mutate(data: &mut Vec<u8>, dice: &mut Dice, len_max: usize) {
    match detect(data) {
        Compression::None => mutate::archive(data, dice, len_max),
        _ if dice.below(3) == 0 => recompress(data, dice, len_max),
        _ => mutate::bytes(data, dice, len_max),
    }
}

/// Changes what is compressed.
fn recompress(data: &mut Vec<u8>, dice: &mut Dice, len_max: usize) {
    let compression = detect(data);
    let limit = MEMORY_BYTES_MAX[2];
    let mut plain = inflate(compression, limit, data, &mut Chunks::whole(), &mut Chunks::whole()).bytes;
    plain.truncate(4 * len_max);
    mutate::archive(&mut plain, dice, 4 * len_max);
    data.clear();
    let others = &Compression::ALL[1..];
    let compression = if dice.below(4) == 0 { others[dice.below(others.len())] } else { compression };
    let (first, second) = plain.split_at(dice.below(plain.len() + 1));
    for part in [first, second] {
        super::decompress::compress(compression, part, data);
    }
    data.truncate(len_max);
}
