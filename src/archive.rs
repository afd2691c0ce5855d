//! The loop: fetch, decompress, parse. The only place where the three meet.
//!
//! [`ArchiveReader`] walks one archive from its first header to its end. Between two members it holds a piece of the
//! stream and nothing else; content comes out piece by piece, and content that nobody takes is skipped, over a plain
//! tar without being fetched where that is cheaper.

mod account;
mod blocks;
mod inflation;

use std::mem;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};

pub(crate) use self::inflation::Inflation;

use self::account::Account;
use crate::compression::Compression;
use crate::crew::Crew;
use crate::error::{Error, ErrorKind, Result};
use crate::memory::Reservation;
use crate::stats::Stats;
use crate::store::ObjectReader;
use crate::tar::{self, Expander, Limits, Member, Parser, Piece, Step, Trailer};

/// Bytes that a decompressor puts out at a time.
pub(crate) const BLOCK_BYTES: usize = 1 << 20;

/// How often the variable parts of a member's headers are held: by the parser, by the member, and by two who keep it.
const HEADER_COPIES: u64 = 4;

/// Room for a path that is kept from one member to the next.
const RECYCLED_BYTES_MAX: usize = 4 << 10;

/// Zeros that a hole of a sparse member is given out in.
const HOLE_BYTES_MAX: usize = 256 << 10;

/// What was found at the end of an archive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ArchiveEnd {
    /// What stood behind the last member.
    pub(crate) trailer: Trailer,
    /// Length of the tar stream: what headers, content, padding and trailer add up to.
    pub(crate) length_bytes: u64,
}

/// What [`ArchiveReader::next_member`] found.
pub(crate) enum NextMember {
    /// A member; its content can be read.
    Member(Box<Member>),
    /// The end of the archive.
    End(ArchiveEnd),
}

/// A content that lies in one piece in the block that was read last.
#[derive(Debug, Clone)]
pub(crate) struct ContentView<'a> {
    /// As it was fetched or decompressed.
    pub(crate) block: &'a Bytes,
    /// Where the block begins in the uncompressed stream, which tells it from others.
    pub(crate) block_offset: u64,
    /// Where the content lies in the block.
    pub(crate) range: Range<usize>,
}

impl ContentView<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.block[self.range.clone()]
    }
}

/// One archive, read member by member.
pub(crate) struct ArchiveReader {
    url: Arc<str>,
    stream: TarStream,
    parser: Parser,
    member: Option<OpenMember>,
    /// The member before the header that is read next.
    skipped: Option<OpenMember>,
    /// Of content and padding so far; the parser counts the rest.
    account: Account,
    /// What the headers of the member at hand take, here and with those who look at it.
    memory: Reservation,
    stats: Arc<Stats>,
}

/// The member whose content is being read.
struct OpenMember {
    path: Vec<u8>,
    offset: u64,
    stored_size: u64,
    stored_left: u64,
    padding: u64,
    expander: Option<Expander>,
}

impl ArchiveReader {
    /// Opens the archive behind `reader`; `compression` says what it is compressed with, or nothing: then a valid tar
    /// header decides for plain tar, and magic bytes for the rest.
    ///
    /// # Errors
    /// The first bytes can't be fetched.
    pub(crate) async fn open(
        url: Arc<str>,
        reader: ObjectReader,
        compression: Option<Compression>,
        crew: Crew,
        stats: Arc<Stats>,
    ) -> Result<Self> {
        let stream = TarStream::open(reader, compression, &crew, Arc::clone(&stats))
            .await
            .map_err(|error| error.in_archive(url.as_ref()))?;
        stats.archives_opened.add(1);
        Ok(Self {
            url,
            memory: stream.reader.allowance().reservation(),
            stream,
            parser: Parser::new(Limits::default()),
            member: None,
            skipped: None,
            account: Account::default(),
            stats,
        })
    }

    /// The next member, after skipping what is left of the one before.
    ///
    /// # Errors
    /// With archive and offset where the archive is damaged or truncated, or can't be fetched.
    pub(crate) async fn next_member(&mut self) -> Result<NextMember> {
        self.skip_content().await?;
        let member = self.parse().await.map_err(|error| error.in_archive(self.url.as_ref()))?;
        let Some(member) = member else { return self.end().map(NextMember::End) };
        self.stats.members_scanned.add(1);
        self.memory.settle_at(HEADER_COPIES * member.heap_bytes());
        let path = self.skipped.take().map(|member| member.path).unwrap_or_default();
        self.member = Some(OpenMember::new(&member, path));
        Ok(NextMember::Member(member))
    }

