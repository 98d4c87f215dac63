//! When the device was busy.

use cuda_driver::cust::event::Event;

use super::device::gpu;
use crate::error::Result;

/// Times between pairs of events, in milliseconds since another one.
pub(super) struct Intervals<'a> {
    origin: &'a Event,
    all: Vec<(f32, f32)>,
}

impl<'a> Intervals<'a> {
    pub(super) fn since(origin: &'a Event) -> Self {
        Self { origin, all: Vec::new() }
    }

    /// Adds the time between two events that have happened.
    pub(super) fn add(&mut self, [begin, end]: &[Event; 2]) -> Result<()> {
        let at = |event: &Event| event.elapsed_time_f32(self.origin).map_err(gpu("tell the time"));
        self.all.push((at(begin)?, at(end)?));
        Ok(())
    }

    pub(super) fn into_vec(self) -> Vec<(f32, f32)> {
        self.all
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
