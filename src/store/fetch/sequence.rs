//! An object in one go, from a server that does not serve ranges.
//!
//! One response is read into pieces that wait in a bounded queue; when it is full the server waits. Until the first byte
//! a failed request is repeated; after it nothing can be resumed, and a broken body is an error that says so.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::range::Object;
use super::{Piece, UNKNOWN_SIZE, describe, fault, len_of};
use crate::error::{Error, ErrorKind, Result};
use crate::locator::redacted;
use crate::memory::{Allowance, Reservation};
use crate::store::fault::describe_once;
use crate::store::retry::{Backoff, Pace};

/// Small chunks are gathered to pieces of this size.
const PIECE_BYTES: usize = 256 << 10;

/// A response under way. Dropping it ends the response.
pub(super) struct Sequence {
    pieces: mpsc::Receiver<Result<Piece>>,
    task: JoinHandle<()>,
    end: Option<u64>,
    /// Of the pieces that wait.
    _memory: Reservation,
}

impl Drop for Sequence {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sequence {
    pub(super) fn start(object: Arc<Object>, allowance: &Allowance) -> Self {
        let piece_bytes = u64::try_from(PIECE_BYTES).unwrap_or(u64::MAX);
        let (mut memory, mut waiting_bytes) = (allowance.reservation(), object.sizes().window_bytes);
        while waiting_bytes > piece_bytes && !memory.try_soft(waiting_bytes) {
            waiting_bytes /= 2;
        }
        let waiting_max = usize::try_from(waiting_bytes / piece_bytes).unwrap_or(usize::MAX);
        let (sender, pieces) = mpsc::channel(waiting_max.clamp(1, 1024));
        let task = object.spawn({
            let object = Arc::clone(&object);
            async move {
                let last = match read(&object, &sender).await {
                    Ok(size) => Ok(Piece::End { size }),
                    Err(error) => Err(error.in_archive(redacted(&object.target.url))),
                };
                // A reader that is gone needs no end.
                let _ = sender.send(last).await;
            }
        });
        Self { pieces, task, end: None, _memory: memory }
    }

    pub(super) async fn next(&mut self) -> Result<Piece> {
        if let Some(size) = self.end {
            return Ok(Piece::End { size });
        }
        match self.pieces.recv().await {
            Some(Ok(Piece::End { size })) => {
                self.end = Some(size);
                Ok(Piece::End { size })
            }
            Some(piece) => piece,
            None => Err(Error::new(ErrorKind::Unreachable, "the task that reads the object ended without a result")),
        }
    }
}

/// Reads all of the object, and returns its length.
async fn read(object: &Object, sender: &mpsc::Sender<Result<Piece>>) -> Result<u64> {
    let url = &object.target.url;
    let mut backoff = Backoff::new(&object.settings.retry, url);
    let mut chunks = loop {
        let error = match object.get(None).await {
            Ok(result) => break result.into_stream(),
            Err(error) => error,
        };
        let wait = backoff.again(error).map_err(|failure| describe(&failure, url))?;
        tokio::time::sleep(wait).await;
        object.stats.retries.add(1);
    };
    let mut pace = Pace::new(object.settings.retry.stall_timeout_ms);
    let (mut start, mut piece) = (0, BytesMut::new());
    loop {
        let chunk = pace.next(&mut chunks).await;
        let chunk = chunk.map_err(|error| broken(error, start + len_of(&piece), url))?;
        if let Some(chunk) = &chunk {
            object.stats.bytes_fetched.add(len_of(chunk));
            piece.extend_from_slice(chunk);
        }
        if !piece.is_empty() && (chunk.is_none() || piece.len() >= PIECE_BYTES) {
            let bytes = piece.split().freeze();
            let end = start + len_of(&bytes);
            if sender.send(Ok(Piece::Bytes { start, bytes })).await.is_err() {
                return Ok(end);
            }
            start = end;
            // The consumer may have been slow, not the server.
            pace.restart();
        }
        if chunk.is_none() {
            break;
        }
    }
    match object.size().filter(|size| *size != UNKNOWN_SIZE && *size != start) {
        Some(size) => {
            let message = format!("the body has {start} bytes in place of {size}");
            Err(broken(fault(std::io::ErrorKind::UnexpectedEof, message), start, url))
        }
        None => Ok(start),
    }
}

fn broken(error: object_store::Error, at: u64, url: &str) -> Error {
    let reason = describe_once(&error, url);
    let message = format!(
        "{} after {at} bytes, and can't be resumed, since the server does not serve ranges: download the archive first",
        reason.message()
    );
    Error::new(reason.kind(), message)
}
