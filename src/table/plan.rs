//! How work is cut: archives are dealt to partitions. Pure, so that it can be tested as a table.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// The values of the option `partitioning`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Partitioning {
    /// One partition an archive, bundled where there are many; an idle partition takes the next archive.
    #[default]
    Auto,
    /// Partition *i* is archive *i*, whatever it costs.
    Archive,
}

impl Partitioning {
    /// The value as SQL spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Archive => "archive",
        }
    }
}

impl FromStr for Partitioning {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "archive" => Ok(Self::Archive),
            _ => Err(Error::new(
                ErrorKind::Option,
                format!("option 'partitioning' can't be '{text}': it is one of 'auto', 'archive'"),
            )),
        }
    }
}

/// The default of `tarsql.max_partitions`: enough that work stealing can even out, few enough that tasks stay cheap.
pub(crate) fn default_max_partitions(target_partitions: usize) -> usize {
    (4 * target_partitions).max(16)
}

/// Deals archives of the given sizes to at most `max_partitions` partitions: the largest first, each to the partition
/// that has least so far. Returns the archives' indices, ascending within a partition; no partition is empty.
pub(crate) fn deal(sizes: &[u64], max_partitions: usize) -> Vec<Vec<usize>> {
    if sizes.len() <= max_partitions {
        return (0..sizes.len()).map(|archive| vec![archive]).collect();
    }
    let mut largest_first: Vec<usize> = (0..sizes.len()).collect();
    largest_first.sort_by_key(|&archive| (Reverse(sizes[archive]), archive));
    let mut partitions = vec![Vec::new(); max_partitions];
    let mut lightest: BinaryHeap<_> = (0..max_partitions).map(|partition| Reverse((0, 0, partition))).collect();
    for archive in largest_first {
        if let Some(Reverse((bytes, count, partition))) = lightest.pop() {
            partitions[partition].push(archive);
            lightest.push(Reverse((sizes[archive].saturating_add(bytes), count + 1, partition)));
        }
    }
    for partition in &mut partitions {
        partition.sort_unstable();
    }
    partitions.sort();
    partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_archives_have_a_partition_each() {
        assert_eq!(deal(&[5, 1, 9], 3), [[0], [1], [2]]);
        assert_eq!(deal(&[], 3), Vec::<Vec<usize>>::new());
    }

    #[test]
    fn many_archives_are_dealt_largest_first() {
        assert_eq!(deal(&[10, 1, 1, 1, 1, 6], 2), [vec![0], vec![1, 2, 3, 4, 5]]);
        assert_eq!(deal(&[0, 0, 0, 0], 2), [vec![0, 2], vec![1, 3]]);
    }

    #[test]
    fn every_archive_is_dealt_once() {
        let sizes: Vec<u64> = (0..1_000).map(|n| n * 7_919 % 1_009).collect();
        let mut dealt: Vec<usize> = deal(&sizes, 16).concat();
        dealt.sort_unstable();
        assert_eq!(dealt, (0..1_000).collect::<Vec<_>>());
    }
}
