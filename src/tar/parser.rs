//! The parser: a state machine from blocks to members.
//!
//! Every byte of the stream is consumed exactly once, either by [`Parser::parse`] or, if it is content and its padding,
//! by the caller. Offsets count from the beginning of the stream.
//!
//! Damage is an error with its offset, never an early end. Only behind an end marker may there be anything: a header
//! there continues the archive (archives are appended to each other by `cat`), and what is neither that nor zero is
//! counted as garbage up to the end of the stream.

use std::mem;

use super::draft::{Draft, Pending};
use super::header::{Header, sum, until_nul};
use super::lookalike::lookalike;
use super::pax::{Globals, Records};
use super::sparse::{MapReader, SparseMap, SparseState};
use super::{BLOCK_LEN, BLOCK_SIZE, Block, Limits, Member, SIZE_MAX, Step, Trailer, padding};
use crate::error::{Error, ErrorKind, Result};

/// Reads headers from an uncompressed tar stream.
#[derive(Debug)]
pub(crate) struct Parser {
    limits: Limits,
    state: State,
    /// Of the first byte that no finished block, extension or content holds.
    offset: u64,
    /// A block of which only the first `buffered` bytes have come.
    buffer: Block,
    buffered: usize,
    /// Body of the extension header being read; kept for the next one.
    body: Vec<u8>,
    pending: Pending,
    globals: Globals,
    /// See [`Parser::recycle`].
    spare: Option<Box<Member>>,
    has_header: bool,
    /// Zero blocks since the last member.
    zero_blocks: u64,
    /// Where the content ends that the last member claims but, being no file, should not have; 0 for none.
    claimed_end: u64,
    /// See [`Parser::header_bytes`].
    header_bytes: u64,
    /// See [`Parser::end_marker_bytes`].
    end_marker_bytes: u64,
}

#[derive(Debug)]
enum State {
    /// A header comes next.
    Header,
    Extension(Extension),
    /// A member whose sparse map goes on in the next block.
    Sparse(Box<Member>, MapReader),
    /// Bytes that belong to nothing.
    Skip(u64),
    /// Everything from here on.
    Garbage {
        offset: u64,
    },
}

