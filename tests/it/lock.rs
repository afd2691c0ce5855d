//! A lock between the processes of one test run: `cargo test` has one process, nextest has one a test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Where the tests keep what they install. Below the target folder, so `cargo clean` removes it.
pub(crate) fn installed_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// Makes the folder `name` once, whoever comes first; the others wait.
///
/// A venv can't be moved, its scripts name its folder. So `make` works in place, and a file beside it says that it is whole.
pub(crate) fn install_once(name: &str, make: impl FnOnce(&Path) -> Result<(), String>) -> Result<PathBuf, String> {
    let parent = installed_dir();
    fs::create_dir_all(&parent).map_err(|e| format!("{}: {e}", parent.display()))?;
    let done = parent.join(format!("{name}.done"));
    let target = parent.join(name);
    let lock = File::create(parent.join(format!("{name}.lock"))).map_err(|e| e.to_string())?;
    // The system drops the lock with the process, so a killed installation blocks nobody.
    lock.lock().map_err(|e| e.to_string())?;
    if done.exists() && target.exists() {
        return Ok(target);
    }
    let _ = fs::remove_file(&done);
    let _ = fs::remove_dir_all(&target);
    make(&target)?;
    File::create(&done).map_err(|e| e.to_string())?;
    Ok(target)
}
