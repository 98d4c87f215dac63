//! The kernel that undoes tiles, run by the emulator and held against the CPU.

use codec::device::{TileTask, tile_layout};
use codec::split::Width;
use codec::tile::{BlockGrid, Mode, NumberFormat, NumberKind, TiledBlock};
use cuda_std::emulator::{EmulationError, GlobalRange, Grid, LaneOrder, launch};
use gpu_kernels::tiles::reconstruct_tiles;
use wcodec_tests::Random;

/// Bytes at a multiple of four.
struct Words {
    words: Vec<u32>,
    bytes: usize,
}

impl Words {
    fn new(bytes: &[u8]) -> Self {
        let word = |part: &[u8]| {
            u32::from_ne_bytes(std::array::from_fn(|at| part.get(at).copied().unwrap_or(0)))
        };
        Self { words: bytes.chunks(4).map(word).collect(), bytes: bytes.len() }
    }

    fn bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_ne_bytes()).take(self.bytes).collect()
    }

    fn address(&mut self) -> u64 {
        self.words.as_mut_ptr().expose_provenance() as u64
    }

    /// Only the bytes themselves, so that the emulator refuses those after them.
    fn range(&self, writable: bool) -> GlobalRange {
        let start = self.words.as_ptr().addr();
        GlobalRange { addresses: start..start + self.bytes, writable }
    }
}

/// A block with its coded elements, which are arbitrary where `elements` is none.
struct Case {
    grid: BlockGrid,
    format: NumberFormat,
    coded_width: Width,
    modes: Vec<u8>,
    coded: Vec<u8>,
}

impl Case {
    fn block(&self) -> TiledBlock<'_> {
        TiledBlock::new(self.grid, self.format, self.coded_width, &self.modes).expect("modes fit")
    }

    fn expected(&self) -> Vec<u8> {
        let mut elements = vec![0; self.grid.elements as usize * self.format.width().bytes()];
        self.block().reconstruct(&self.coded, &mut elements);
        elements
    }

    /// Tasks for all tiles, some of an odd number.
    fn tasks(&self, coded: u64, out: u64, modes: u64) -> Vec<TileTask> {
        let tiles = self.grid.tiles();
        let starts = (0..tiles).step_by(3);
        let task = |first_tile: u32| TileTask {
            coded,
            out,
            modes,
            elements: self.grid.elements,
            columns: self.grid.columns,
            first_tile,
            tiles: (tiles - first_tile).min(3),
            format: self.format.packed(),
            coded_width: self.coded_width.bytes() as u32,
        };
        starts.map(task).collect()
    }
}

fn run(case: &Case, lane_order: LaneOrder, warp_lead: u32) -> Result<Vec<u8>, EmulationError> {
    const WARPS: u32 = 2;
    let mut coded = Words::new(&case.coded);
    let mut modes = Words::new(&case.modes);
    let bytes = case.grid.elements as usize * case.format.width().bytes();
    let mut out = Words::new(&vec![0xAA; bytes]);
    let tasks = case.tasks(coded.address(), out.address(), modes.address());
    let grid = Grid {
        blocks: 2,
        threads_per_block: 32 * WARPS,
        shared_bytes: tile_layout::bytes(WARPS),
        global: Some(vec![
            GlobalRange::readable(&tasks),
            coded.range(false),
            modes.range(false),
            out.range(true),
        ]),
        lane_order,
        warp_lead,
        ..Grid::default()
    };
    let (tasks_at, count) = (tasks.as_ptr(), tasks.len() as u32);
    // SAFETY: everything lives on; the emulator refuses whatever lies outside of it.
    launch(&grid, move || unsafe { reconstruct_tiles(tasks_at, count) })?;
    Ok(out.bytes())
}

fn check(case: &Case) {
    let expected = case.expected();
    for (lane_order, warp_lead) in [(LaneOrder::Ascending, 0), (LaneOrder::Descending, 50)] {
        let found = run(case, lane_order, warp_lead);
        let found = found.unwrap_or_else(|error| panic!("{:?}: {error}", case.grid));
        assert!(found == expected, "{:?} {:?} {:?}", case.grid, case.format, case.modes);
    }
}

fn format(width: Width, kind: NumberKind) -> NumberFormat {
    NumberFormat::new(width, kind).expect("narrow enough")
}

fn formats() -> [(NumberFormat, Width); 8] {
    let float = |width, mantissa_bits| format(width, NumberKind::Float { mantissa_bits });
    [
        (format(Width::One, NumberKind::Signed), Width::One),
        (format(Width::One, NumberKind::Signed), Width::Two),
        (format(Width::One, NumberKind::Unsigned), Width::Two),
        (float(Width::One, 3), Width::One),
        (float(Width::Two, 10), Width::Two),
        (float(Width::Two, 7), Width::Two),
        (float(Width::Four, 23), Width::Four),
        (format(Width::Four, NumberKind::Signed), Width::Four),
    ]
}

/// Random coded elements, small ones and any, under modes that begin with `first`.
fn case(
    (format, coded_width): (NumberFormat, Width),
    grid: BlockGrid,
    first: usize,
    random: &mut Random,
) -> Case {
    let mut modes = Vec::new();
    for tile in (0..grid.tiles()).map(|number| grid.tile(number)) {
        for sub_block in (0..tile.sub_blocks()).map(|number| tile.sub_block(number)) {
            let mode = Mode::ALL[(first + 7 * modes.len()) % Mode::ALL.len()];
            let allowed = sub_block.is_whole() && coded_width != format.width();
            let mode = if mode.transforms().is_none() || allowed { mode } else { Mode::Planar };
            modes.push(mode as u8);
        }
    }
    let small = first.is_multiple_of(2);
    let coded = (0..grid.elements)
        .flat_map(|_| {
            let bits = random.bits() as u32;
            let value = if small { bits >> 27 } else { bits };
            value.to_le_bytes().into_iter().take(coded_width.bytes())
        })
        .collect();
    Case { grid, format, coded_width, modes, coded }
}

#[test]
fn every_mode_and_format_gives_what_the_cpu_gives() {
    let mut random = Random::new(3);
    for subject in formats() {
        for first in 0..Mode::ALL.len() {
            let grid = BlockGrid { elements: 40 * 24 + 13, columns: 40 };
            check(&case(subject, grid, first, &mut random));
        }
    }
}

#[test]
fn every_size_of_tile_gives_what_the_cpu_gives() {
    let mut random = Random::new(4);
    for columns in [1, 2, 7, 8, 9, 15, 16, 17, 31, 33, u32::MAX] {
        for elements in [1, 5, 8, 16, 17, 127, 128, 129, 255, 256, 257, 600] {
            let grid = BlockGrid { elements, columns };
            let subject = formats()[(elements % 8) as usize];
            check(&case(subject, grid, (elements + columns % 50) as usize, &mut random));
        }
    }
}

/// Modes come from the file. The host checks them; a kernel that is given others all the same stays
/// within its memory.
#[test]
fn modes_that_do_not_fit_stay_within_memory() {
    let mut random = Random::new(5);
    for subject in formats() {
        let grid = BlockGrid { elements: 20 * 20 + 3, columns: 20 };
        let mut case = case(subject, grid, 1, &mut random);
        case.modes = case.modes.iter().map(|_| random.bits() as u8 % 64).collect();
        let found = run(&case, LaneOrder::Ascending, 0).unwrap_or_else(|error| panic!("{error}"));
        assert!(!found.is_empty());
    }
}
