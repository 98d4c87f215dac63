//! What happens when the process is told to end.

use wcodec::Result;

/// Lets Ctrl-C and its like remove what is unfinished before the process ends.
#[cfg(unix)]
pub(super) fn watch() -> Result<()> {
    use std::io::{self, Write};

    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;
    use wcodec::Error;

    /// What shells add to a signal's number for the exit status of what it ended.
    const STATUS_OF_SIGNALS: i32 = 128;

    let failed = |source| Error::io("watch for signals in", "this process", source);
    // A signal that is ignored (as SIGHUP under `nohup`) stays so.
    let watched = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|&signal| !is_ignored(signal));
    let mut signals = Signals::new(watched).map_err(failed)?;
    let wait = move || {
        if let Some(signal) = signals.forever().next() {
            wcodec::output::abandon_unfinished();
            // Where standard error is closed the exit status says it.
            let _ = writeln!(io::stderr(), "wcodec: interrupted; the output is as it was");
            std::process::exit(STATUS_OF_SIGNALS + signal);
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait).map_err(failed)?;
    Ok(())
}

/// Whether the process was started with `signal` ignored, which Linux says in `/proc`.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    ignored.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Other systems end the process at once.
#[cfg(not(unix))]
pub(super) fn watch() -> Result<()> {
    Ok(())
}