    /// Takes back a member that nobody needs any more, to be filled with the next one.
    pub(crate) fn recycle(&mut self, member: Box<Member>) {
        self.parser.recycle(member);
    }

    /// All content of the current member, where it lies in one piece. It is not taken yet.
    pub(crate) fn whole_content(&self) -> Option<ContentView<'_>> {
        let member = self.member.as_ref().filter(|member| member.expander.is_none())?;
        self.stream.view(member.stored_left)
    }

    /// Takes what [`whole_content`](Self::whole_content) has.
    pub(crate) fn take_whole_content(&mut self) {
        if let Some(member) = &mut self.member {
            self.account.content += self.stream.step_over(mem::take(&mut member.stored_left));
        }
    }

    /// The next piece of the current member's content, holes of sparse members as zeros; `None` where it ends.
    ///
    /// # Errors
    /// The archive ends within the content, can't be fetched, or is damaged.
    pub(crate) async fn next_content(&mut self) -> Result<Option<Bytes>> {
        let Some(member) = &mut self.member else { return Ok(None) };
        let piece = loop {
            break match member.expander.as_ref().map_or(Piece::Data(member.stored_left), Expander::next) {
                Piece::Data(0) | Piece::End => None,
                Piece::Hole(bytes) => {
                    let bytes = bytes.min(HOLE_BYTES_MAX as u64);
                    member.advance(bytes);
                    let bytes = usize::try_from(bytes).unwrap_or(HOLE_BYTES_MAX);
                    Some(self.stream.reader.allowance().zeroed(bytes, bytes).freeze(bytes))
                }
                Piece::Data(bytes) => {
                    match self.stream.fill_with(member.stored_left.saturating_add(member.padding)).await {
                        Ok(true) => {
                            let piece = self.stream.take(bytes.min(member.stored_left));
                            if piece.is_empty() {
                                continue;
                            }
                            member.stored_left -= piece.len() as u64;
                            member.advance(piece.len() as u64);
                            self.account.content += piece.len() as u64;
                            Some(piece)
                        }
                        Ok(false) => {
                            return Err(member
                                .truncated(self.stream.position, member.stored_left)
                                .in_archive(self.url.as_ref()));
                        }
                        Err(error) => return Err(member.locate(error).in_archive(self.url.as_ref())),
                    }
                }
            };
        };
        Ok(piece)
    }

    /// The error that the archive ends within the member at hand, where its length tells so beforehand.
    pub(crate) fn truncation(&self) -> Option<Error> {
        let member = self.member.as_ref()?;
        let length = self.stream.reader.size().filter(|_| self.stream.inflater.is_none())?;
        let missing = (self.stream.position + member.stored_left).saturating_sub(length);
        (missing > 0).then(|| member.truncated(length, missing).in_archive(self.url.as_ref()))
    }

    /// Counts what was read of an archive that is not read further. How long a compressed one is nobody knows then: at
    /// least what is missing of its member, and an end marker.
    pub(crate) fn give_up(&self) {
        let plain = if self.stream.inflater.is_some() { None } else { self.stream.reader.size() };
        let missing_of = |member: &OpenMember| member.stored_left.saturating_add(member.padding);
        let missing = self.member.as_ref().map_or(self.stream.overshot(), missing_of);
        let account = self.account();
        let least = account.total().saturating_add(missing.max(tar::BLOCK_SIZE));
        account.add_to(&self.stats);
        self.stats.length_bytes.add(plain.unwrap_or(0).max(least));
    }

    /// Puts the member at hand and this archive into `error`.
    pub(crate) fn locate(&self, error: Error) -> Error {
        match &self.member {
            Some(member) => member.locate(error),
            None => error,
        }
        .in_archive(self.url.as_ref())
    }

    async fn skip_content(&mut self) -> Result<()> {
        let Some(member) = self.member.take() else { return Ok(()) };
        let bytes = member.stored_left.saturating_add(member.padding);
        let skipped = self.stream.skip(bytes).await;
        let skipped = skipped.map_err(|error| member.locate(error).in_archive(self.url.as_ref()))?;
        self.account.skip(skipped, member.stored_left);
        self.skipped = Some(member);
        self.check_skipped(bytes - skipped)
    }

    /// Whether the member that was skipped last was all there.
    fn check_skipped(&self, missing: u64) -> Result<()> {
        match &self.skipped {
            Some(member) if missing > 0 => {
                let end = self.stream.position - self.stream.overshot();
                Err(member.truncated(end, missing.saturating_sub(member.padding)).in_archive(self.url.as_ref()))
            }
            _ => Ok(()),
        }
    }

    async fn parse(&mut self) -> Result<Option<Box<Member>>> {
        loop {
            if !self.stream.fill().await.map_err(|error| error.at(self.parser.offset()))? {
                let missing = self.stream.overshot();
                self.account.take_back(missing, self.skipped.as_ref().map_or(0, |member| member.padding));
                return self.check_skipped(missing).map(|()| None);
            }
            let (consumed, step) = self.parser.parse(&self.stream.current)?;
            self.stream.advance(consumed);
            if let Step::Member(member) = step {
                return Ok(Some(member));
            }
        }
    }

    fn end(&self) -> Result<ArchiveEnd> {
        let trailer = self.parser.finish().map_err(|error| error.in_archive(self.url.as_ref()))?;
        let mut account = self.account();
        account.trailer += trailer.padding_bytes + trailer.garbage_bytes;
        let length_bytes = self.stream.length();
        account.close(length_bytes).map_err(|error| error.in_archive(self.url.as_ref()))?;
        self.stats.archives_finished.add(1);
        account.add_to(&self.stats);
        self.stats.length_bytes.add(length_bytes);
        Ok(ArchiveEnd { trailer, length_bytes })
    }

    /// Of what was read so far, the trailer behind the last member excepted.
    fn account(&self) -> Account {
        Account { headers: self.parser.header_bytes(), trailer: self.parser.end_marker_bytes(), ..self.account }
    }
}

