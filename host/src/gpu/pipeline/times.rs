//! How long the stages of a transfer took.

use std::time::Instant;

/// What threads have measured.
#[derive(Default)]
pub(super) struct Times {
    pub(super) read_seconds: f64,
    pub(super) checksum_seconds: f64,
    /// Begin and end of each copy and of each batch's kernels, in milliseconds since the origin.
    pub(super) copies: Vec<(f32, f32)>,
    pub(super) decodes: Vec<(f32, f32)>,
    /// When the first thread had its pinned memory.
    pub(super) ready: Option<Instant>,
}

impl Times {
    pub(super) fn add(&mut self, other: Self) {
        self.read_seconds += other.read_seconds;
        self.checksum_seconds += other.checksum_seconds;
        self.copies.extend(other.copies);
        self.decodes.extend(other.decodes);
        self.ready = [self.ready, other.ready].into_iter().flatten().min();
    }
}

/// Seconds that at least one of the intervals, in milliseconds, covers.
pub(super) fn covered_seconds(mut intervals: Vec<(f32, f32)>) -> f64 {
    intervals.sort_by(|left, right| left.0.total_cmp(&right.0));
    let (mut covered, mut end) = (0.0, f32::NEG_INFINITY);
    for (start, stop) in intervals {
        covered += f64::from((stop - start.max(end)).max(0.0));
        end = end.max(stop);
    }
    covered / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covered_time_counts_once() {
        assert_eq!(covered_seconds(vec![]), 0.0);
        let intervals = vec![(4000.0, 5000.0), (0.0, 1000.0), (500.0, 2000.0), (600.0, 700.0)];
        assert_eq!(covered_seconds(intervals), 3.0);
    }
}
