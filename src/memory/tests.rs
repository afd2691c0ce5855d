use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// A pool that counts, and whose time passes only where somebody waits.
#[derive(Clone)]
pub(crate) struct FakePool {
    limit: u64,
    reserved: Arc<AtomicU64>,
    peak: Arc<AtomicU64>,
    paused_millis: Arc<AtomicU64>,
}

impl FakePool {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, reserved: Arc::default(), peak: Arc::default(), paused_millis: Arc::default() }
    }

    pub(crate) fn memory(&self) -> Memory {
        Memory::of(self.clone(), 1)
    }

    /// The most that was taken at once.
    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    fn paused_millis(&self) -> u64 {
        self.paused_millis.load(Ordering::Relaxed)
    }
}

impl MemoryPool for FakePool {
    fn try_grow(&self, bytes: u64) -> bool {
        let fits = self.reserved() + bytes <= self.limit;
        if fits {
            self.grow(bytes);
        }
        fits
    }

    fn grow(&self, bytes: u64) {
        let reserved = self.reserved.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(reserved, Ordering::Relaxed);
    }

    fn shrink(&self, bytes: u64) {
        let before = self.reserved.fetch_sub(bytes, Ordering::Relaxed);
        assert!(before >= bytes, "{bytes} bytes come back, and {before} were taken");
    }

    fn limit(&self) -> Option<u64> {
        Some(self.limit)
    }

    fn reserved(&self) -> u64 {
        self.reserved.load(Ordering::Relaxed)
    }

    fn pause(&self, millis: u64) -> BoxFuture<'static, ()> {
        self.paused_millis.fetch_add(millis, Ordering::Relaxed);
        Box::pin(tokio::task::yield_now())
    }
}

const MIB: u64 = 1 << 20;

/// An allowance that has its own memory.
async fn open(memory: &Memory) -> Allowance {
    let allowance = Allowance::new(memory);
    allowance.settle().await.unwrap();
    allowance
}

#[tokio::test]
async fn what_is_taken_comes_back() {
    let pool = FakePool::new(64 * MIB);
    let allowance = open(&pool.memory()).await;
    assert_eq!(pool.reserved(), ALLOWANCE_BYTES_MIN);
    let mut reservation = allowance.reservation();
    assert!(reservation.try_hard(MIB));
    assert_eq!(pool.reserved(), ALLOWANCE_BYTES_MIN, "the allowance's own memory comes first");
    assert!(reservation.try_hard(5 * MIB));
    assert_eq!(pool.reserved(), 5 * MIB);
    reservation.shrink_to(5 * MIB - 1);
    assert_eq!(pool.reserved(), 5 * MIB, "a byte is not worth asking for");
    reservation.shrink_to(3 * MIB);
    assert_eq!(pool.reserved(), 3 * MIB);
    assert!(!reservation.try_hard(65 * MIB));
    assert_eq!(pool.reserved(), 3 * MIB);
    drop(allowance);
    drop(reservation);
    assert_eq!(pool.reserved(), 0);
}

#[tokio::test]
async fn who_can_shrink_leaves_half_of_the_pool_alone() {
    let pool = FakePool::new(64 * MIB);
    let allowance = open(&pool.memory()).await;
    let mut window = allowance.reservation();
    assert!(window.try_soft(32 * MIB));
    assert!(!window.try_soft(33 * MIB));
    assert!(allowance.reservation().try_hard(32 * MIB));
}

#[tokio::test]
async fn a_piece_is_accounted_until_its_last_slice_is_gone() {
    let pool = FakePool::new(8 * MIB);
    let allowance = open(&pool.memory()).await;
    let piece = allowance.zeroed(3 << 20, 64 << 10);
    let mut bytes = piece.freeze(2 << 20);
    assert_eq!((bytes.len(), pool.reserved()), (2 << 20, 3 * MIB));
    let slice = bytes.split_off(100);
    drop(bytes);
    assert_eq!(pool.reserved(), 3 * MIB);
    // Half of eight is the bound: what is left of it makes for a smaller piece.
    let smaller = allowance.zeroed(3 << 20, 64 << 10);
    assert_eq!(smaller.buffer.len(), 768 << 10);
    drop((slice, smaller, allowance));
    assert_eq!(pool.reserved(), 0);
}

