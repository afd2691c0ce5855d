//! The descriptor of an LZ4 frame: how long its blocks are, whether they are linked, and which checksums it has.

use twox_hash::XxHash32;

use super::Place;
use crate::error::Result;

const VERSION_MASK: u8 = 0b1100_0000;
const VERSION: u8 = 0b0100_0000;
const FLAG_INDEPENDENT: u8 = 1 << 5;
const FLAG_BLOCK_CHECKSUMS: u8 = 1 << 4;
const FLAG_CONTENT_LEN: u8 = 1 << 3;
const FLAG_CONTENT_CHECKSUM: u8 = 1 << 2;
const FLAG_RESERVED: u8 = 1 << 1;
const FLAG_DICTIONARY: u8 = 1;

const CONTENT_LEN_LEN: usize = 8;
const DICTIONARY_LEN: usize = 4;
const CHECKSUM_LEN: usize = 1;

/// What the blocks of a frame are like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Descriptor {
    /// Decoded; what would be longer compressed is stored as it is.
    pub(super) block_len_max: usize,
    /// Whether a block may refer to the ones before it.
    pub(super) linked_blocks: bool,
    pub(super) block_checksums: bool,
    pub(super) content_checksum: bool,
    /// Of the whole frame, decoded.
    pub(super) content_len: Option<u64>,
}

impl Descriptor {
    /// The two bytes that it begins with: flags and block size.
    pub(super) const START_LEN: usize = 2;

    /// How many bytes follow these two at most.
    pub(super) const REST_LEN_MAX: usize = CONTENT_LEN_LEN + DICTIONARY_LEN + CHECKSUM_LEN;

    /// How many bytes follow these two.
    pub(super) fn rest_len([flags, _]: [u8; Self::START_LEN]) -> usize {
        let optional = |flag: u8, length: usize| if flags & flag == 0 { 0 } else { length };
        optional(FLAG_CONTENT_LEN, CONTENT_LEN_LEN) + optional(FLAG_DICTIONARY, DICTIONARY_LEN) + CHECKSUM_LEN
    }

    /// Reads `rest_len` bytes behind `start`.
    pub(super) fn read(place: Place, start: [u8; Self::START_LEN], rest: &[u8]) -> Result<Self> {
        let [flags, block_size] = start;
        let (checksum, fields) = rest.split_last().expect("the checksum is always there");
        let mut hash = XxHash32::with_seed(0);
        std::hash::Hasher::write(&mut hash, &start);
        std::hash::Hasher::write(&mut hash, fields);
        let computed = hash.finish_32() >> 8 & 0xff;
        if u32::from(*checksum) != computed {
            return Err(place.checksum_mismatch("frame header checksum", u32::from(*checksum), computed));
        }
        if flags & VERSION_MASK != VERSION || flags & FLAG_RESERVED != 0 {
            return Err(place.damaged(format_args!("unknown version or flags ({flags:#04x})")));
        }
        if flags & FLAG_DICTIONARY != 0 {
            return Err(place.damaged("its frame needs a dictionary, and tarsql has no dictionaries"));
        }
        let block_len_max = match block_size {
            0x40 => 64 << 10,
            0x50 => 256 << 10,
            0x60 => 1 << 20,
            0x70 => 4 << 20,
            _ => return Err(place.damaged(format_args!("unknown block size ({block_size:#04x})"))),
        };
        let content_len = fields.first_chunk().filter(|_| flags & FLAG_CONTENT_LEN != 0).copied();
        Ok(Self {
            block_len_max,
            linked_blocks: flags & FLAG_INDEPENDENT == 0,
            block_checksums: flags & FLAG_BLOCK_CHECKSUMS != 0,
            content_checksum: flags & FLAG_CONTENT_CHECKSUM != 0,
            content_len: content_len.map(u64::from_le_bytes),
        })
    }
}
