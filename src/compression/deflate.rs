//! Deflate (RFC 1951), decoded in pieces of any size.
//!
//! Use [`Inflate::inflate`] again and again, with what has come and with room for what comes out, until it
//! [is done](Inflate::is_done).
//!
//! What a newcomer must know: symbols are decoded in two ways. Where there is plenty of input and of room, [`run`] looks
//! several bits up at once and checks nothing twice; near the end of a piece, and for all that is wrong, [`Inflate::symbol`] goes
//! bit by bit, and forgets what it did where the input ends within a symbol. Both give the same, wherever pieces end.
//!
//! It is here for what it saves: of the libraries that take pieces and build with nothing but Rust, zlib-rs is the fastest. A million
//! rows of flights' positions, 165 MB, take it 0.28 s of a core with its checksum, and this 0.18 s; a C compiler's `libdeflate` 0.26 s,
//! assembler's `igzip` 0.17 s. Nothing else in an ingestion from gzip takes as long.

mod bits;
mod code;
mod run;
mod table;
mod window;

use self::bits::{Bits, Input};
use self::code::Code;
use self::table::{DISTANCE_BASES, DISTANCE_EXTRAS, Distances, LENGTH_BASES, LENGTH_EXTRAS, Literals};
use self::window::Window;

/// The most that a match copies.
const MATCH_BYTES_MAX: usize = 258;

/// The symbol that ends a block. Those below it are literals, those above it lengths.
const END_OF_BLOCK: u16 = 256;

/// Codes of lengths and of distances that there may be (RFC 1951 3.2.7; two of each kind are never used).
const LITERAL_CODES_MAX: usize = 286;
const DISTANCE_CODES_MAX: usize = 30;
const LENGTH_CODES: usize = 19;

/// Decodes one deflate stream.
pub(super) struct Inflate {
    bits: Bits,
    part: Part,
    is_last_block: bool,
    lengths: CodeLengths,
    literals: Box<Literals>,
    distances: Box<Distances>,
    window: Window,
    total_out: u64,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    BlockHeader,
    StoredLength,
    /// So many bytes as they are.
    Stored(usize),
    /// How many codes a dynamic block has.
    CodeCounts,
    /// The lengths of the code that says the lengths of the others, behind so many of them.
    LengthsOfLengths(usize),
    /// The lengths of the codes, behind so many of them.
    Lengths(usize),
    Symbols,
    /// The rest of a match.
    Match {
        length: usize,
        distance: usize,
    },
    End,
}

/// What one call of [`Inflate::inflate`] did.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) consumed: usize,
    pub(super) written: usize,
    /// What can't be read follows what was written.
    pub(super) fault: Option<Fault>,
}

/// Why a stream can't be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) what: &'static str,
    /// Bytes that were consumed of what can't be read, in this call or before.
    pub(super) bytes: u64,
}

/// Whether decoding goes on, or waits for input or room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Waits,
}

type Result<T> = std::result::Result<T, &'static str>;

/// Where decoded bytes go.
struct Output<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Output<'_> {
    fn room(&self) -> usize {
        self.bytes.len() - self.at
    }
}

impl Inflate {
    pub(super) fn new() -> Self {
        Self {
            bits: Bits::default(),
            part: Part::BlockHeader,
            is_last_block: false,
            lengths: CodeLengths::default(),
            literals: Box::new(Literals::new()),
            distances: Box::new(Distances::new()),
            window: Window::new(),
            total_out: 0,
        }
    }

    /// Makes it ready for another stream.
    pub(super) fn reset(&mut self) {
        self.bits = Bits::default();
        self.part = Part::BlockHeader;
        self.window.clear();
        self.total_out = 0;
    }

    /// Whether the stream has ended. Nothing behind it is consumed.
    pub(super) fn is_done(&self) -> bool {
        self.part == Part::End
    }

    /// Bytes that came out so far.
    pub(super) fn total_out(&self) -> u64 {
        self.total_out
    }