/// As a store in memory hands them out.
#[tokio::test]
async fn bytes_that_several_hold_count_once_and_come_back() {
    for first in [0, 1] {
        let pool = FakePool::new(64 * MIB);
        let memory = pool.memory();
        let (one, two) = (Allowance::new(&memory), Allowance::new(&memory));
        let bytes = Bytes::from(vec![7; 3 << 20]);
        let mut held = [&one, &two].map(|allowance| {
            let mut reservation = allowance.reservation();
            assert!(reservation.try_hard(3 * MIB));
            Some(accounted(Bytes::clone(&bytes), reservation))
        });
        assert_eq!(pool.reserved(), 3 * MIB);
        held[first] = None;
        assert!(pool.reserved() <= 3 * MIB);
        let mut accounts = 0;
        let other = held[1 - first].take().unwrap();
        memory.hand_over(other.as_ptr().addr(), other.len(), || accounts += 1);
        assert_eq!(accounts, 1, "whoever claims them accounts them");
        drop(other);
        assert_eq!(pool.reserved(), 0);
    }
}

#[tokio::test]
async fn a_shortage_waits_for_others() {
    let pool = FakePool::new(64 * MIB);
    let memory = pool.memory();
    let (one, two) = (open(&memory).await, open(&memory).await);
    let mut held = one.reservation();
    assert!(held.try_hard(40 * MIB));
    let mut wanting = two.reservation();
    let waits = Shortage { reservation: &mut wanting, bytes: 40 * MIB, what: "content".to_owned() }.settle();
    let gives = async {
        tokio::task::yield_now().await;
        drop(held);
    };
    tokio::join!(async { waits.await.unwrap() }, gives);
    assert_eq!(pool.reserved(), 42 * MIB);
    drop((wanting, one, two));
    assert_eq!(pool.reserved(), 0);
}

#[tokio::test]
async fn a_wait_ends_where_nothing_moves() {
    let pool = FakePool::new(64 * MIB);
    let allowance = open(&pool.memory()).await;
    let mut held = allowance.reservation();
    assert!(held.try_hard(40 * MIB));
    let check = async |bytes, millis, expected: &str| {
        let before = pool.paused_millis();
        let mut reservation = allowance.reservation();
        let shortage = Shortage { reservation: &mut reservation, bytes, what: "content".to_owned() };
        assert_eq!(shortage.settle().await.unwrap_err().to_string(), expected);
        assert_eq!(pool.paused_millis() - before, millis);
    };
    check(
        40 * MIB,
        STALL_MILLIS_MAX,
        "content needs 41943040 bytes, which do not fit the memory limit of 67108864 bytes, of which 25165824 are \
         free: raise --memory-limit (embedded: the session's memory pool)",
    )
    .await;
    // More than there is at all is not waited for.
    check(
        65 * MIB,
        0,
        "content needs 68157440 bytes, which do not fit the memory limit of 67108864 bytes, of which 25165824 are \
         free: raise --memory-limit (embedded: the session's memory pool)",
    )
    .await;
}

#[tokio::test]
async fn accounts_take_turns_for_a_part_of_the_pool() {
    let pool = FakePool::new(64 * MIB);
    let memory = pool.memory();
    let mut allowances = Vec::new();
    for _ in 0..8 {
        allowances.push(open(&memory).await);
    }
    assert_eq!((pool.reserved(), pool.paused_millis()), (16 * MIB, 0));
    let ninth = async { open(&memory).await };
    let first = async {
        tokio::task::yield_now().await;
        allowances.remove(0);
    };
    let (ninth, ()) = tokio::join!(ninth, first);
    assert!((PAUSE_MILLIS..STALL_MILLIS_MAX).contains(&pool.paused_millis()));
    // Where nobody ends it goes on all the same, since they may be waiting for it.
    let tenth = open(&memory).await;
    assert_eq!(pool.reserved(), 18 * MIB);
    drop((allowances, ninth, tenth));
    assert_eq!(pool.reserved(), 0);
}

#[tokio::test]
async fn what_was_handed_on_has_to_fit_before_more_is_read() {
    let pool = FakePool::new(64 * MIB);
    let allowance = open(&pool.memory()).await;
    pool.grow(70 * MIB);
    let error = allowance.settle().await.unwrap_err().to_string();
    assert!(error.starts_with("what the query holds of earlier rows needs 75497472 bytes"), "{error}");
    pool.shrink(70 * MIB);
    allowance.settle().await.unwrap();
}

#[tokio::test]
async fn a_limit_below_what_an_account_needs_is_told_at_once() {
    let pool = FakePool::new(MIB);
    let error = Allowance::new(&pool.memory()).settle().await.unwrap_err().to_string();
    assert!(error.starts_with("reading an archive needs 2097152 bytes"), "{error}");
    assert_eq!((pool.paused_millis(), pool.reserved()), (0, 0));
}

#[tokio::test]
async fn without_a_limit_nothing_is_counted() {
    let allowance = open(&Memory::default()).await;
    let mut reservation = allowance.reservation();
    assert!(reservation.try_hard(u64::MAX));
    assert_eq!(reservation.bytes, 0);
    assert_eq!(allowance.zeroed(10, 1).freeze(4), vec![0; 4]);
}
