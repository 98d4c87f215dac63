//! The kernel that undoes references, run by the emulator and held against the CPU.

use codec::device::ReferenceTask;
use codec::reference::{Reference, packed, refer, restore};
use codec::split::{ElementLayout, Width};
use cuda_std::emulator::{EmulationError, GlobalRange, Grid, LaneOrder, launch};
use gpu_kernels::reference::undo_references;
use wcodec_tests::Random;

/// Bytes at a multiple of 16.
struct Runs {
    runs: Vec<u128>,
    bytes: usize,
}

impl Runs {
    fn new(bytes: &[u8]) -> Self {
        let run = |part: &[u8]| {
            u128::from_ne_bytes(std::array::from_fn(|at| part.get(at).copied().unwrap_or(0)))
        };
        Self { runs: bytes.chunks(16).map(run).collect(), bytes: bytes.len() }
    }

    fn bytes(&self) -> Vec<u8> {
        self.runs.iter().flat_map(|run| run.to_ne_bytes()).take(self.bytes).collect()
    }

    fn address(&mut self) -> u64 {
        self.runs.as_mut_ptr().expose_provenance() as u64
    }

    /// Only the bytes themselves, so that the emulator refuses those after them.
    fn range(&self, writable: bool) -> GlobalRange {
        let start = self.runs.as_ptr().addr();
        GlobalRange { addresses: start..start + self.bytes, writable }
    }
}

/// Blocks of these operations, each a task of its own, in one launch.
fn run(
    blocks: &[(u32, Vec<u8>, Vec<u8>)],
    lane_order: LaneOrder,
) -> Result<Vec<Vec<u8>>, EmulationError> {
    let mut memory: Vec<(Runs, Runs)> =
        blocks.iter().map(|(_, coded, base)| (Runs::new(coded), Runs::new(base))).collect();
    let tasks: Vec<ReferenceTask> = blocks
        .iter()
        .zip(&mut memory)
        .map(|((operation, coded, _), (out, base))| ReferenceTask {
            base: base.address(),
            out: out.address(),
            bytes: coded.len() as u32,
            operation: *operation,
        })
        .collect();
    let ranges = memory.iter().flat_map(|(out, base)| [out.range(true), base.range(false)]);
    let grid = Grid {
        blocks: 2,
        threads_per_block: 64,
        global: Some(ranges.chain([GlobalRange::readable(&tasks)]).collect()),
        lane_order,
        ..Grid::default()
    };
    let (tasks_at, count) = (tasks.as_ptr(), tasks.len() as u32);
    // SAFETY: everything lives on; the emulator refuses whatever lies outside of it.
    launch(&grid, move || unsafe { undo_references(tasks_at, count) })?;
    Ok(memory.iter().map(|(out, _)| out.bytes()).collect())
}

#[test]
fn every_operation_and_length_gives_what_the_cpu_gives() {
    let mut random = Random::new(9);
    let mut blocks = Vec::new();
    let mut expected = Vec::new();
    for width in [Width::One, Width::Two, Width::Four, Width::Eight] {
        for rotated in [false, true] {
            for reference in [Reference::Xor, Reference::Difference] {
                for elements in [1, 2, 3, 5, 15, 16, 17, 255, 256, 257, 1031] {
                    let layout = ElementLayout { width, rotated };
                    let mut bytes = || -> Vec<u8> {
                        (0..elements * width.bytes()).map(|_| random.bits() as u8).collect()
                    };
                    let (elements, base) = (bytes(), bytes());
                    let mut coded = vec![0; elements.len()];
                    refer(reference, layout, &elements, &base, &mut coded);
                    let mut restored = coded.clone();
                    restore(reference, layout, &mut restored, &base);
                    assert!(restored == elements);
                    blocks.push((packed(reference, layout), coded, base));
                    expected.push(elements);
                }
            }
        }
    }
    for lane_order in [LaneOrder::Ascending, LaneOrder::Descending] {
        let found = run(&blocks, lane_order).unwrap_or_else(|error| panic!("{error}"));
        assert!(found == expected);
    }
}

/// Tasks come from the host, which checks the index; a kernel given others stays within its memory.
#[test]
fn operations_that_do_not_exist_stay_within_memory() {
    let block = |operation: u32| (operation, vec![1; 37], vec![2; 37]);
    let blocks: Vec<_> = [0, 3, 9 << 8, u32::MAX].into_iter().map(block).collect();
    let found = run(&blocks, LaneOrder::Ascending).unwrap_or_else(|error| panic!("{error}"));
    assert!(found.iter().all(|block| block.len() == 37));
}
