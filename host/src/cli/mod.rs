//! The command line: one file per subcommand, and what they share.

mod answer;
mod arguments;
mod base;
mod bench;
mod decode;
mod demo;
mod directory;
mod dtypes;
mod encode;
mod explain;
mod gpu;
mod inspect;
mod load;
mod paths;
mod progress;
mod signals;
mod table;
mod verify;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use wcodec::{Error, ErrorKind, Result};

use answer::Answer;
use arguments::{Arguments, Command, Common};

/// Runs the command that the process was started with.
pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(answer) => print(&answer, &arguments.common),
        Err(error) => fail(&error.to_string(), error.kind()),
    }
}

fn run(arguments: &Arguments) -> Result<Answer> {
    let common = &arguments.common;
    signals::watch()?;
    wcodec::guard_mapped_files()?;
    start_threads(common.threads, &arguments.command)?;
    wcodec::simd_level()?;
    match &arguments.command {
        Command::Encode(encode) => encode::run(encode, common),
        Command::Decode(decode) => decode::run(decode, common),
        Command::Inspect(inspect) => inspect::run(inspect),
        Command::Verify(verify) => verify::run(verify, common),
        Command::Gpu => gpu::run(),
        Command::Load(load) => load::run(load, common),
        Command::Bench(bench) => bench::run(bench),
        Command::Demo => demo::run(),
    }
}

/// Starts the threads that encoding and decoding run on; 0 means one per processor.
///
/// The current one is among them: it would only wait for the others, and what it begins with would wait until
/// one of those is awake. But not for a directory: several of its files are under way at a time only if they are
/// begun outside of the pool.
fn start_threads(threads: u16, command: &Command) -> Result<()> {
    let mut pool = rayon::ThreadPoolBuilder::new().num_threads(threads.into());
    if !command.is_for_directory() {
        pool = pool.use_current_thread();
    }
    pool.build_global().map_err(|error| Error::InvalidArgument {
        what: format!("--threads {threads}"),
        detail: format!("the threads cannot be started: {error}"),
    })
}

fn print(answer: &Answer, common: &Common) -> ExitCode {
    let text = if common.json {
        format!("{:#}\n", answer.json)
    } else if common.quiet {
        String::new()
    } else {
        answer.text.clone()
    };
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        // Whoever reads has seen enough; the work itself is done.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(
            &format!("cannot write to standard output: {error}; check where it goes"),
            ErrorKind::Io,
        ),
        Ok(()) => ExitCode::SUCCESS,
    }
}

fn fail(sentence: &str, kind: ErrorKind) -> ExitCode {
    // Where standard error is closed there is nobody left to tell; the exit status says it.
    let _ = writeln!(io::stderr(), "wcodec: {sentence}");
    ExitCode::from(kind.exit_code())
}
