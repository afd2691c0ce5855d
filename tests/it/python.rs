//! A Python with the packages that the tests want: pandas reads the metrics file as notebooks do, pyarrow reads our
//! Parquet files as strangers do. Installed once, below the target folder.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::lock::install_once;

/// Installs `packages` into a virtual environment called `name` and returns its folder.
pub(crate) fn venv(name: &str, packages: &[&str]) -> Result<PathBuf, String> {
    install_once(name, |dir| {
        run(Command::new("python3").args(["-m", "venv"]).arg(dir))?;
        run(Command::new(dir.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(packages))
    })
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}

/// The Python that has pandas, matplotlib and pyarrow.
pub(crate) fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| match venv("python", &["pandas==2.3.3", "matplotlib==3.10.7", "pyarrow==22.0.0"]) {
        Ok(dir) => dir.join("bin/python"),
        Err(error) => panic!(
            "the tests need a Python with pandas, matplotlib and pyarrow and could not install them: {error}\n\
             install Python 3.10 or newer with venv and pip (Debian: apt-get install python3-venv), and let pip reach a package index"
        ),
    })
}

/// Runs a script of `tests/`; returns what it printed. Panics with its stderr if it fails.
pub(crate) fn run_script(
    script: &str,
    args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    env: &[(String, String)],
) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script);
    let mut command = Command::new(python());
    command.arg(path).args(args).envs(env.iter().cloned());
    let output = command.output().expect("the venv's python starts");
    assert!(output.status.success(), "{script}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the scripts print UTF-8")
}

/// What pyarrow finds in a Parquet file or a folder of them, on disk or, with the credentials in `env`, as `s3://…`.
pub(crate) fn parquet(path: impl AsRef<OsStr>, env: &[(String, String)]) -> serde_json::Value {
    let printed = run_script("check_parquet.py", [path], env);
    serde_json::from_str(&printed).expect("the script prints JSON")
}
