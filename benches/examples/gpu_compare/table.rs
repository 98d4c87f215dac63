//! Measurements as lines of a table, and what they say of each other.

use std::fmt;

/// Untimed runs before the timed ones.
pub(crate) const WARM_UPS: usize = 2;
/// Timed runs of each line.
pub(crate) const RUNS: usize = 15;

/// One measurement.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    /// What was measured.
    pub(crate) what: String,
    /// Compressed size over original size.
    pub(crate) size: f64,
    /// Decoded GB/s of the median run.
    pub(crate) median: f64,
    /// Decoded GB/s of the fastest run.
    pub(crate) best: f64,
}

impl Line {
    /// The line of [`RUNS`] runs that decode `compressed` bytes to `original` bytes.
    pub(crate) fn new(what: String, compressed: u64, original: u64, milliseconds: &[f32]) -> Self {
        let mut sorted = milliseconds.to_vec();
        sorted.sort_by(f32::total_cmp);
        let speed = |run: usize| original as f64 / f64::from(sorted[run]) / 1e6;
        Self {
            what,
            size: compressed as f64 / original as f64,
            median: speed(sorted.len() / 2),
            best: speed(0),
        }
    }

    /// Names of the columns.
    pub(crate) fn heading() -> String {
        format!("{:<42} {:>8} {:>10} {:>10}", "what", "size", "median", "best")
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, size, median, best } = self;
        write!(f, "{what:<42} {size:>8.5} {median:>10.1} {best:>10.1}")
    }
}

/// Whether a line of `ours` is at least as small and, by the median, at least as fast as `theirs`.
pub(crate) fn verdict(theirs: &Line, ours: &[Line]) -> String {
    let small_enough = ours.iter().filter(|line| line.size <= theirs.size);
    match small_enough.max_by(|left, right| left.median.total_cmp(&right.median)) {
        Some(line) if line.median >= theirs.median => format!(
            "beaten by {} ({:.1} GB/s at {:.5}, against {:.1} at {:.5})",
            line.what, line.median, line.size, theirs.median, theirs.size
        ),
        Some(line) => format!(
            "NOT beaten ({:.1} GB/s at {:.5}): best wcodec at this size or smaller is {:.1} GB/s \
             ({})",
            theirs.median, theirs.size, line.median, line.what
        ),
        None => format!(
            "NOT beaten ({:.1} GB/s at {:.5}): no wcodec line is this small",
            theirs.median, theirs.size
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(what: &str, size: f64, median: f64) -> Line {
        Line { what: what.into(), size, median, best: median }
    }

    #[test]
    fn lines_hold_the_median_and_the_best_run() {
        let line = Line::new("x".into(), 1_000_000, 4_000_000, &[4.0, 1.0, 2.0]);
        assert_eq!(line, Line { what: "x".into(), size: 0.25, median: 2.0, best: 4.0 });
    }

    #[test]
    fn what_beats_is_as_small_and_as_fast() {
        let ours = [line("a", 0.66, 1500.0), line("b", 0.67, 1600.0), line("c", 0.65, 1000.0)];
        let verdict = |size, median| verdict(&line("theirs", size, median), &ours);
        assert!(verdict(0.66, 1500.0).starts_with("beaten by a "));
        assert!(verdict(0.68, 1500.0).starts_with("beaten by b "));
        assert!(verdict(0.66, 1550.0).contains("at this size or smaller is 1500.0 GB/s (a)"));
        assert!(verdict(0.66, 1550.0).starts_with("NOT beaten"));
        assert!(verdict(0.64, 10.0).ends_with("no wcodec line is this small"));
    }
}