    /// Decodes until `input` is used up, `output` is full, the stream ends, or something is wrong with it.
    pub(super) fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        let (mut input, mut output) = (Input { bytes: input, at: 0 }, Output { bytes: output, at: 0 });
        // Ends: each part takes input, fills output, or is followed by one that does.
        let fault = loop {
            match self.next_part(&mut input, &mut output) {
                Ok(Flow::On) => {}
                Ok(Flow::Waits) => break None,
                Err(what) => break Some(Fault { what, bytes: self.bits.bytes() }),
            }
        };
        self.bits.forget();
        self.window.push(&output.bytes[..output.at]);
        self.total_out += output.at as u64;
        Step { consumed: input.at, written: output.at, fault }
    }

    fn next_part(&mut self, input: &mut Input<'_>, output: &mut Output<'_>) -> Result<Flow> {
        match self.part {
            Part::BlockHeader => self.block_header(input),
            Part::StoredLength => self.stored_length(input),
            Part::Stored(length) => Ok(self.stored(length, input, output)),
            Part::CodeCounts => self.code_counts(input),
            Part::LengthsOfLengths(read) => self.lengths_of_lengths(read, input),
            Part::Lengths(read) => self.code_lengths(read, input),
            Part::Symbols => {
                self.run(input, output);
                if self.part == Part::Symbols { self.symbol(input, output) } else { Ok(Flow::On) }
            }
            Part::Match { length, distance } => Ok(self.copy(length, distance, output)),
            Part::End => Ok(Flow::Waits),
        }
    }

    fn block_header(&mut self, input: &mut Input<'_>) -> Result<Flow> {
        let Some(header) = self.bits.take(3, input) else { return Ok(Flow::Waits) };
        let part = match header >> 1 {
            0 => Part::StoredLength,
            1 => {
                self.literals.set_fixed();
                self.distances.set_fixed();
                Part::Symbols
            }
            2 => Part::CodeCounts,
            _ => return Err("unknown type of block"),
        };
        self.is_last_block = header & 1 == 1;
        self.bits.commit();
        if part == Part::StoredLength {
            self.bits.align();
        }
        self.part = part;
        Ok(Flow::On)
    }

    fn stored_length(&mut self, input: &mut Input<'_>) -> Result<Flow> {
        let Some(both) = self.bits.take(32, input) else { return Ok(Flow::Waits) };
        let length = both & 0xffff;
        if length != !both >> 16 {
            return Err("the length of a stored block and its complement don't fit");
        }
        self.bits.commit();
        self.part = Part::Stored(length as usize);
        Ok(Flow::On)
    }

    fn stored(&mut self, length: usize, input: &mut Input<'_>, output: &mut Output<'_>) -> Flow {
        if length == 0 {
            self.end_block();
            return Flow::On;
        }
        let fits = length.min(output.room());
        let copied = super::copy_some(input.rest(), &mut output.bytes[output.at..][..fits]);
        input.at += copied;
        output.at += copied;
        self.part = Part::Stored(length - copied);
        if copied == 0 { Flow::Waits } else { Flow::On }
    }

    fn end_block(&mut self) {
        self.part = if self.is_last_block { Part::End } else { Part::BlockHeader };
    }

    fn code_counts(&mut self, input: &mut Input<'_>) -> Result<Flow> {
        let Some(counts) = self.bits.take(14, input) else { return Ok(Flow::Waits) };
        let (literals, distances) = (257 + (counts & 31) as usize, 1 + (counts >> 5 & 31) as usize);
        if literals > LITERAL_CODES_MAX || distances > DISTANCE_CODES_MAX {
            return Err("too many codes of lengths or distances");
        }
        self.bits.commit();
        let of_lengths = 4 + (counts >> 10) as usize;
        self.lengths = CodeLengths { literals, distances, of_lengths, ..CodeLengths::default() };
        self.part = Part::LengthsOfLengths(0);
        Ok(Flow::On)
    }

    fn lengths_of_lengths(&mut self, mut read: usize, input: &mut Input<'_>) -> Result<Flow> {
        /// RFC 1951 3.2.7: the likeliest first, so that the others can be left out.
        const ORDER: [usize; LENGTH_CODES] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
        while read < self.lengths.of_lengths {
            let Some(length) = self.bits.take(3, input) else {
                self.part = Part::LengthsOfLengths(read);
                return Ok(Flow::Waits);
            };
            self.bits.commit();
            self.lengths.first[ORDER[read]] = (length & 7) as u8;
            read += 1;
        }
        self.lengths.code = Code::new(&self.lengths.first).ok_or("the lengths of lengths make no code")?;
        self.part = Part::Lengths(0);
        Ok(Flow::On)
    }

    fn code_lengths(&mut self, mut read: usize, input: &mut Input<'_>) -> Result<Flow> {
        let total = self.lengths.literals + self.lengths.distances;
        while read < total {
            let Some(run) = self.lengths.next_run(read, &mut self.bits, input)? else {
                self.part = Part::Lengths(read);
                return Ok(Flow::Waits);
            };
            let end = read + run.times;
            if end > total {
                return Err("more lengths than codes");
            }
            self.bits.commit();
            self.lengths.all[read..end].fill(run.length);
            read = end;
        }
        let (literals, distances) = self.lengths.all[..total].split_at(self.lengths.literals);
        if literals[usize::from(END_OF_BLOCK)] == 0 {
            return Err("no code ends the block");
        }
        self.literals.set(Code::new_or_single(literals).ok_or("the lengths of literals make no code")?);
        self.distances.set(Code::new_or_single(distances).ok_or("the lengths of distances make no code")?);
        self.part = Part::Symbols;
        Ok(Flow::On)
    }

    /// One symbol with all that belongs to it, bit by bit.
    fn symbol(&mut self, input: &mut Input<'_>, output: &mut Output<'_>) -> Result<Flow> {
        if output.room() == 0 {
            return Ok(Flow::Waits);
        }
        let Some(symbol) = self.literals.code.decode(&mut self.bits, input)? else { return Ok(Flow::Waits) };
        if let Ok(literal) = u8::try_from(symbol) {
            output.bytes[output.at] = literal;
            output.at += 1;
        } else if symbol == END_OF_BLOCK {
            self.end_block();
        } else {
            let Some((length, distance)) = self.match_of(symbol, input)? else { return Ok(Flow::Waits) };
            if distance > output.at + self.window.len() {
                return Err("a match begins before the stream");
            }
            self.part = Part::Match { length, distance };
        }
        self.bits.commit();
        Ok(Flow::On)
    }

    /// The length and the distance of the match that `symbol` begins.
    fn match_of(&mut self, symbol: u16, input: &mut Input<'_>) -> Result<Option<(usize, usize)>> {
        let index = usize::from(symbol - END_OF_BLOCK - 1);
        let base = LENGTH_BASES.get(index).ok_or("unknown code of a length")?;
        let Some(extra) = self.bits.take(LENGTH_EXTRAS[index], input) else { return Ok(None) };
        let length = usize::from(*base) + extra as usize;
        let Some(symbol) = self.distances.code.decode(&mut self.bits, input)? else { return Ok(None) };
        let index = usize::from(symbol);
        let base = DISTANCE_BASES.get(index).ok_or("unknown code of a distance")?;
        let Some(extra) = self.bits.take(DISTANCE_EXTRAS[index], input) else { return Ok(None) };
        Ok(Some((length, usize::from(*base) + extra as usize)))
    }

    /// As much of a match as there is room for.
    fn copy(&mut self, length: usize, distance: usize, output: &mut Output<'_>) -> Flow {
        let fits = length.min(output.room());
        if fits == 0 {
            return Flow::Waits;
        }
        self.window.copy_match(output.bytes, output.at, distance, fits);
        output.at += fits;
        self.part = if fits < length { Part::Match { length: length - fits, distance } } else { Part::Symbols };
        Flow::On
    }
}