impl OpenMember {
    /// `path` is the room for its path: that of a member before it, so that many small ones cost no allocations.
    fn new(member: &Member, mut path: Vec<u8>) -> Self {
        path.clear();
        path.shrink_to(RECYCLED_BYTES_MAX);
        path.extend_from_slice(&member.path);
        Self {
            path,
            offset: member.offset,
            stored_size: member.stored_size,
            stored_left: member.stored_size,
            padding: member.padding(),
            expander: member.sparse.clone().map(Expander::new),
        }
    }

    fn advance(&mut self, bytes: u64) {
        if let Some(expander) = &mut self.expander {
            expander.advance(bytes);
        }
    }

    fn truncated(&self, position: u64, missing: u64) -> Error {
        let got = self.stored_size - missing.min(self.stored_size);
        let message = if missing == 0 {
            format!("the archive is truncated: it ends at byte {position}, in the padding behind the content")
        } else {
            format!(
                "the archive is truncated, or goes on in another volume: it ends at byte {position}, after {got} of {} \
                 bytes of content",
                self.stored_size
            )
        };
        self.locate(Error::new(ErrorKind::Archive, message))
    }

    fn locate(&self, error: Error) -> Error {
        error.in_member(String::from_utf8_lossy(&self.path)).at(self.offset)
    }
}

/// The uncompressed bytes of an archive, in order.
struct TarStream {
    reader: ObjectReader,
    inflater: Option<Inflation>,
    /// Of the reader, behind what was read.
    fault: Option<Error>,
    /// The block that arrived last; empty while the next one is waited for.
    block: Bytes,
    /// What of it was not consumed.
    current: Bytes,
    /// Where `current` begins in the stream.
    position: u64,
    /// What came out of the inflater.
    inflated: u64,
    stats: Arc<Stats>,
}

impl TarStream {
    async fn open(
        mut reader: ObjectReader,
        compression: Option<Compression>,
        crew: &Crew,
        stats: Arc<Stats>,
    ) -> Result<Self> {
        let head = read_head(&mut reader).await?;
        let compression = compression.unwrap_or_else(|| detect(&head));
        if compression == Compression::None {
            let block = Bytes::clone(&head);
            return Ok(Self {
                reader,
                inflater: None,
                fault: None,
                block,
                current: head,
                position: 0,
                inflated: 0,
                stats,
            });
        }
        let mut inflater = Inflation::new(compression, BLOCK_BYTES, reader.allowance(), crew)?;
        inflater.push(head);
        let (block, current) = (Bytes::new(), Bytes::new());
        Ok(Self { reader, inflater: Some(inflater), fault: None, block, current, position: 0, inflated: 0, stats })
    }

    /// Makes `current` hold something, of `wanted` bytes that are wanted for sure; false at the end of the stream.
    async fn fill_with(&mut self, wanted: u64) -> Result<bool> {
        if self.current.is_empty() && self.inflater.is_none() {
            self.reader.want(wanted);
        }
        self.fill().await
    }

