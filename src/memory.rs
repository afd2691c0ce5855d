//! Memory that a scan holds, taken from a pool that others share: an [`Allowance`] for each partition, and a
//! [`Reservation`] for each thing that is held.
//!
//! What can shrink (reading ahead, the batch under construction) asks with [`Reservation::try_soft`] and makes do with
//! less when it is refused; half of the pool is kept from it. What can't (a content cell, a line, the window of a
//! decompressor) reports a [`Shortage`], for which its driver waits: others give back what they hold when their batches
//! have been consumed. Nobody waits longer than nothing moves, since consumers may poll partitions in any order.
//!
//! What a newcomer must know: each allowance owns [`ALLOWANCE_BYTES_MIN`] from its beginning to its end, used or not, so
//! that an operator which takes all that is left can't starve the scan that feeds it. A batch that leaves is accounted
//! by whoever claims its buffers; what was read is [handed over](Memory::hand_over) to them. That may overdraw the pool, by
//! one batch an allowance: see [`Allowance::settle`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;

pub(crate) use self::spare::Spare;
use crate::error::{Error, ErrorKind, Result};

mod spare;

/// What an allowance has for itself: two small ranges, a block of each decompressor, and a batch of a few hundred KiB.
pub(crate) const ALLOWANCE_BYTES_MIN: u64 = 2 << 20;

/// Part of the pool that the allowances' own memory may take where there are many partitions; more of them wait.
const ALLOWANCES_SHARE: u64 = 4;

/// Part of the pool that may be in use before those who can shrink are refused.
const SOFT_SHARE: u64 = 2;

/// How long the pool has to stand still until a wait is given up.
const STALL_MILLIS_MAX: u64 = 10_000;

/// How long a wait lasts at most, however much others move.
const WAIT_MILLIS_MAX: u64 = 600_000;

/// How often a wait asks again.
const PAUSE_MILLIS: u64 = 5;

/// Smaller changes of what a holder has aren't worth asking the pool.
pub(crate) const STEP_BYTES: u64 = 64 << 10;

/// Where memory comes from. The engine has one; it knows nothing of archives, nor we of it.
pub(crate) trait MemoryPool: Send + Sync {
    /// Takes `bytes` if there are as many; all or nothing.
    fn try_grow(&self, bytes: u64) -> bool;

    /// Takes `bytes` that are held already, whether there are as many or not.
    fn grow(&self, bytes: u64);

    /// Gives `bytes` back.
    fn shrink(&self, bytes: u64);

    /// Bytes that all users together may take, where that is known.
    fn limit(&self) -> Option<u64>;

    /// Bytes that all users together have taken.
    fn reserved(&self) -> u64;

    /// Ends after a moment, when asking again may make sense.
    fn pause(&self, millis: u64) -> BoxFuture<'static, ()>;
}

/// The pool of a scan; none where memory has no limit, and then nothing is counted.
#[derive(Clone, Default)]
pub(crate) struct Memory(Option<Arc<Shared>>);

struct Shared {
    pool: Box<dyn MemoryPool>,
    /// Partitions that the scan has.
    partitions: u64,
    /// How many allowances have their own memory.
    allowances: Mutex<u64>,
    /// What [`accounted`] bytes take, by their address.
    accounted: Mutex<BTreeMap<usize, Accounted>>,
}

/// Memory that is tied to bytes.
struct Accounted {
    length: usize,
    reservation: Reservation,
}

impl Memory {
    /// What a scan of so many partitions takes from `pool`.
    pub(crate) fn of(pool: impl MemoryPool + 'static, partitions: usize) -> Self {
        let shared = Shared {
            pool: Box::new(pool),
            partitions: partitions.max(1) as u64,
            allowances: Mutex::default(),
            accounted: Mutex::default(),
        };
        Self(Some(Arc::new(shared)))
    }

    /// Has somebody else account the `length` bytes at `address`: calls `account`, and gives back what was taken for
    /// them. Where they are a smaller part of [`accounted`] bytes, those stay accounted as they are, and nobody else has
    /// to.
    pub(crate) fn hand_over(&self, address: usize, length: usize, account: impl FnOnce()) {
        let Some(shared) = &self.0 else { return account() };
        let mut accounted = lock(&shared.accounted);
        let within = accounted.range(..=address).next_back().filter(|(start, held)| address - **start < held.length);
        let (start, is_part) = match within {
            Some((start, held)) => (*start, (length as u64) < held.reservation.bytes / 2),
            None => (address, false),
        };
        if is_part {
            return;
        }
        let held = accounted.remove(&start);
        drop(accounted);
        account();
        drop(held);
    }

