//! A tar writer for tests: it writes what it is told to, sane or not.

use super::{BLOCK_LEN, Block, padding};

/// One header block. Fields not set are those of a plain ustar file.
#[derive(Clone)]
pub(crate) struct HeaderBuilder {
    block: Block,
}

impl HeaderBuilder {
    pub(crate) fn new(name: impl AsRef<[u8]>, typeflag: u8, size: u64) -> Self {
        let octal = |value: u64| format!("{value:011o}\0");
        Self { block: [0; BLOCK_LEN] }
            .set(0, name)
            .set(100, "0000644\0")
            .set(108, "0001750\0")
            .set(116, "0000144\0")
            .set(124, octal(size))
            .set(136, octal(1_700_000_000))
            .set(156, [typeflag])
            .set(257, "ustar\x0000")
            .set(265, "user")
            .set(297, "group")
    }

    pub(crate) fn file(name: impl AsRef<[u8]>, size: u64) -> Self {
        Self::new(name, b'0', size)
    }

    /// The magic of GNU tar.
    pub(crate) fn gnu(self) -> Self {
        self.set(257, "ustar  \0")
    }

    /// Without magic and what lies behind it.
    pub(crate) fn v7(mut self) -> Self {
        self.block[257..].fill(0);
        self
    }

    pub(crate) fn linkname(self, name: &str) -> Self {
        self.set(157, name)
    }

    pub(crate) fn prefix(self, prefix: &str) -> Self {
        self.set(345, prefix)
    }

    /// Any bytes, anywhere.
    pub(crate) fn set(mut self, at: usize, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        self.block[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// With its checksum.
    pub(crate) fn build(self) -> Block {
        let blank = self.set(148, [b' '; 8]);
        let sum: u32 = blank.block.iter().map(|&byte| u32::from(byte)).sum();
        blank.set(148, format!("{sum:06o}\0 ")).block
    }
}

/// The bytes of an archive, as they are put together.
#[derive(Clone, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
}

impl Archive {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A header alone.
    pub(crate) fn header(self, header: HeaderBuilder) -> Self {
        self.raw(header.build())
    }

    /// Content and its padding.
    pub(crate) fn content(self, content: impl AsRef<[u8]>) -> Self {
        let zeros = padding(content.as_ref().len() as u64);
        self.raw(content).raw(vec![0; usize::try_from(zeros).unwrap()])
    }

    pub(crate) fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.header(HeaderBuilder::file(name, content.as_ref().len() as u64)).content(content)
    }

    pub(crate) fn directory(self, name: &str) -> Self {
        self.header(HeaderBuilder::new(name, b'5', 0))
    }

    /// A pax header for the next member.
    pub(crate) fn pax<K: AsRef<[u8]>, V: AsRef<[u8]>>(self, records: &[(K, V)]) -> Self {
        self.extension(b'x', pax_body(records))
    }

    pub(crate) fn global<K: AsRef<[u8]>, V: AsRef<[u8]>>(self, records: &[(K, V)]) -> Self {
        self.extension(b'g', pax_body(records))
    }

    /// A header that is about other headers, with its body.
    pub(crate) fn extension(self, typeflag: u8, body: impl AsRef<[u8]>) -> Self {
        let header = HeaderBuilder::new("././@Extension", typeflag, body.as_ref().len() as u64);
        self.header(header).content(body)
    }

    pub(crate) fn raw(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.bytes.extend_from_slice(bytes.as_ref());
        self
    }

    /// Two zero blocks.
    pub(crate) fn end(self) -> Self {
        self.raw([0; 2 * BLOCK_LEN])
    }

    pub(crate) fn build(self) -> Vec<u8> {
        self.bytes
    }
}

/// The lines of a pax header, each with its length.
pub(crate) fn pax_body<K: AsRef<[u8]>, V: AsRef<[u8]>>(records: &[(K, V)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (key, value) in records {
        let text = [b" ", key.as_ref(), b"=", value.as_ref(), b"\n"].concat();
        let mut len = text.len() + 1;
        while len.to_string().len() + text.len() != len {
            len += 1;
        }
        body.extend(len.to_string().into_bytes());
        body.extend(text);
    }
    body
}