/// Appends what a whole stream holds to `out`, and says how much; no more than `bytes_max`, whatever comes behind that.
///
/// # Errors
/// What can't be read, or where it is cut.
pub(crate) fn inflate(stream: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Result<usize> {
    /// What is made room for at a time.
    const ROOM_BYTES: usize = 256 << 10;
    let (mut inflate, mut rest, begin) = (Inflate::new(), stream, out.len());
    while out.len() - begin < bytes_max {
        let end = out.len();
        out.resize(end + ROOM_BYTES.min(bytes_max - (end - begin)), 0);
        let step = inflate.inflate(rest, &mut out[end..]);
        out.truncate(end + step.written);
        rest = &rest[step.consumed..];
        match step.fault {
            Some(fault) => return Err(fault.what),
            None if inflate.is_done() => break,
            None if step.written == 0 => return Err("the stream is cut"),
            None => {}
        }
    }
    Ok(out.len() - begin)
}

/// The lengths of the codes of a dynamic block, while they come in.
struct CodeLengths {
    literals: usize,
    distances: usize,
    of_lengths: usize,
    /// Of the code in which the others come.
    first: [u8; LENGTH_CODES],
    code: Code<LENGTH_CODES>,
    all: [u8; LITERAL_CODES_MAX + DISTANCE_CODES_MAX],
}

impl Default for CodeLengths {
    fn default() -> Self {
        Self {
            literals: 0,
            distances: 0,
            of_lengths: 0,
            first: [0; LENGTH_CODES],
            code: Code::EMPTY,
            all: [0; LITERAL_CODES_MAX + DISTANCE_CODES_MAX],
        }
    }
}

/// One length, so many times.
struct Run {
    length: u8,
    times: usize,
}

impl CodeLengths {
    /// What comes behind `read` lengths; nothing where the input ends.
    fn next_run(&self, read: usize, bits: &mut Bits, input: &mut Input<'_>) -> Result<Option<Run>> {
        let Some(symbol) = self.code.decode(bits, input)? else { return Ok(None) };
        let (length, times_min, extra) = match symbol {
            16 => (read.checked_sub(1).map(|last| self.all[last]).ok_or("no length to repeat")?, 3, 2),
            17 => (0, 3, 3),
            18 => (0, 11, 7),
            length => ((length & 15) as u8, 1, 0),
        };
        let extra = bits.take(extra, input);
        Ok(extra.map(|extra| Run { length, times: times_min + extra as usize }))
    }
}

#[cfg(test)]
mod tests;
