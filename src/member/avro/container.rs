//! The object container file of the Avro specification: a header, then blocks of records.
//!
//! ```text
//! header = "Obj\x01" map<string, bytes> sync(16)          metadata: avro.schema, avro.codec
//! block  = long records, long bytes, bytes, sync(16)      the same sync marker as in the header
//! ```
//!
//! Nothing here allocates what a length merely claims: a header or a block is looked at once all of its bytes are there,
//! and lengths beyond the limits are refused before.

use crate::error::{Error, ErrorKind, Result};

/// A header holds the schema and little else; documented schemas have some hundred KiB.
pub(super) const HEADER_BYTES_MAX: usize = 4 << 20;

/// A block is held whole, as it is stored and once more decompressed. Writers cut them at some KiB to a few MiB.
pub(super) const BLOCK_BYTES_MAX: usize = 256 << 20;

/// Records of no bytes (of nothing but nulls) could otherwise be claimed without end.
const BLOCK_RECORDS_MAX: usize = 1 << 24;

const MAGIC: &[u8] = b"Obj\x01";
const SYNC_BYTES: usize = 16;

/// What the blocks are compressed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Null,
    Deflate,
    Snappy,
    Zstandard,
    Bzip2,
    Xz,
}

/// What a container says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// The writer's schema, JSON.
    pub(super) schema: String,
    pub(super) codec: Codec,
    pub(super) sync: [u8; SYNC_BYTES],
}

/// What stands in front of the records of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockHead {
    pub(super) records: usize,
    /// Bytes of the head itself.
    pub(super) head_bytes: usize,
    /// Bytes of the records as they are stored.
    pub(super) bytes: usize,
}

impl Header {
    /// The header at the beginning of `bytes` and its length; `None` if it isn't all there.
    ///
    /// # Errors
    /// What can't be a header, or one that is too long.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>> {
        let known = bytes.len().min(MAGIC.len());
        if bytes[..known] != MAGIC[..known] {
            return Err(damage("the content is no Avro container: it does not begin with 'Obj' and 1"));
        }
        let mut cursor = Cursor { bytes, at: MAGIC.len() };
        let header = cursor.header();
        let too_long = bytes.len() > HEADER_BYTES_MAX || cursor.at > HEADER_BYTES_MAX;
        match header {
            Ok(header) => Ok(Some((header, cursor.at))),
            Err(Stop::More) if too_long => {
                Err(Error::new(ErrorKind::Limit, format!("the Avro header has more than {HEADER_BYTES_MAX} bytes")))
            }
            Err(Stop::More) => Ok(None),
            Err(Stop::Damage(what)) => Err(damage(what)),
        }
    }
}

impl BlockHead {
    /// The head at the beginning of `bytes`; `None` if it isn't all there.
    ///
    /// # Errors
    /// What can't be a head: the text says why.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, String> {
        let mut cursor = Cursor { bytes, at: 0 };
        match cursor.block_head() {
            Ok(head) => Ok(Some(head)),
            Err(Stop::More) => Ok(None),
            Err(Stop::Damage(what)) => Err(what),
        }
    }

    /// All of the block: head, records and sync marker.
    pub(super) fn block_bytes(&self) -> usize {
        self.head_bytes + self.bytes + SYNC_BYTES
    }
}

/// A container of one block, in two parts: its bytes are those of `prefix`, then the records, then `sync`. The count of
/// records in it is as large as can be; the reader is to be told how many to take.
pub(super) fn prefix(header: &Header, records_bytes: usize) -> Vec<u8> {
    let mut out = header_bytes(header);
    push_long(&mut out, i64::MAX);
    push_long(&mut out, i64::try_from(records_bytes).unwrap_or(i64::MAX));
    out
}

/// The header of a container with the schema of `header` whose blocks are not compressed, alone one without records.
pub(super) fn header_bytes(header: &Header) -> Vec<u8> {
    let mut out = Vec::with_capacity(header.schema.len() + 128);
    out.extend_from_slice(MAGIC);
    push_long(&mut out, 2);
    for text in ["avro.codec", "null", "avro.schema", &header.schema] {
        push_long(&mut out, i64::try_from(text.len()).unwrap_or(i64::MAX));
        out.extend_from_slice(text.as_bytes());
    }
    push_long(&mut out, 0);
    out.extend_from_slice(&header.sync);
    out
}

/// Avro's `long`: zigzag, then seven bits a byte, the lowest first.
pub(super) fn push_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = (value << 1 ^ value >> 63).cast_unsigned();
    while rest >= 0x80 {
        out.push(0x80 | u8::try_from(rest & 0x7f).expect("seven bits"));
        rest >>= 7;
    }
    out.push(u8::try_from(rest).expect("less than 0x80"));
}

fn damage(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Member, what)
}

