//! The session's memory pool as a scan sees it, and the batches that leave a scan as the pool sees them.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayData, RecordBatch};
use datafusion::catalog::Session;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool as EnginePool, MemoryReservation};
use datafusion_execution::memory_pool::arrow::ArrowMemoryPool;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::memory::{Memory, MemoryPool};

/// Smaller buffers cost more to account than they are worth.
const CLAIM_BYTES_MIN: usize = 4 << 10;

/// Accounts the batches of one scan until the last view into them is gone.
#[derive(Debug)]
pub(super) struct Claims {
    pool: ArrowMemoryPool,
    /// Of the scan, which has accounted what it read.
    memory: Memory,
}

/// Memory that a partition should be able to count on: what it has for itself, and, in each operator above, the batches
/// that wait and the equal part that DataFusion gives it. With half as much, sorting members of a MiB under 256 MiB was
/// seen to take 1.6 times the limit.
const PARTITION_BYTES_MIN: usize = 64 << 20;

/// How many partitions the session's pool has room for.
pub(super) fn partitions_max(session: &dyn Session) -> usize {
    match session.runtime_env().memory_pool.memory_limit() {
        MemoryLimit::Finite(bytes) => (bytes / PARTITION_BYTES_MIN).max(1),
        MemoryLimit::Infinite | MemoryLimit::Unknown => usize::MAX,
    }
}

/// The pool of `session` as a scan of so many partitions takes from it; nothing is counted where it has no limit.
pub(super) fn memory_of(session: &dyn Session, partitions: usize) -> (Memory, Option<Claims>) {
    let pool = &session.runtime_env().memory_pool;
    if matches!(pool.memory_limit(), MemoryLimit::Infinite) {
        return (Memory::default(), None);
    }
    let reservation = MemoryConsumer::new("tarsql scan").register(pool);
    let memory = Memory::of(Pool { pool: Arc::clone(pool), reservation }, partitions);
    let pool = ArrowMemoryPool::new(Arc::clone(pool), MemoryConsumer::new("tarsql batch"));
    (memory.clone(), Some(Claims { pool, memory }))
}

struct Pool {
    pool: Arc<dyn EnginePool>,
    reservation: MemoryReservation,
}

impl MemoryPool for Pool {
    fn try_grow(&self, bytes: u64) -> bool {
        usize::try_from(bytes).is_ok_and(|bytes| self.reservation.try_grow(bytes).is_ok())
    }

    fn grow(&self, bytes: u64) {
        self.reservation.grow(usize::try_from(bytes).unwrap_or(usize::MAX));
    }

    fn shrink(&self, bytes: u64) {
        self.reservation.shrink(usize::try_from(bytes).unwrap_or(usize::MAX));
    }

    fn limit(&self) -> Option<u64> {
        match self.pool.memory_limit() {
            MemoryLimit::Finite(bytes) => Some(bytes as u64),
            MemoryLimit::Infinite | MemoryLimit::Unknown => None,
        }
    }

    fn reserved(&self) -> u64 {
        self.pool.reserved() as u64
    }

    fn pause(&self, millis: u64) -> BoxFuture<'static, ()> {
        tokio::time::sleep(Duration::from_millis(millis)).boxed()
    }
}

impl Claims {
    /// Accounts the buffers of `batch`. One that another batch of ours brought along is counted once: it moves.
    pub(super) fn claim(&self, batch: &RecordBatch) {
        for column in batch.columns() {
            self.claim_data(&column.to_data());
        }
    }

    fn claim_data(&self, data: &ArrayData) {
        let nulls = data.nulls().map(|nulls| nulls.inner().inner());
        for buffer in data.buffers().iter().chain(nulls) {
            if buffer.capacity() >= CLAIM_BYTES_MIN {
                let address = buffer.data_ptr().addr().get();
                self.memory.hand_over(address, buffer.capacity(), || buffer.claim(&self.pool));
            }
        }
        data.child_data().iter().for_each(|child| self.claim_data(child));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BinaryViewArray, BinaryViewBuilder, Int64Array};
    use datafusion::execution::memory_pool::GreedyMemoryPool;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;
    use crate::memory::Allowance;

    fn session(pool: &Arc<dyn EnginePool>) -> SessionContext {
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::clone(pool)).build_arc().unwrap();
        SessionContext::new_with_config_rt(SessionConfig::new(), runtime)
    }

    #[test]
    fn batches_are_accounted_until_the_last_slice_is_gone() {
        let pool: Arc<dyn EnginePool> = Arc::new(GreedyMemoryPool::new(1 << 30));
        let (_, claims) = memory_of(&session(&pool).state(), 1);
        let content = vec![7_u8; 1 << 20];
        let columns: [(&str, ArrayRef); 2] = [
            ("number", Arc::new(Int64Array::from(vec![1; 1024]))),
            (
                "content",
                Arc::new(BinaryViewArray::from_iter_values(std::iter::repeat_n(&content[..], 1024)).slice(0, 1024)),
            ),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let claims = claims.unwrap();
        claims.claim(&batch);
        let held = pool.reserved();
        assert!(held >= (8 << 10) + (16 << 10) + (1 << 20), "{held}");
        let slice = batch.slice(1, 1);
        drop(batch);
        claims.claim(&slice);
        assert_eq!(pool.reserved(), held);
        drop(slice);
        assert_eq!(pool.reserved(), 0);
    }

    #[test]
    fn what_was_read_is_accounted_once() {
        let pool: Arc<dyn EnginePool> = Arc::new(GreedyMemoryPool::new(1 << 30));
        let (memory, claims) = memory_of(&session(&pool).state(), 1);
        let (allowance, claims) = (Allowance::new(&memory), claims.unwrap());
        // All of a block, and a small part of one.
        for (part, claimed) in [(0..1 << 20, 1 << 20), (100_000..200_000, 1 << 20)] {
            let block = allowance.zeroed(1 << 20, 1 << 20).freeze(1 << 20);
            assert_eq!(pool.reserved(), 1 << 20);
            let mut cells = BinaryViewBuilder::with_capacity(1);
            let index = cells.append_block(block.slice(part).into());
            cells.try_append_view(index, 0, 100_000).unwrap();
            let batch = RecordBatch::try_from_iter([("content", Arc::new(cells.finish()) as ArrayRef)]).unwrap();
            for _ in 0..2 {
                claims.claim(&batch);
                assert_eq!(pool.reserved(), claimed);
            }
            drop(block);
            assert_eq!(pool.reserved(), claimed);
            drop(batch);
            assert_eq!(pool.reserved(), 0);
        }
    }

    #[test]
    fn without_a_limit_nothing_is_accounted() {
        let state = SessionContext::new().state();
        assert!(memory_of(&state, 1).1.is_none());
        assert_eq!(partitions_max(&state), usize::MAX);
    }
}
