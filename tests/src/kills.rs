//! The command, killed at random moments: the output is as it was before, or complete.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Random;

/// What [`kill_at_random`] saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kills {
    /// Runs that were killed before they ended.
    pub killed: usize,
    /// Outputs that were as before.
    pub as_before: usize,
    /// Outputs that were complete, though some of those runs were killed.
    pub complete: usize,
    /// Outputs that were neither.
    pub broken: usize,
    /// Unfinished outputs that killed runs left, and that were gone after the next run.
    pub left_behind: usize,
}

/// All files below a path, or the file itself.
type Content = BTreeMap<PathBuf, Vec<u8>>;

/// Runs `program`, the `wcodec` command, until `count` runs were killed: encoding and decoding of
/// `original`, a `.safetensors` file, by itself and in a directory, each time over an existing
/// output. Everything happens in `folder`.
///
/// # Errors
///
/// When files cannot be written or the command does not work undisturbed.
pub fn kill_at_random(
    program: &Path,
    original: &[u8],
    folder: &Path,
    count: usize,
    seed: u64,
) -> io::Result<Kills> {
    let random = &mut Random::new(seed);
    let model = folder.join("model");
    fs::create_dir_all(model.join("nested"))?;
    fs::write(model.join("m.safetensors"), original)?;
    fs::write(model.join("nested/config.json"), "{}")?;
    let encoded = folder.join("encoded");
    run(program, "encode", &model, &encoded)?;
    let jobs = [
        Job::new(program, "encode", &model.join("m.safetensors"), folder.join("out-1"))?,
        Job::new(program, "decode", &encoded.join("m.safetensors.wcodec"), folder.join("out-2"))?,
        Job::new(program, "encode", &model, folder.join("out-3"))?,
        Job::new(program, "decode", &encoded, folder.join("out-4"))?,
    ];
    let mut kills = Kills::default();
    while kills.killed < count {
        jobs[kills.killed % jobs.len()].kill_once(program, random, &mut kills)?;
    }
    for job in &jobs {
        kills.left_behind += left_behind(&job.output)?;
        run(program, job.command, &job.input, &job.output)?;
        if content(&job.output)? != job.complete || left_behind(&job.output)? > 0 {
            kills.broken += 1;
        }
    }
    Ok(kills)
}

struct Job {
    command: &'static str,
    input: PathBuf,
    /// In a folder of its own.
    output: PathBuf,
    complete: Content,
    takes: Duration,
}

impl Job {
    fn new(
        program: &Path,
        command: &'static str,
        input: &Path,
        folder: PathBuf,
    ) -> io::Result<Self> {
        fs::create_dir(&folder)?;
        let output = folder.join("out");
        let start = Instant::now();
        run(program, command, input, &output)?;
        let takes = start.elapsed();
        let complete = content(&output)?;
        Ok(Self { command, input: input.to_owned(), output, complete, takes })
    }

    fn kill_once(&self, program: &Path, random: &mut Random, kills: &mut Kills) -> io::Result<()> {
        self.write_old()?;
        let before = content(&self.output)?;
        let mut child = command(program, self.command, &self.input, &self.output).spawn()?;
        let moment = random.below(self.takes.as_micros() as u64 * 5 / 4);
        std::thread::sleep(Duration::from_micros(moment));
        child.kill()?;
        let ended_by_itself = child.wait()?.code().is_some();
        kills.killed += usize::from(!ended_by_itself);
        let after = content(&self.output)?;
        if after == self.complete {
            kills.complete += 1;
        } else if after == before && !ended_by_itself {
            kills.as_before += 1;
        } else {
            kills.broken += 1;
        }
        Ok(())
    }

    /// Makes the output something older, of the same kind.
    fn write_old(&self) -> io::Result<()> {
        if self.output.is_dir() {
            fs::remove_dir_all(&self.output)?;
            fs::create_dir(&self.output)?;
            return fs::write(self.output.join("old"), "an older output");
        }
        fs::write(&self.output, "an older output")
    }
}

fn command(program: &Path, command: &str, input: &Path, output: &Path) -> Command {
    let mut started = Command::new(program);
    started
        .args([command, "--force", "--quiet", "--threads", "2"])
        .arg(input)
        .arg("-o")
        .arg(output);
    started.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    started
}

fn run(program: &Path, name: &str, input: &Path, output: &Path) -> io::Result<()> {
    let status = command(program, name, input, output).status()?;
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{name} of {} failed: {status}", input.display())))
}

/// Hidden files and directories beside an output.
fn left_behind(output: &Path) -> io::Result<usize> {
    let folder = output.parent().unwrap_or(Path::new("."));
    let mut count = 0;
    for entry in fs::read_dir(folder)? {
        count += usize::from(entry?.file_name().as_encoded_bytes().starts_with(b"."));
    }
    Ok(count)
}

fn content(path: &Path) -> io::Result<Content> {
    let mut files = Content::new();
    let mut left = vec![path.to_owned()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            for entry in fs::read_dir(&path)? {
                left.push(entry?.path());
            }
        } else {
            let bytes = fs::read(&path)?;
            files.insert(path, bytes);
        }
    }
    Ok(files)
}
