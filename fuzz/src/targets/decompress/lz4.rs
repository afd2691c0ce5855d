//! LZ4 frames put together from the input, with right checksums: what they hold is told by the plainest decoder, one
//! that keeps everything.

use twox_hash::XxHash32;

use super::{Chunks, Compression, End, MEMORY_BYTES_MAX, inflate};

/// How far back a block may reach.
const HISTORY_LEN: usize = 64 << 10;

/// One frame, and what is in it; `None` if a block of it is damaged.
struct Frame {
    stream: Vec<u8>,
    plain: Option<Vec<u8>>,
}

pub(super) fn check(data: &[u8]) {
    let Some(Frame { stream, plain }) = frame(data) else { return };
    let mut chunks = Chunks::of_tail(data);
    let ours = inflate(Compression::Lz4, 2 * MEMORY_BYTES_MAX[2], &stream, &mut chunks.another(), &mut chunks);
    match plain {
        Some(plain) => assert!(ours.end == End::Whole && ours.bytes == plain, "a valid frame: {:?}", ours.end),
        None => assert!(matches!(ours.end, End::Failed(..)), "a damaged block: {:?}", ours.end),
    }
}

fn frame(data: &[u8]) -> Option<Frame> {
    let (&[flags, size], mut rest) = data.split_first_chunk()?;
    let is_linked = flags & 1 != 0;
    let has_block_checksums = flags & 2 != 0;
    let has_content_checksum = flags & 4 != 0;
    // 64 KiB or 256 KiB; the others are the same with more zeros to set.
    let block_len_max = if size & 1 == 0 { 64 << 10 } else { 256 << 10 };
    let descriptor = [
        0x40 | u8::from(!is_linked) << 5 | u8::from(has_block_checksums) << 4 | u8::from(has_content_checksum) << 2,
        0x40 | (size & 1) << 4,
    ];
    let mut stream = vec![0x04, 0x22, 0x4d, 0x18];
    stream.extend(descriptor);
    stream.push((XxHash32::oneshot(0, &descriptor) >> 8) as u8);
    let mut plain = Some(Vec::new());
    // What decodes to more than is looked at says nothing.
    for _ in 0..8 {
        let Some((&[len, kind], behind)) = rest.split_first_chunk() else { break };
        let (block, behind) = behind.split_at(behind.len().min(usize::from(len)));
        rest = behind;
        let is_plain = kind & 1 != 0;
        if block.is_empty() {
            // A length of 0 ends the frame.
            continue;
        }
        stream.extend((block.len() as u32 | u32::from(is_plain) << 31).to_le_bytes());
        stream.extend(block);
        if has_block_checksums {
            stream.extend(XxHash32::oneshot(0, block).to_le_bytes());
        }
        plain = plain.and_then(|plain| append(plain, block, is_plain, is_linked, block_len_max));
    }
    stream.extend([0; 4]);
    if has_content_checksum {
        stream.extend(XxHash32::oneshot(0, plain.as_deref().unwrap_or_default()).to_le_bytes());
    }
    Some(Frame { stream, plain })
}

fn append(mut plain: Vec<u8>, block: &[u8], is_plain: bool, is_linked: bool, len_max: usize) -> Option<Vec<u8>> {
    if is_plain {
        plain.extend(block);
        return Some(plain);
    }
    let history = if is_linked { &plain[plain.len().saturating_sub(HISTORY_LEN)..] } else { &[] };
    let decoded = lz4_flex::block::decompress_with_dict(block, len_max, history).ok()?;
    plain.extend(decoded);
    Some(plain)
}
