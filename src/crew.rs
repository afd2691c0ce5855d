//! [`Crew`]: the cores of a scan, and how many of them its partitions leave free.
//!
//! Where there are as many archives to read as there are cores, each partition does the work on its archive by itself,
//! and that is the cheapest way. Where there are fewer (one huge archive, or the last one of a skewed set), those that
//! still read hand work to others: a [`Hand`] is the permission for one piece of it, a [`Task`] the work under way.
//!
//! What a newcomer must know: work runs on the workers of the runtime that polls the scan, as all work of the engine
//! does; the one that hands it out goes on. A hand is taken until what it made is taken, so that results which nobody
//! wants yet stay few; and nobody waits for a hand: who gets none does the work in place.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

pub(crate) use self::turns::Turn;
use self::turns::Turns;

mod turns;

/// Pieces of work for each free core: one that it works on, and one that waits while another is handed out.
const TASKS_PER_CORE: usize = 2;

/// Bytes that make work worth handing out: milliseconds of it.
const WORK_BYTES: usize = 1 << 20;

/// What work is about. Each has hands of its own: one can't take those of another, which waits for what it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trade {
    /// Compressed bytes become plain ones.
    Inflate,
    /// Plain bytes become batches.
    Decode,
    /// An archive is read up to its next batch, while the one before is being consumed.
    Read,
}

/// The cores that the partitions of one scan share. Clones are the same crew.
#[derive(Debug, Clone, Default)]
pub(crate) struct Crew(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    cores: usize,
    work_bytes: usize,
    /// Partitions that work on an archive now.
    working: AtomicUsize,
    /// Hands that are taken, of each trade.
    taken: [AtomicUsize; 3],
    turns: Turns,
}

impl Crew {
    /// The crew of so many cores. One core has nothing to share.
    pub(crate) fn of(cores: usize) -> Self {
        Self::in_pieces(cores, WORK_BYTES)
    }

    /// One whose pieces of work are of another size.
    pub(crate) fn in_pieces(cores: usize, work_bytes: usize) -> Self {
        let (working, taken) = (AtomicUsize::new(0), Default::default());
        Self(Some(Arc::new(Inner { cores, work_bytes, working, taken, turns: Turns::of(cores) })))
    }

    /// One partition that does everything by itself.
    pub(crate) fn alone() -> Self {
        Self::default()
    }

    /// True where there never is a hand.
    pub(crate) fn is_alone(&self) -> bool {
        self.0.as_ref().is_none_or(|inner| inner.cores < 2)
    }

    /// Bytes that a piece of work should have.
    pub(crate) fn work_bytes(&self) -> usize {
        self.0.as_ref().map_or(WORK_BYTES, |inner| inner.work_bytes)
    }

    /// Waits until a partition may open an archive of `bytes`, if its length is known: there are turns for as many large
    /// ones as there are cores.
    pub(crate) async fn turn(&self, bytes: Option<u64>) -> Turn {
        match &self.0 {
            Some(inner) => inner.turns.next(bytes).await,
            None => Turn::default(),
        }
    }

    /// Says that a partition gets on with its archive.
    pub(crate) fn move_on(&self) {
        self.0.iter().for_each(|inner| inner.turns.move_on());
    }

    /// Says that a partition works on an archive, until the shift is dropped.
    pub(crate) fn begin(&self) -> Shift {
        if let Some(inner) = &self.0 {
            inner.working.fetch_add(1, Ordering::Relaxed);
        }
        Shift(self.clone())
    }

    /// Runs `wait` of a partition at work, for bytes that are still on their way: meanwhile its core is free.
    pub(crate) async fn pause<T>(&self, wait: impl Future<Output = T>) -> T {
        let mut wait = std::pin::pin!(wait);
        let mut pause = None;
        std::future::poll_fn(|context| {
            let polled = wait.as_mut().poll(context);
            match polled {
                Poll::Ready(_) => {
                    self.move_on();
                    pause = None;
                }
                Poll::Pending => _ = pause.get_or_insert_with(|| Pause::of(self)),
            }
            polled
        })
        .await
    }

    /// Permission to hand out one piece of work, if a core is free for it.
    pub(crate) fn hand(&self, trade: Trade) -> Option<Hand> {
        let inner = self.0.as_ref()?;
        let hands = hands(inner.cores, inner.working.load(Ordering::Relaxed));
        let take = |taken: usize| (taken < hands).then_some(taken + 1);
        inner.taken[trade as usize].fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        Some(Hand { inner: Arc::clone(inner), trade })
    }
}

/// How many pieces of work may be handed out while `working` partitions have a core each. The one more is what a worker
/// finds when it is done before the next is handed out.
fn hands(cores: usize, working: usize) -> usize {
    match cores.saturating_sub(working.max(1)) {
        0 => 0,
        free => TASKS_PER_CORE * free + 1,
    }
}

/// A partition at work.
#[derive(Debug)]
pub(crate) struct Shift(Crew);