/// An extension header whose body is being read.
#[derive(Debug)]
struct Extension {
    kind: ExtensionKind,
    /// Of its body.
    offset: u64,
    size: u64,
    /// Bytes still to come, padding included.
    left: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExtensionKind {
    Local,
    Global,
    LongName,
    LongLink,
}

impl Parser {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Header,
            offset: 0,
            buffer: [0; BLOCK_LEN],
            buffered: 0,
            body: Vec::new(),
            pending: Pending::default(),
            globals: Globals::default(),
            spare: None,
            has_header: false,
            zero_blocks: 0,
            claimed_end: 0,
            header_bytes: 0,
            end_marker_bytes: 0,
        }
    }

    /// Bytes so far of whole header blocks, of extension headers, and of what belongs to a header: sparse maps, and
    /// content that a member of its type should not have.
    pub(crate) fn header_bytes(&self) -> u64 {
        self.header_bytes
    }

    /// Bytes so far of zero blocks that turned out not to be the end: members came behind them.
    pub(crate) fn end_marker_bytes(&self) -> u64 {
        self.end_marker_bytes
    }

    /// Where in the stream the next call of [`parse`](Self::parse) must go on.
    pub(crate) fn offset(&self) -> u64 {
        self.offset + self.buffered as u64
    }

    /// Takes a member that nobody needs any more: the next one is written into it, so that many small ones cost no
    /// allocations.
    pub(crate) fn recycle(&mut self, member: Box<Member>) {
        self.spare = Some(member).filter(|member| member.heap_bytes() <= RECYCLED_BYTES_MAX);
    }

    /// Consumes some of `input`; gives how much, and what was learnt.
    ///
    /// [`Step::NeedsData`] means that all of it was consumed. After [`Step::Member`] the caller takes the stored content
    /// and its padding out of the stream itself, and calls again with what follows: it begins at
    /// [`offset`](Self::offset). What a directory or a link should not have had is skipped here, not there. Nothing can be
    /// parsed behind an error.
    pub(crate) fn parse(&mut self, input: &[u8]) -> Result<(usize, Step)> {
        let mut consumed = 0;
        while consumed < input.len() {
            let (taken, member) = self.take(&input[consumed..])?;
            consumed += taken;
            if let Some(member) = member {
                return Ok((consumed, Step::Member(member)));
            }
        }
        Ok((consumed, Step::NeedsData))
    }

    /// Says how the archive ended; the stream must have ended too. The caller has to know by itself whether the content
    /// of the last member was whole.
    pub(crate) fn finish(&self) -> Result<Trailer> {
        let end = self.offset();
        let is_zero = self.buffer[..self.buffered].iter().all(|&byte| byte == 0);
        let zeros = self.zero_blocks * BLOCK_SIZE;
        let partial = self.buffered as u64;
        let garbage_offset = match self.state {
            State::Garbage { offset } => Some(offset),
            State::Header if self.zero_blocks > 0 => (!is_zero).then_some(self.offset),
            State::Header if end == 0 => return Err(not_tar(&[], "it is empty")),
            State::Header if !self.has_header => {
                let reason = format!("it has {partial} bytes, and a header takes {BLOCK_SIZE}");
                return Err(not_tar(&self.buffer[..self.buffered], &reason));
            }
            State::Header if self.buffered > 0 => {
                return Err(truncated(&format!("in a header ({partial} of {BLOCK_SIZE} bytes)")).at(self.offset));
            }
            State::Header if self.pending.offset.is_some() => return Err(truncated(MEMBERLESS).at(end)),
            State::Header => None,
            State::Extension(_) => return Err(truncated("in an extension header").at(end)),
            State::Sparse(ref member, _) => {
                return Err(truncated("in a sparse map").at(end).in_member(member.path_lossy()));
            }
            State::Skip(left) => {
                let place = format!("in the content of a member that is no file ({left} bytes are missing)");
                return Err(truncated(&place).at(end));
            }
        };
        Ok(Trailer {
            end_marker: self.zero_blocks > 0,
            padding_bytes: if garbage_offset.is_none() { zeros + partial } else { zeros },
            garbage_bytes: garbage_offset.map_or(0, |offset| end - offset),
            garbage_offset,
        })
    }

    /// One step: consumes at least a byte of `input`, which has one.
    fn take(&mut self, input: &[u8]) -> Result<(usize, Option<Box<Member>>)> {
        let taken = match &mut self.state {
            State::Header | State::Sparse(..) => return self.take_block(input),
            State::Extension(extension) => {
                let taken = at_most(extension.left, input.len());
                self.body.extend_from_slice(&input[..taken]);
                extension.left -= taken as u64;
                self.offset += taken as u64;
                self.header_bytes += taken as u64;
                if extension.left == 0 {
                    self.end_extension()?;
                }
                taken
            }
            State::Skip(left) => {
                let taken = at_most(*left, input.len());
                *left -= taken as u64;
                self.offset += taken as u64;
                self.header_bytes += taken as u64;
                if *left == 0 {
                    self.state = State::Header;
                }
                taken
            }
            State::Garbage { .. } => {
                self.offset += input.len() as u64;
                input.len()
            }
        };
        Ok((taken, None))
    }

    fn take_block(&mut self, input: &[u8]) -> Result<(usize, Option<Box<Member>>)> {
        if self.buffered == 0
            && let Some(block) = input.first_chunk()
        {
            return Ok((BLOCK_LEN, self.block(block)?));
        }
        let taken = input.len().min(BLOCK_LEN - self.buffered);
        self.buffer[self.buffered..self.buffered + taken].copy_from_slice(&input[..taken]);
        self.buffered += taken;
        if self.buffered < BLOCK_LEN {
            return Ok((taken, None));
        }
        self.buffered = 0;
        let block = self.buffer;
        Ok((taken, self.block(&block)?))
    }

    fn block(&mut self, block: &Block) -> Result<Option<Box<Member>>> {
        let offset = self.offset;
        self.offset += BLOCK_SIZE;
        if let State::Sparse(..) = self.state {
            return self.map_block(block, offset);
        }
        match sum(block) {
            0 => self.zero_block(offset),
            sum => match Header::new(block, sum) {
                Ok(header) => {
                    let member = self.header(&header, offset).map_err(|error| error.at(offset))?;
                    self.header_bytes += BLOCK_SIZE;
                    Ok(member)
                }
                Err(reason) => self.no_header(block, &reason, offset),
            },
        }
    }

    fn zero_block(&mut self, offset: u64) -> Result<Option<Box<Member>>> {
        if self.pending.offset.is_some() {
            return Err(Error::new(ErrorKind::Archive, format!("archive ends {MEMBERLESS}")).at(offset));
        }
        self.zero_blocks += 1;
        self.pending.clear();
        Ok(None)
    }

    /// A block that should be a header and is none.
    fn no_header(&mut self, block: &Block, reason: &str, offset: u64) -> Result<Option<Box<Member>>> {
        if !self.has_header {
            // Zeros may come first: other formats begin with them, too.
            return Err(not_tar(block, reason).at(offset));
        }
        if offset < self.claimed_end {
            // Zero blocks before this one were content, too, and no end.
            let left = mem::take(&mut self.claimed_end) - self.offset;
            self.state = if left > 0 { State::Skip(left) } else { State::Header };
            self.header_bytes += (mem::take(&mut self.zero_blocks) + 1) * BLOCK_SIZE;
            return Ok(None);
        }
        if self.zero_blocks > 0 {
            self.state = State::Garbage { offset };
            return Ok(None);
        }
        Err(Error::new(ErrorKind::Archive, reason).at(offset))
    }

    fn header(&mut self, header: &Header<'_>, offset: u64) -> Result<Option<Box<Member>>> {
        if self.zero_blocks > 1 {
            // Another archive was appended; a single zero block is a blemish inside of one.
            self.globals.clear();
        }
        self.has_header = true;
        self.end_marker_bytes += self.zero_blocks * BLOCK_SIZE;
        self.zero_blocks = 0;
        self.claimed_end = 0;
        let kind = match header.typeflag() {
            b'x' | b'X' => ExtensionKind::Local,
            b'g' => ExtensionKind::Global,
            b'L' => ExtensionKind::LongName,
            b'K' => ExtensionKind::LongLink,
            _ => return self.member(header, offset),
        };
        self.begin_extension(kind, header.size()?, offset)?;
        Ok(None)
    }

    fn begin_extension(&mut self, kind: ExtensionKind, size: u64, offset: u64) -> Result<()> {
        let Limits { extension_bytes_max, extension_headers_max, .. } = self.limits;
        if size > extension_bytes_max {
            let message = format!("extension header of {size} bytes is over the limit of {extension_bytes_max}");
            return Err(Error::new(ErrorKind::Limit, message));
        }
        self.pending.headers += 1;
        if self.pending.headers > extension_headers_max {
            let message = format!("more than {extension_headers_max} extension headers in a row");
            return Err(Error::new(ErrorKind::Limit, message));
        }
        if kind != ExtensionKind::Global {
            self.pending.offset.get_or_insert(offset);
        }
        self.body.clear();
        self.state = State::Extension(Extension { kind, offset: self.offset, size, left: size + padding(size) });
        if size == 0 { self.end_extension() } else { Ok(()) }
    }

    fn end_extension(&mut self) -> Result<()> {
        let State::Extension(Extension { kind, offset, size, .. }) = mem::replace(&mut self.state, State::Header)
        else {
            return Ok(());
        };
        // What is longer than memory would have been over the limit.
        self.body.truncate(at_most(size, self.body.len()));
        match kind {
            ExtensionKind::Local => self.pending.records.replace(&mut self.body, offset)?,
            ExtensionKind::Global => {
                let mut records = Records::default();
                records.replace(&mut self.body, offset)?;
                self.globals.merge(&records, &self.limits).map_err(|error| error.at(offset))?;
            }
            ExtensionKind::LongName => self.pending.long_name = Some(until_nul(&self.body).to_vec()),
            ExtensionKind::LongLink => self.pending.long_link = Some(until_nul(&self.body).to_vec()),
        }
        Ok(())
    }

    fn member(&mut self, header: &Header<'_>, offset: u64) -> Result<Option<Box<Member>>> {
        let spare = self.spare.take().unwrap_or_default();
        let Draft { mut member, sparse, unclaimed } =
            Draft::new(spare, header, &self.pending, &self.globals, &self.limits)?;
        member.offset = self.pending.offset.unwrap_or(offset);
        self.pending.clear();
        if unclaimed > 0 {
            let end = self.offset.checked_add(unclaimed).and_then(|end| end.checked_next_multiple_of(BLOCK_SIZE));
            self.claimed_end = end.unwrap_or(SIZE_MAX);
        }
        match sparse {
            None => {}
            Some(SparseState::Known(extents)) => {
                let map = SparseMap::new(extents, member.size, member.stored_size);
                member.sparse = Some(map.map_err(|error| error.in_member(member.path_lossy()))?);
            }
            Some(SparseState::Reading(map)) => {
                self.state = State::Sparse(member, map);
                return Ok(None);
            }
        }
        self.emit(member).map(Some)
    }

    /// One more block of a sparse map.
    fn map_block(&mut self, block: &Block, offset: u64) -> Result<Option<Box<Member>>> {
        let State::Sparse(mut member, mut map) = mem::replace(&mut self.state, State::Header) else { return Ok(None) };
        self.header_bytes += BLOCK_SIZE;
        match map.block(block, &mut member, &self.limits) {
            Ok(true) => self.emit(member).map(Some).map_err(|error| error.at(offset)),
            Ok(false) => {
                self.state = State::Sparse(member, map);
                Ok(None)
            }
            Err(error) => Err(error.at(offset).in_member(member.path_lossy())),
        }
    }

    /// Fixes where the content lies, and steps over it.
    fn emit(&mut self, mut member: Box<Member>) -> Result<Box<Member>> {
        member.data_offset = self.offset;
        let stored = member.stored_size + member.padding();
        self.offset = self.offset.checked_add(stored).filter(|&end| end <= SIZE_MAX).ok_or_else(|| {
            let message = format!("content of {} bytes ends behind byte {SIZE_MAX}", member.stored_size);
            Error::new(ErrorKind::Archive, message).in_member(member.path_lossy())
        })?;
        Ok(member)
    }
}

/// Names of usual length fit; one of a MiB is not kept for those that follow.
const RECYCLED_BYTES_MAX: u64 = 4 << 10;

/// Behind the last extension header.
const MEMBERLESS: &str = "behind an extension header, before the member that it is for";

/// `head` is what stands where its first header should.
fn not_tar(head: &[u8], reason: &str) -> Error {
    let message = match lookalike(head) {
        Some(other) => format!("not a tar archive, but {other}"),
        None => format!("not a tar archive ({reason})"),
    };
    Error::new(ErrorKind::Archive, message)
}

fn truncated(place: &str) -> Error {
    Error::new(ErrorKind::Archive, format!("archive is truncated {place}"))
}

/// The smaller of both.
fn at_most(bytes: u64, len: usize) -> usize {
    usize::try_from(bytes).map_or(len, |bytes| bytes.min(len))
}
