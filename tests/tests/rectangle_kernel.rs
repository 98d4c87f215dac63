//! The kernel that copies rectangles, run by the emulator and held against a copy byte by byte.

use std::ops::Range;

use codec::device::RectangleTask;
use cuda_std::emulator::{EmulationError, GlobalRange, Grid, LaneOrder, launch};
use gpu_kernels::rectangles::copy_rectangles;
use wcodec_tests::Random;

/// What a byte holds that nobody has written.
const UNTOUCHED: u8 = 0xEE;

/// Bytes at a multiple of 16.
struct Memory(Vec<u128>);

impl Memory {
    fn new(bytes: impl Iterator<Item = u8>) -> Self {
        let bytes: Vec<u8> = bytes.collect();
        let run = |part: &[u8]| {
            u128::from_ne_bytes(std::array::from_fn(|at| part.get(at).copied().unwrap_or(0)))
        };
        Self(bytes.chunks(16).map(run).collect())
    }

    fn address(&mut self) -> u64 {
        self.0.as_mut_ptr().expose_provenance() as u64
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|run| run.to_ne_bytes()).collect()
    }
}

/// A rectangle with places in a source and a destination of its own.
#[derive(Debug, Clone, Copy)]
struct Rectangle {
    from: usize,
    to: usize,
    from_pitch: usize,
    to_pitch: usize,
    width: usize,
    rows: usize,
}

impl Rectangle {
    /// The bytes of each row from `start` on.
    fn rows(&self, start: usize, pitch: usize) -> impl Iterator<Item = Range<usize>> {
        let width = self.width;
        (0..self.rows).map(move |row| start + row * pitch..start + row * pitch + width)
    }

    /// Bytes from the beginning of the memory to the end of the last row, and some more, in whole runs.
    fn room(&self, start: usize, pitch: usize) -> usize {
        self.rows(start, pitch).map(|row| row.end).max().unwrap_or(start).next_multiple_of(16) + 32
    }
}

/// The bytes of a source and a destination.
struct Copied {
    source: Vec<u8>,
    target: Vec<u8>,
}

/// Runs all rectangles in one launch in which nothing but their bytes may be accessed, and compares.
fn check(rectangles: &[Rectangle], (blocks, warps): (u32, u32), lane_order: LaneOrder) {
    let copied = run(rectangles, (blocks, warps), lane_order);
    let copied = copied.unwrap_or_else(|error| panic!("{error}"));
    for (rectangle, Copied { source, target }) in rectangles.iter().zip(copied) {
        let mut expected = vec![UNTOUCHED; target.len()];
        let from = rectangle.rows(rectangle.from, rectangle.from_pitch);
        for (from, to) in from.zip(rectangle.rows(rectangle.to, rectangle.to_pitch)) {
            expected[to].copy_from_slice(&source[from]);
        }
        assert!(target == expected, "{rectangle:?}");
    }
}

/// What each source and destination holds afterwards.
fn run(
    rectangles: &[Rectangle],
    (blocks, warps): (u32, u32),
    lane_order: LaneOrder,
) -> Result<Vec<Copied>, EmulationError> {
    let memory = |rectangle: &Rectangle| {
        let source = rectangle.room(rectangle.from, rectangle.from_pitch);
        let target = rectangle.room(rectangle.to, rectangle.to_pitch);
        let source = Memory::new((0..source).map(|at| (at % 251) as u8));
        (source, Memory::new(std::iter::repeat_n(UNTOUCHED, target)))
    };
    let mut memory: Vec<(Memory, Memory)> = rectangles.iter().map(memory).collect();
    let mut ranges = Vec::new();
    let mut tasks = Vec::new();
    for (rectangle, (source, target)) in rectangles.iter().zip(&mut memory) {
        let (source, target) = (source.address() as usize, target.address() as usize);
        let Rectangle { from, to, from_pitch, to_pitch, width, rows } = *rectangle;
        let allow = |start: usize, writable: bool| {
            move |row: Range<usize>| GlobalRange {
                addresses: start + row.start..start + row.end,
                writable,
            }
        };
        ranges.extend(rectangle.rows(from, from_pitch).map(allow(source, false)));
        ranges.extend(rectangle.rows(to, to_pitch).map(allow(target, true)));
        tasks.push(RectangleTask {
            from: (source + from) as u64,
            to: (target + to) as u64,
            from_pitch: from_pitch as u32,
            to_pitch: to_pitch as u32,
            width: width as u32,
            rows: rows as u32,
        });
    }
    ranges.push(GlobalRange::readable(&tasks));
    let grid = Grid {
        blocks,
        threads_per_block: 32 * warps,
        global: Some(ranges),
        lane_order,
        ..Grid::default()
    };
    let (tasks_at, count) = (tasks.as_ptr(), tasks.len() as u32);
    // SAFETY: everything lives on; the emulator refuses whatever lies outside of it.
    launch(&grid, move || unsafe { copy_rectangles(tasks_at, count) })?;
    let copied = |(source, target): &(Memory, Memory)| Copied {
        source: source.bytes(),
        target: target.bytes(),
    };
    Ok(memory.iter().map(copied).collect())
}