    /// Bytes that the pool has, where it says so.
    fn limit(&self) -> Option<u64> {
        self.0.as_ref()?.pool.limit()
    }
}

impl Shared {
    /// How many allowances a pool of `limit` bytes lets have their own memory at once.
    fn allowances_max(limit: u64) -> u64 {
        (limit / ALLOWANCES_SHARE / ALLOWANCE_BYTES_MIN).max(1)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Memory").field(&self.limit()).finish()
    }
}

/// What one partition of a scan has taken. Clones are the same allowance.
#[derive(Clone, Default)]
pub(crate) struct Allowance(Option<Arc<Inner>>);

impl fmt::Debug for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = self.0.as_ref().map(|inner| lock(&inner.balance).used);
        f.debug_tuple("Allowance").field(&used).finish()
    }
}

struct Inner {
    shared: Arc<Shared>,
    balance: Mutex<Balance>,
}

#[derive(Default)]
struct Balance {
    /// Taken for the allowance itself, used or not.
    own: u64,
    used: u64,
}

impl Balance {
    /// What the pool has been asked for.
    fn taken(&self) -> u64 {
        self.own.max(self.used)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let balance = lock(&self.balance);
        debug_assert_eq!(balance.used, 0, "a reservation keeps its allowance");
        if balance.own > 0 {
            self.shared.pool.shrink(balance.own);
            *lock(&self.shared.allowances) -= 1;
        }
    }
}

impl Allowance {
    pub(crate) fn new(memory: &Memory) -> Self {
        let inner = |shared: &Arc<Shared>| Inner { shared: Arc::clone(shared), balance: Mutex::default() };
        Self(memory.0.as_ref().map(inner).map(Arc::new))
    }

    /// An allowance without a limit, which counts nothing.
    pub(crate) fn unlimited() -> Self {
        Self::default()
    }

    /// What each partition may read ahead or gather, all together no more than one `parts`-th of the pool: at least
    /// `min`, at most `max`.
    pub(crate) fn share(&self, parts: u64, min: u64, max: u64) -> u64 {
        let Some(shared) = self.0.as_ref().map(|inner| &inner.shared) else { return max };
        let share = |limit: u64| limit / parts / shared.partitions.min(Shared::allowances_max(limit));
        shared.pool.limit().map_or(max, |limit| share(limit).clamp(min.min(max), max))
    }

    /// Whether anything is counted.
    pub(crate) fn is_limited(&self) -> bool {
        self.0.is_some()
    }

    /// The limit, where there is one and `bytes` are more.
    pub(crate) fn limit_below(&self, bytes: u64) -> Option<u64> {
        self.0.as_ref()?.shared.pool.limit().filter(|limit| *limit < bytes)
    }

    /// A reservation of nothing yet.
    pub(crate) fn reservation(&self) -> Reservation {
        Reservation { allowance: self.clone(), bytes: 0 }
    }

    /// Waits until this allowance has its own memory, and until what was handed on fits the pool again.
    ///
    /// # Errors
    /// Nothing has moved for a while, and there is no room.
    pub(crate) async fn settle(&self) -> Result<()> {
        let Some(inner) = &self.0 else { return Ok(()) };
        let pool = &inner.shared.pool;
        let is_open = lock(&inner.balance).own > 0;
        if !is_open {
            let is_hopeless = pool.limit().is_some_and(|limit| limit < ALLOWANCE_BYTES_MIN);
            let mut turn = Wait::new();
            while !inner.open(turn.is_over()) {
                if is_hopeless || turn.is_over() {
                    return Err(inner.refused("reading an archive", ALLOWANCE_BYTES_MIN));
                }
                turn.pause(pool.as_ref()).await;
            }
        }
        let mut turn = Wait::new();
        while pool.limit().is_some_and(|limit| pool.reserved() > limit) {
            if turn.is_over() {
                return Err(inner.refused("what the query holds of earlier rows", pool.reserved()));
            }
            turn.pause(pool.as_ref()).await;
        }
        Ok(())
    }