/// Why parsing did not come to its end.
enum Stop {
    /// More bytes are needed.
    More,
    Damage(String),
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn header(&mut self) -> Result<Header, Stop> {
        let (mut schema, mut codec) = (None, Codec::Null);
        loop {
            let count = self.long("the count of the header's metadata")?;
            if count == 0 {
                break;
            }
            if count < 0 {
                // A negative count is followed by the size in bytes, for those who skip.
                self.long("the size of the header's metadata")?;
            }
            for _ in 0..count.unsigned_abs() {
                let key = self.text()?;
                let value = self.text()?;
                match key {
                    b"avro.schema" => schema = Some(value),
                    b"avro.codec" => codec = codec_of(value)?,
                    _ => {}
                }
            }
        }
        let sync = self.take(SYNC_BYTES)?.try_into().map_err(|_| Stop::More)?;
        let schema = schema.ok_or_else(|| Stop::Damage("the Avro header has no schema".to_owned()))?;
        let schema = str::from_utf8(schema)
            .map_err(|_| Stop::Damage("the schema in the Avro header is not UTF-8".to_owned()))?;
        Ok(Header { schema: schema.to_owned(), codec, sync })
    }

    fn block_head(&mut self) -> Result<BlockHead, Stop> {
        let records = self.length("the count of records", BLOCK_RECORDS_MAX)?;
        let bytes = self.length("the size", BLOCK_BYTES_MAX)?;
        Ok(BlockHead { records, head_bytes: self.at, bytes })
    }

    fn text(&mut self) -> Result<&'a [u8], Stop> {
        let length = self.length("the length of a text in the header", HEADER_BYTES_MAX)?;
        self.take(length)
    }

    fn length(&mut self, what: &str, max: usize) -> Result<usize, Stop> {
        let value = self.long(what)?;
        let length = usize::try_from(value).ok().filter(|&length| length <= max);
        length.ok_or_else(|| Stop::Damage(format!("{what} is {value}, not from 0 to {max}")))
    }

    fn long(&mut self, what: &str) -> Result<i64, Stop> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let &[byte] = self.take(1)? else { return Err(Stop::More) };
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        Err(Stop::Damage(format!("{what} is no number of 64 bits")))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Stop> {
        let part = self.bytes.get(self.at..self.at + length).ok_or(Stop::More)?;
        self.at += length;
        Ok(part)
    }
}

fn codec_of(name: &[u8]) -> Result<Codec, Stop> {
    match name {
        b"null" | b"" => Ok(Codec::Null),
        b"deflate" => Ok(Codec::Deflate),
        b"snappy" => Ok(Codec::Snappy),
        b"zstandard" => Ok(Codec::Zstandard),
        b"bzip2" => Ok(Codec::Bzip2),
        b"xz" => Ok(Codec::Xz),
        other => {
            Err(Stop::Damage(format!("the Avro codec '{}' is unknown", String::from_utf8_lossy(other).escape_debug())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longs_there_and_back() {
        for value in [0, -1, 1, 63, 64, -64, -65, 1 << 40, i64::MAX, i64::MIN] {
            let mut bytes = Vec::new();
            push_long(&mut bytes, value);
            let mut cursor = Cursor { bytes: &bytes, at: 0 };
            assert_eq!(cursor.long("it").ok(), Some(value));
            assert_eq!(cursor.at, bytes.len());
        }
        assert!(matches!(Cursor { bytes: &[0xff; 20], at: 0 }.long("it"), Err(Stop::Damage(_))));
    }

    #[test]
    fn headers_and_what_is_none() {
        let header = Header { schema: "\"null\"".to_owned(), codec: Codec::Null, sync: [7; 16] };
        let bytes = header_bytes(&header);
        for cut in 0..bytes.len() {
            assert_eq!(Header::parse(&bytes[..cut]).unwrap(), None, "{cut}");
        }
        assert_eq!(Header::parse(&bytes).unwrap(), Some((header, bytes.len())));
        let cases: [(&[u8], &str); 6] = [
            (b"PK", "the content is no Avro container: it does not begin with 'Obj' and 1"),
            (b"Obj\x01\x02\x01", "the length of a text in the header is -1, not from 0 to 4194304"),
            (
                b"Obj\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                "the count of the header's metadata is no number of 64 bits",
            ),
            (b"Obj\x01\x020000000000000000", "the length of a text in the header is 24, not from 0 to 4194304"),
            (b"Obj\x01\x000000000000000000", "the Avro header has no schema"),
            (b"Obj\x01\x02\x14avro.codec\x06lz4\x000000000000000000", "the Avro codec 'lz4' is unknown"),
        ];
        for (bytes, expected) in cases {
            match Header::parse(bytes) {
                Err(error) => assert_eq!(error.to_string(), expected),
                Ok(parsed) => assert_eq!((parsed, expected), (None, cases[3].1)),
            }
        }
    }

    #[test]
    fn heads_of_blocks() {
        assert_eq!(BlockHead::parse(&[6, 8]), Ok(Some(BlockHead { records: 3, head_bytes: 2, bytes: 4 })));
        assert_eq!(BlockHead::parse(&[6]), Ok(None));
        assert_eq!(BlockHead::parse(&[6, 0x80]), Ok(None));
        assert_eq!(BlockHead::parse(&[1, 8]).unwrap_err(), "the count of records is -1, not from 0 to 16777216");
        assert!(BlockHead::parse(&[6, 0xff, 0xff, 0xff, 0xff, 0x7f]).unwrap_err().starts_with("the size is -"));
    }
}