/// Lengths on both sides of units, of the least number of them, and of what a warp takes at a time.
const WIDTHS: [usize; 19] =
    [1, 2, 3, 4, 7, 8, 12, 15, 16, 17, 31, 32, 48, 127, 128, 129, 144, 512, 2049];

#[test]
fn every_alignment_of_one_row() {
    let mut rectangles = Vec::new();
    for from in 0..17 {
        for to in [0, 1, 2, 4, 5, 8, 15, 16, from] {
            for width in WIDTHS {
                // Of one row the pitches mean nothing.
                let pitch = (from * 3 + width) % 23;
                rectangles.push(Rectangle {
                    from,
                    to,
                    from_pitch: pitch,
                    to_pitch: pitch / 2,
                    width,
                    rows: 1,
                });
            }
        }
    }
    check(&rectangles, (2, 3), LaneOrder::Ascending);
}

#[test]
fn rows_at_any_distance() {
    let mut rectangles = Vec::new();
    for width in WIDTHS {
        for (more_from, more_to) in [(0, 0), (16, 0), (32, 16), (6, 2), (1, 0), (5, 5), (128, 4)] {
            for (from, to) in [(0, 0), (16, 32), (2, 2), (9, 9), (3, 8)] {
                for rows in [2, 3, 33] {
                    let (from_pitch, to_pitch) = (width + more_from, width + more_to);
                    rectangles.push(Rectangle { from, to, from_pitch, to_pitch, width, rows });
                }
            }
        }
    }
    check(&rectangles, (3, 2), LaneOrder::Descending);
}

#[test]
fn random_rectangles_by_any_number_of_warps() {
    let mut random = Random::new(77);
    let mut below = |most: usize| random.bits() as usize % most;
    for (blocks, warps) in [(1, 1), (1, 8), (7, 2), (40, 1)] {
        let rectangles: Vec<Rectangle> = (0..150)
            .map(|_| {
                // Half of them with something in common, as slices of whole elements have.
                let unit = [1, 1, 1, 2, 4, 16][below(6)];
                let width = unit * (1 + below(600 / unit));
                Rectangle {
                    from: unit * below(40),
                    to: unit * below(40),
                    from_pitch: width + unit * below(70),
                    to_pitch: width + unit * below(7),
                    width,
                    rows: 1 + below(20),
                }
            })
            .collect();
        check(&rectangles, (blocks, warps), LaneOrder::Ascending);
    }
}

#[test]
fn without_rows_or_bytes_or_tasks_nothing_is_touched() {
    let empty = |width: usize, rows: usize| Rectangle {
        from: 3,
        to: 5,
        from_pitch: 64,
        to_pitch: 64,
        width,
        rows,
    };
    check(&[empty(16, 0), empty(0, 1), empty(0, 9), empty(0, 0)], (2, 2), LaneOrder::Ascending);
    check(&[], (1, 1), LaneOrder::Ascending);
}

/// Rows of a slice that lie side by side, each copied by other lanes than its neighbours.
#[test]
fn rows_without_a_gap_between_them_keep_to_their_bytes() {
    let columns = |width: usize| Rectangle {
        from: 2,
        to: 6,
        from_pitch: 2 * width,
        to_pitch: width,
        width,
        rows: 70,
    };
    let rectangles: Vec<Rectangle> = (1..=70).chain([130, 258, 386]).map(columns).collect();
    for lane_order in [LaneOrder::Ascending, LaneOrder::Descending] {
        check(&rectangles, (2, 4), lane_order);
    }
}
