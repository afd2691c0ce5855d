//! Every target without a fuzzer: over its seeds out of `testdata/`, and over mutations of them that are the same in
//! every run. `cargo test --no-default-features` in this folder; an argument after `--` is a target's name, and a file
//! behind it is all that is run.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;
use std::{env, fs, thread};

use tarsql_fuzz::mutate::Dice;
use tarsql_fuzz::{TARGETS, Target, named};

/// Of each target.
const MUTATIONS: usize = 20_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    match arguments.as_slice() {
        [] => replay_all(),
        [name] => replay(named(name)),
        [name, file, ..] => {
            (named(name).check)(&fs::read(file).expect("a file"));
            ExitCode::SUCCESS
        }
    }
}

/// Each target in a process of its own: they measure their memory.
fn replay_all() -> ExitCode {
    let program = env::current_exe().expect("the path of this program");
    let count = thread::available_parallelism().map_or(1, usize::from);
    let queue = std::sync::Mutex::new(TARGETS.iter());
    let failed: usize = thread::scope(|scope| {
        let work = || {
            let next = || queue.lock().expect("nobody panics with it").next();
            let run =
                |target: &Target| Command::new(&program).arg(target.name).status().is_ok_and(|done| done.success());
            std::iter::from_fn(next).filter(|target| !run(target)).count()
        };
        let workers: Vec<_> = (0..count).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("it only counts")).sum()
    });
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn replay(target: &Target) -> ExitCode {
    let started = Instant::now();
    let seeds = seeds(target);
    assert!(!seeds.is_empty(), "no file of testdata/ is a seed of {}", target.name);
    for (path, seed) in &seeds {
        run(target, seed, &|| path.display().to_string());
    }
    let mut dice = Dice::new(1);
    for number in 0..MUTATIONS {
        let (path, seed) = &seeds[dice.below(seeds.len())];
        let mut data = seed.clone();
        for _ in 0..1 + dice.below(4) {
            (target.mutate)(&mut data, &mut dice, target.len_max);
        }
        run(target, &data, &|| format!("mutation {number}, of {}", path.display()));
    }
    let seconds = started.elapsed().as_secs_f32();
    println!("{}: {} seeds, {MUTATIONS} mutations, {seconds:.1} s", target.name, seeds.len());
    ExitCode::SUCCESS
}

/// What fails is kept, so that it can be run again.
fn run(target: &Target, data: &[u8], name: &dyn Fn() -> String) {
    if let Err(panic) = std::panic::catch_unwind(|| (target.check)(data)) {
        let file = env::temp_dir().join(format!("tarsql-fuzz-{}", target.name));
        let kept = fs::write(&file, data).map_or(String::new(), |()| format!(", kept as {}", file.display()));
        eprintln!("{}: {}{kept}", target.name, name());
        std::panic::resume_unwind(panic);
    }
}

fn seeds(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut seeds, mut folders) = (Vec::new(), vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the folder of test data").flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if target.seeds.iter().any(|end| path.to_string_lossy().ends_with(end)) {
                let data = fs::read(&path).expect("a file of the repository");
                let parts = if target.of_members { members(&data) } else { vec![data] };
                seeds.extend(parts.into_iter().map(|mut data| {
                    data.truncate(target.len_max);
                    (path.clone(), data)
                }));
            }
        }
    }
    seeds.sort();
    seeds
}

fn members(archive: &[u8]) -> Vec<Vec<u8>> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().expect("an archive");
    let content = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut content = Vec::new();
        entry.and_then(|mut entry| entry.read_to_end(&mut content)).expect("a whole archive");
        content
    };
    entries.map(content).collect()
}
