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
    let ignored = ignored();
    let is_watched = |signal: &i32| ignored >> (signal - 1) & 1 == 0;
    let watched = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(is_watched);
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

/// The signals that the process was started to ignore, which Linux says in `/proc`; the lowest bit is the
/// first.
#[cfg(unix)]
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or_default()
}

/// Other systems end the process at once.
#[cfg(not(unix))]
pub(super) fn watch() -> Result<()> {
    Ok(())
}
