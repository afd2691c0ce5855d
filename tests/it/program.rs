//! The program as a user runs it: arguments and environment in, stdout, stderr and exit status out.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// No statement of the tests takes a tenth of this; whatever does, hangs.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A run of `tarsql` in the making.
#[derive(Debug)]
pub(crate) struct Tarsql {
    command: Command,
    stdin: Vec<u8>,
}

/// What a run left.
#[derive(Debug)]
pub(crate) struct Output {
    /// Exit status; `None` if a signal ended it.
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Tarsql {
    /// In the package's folder, without the settings and the home that the caller may have.
    pub(crate) fn new() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tarsql"));
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_ours(name)) {
            command.env_remove(name);
        }
        Self { command, stdin: Vec::new() }
    }

    /// `tarsql -c sql`.
    pub(crate) fn sql(sql: &str) -> Self {
        Self::new().args(["-c", sql])
    }

    /// `tarsql -f sql/name`, with `NAME=VALUE` settings.
    pub(crate) fn file(name: &str, settings: &[(&str, &str)]) -> Self {
        let file = Path::new("sql").join(name);
        let settings = settings.iter().flat_map(|(name, value)| ["--set".to_owned(), format!("{name}={value}")]);
        Self::new().args([OsStr::new("-f"), file.as_os_str()]).args(settings)
    }

    /// More arguments.
    #[must_use]
    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    /// More variables.
    #[must_use]
    pub(crate) fn env(mut self, vars: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>) -> Self {
        self.command.envs(vars);
        self
    }

    /// Another working folder.
    #[must_use]
    pub(crate) fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// What it reads from stdin; nothing unless said.
    #[must_use]
    pub(crate) fn stdin(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.stdin = text.into();
        self
    }

    /// Runs it to its end. Panics, with what it had printed, after [`TIMEOUT`].
    #[track_caller]
    pub(crate) fn run(mut self) -> Output {
        let mut child = self.spawn();
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        let written = std::mem::take(&mut self.stdin);
        // Three threads: nobody waits for a full pipe.
        let writer = std::thread::spawn(move || {
            use std::io::Write as _;
            // A program that ends without reading its input has the right to.
            let _ = stdin.write_all(&written);
        });
        let stdout = drain(child.stdout.take().expect("stdout is a pipe"));
        let stderr = drain(child.stderr.take().expect("stderr is a pipe"));
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                break Some(status);
            }
            if started.elapsed() > TIMEOUT {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let (stdout, stderr) = (stdout.join().expect("no panic"), stderr.join().expect("no panic"));
        writer.join().expect("no panic");
        let Some(status) = status else {
            panic!("{:?} did not end in {} s\nstdout: {stdout}\nstderr: {stderr}", self.command, TIMEOUT.as_secs());
        };
        Output { status: status.code(), stdout, stderr }
    }

    /// Runs it and expects success; returns what it printed.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        let what = format!("{:?}", self.command);
        let output = self.run();
        assert_eq!(output.status, Some(0), "{what}\nstdout: {}\nstderr: {}", output.stdout, output.stderr);
        output.stdout
    }

    /// Runs it and expects a failed statement: status 1 and one line on stderr, which it returns.
    #[track_caller]
    pub(crate) fn fails(self) -> String {
        let what = format!("{:?}", self.command);
        let output = self.run();
        assert_eq!(output.status, Some(1), "{what}\nstdout: {}\nstderr: {}", output.stdout, output.stderr);
        assert_eq!(output.stderr.trim_end().lines().count(), 1, "{what}: an error is one line: {}", output.stderr);
        output.stderr
    }

    /// Starts it with pipes, for tests that signal it or stop reading. The caller waits for it.
    #[track_caller]
    pub(crate) fn spawn(&mut self) -> Child {
        let command = self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"))
    }
}

fn drain(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("a pipe can be read");
        String::from_utf8(bytes).expect("the program prints UTF-8")
    })
}

fn is_ours(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    ["AWS_", "GOOGLE_", "AZURE_", "TARSQL_", "MIMALLOC_"].iter().any(|prefix| name.starts_with(prefix))
}
