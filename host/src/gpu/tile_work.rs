//! Tiles of the blocks that a decode has, as tasks for their kernel.

use std::collections::HashSet;

use codec::constants::BLOCK_ALIGNMENT;
use codec::device::{TileTask, tile_layout};
use codec::tile::TiledBlock;

/// Tiles to reconstruct when their blocks have been decoded. All addresses that the device gives, of
/// coded elements and of modes, count from 0 until [`super::work::Work::place`].
#[derive(Debug, Clone, Default)]
pub(crate) struct TileWork {
    pub(crate) tasks: Vec<TileTask>,
    /// The modes of all these blocks.
    pub(crate) modes: Vec<u8>,
    /// Bytes of device memory for coded elements.
    pub(crate) coded_bytes: u64,
    /// The blocks whose output is coded elements: their status words.
    statuses: HashSet<u32>,
}

/// Tiles of a task.
const TILES_PER_TASK: u32 = 8;

/// So few tasks are cut up, so that more warps have one: fewer than a large device has warps.
const FEW_TILE_TASKS: usize = 1024;

impl TileWork {
    /// Adds a block's tiles, whose elements go to `out`; says where its coded elements go.
    pub(super) fn add(&mut self, block: &TiledBlock<'_>, out: u64, status: u32) -> u64 {
        let (coded, modes) = (self.coded_bytes, self.modes.len() as u64);
        let task = |first_tile: u32| TileTask {
            coded,
            out,
            modes,
            elements: block.grid().elements,
            columns: block.grid().columns,
            first_tile,
            tiles: (block.grid().tiles() - first_tile).min(TILES_PER_TASK),
            format: block.format().packed(),
            coded_width: block.coded_width().bytes() as u32,
        };
        let starts = (0..block.grid().tiles()).step_by(TILES_PER_TASK as usize);
        self.tasks.extend(starts.map(task));
        self.modes.extend_from_slice(block.modes());
        self.coded_bytes += (block.coded_bytes() as u64).next_multiple_of(BLOCK_ALIGNMENT as u64);
        self.statuses.insert(status);
        coded
    }

    /// Cuts the tasks up where there are few, into what a warp works on at a time.
    pub(super) fn spread(&mut self) {
        if self.tasks.len() >= FEW_TILE_TASKS {
            return;
        }
        let pieces = self.tasks.iter().flat_map(|task| {
            (0..task.tiles).step_by(tile_layout::TILES_PER_WARP as usize).map(|skipped| TileTask {
                first_tile: task.first_tile + skipped,
                tiles: (task.tiles - skipped).min(tile_layout::TILES_PER_WARP),
                ..*task
            })
        });
        self.tasks = pieces.collect();
    }

    /// Whether the block with this status word is coded elements of tiles.
    pub(super) fn has(&self, status: u32) -> bool {
        self.statuses.contains(&status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_tile_tasks_are_cut_up_and_many_are_not() {
        let task = |tiles: u32| TileTask {
            coded: 0,
            out: 0,
            modes: 0,
            elements: 1 << 14,
            columns: 128,
            first_tile: 8,
            tiles,
            format: 0,
            coded_width: 1,
        };
        let cut = |tasks: Vec<TileTask>| {
            let mut work = TileWork { tasks, ..TileWork::default() };
            work.spread();
            work.tasks.iter().map(|task| (task.first_tile, task.tiles)).collect::<Vec<_>>()
        };
        assert_eq!(cut(vec![task(5), task(1)]), [(8, 2), (10, 2), (12, 1), (8, 1)]);
        assert_eq!(cut(vec![task(8); FEW_TILE_TASKS]), [(8, 8); FEW_TILE_TASKS]);
        assert_eq!(cut(Vec::new()), []);
    }
}
