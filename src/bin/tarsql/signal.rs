//! Ctrl-C and SIGTERM. A statement ends by being dropped; this file only says when.

use std::io;
use std::time::Duration;

use datafusion::common::runtime::SpawnedTask;

/// Who wants us to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Interrupt,
    // Windows has no such request.
    #[cfg_attr(not(unix), expect(dead_code))]
    Terminate,
}

impl Signal {
    /// 128 and the signal's number, as shells count.
    pub(crate) fn exit_status(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// Signals that have arrived since it was made.
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: Option<tokio::signal::unix::Signal>,
    #[cfg(windows)]
    interrupt: tokio::signal::windows::CtrlC,
}

impl Signals {
    /// Ctrl-C and SIGTERM: for a mode in which both end the program. Needs a tokio runtime around it.
    pub(crate) fn all() -> io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: Some(signal(SignalKind::terminate())?) })
        }
        #[cfg(windows)]
        Self::interrupts()
    }

    /// Ctrl-C only. At the prompt nobody would see that SIGTERM came, so that one keeps ending the process by itself.
    pub(crate) fn interrupts() -> io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: None })
        }
        #[cfg(windows)]
        Ok(Self { interrupt: tokio::signal::windows::ctrl_c()? })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Signal {
        #[cfg(unix)]
        {
            let Some(terminate) = &mut self.terminate else {
                self.interrupt.recv().await;
                return Signal::Interrupt;
            };
            tokio::select! {
                _ = self.interrupt.recv() => Signal::Interrupt,
                _ = terminate.recv() => Signal::Terminate,
            }
        }
        #[cfg(windows)]
        {
            self.interrupt.recv().await;
            Signal::Interrupt
        }
    }
}

/// Ends the process some time after a signal has come, if it still runs then: a thread that is stuck in a system call
/// (a stalled pipe, a dead mount) can't be cancelled. Dropping the result calls it off. Needs a tokio runtime around it.
pub(crate) fn end_the_process_after(grace: Duration) -> io::Result<SpawnedTask<()>> {
    let mut signals = Signals::all()?;
    Ok(SpawnedTask::spawn(async move {
        let signal = signals.next().await;
        tokio::time::sleep(grace).await;
        std::process::exit(i32::from(signal.exit_status()));
    }))
}
