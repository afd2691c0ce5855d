//! The program's allocator, and what it has to be told.
//!
//! mimalloc gives freed memory back to the system after a second; a COPY frees hundreds of megabytes in that time, and
//! those add to the peak. It also asks for huge pages, of which 2 MiB are cleared where a few KiB are used: a COPY takes a
//! quarter more memory, and up to a quarter more time on a virtual machine, which may have to get each page from its host
//! first. It reads its settings from the environment when the process starts, and setting them from within would take
//! unsafe code; so the program starts itself once more, in the same process.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many milliseconds mimalloc keeps what was freed.
#[cfg(unix)]
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";

/// What it is told. Every batch is freed within that time, and most of them leave their memory to the next one.
#[cfg(unix)]
const PURGE_MILLIS: &str = "50";

/// What it is told under `--memory-limit`.
#[cfg(unix)]
const PURGE_MILLIS_LIMITED: &str = "1";

/// Whether mimalloc uses huge pages.
#[cfg(unix)]
const HUGE_PAGES: &str = "MIMALLOC_ALLOW_THP";

/// Starts the program anew, with an allocator that takes little memory and soon gives it back. Returns if whoever started
/// the program has decided about that, or if it can't be done: then it takes more memory, and nothing else is different.
#[cfg(unix)]
pub(crate) fn spare_memory(has_limit: bool) {
    use std::os::unix::process::CommandExt;

    if std::env::var_os(PURGE_DELAY).is_some() {
        return;
    }
    let millis = if has_limit { PURGE_MILLIS_LIMITED } else { PURGE_MILLIS };
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut again = std::process::Command::new(program);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    // Only comes back if there is no such program any more.
    let _error = again.args(arguments).env(PURGE_DELAY, millis).env(HUGE_PAGES, "0").exec();
}

/// Elsewhere a process can't become another one.
#[cfg(not(unix))]
pub(crate) fn spare_memory(_has_limit: bool) {}