    /// A piece of `bytes` zeros that is accounted until its last slice is gone; fewer, but at least `bytes_min`, where
    /// there is not as much memory.
    pub(crate) fn zeroed(&self, bytes: usize, bytes_min: usize) -> Piece {
        let mut reservation = self.reservation();
        let mut bytes = bytes;
        while bytes > bytes_min && !reservation.try_soft(bytes as u64) {
            bytes = (bytes / 2).max(bytes_min);
        }
        reservation.force(bytes as u64);
        Piece { buffer: BytesMut::zeroed(bytes), reservation }
    }
}

impl Inner {
    /// Takes the allowance's own memory. Many allowances have to take turns, unless `anyway`.
    fn open(&self, anyway: bool) -> bool {
        let mut allowances = lock(&self.shared.allowances);
        let is_turn =
            anyway || self.shared.pool.limit().is_none_or(|limit| *allowances < Shared::allowances_max(limit));
        let mut balance = lock(&self.balance);
        let missing = ALLOWANCE_BYTES_MIN.saturating_sub(balance.used);
        let opened = is_turn && (missing == 0 || self.shared.pool.try_grow(missing));
        if opened {
            balance.own = ALLOWANCE_BYTES_MIN;
            *allowances += 1;
        }
        opened
    }

    /// Adds `bytes` to what is used; `take` asks the pool for what the allowance's own memory does not cover.
    fn add(&self, bytes: u64, take: impl FnOnce(&dyn MemoryPool, u64) -> bool) -> bool {
        let mut balance = lock(&self.balance);
        let missing = (balance.used + bytes).saturating_sub(balance.taken());
        let added = missing == 0 || take(self.shared.pool.as_ref(), missing);
        if added {
            balance.used += bytes;
        }
        added
    }

    fn subtract(&self, bytes: u64) {
        let mut balance = lock(&self.balance);
        let before = balance.taken();
        balance.used -= bytes;
        let spare = before - balance.taken();
        if spare > 0 {
            self.shared.pool.shrink(spare);
        }
    }