    /// Makes `current` hold something; false at the end of the stream.
    async fn fill(&mut self) -> Result<bool> {
        while self.current.is_empty() {
            self.block = Bytes::new();
            // A long run of skipped bytes must not keep the thread from its other tasks.
            tokio::task::consume_budget().await;
            let next = match &mut self.inflater {
                None => self.reader.next().await?,
                Some(inflater) => inflate(inflater, &mut self.reader, &mut self.fault, &self.stats).await?,
            };
            match next {
                Some(next) => {
                    self.inflated += if self.inflater.is_some() { next.len() as u64 } else { 0 };
                    self.block = Bytes::clone(&next);
                    self.current = next;
                }
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// At most `bytes` of what is there.
    fn take(&mut self, bytes: u64) -> Bytes {
        let count = usize::try_from(bytes).unwrap_or(usize::MAX).min(self.current.len());
        self.position += count as u64;
        self.current.split_to(count)
    }

    fn advance(&mut self, count: usize) {
        self.current.advance(count);
        self.position += count as u64;
    }

    /// Leaves out at most `bytes` of what is there; says how many there were.
    fn step_over(&mut self, bytes: u64) -> u64 {
        let count = usize::try_from(bytes).unwrap_or(usize::MAX).min(self.current.len());
        self.advance(count);
        count as u64
    }

    /// The next `bytes`, if they are there in one piece.
    fn view(&self, bytes: u64) -> Option<ContentView<'_>> {
        let length = usize::try_from(bytes).ok().filter(|length| *length <= self.current.len())?;
        let start = self.block.len() - self.current.len();
        let block_offset = self.position - start as u64;
        Some(ContentView { block: &self.block, block_offset, range: start..start + length })
    }

    /// The length of the stream, once its end was found: nothing that the parser or a skip has a say in.
    fn length(&self) -> u64 {
        match self.inflater {
            Some(_) => self.inflated,
            None => self.reader.size().unwrap_or_else(|| self.reader.position()),
        }
    }

    /// Bytes that were skipped but turned out not to be there, once `fill` has found the end.
    fn overshot(&self) -> u64 {
        if self.inflater.is_some() { 0 } else { self.position.saturating_sub(self.reader.position()) }
    }

    /// Leaves out the next `bytes`; says how many there were.
    async fn skip(&mut self, bytes: u64) -> Result<u64> {
        let mut left = bytes - self.step_over(bytes);
        if left > 0 && self.inflater.is_none() {
            // Whether the object reaches that far is known only when more is asked of it: see `overshot`.
            self.reader.skip(left);
            self.position += left;
            left = 0;
        }
        while left > 0 && self.fill().await? {
            left -= self.step_over(left);
        }
        Ok(bytes - left)
    }
}

/// The next block out of `inflater`, into which `reader` is read; `None` at the end. What befalls the reader is a `fault`
/// once all that came before it is out.
async fn inflate(
    inflater: &mut Inflation,
    reader: &mut ObjectReader,
    fault: &mut Option<Error>,
    stats: &Stats,
) -> Result<Option<Bytes>> {
    loop {
        if let Some(block) = inflater.next_block(stats)? {
            return Ok(Some(block));
        }
        if let Some(shortage) = inflater.shortage() {
            shortage.settle().await?;
        } else if inflater.wants_input() {
            if let Some(fault) = fault.take() {
                return Err(fault);
            }
            let input = tokio::select! {
                biased;
                () = inflater.wait(), if inflater.is_waiting() => continue,
                input = reader.next() => input,
            };
            match input {
                Ok(Some(input)) => inflater.push(input),
                Ok(None) => inflater.end(),
                Err(error) => {
                    inflater.catch_up()?;
                    *fault = Some(error);
                }
            }
        } else if inflater.is_waiting() {
            inflater.wait().await;
        } else {
            return Ok(None);
        }
    }
}

/// The first bytes of the object: a whole header block, unless the object is shorter.
async fn read_head(reader: &mut ObjectReader) -> Result<Bytes> {
    let mut head = Bytes::new();
    while head.len() < tar::BLOCK_LEN {
        let Some(piece) = reader.next().await? else { break };
        head = if head.is_empty() { piece } else { [head, piece].concat().into() };
    }
    Ok(head)
}

fn detect(head: &[u8]) -> Compression {
    match head.get(..tar::BLOCK_LEN) {
        Some(block) if tar::is_header(block) || tar::is_zero_block(block) => Compression::None,
        _ => Compression::detect(head),
    }
}