impl Drop for Shift {
    fn drop(&mut self) {
        if let Some(inner) = &self.0.0 {
            inner.working.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A partition that waits.
struct Pause(Option<Arc<Inner>>);

impl Pause {
    fn of(crew: &Crew) -> Self {
        if let Some(inner) = &crew.0 {
            inner.working.fetch_sub(1, Ordering::Relaxed);
        }
        Self(crew.0.clone())
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        if let Some(inner) = &self.0 {
            inner.working.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Permission to hand out one piece of work.
#[derive(Debug)]
pub(crate) struct Hand {
    inner: Arc<Inner>,
    trade: Trade,
}

impl Hand {
    /// Has `work` done on another core. Dropping the task cancels it, unless it has begun: it has no end to wait for.
    pub(crate) fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Task<T> {
        self.spawn(async move { work() })
    }

    /// As [`run`](Self::run), for work that waits for others.
    pub(crate) fn spawn<T: Send + 'static>(self, work: impl Future<Output = T> + Send + 'static) -> Task<T> {
        let runtime = Handle::current();
        let state = State::Running(runtime.spawn(work));
        // A worker keeps what it spawned last to itself, for when it is done with what it does now. This is spawned
        // later, and does nothing.
        drop(runtime.spawn(async {}));
        Task { state, _hand: self }
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        self.inner.taken[self.trade as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

/// Work that was handed out. It is done whether anybody looks or not.
#[derive(Debug)]
pub(crate) struct Task<T> {
    state: State<T>,
    _hand: Hand,
}

#[derive(Debug)]
enum State<T> {
    Running(JoinHandle<T>),
    /// Nothing where the work panicked, or the runtime ends.
    Done(Option<T>),
}

impl<T> Task<T> {
    /// Ready once the work is done; what it made stays where it is.
    pub(crate) fn poll_done(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let State::Running(running) = &mut self.state {
            let done = std::task::ready!(Pin::new(running).poll(context));
            self.state = State::Done(done.ok());
        }
        Poll::Ready(())
    }

    /// Whether the work is done, as far as can be said without waiting.
    pub(crate) fn is_done(&mut self) -> bool {
        match &self.state {
            State::Running(running) if !running.is_finished() => false,
            // A caller whose turn is over may be told to wait all the same.
            _ => self.poll_done(&mut Context::from_waker(Waker::noop())).is_ready(),
        }
    }

    /// What the work made, where it [is done](Self::is_done) and did not break off.
    pub(crate) fn take(mut self) -> Option<T> {
        match &mut self.state {
            State::Done(made) => made.take(),
            State::Running(_) => None,
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if let State::Running(running) = &self.state {
            running.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Waits until it is done.
    async fn made<T>(mut task: Task<T>) -> Option<T> {
        std::future::poll_fn(|context| task.poll_done(context)).await;
        assert!(task.is_done());
        task.take()
    }

    fn hands_of(crew: &Crew) -> Vec<Hand> {
        std::iter::from_fn(|| crew.hand(Trade::Decode)).collect()
    }

    #[test]
    fn free_cores_have_hands() {
        let cases = [(1, 1, 0), (2, 1, 3), (2, 2, 0), (2, 80, 0), (8, 1, 15), (8, 7, 3), (8, 8, 0), (8, 0, 15)];
        for (cores, working, expected) in cases {
            assert_eq!(hands(cores, working), expected, "{cores} cores, {working} at work");
        }
    }

    #[test]
    fn hands_come_and_go_with_partitions() {
        let crew = Crew::of(2);
        let first = crew.begin();
        let taken = hands_of(&crew);
        assert_eq!(taken.len(), 3);
        assert!(crew.hand(Trade::Inflate).is_some(), "another trade has its own");
        let second = crew.clone().begin();
        drop(taken);
        assert!(crew.hand(Trade::Decode).is_none(), "both cores work");
        drop(first);
        assert_eq!(hands_of(&crew).len(), 3);
        drop(second);
        assert!(Crew::of(1).is_alone() && Crew::alone().hand(Trade::Decode).is_none());
    }

    #[tokio::test]
    async fn who_waits_leaves_its_core_to_others() {
        let crew = Crew::of(2);
        let (first, second) = (crew.begin(), crew.begin());
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let mut wait = Box::pin(crew.pause(receiver));
        assert!(crew.hand(Trade::Decode).is_none());
        assert!(futures::poll!(&mut wait).is_pending() && crew.hand(Trade::Decode).is_some());
        sender.send(7).unwrap();
        assert_eq!(wait.await, Ok(7));
        assert!(crew.hand(Trade::Decode).is_none());
        let mut given_up = Box::pin(crew.pause(std::future::pending::<()>()));
        assert!(futures::poll!(&mut given_up).is_pending() && crew.hand(Trade::Decode).is_some());
        drop(given_up);
        assert!(crew.hand(Trade::Decode).is_none());
        drop((first, second));
    }

    #[tokio::test]
    async fn work_is_done_and_its_hand_comes_back() {
        let crew = Crew::of(2);
        let task = crew.hand(Trade::Decode).unwrap().run(|| 6 * 7);
        assert_eq!(hands_of(&crew).len(), 2);
        assert_eq!(made(task).await, Some(42));
        assert_eq!(hands_of(&crew).len(), 3);
    }

    #[tokio::test]
    async fn work_that_panics_makes_nothing() {
        let task = Crew::of(2).hand(Trade::Decode).unwrap().run(|| -> u8 { panic!("this is expected") });
        assert_eq!(made(task).await, None);
    }

    #[test]
    fn dropped_work_does_not_begin() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (done, is_done) = std::sync::mpsc::channel();
            let crew = Crew::of(2);
            drop(crew.hand(Trade::Decode).unwrap().run(move || done.send(())));
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(is_done.try_recv().is_err());
            assert_eq!(hands_of(&crew).len(), 3);
            assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
        });
    }
}
