//! Cleaning up that goes on after a statement has been dropped: a drop can't wait, so it leaves a task behind, and whoever
//! ends the process can wait for all of these.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::sync::watch;

/// Clean-ups under way in this process. They belong to no session: the last one may be gone before they are done.
static UNDER_WAY: LazyLock<watch::Sender<usize>> = LazyLock::new(|| watch::Sender::new(0));

/// One clean-up under way, until it is dropped.
#[derive(Debug)]
pub(super) struct CleanUp(());

impl CleanUp {
    pub(super) fn begin() -> Self {
        UNDER_WAY.send_modify(|count| *count += 1);
        Self(())
    }
}

impl Drop for CleanUp {
    fn drop(&mut self) {
        UNDER_WAY.send_modify(|count| *count -= 1);
    }
}

/// Waits until everything that failed or cancelled statements had staged is removed (temporary files, unfinished
/// uploads), or until `timeout` has passed; says whether all is done.
///
/// A statement that returned has cleaned up already. One whose stream was dropped cleans up in the background: call this
/// before the runtime that it ran on ends.
///
/// ```
/// # #[tokio::main]
/// # async fn main() {
/// assert!(tarsql::settle(std::time::Duration::from_secs(10)).await);
/// # }
/// ```
pub async fn settle(timeout: Duration) -> bool {
    let mut under_way = UNDER_WAY.subscribe();
    // The sender is never dropped, so waiting can't fail.
    tokio::time::timeout(timeout, under_way.wait_for(|count| *count == 0)).await.is_ok()
}