    fn refused(&self, what: &str, bytes: u64) -> Error {
        let pool = &self.shared.pool;
        let limit = match pool.limit() {
            Some(limit) => {
                let free = limit.saturating_sub(pool.reserved());
                format!("the memory limit of {limit} bytes, of which {free} are free")
            }
            None => "the memory pool".to_owned(),
        };
        let message = format!(
            "{what} needs {bytes} bytes, which do not fit {limit}: raise --memory-limit (embedded: the session's memory pool)"
        );
        Error::new(ErrorKind::Limit, message)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Memory that one holder has taken; given back when it is dropped.
#[derive(Default)]
pub(crate) struct Reservation {
    allowance: Allowance,
    bytes: u64,
}

impl Reservation {
    /// Whether it has `bytes`; always, where there is no limit.
    pub(crate) fn has(&self, bytes: u64) -> bool {
        self.allowance.0.is_none() || self.bytes >= bytes
    }

    /// Grows to `bytes` if there is plenty. True where it has as many now.
    pub(crate) fn try_soft(&mut self, bytes: u64) -> bool {
        self.grow_to(bytes, |pool, missing| {
            let is_scarce = |limit: u64| pool.reserved().saturating_add(missing) > limit / SOFT_SHARE;
            !pool.limit().is_some_and(is_scarce) && pool.try_grow(missing)
        })
    }

    /// Grows to `bytes` if there are as many. True where it has as many now.
    pub(crate) fn try_hard(&mut self, bytes: u64) -> bool {
        self.grow_to(bytes, |pool, missing| pool.try_grow(missing))
    }

    /// Grows to `bytes` that are held already, or whose number is small and without which nothing can go on.
    pub(crate) fn force(&mut self, bytes: u64) {
        self.grow_to(bytes, |pool, missing| {
            pool.grow(missing);
            true
        });
    }

    /// Says that `bytes` are held now: gives back what is more, if that is worth it, and takes what is missing.
    pub(crate) fn settle_at(&mut self, bytes: u64) {
        self.force(bytes);
        self.shrink_to(bytes);
    }

    /// Gives back what is more than `bytes`, if that is worth it.
    pub(crate) fn shrink_to(&mut self, bytes: u64) {
        if let Some(inner) = &self.allowance.0
            && let spare = self.bytes.saturating_sub(bytes)
            && (spare >= STEP_BYTES || bytes == 0)
        {
            inner.subtract(spare);
            self.bytes -= spare;
        }
    }

    fn grow_to(&mut self, bytes: u64, take: impl FnOnce(&dyn MemoryPool, u64) -> bool) -> bool {
        let missing = bytes.saturating_sub(self.bytes);
        let grown = missing == 0 || self.allowance.0.as_ref().is_none_or(|inner| inner.add(missing, take));
        if grown && self.allowance.0.is_some() {
            self.bytes += missing;
        }
        grown
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

/// A buffer and the memory that it takes.
pub(crate) struct Piece {
    pub(crate) buffer: BytesMut,
    reservation: Reservation,
}

impl Piece {
    /// Its first `length` bytes, accounted until the last slice of them is gone.
    pub(crate) fn freeze(mut self, length: usize) -> Bytes {
        self.buffer.truncate(length);
        accounted(self.buffer.freeze(), self.reservation)
    }
}

/// `bytes`, with the reservation of their memory tied to them, unless it is [handed over](Memory::hand_over).
///
/// An address tells them from others as long as they live, since they were allocated for whoever read them. Only a store in
/// memory hands out what it holds itself, the same bytes to everybody who asks: those count at most once, until the first
/// of those readers is done with them, and the memory is the store's anyway.
pub(crate) fn accounted(bytes: Bytes, reservation: Reservation) -> Bytes {
    struct Owned {
        bytes: Bytes,
        shared: Arc<Shared>,
    }

    impl AsRef<[u8]> for Owned {
        fn as_ref(&self) -> &[u8] {
            &self.bytes
        }
    }

    impl Drop for Owned {
        fn drop(&mut self) {
            let held = lock(&self.shared.accounted).remove(&self.bytes.as_ptr().addr());
            drop(held);
        }
    }

    // Bytes of which there are none have no address of their own.
    let shared = reservation.allowance.0.as_ref().filter(|_| !bytes.is_empty()).map(|inner| Arc::clone(&inner.shared));
    let Some(shared) = shared else { return bytes };
    let held = Accounted { length: bytes.len(), reservation };
    lock(&shared.accounted).insert(bytes.as_ptr().addr(), held);
    Bytes::from_owner(Owned { bytes, shared })
}

/// Memory that has to be had before work goes on.
pub(crate) struct Shortage<'a> {
    /// Who has too little.
    pub(crate) reservation: &'a mut Reservation,
    /// What it has to have.
    pub(crate) bytes: u64,
    /// What for, as an error says it.
    pub(crate) what: String,
}

impl Shortage<'_> {
    /// Waits for others to give back enough.
    ///
    /// # Errors
    /// It is more than there is at all, or nothing has moved for a while.
    pub(crate) async fn settle(self) -> Result<()> {
        let Some(inner) = self.reservation.allowance.0.clone() else { return Ok(()) };
        let pool = inner.shared.pool.as_ref();
        let is_hopeless = pool.limit().is_some_and(|limit| self.bytes > limit);
        let mut turn = Wait::new();
        while !self.reservation.try_hard(self.bytes) {
            if is_hopeless || turn.is_over() {
                return Err(inner.refused(&self.what, self.bytes));
            }
            turn.pause(pool).await;
        }
        Ok(())
    }
}

/// A wait for others to give something back.
struct Wait {
    waited_millis: u64,
    still_millis: u64,
    reserved: u64,
}

impl Wait {
    fn new() -> Self {
        Self { waited_millis: 0, still_millis: 0, reserved: 0 }
    }

    fn is_over(&self) -> bool {
        self.still_millis >= STALL_MILLIS_MAX || self.waited_millis >= WAIT_MILLIS_MAX
    }

    async fn pause(&mut self, pool: &dyn MemoryPool) {
        let reserved = pool.reserved();
        if reserved != self.reserved {
            (self.still_millis, self.reserved) = (0, reserved);
        }
        pool.pause(PAUSE_MILLIS).await;
        self.still_millis += PAUSE_MILLIS;
        self.waited_millis += PAUSE_MILLIS;
    }
}

#[cfg(test)]
pub(crate) mod tests;
