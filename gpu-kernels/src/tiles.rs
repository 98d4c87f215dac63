//! Undoes the predictions and transforms of tiles. Half of a warp works on a tile; the arithmetic
//! is that of [`codec::tile`].
//!
//! A tile lies in shared memory while it is worked on. A lane is a column of it while elements are
//! loaded, stored, and transformed along columns, and a row in between. Predictions go along
//! diagonals: in step s the lane of row r has the element of column s - r, whose neighbours left and
//! above have all had an earlier step. A tile without neighbours to the left, or above, goes row by row,
//! or column by column, in half as many steps.
//!
//! The unsafe functions here share one promise, which the kernel's caller gives: the task's coded
//! elements and modes are readable and its output writable for the block's elements and sub-blocks,
//! each half of the warp has [`tile_layout::TILE_BYTES`] of shared memory, and all lanes of the warp
//! call them together.

use codec::constants::{SUB_BLOCK_SIDE, TILE_SIDE};
use codec::device::{TileTask, tile_layout};
use codec::tile::{
    BlockGrid, Eight, Mode, NumberFormat, Tile, Transform, predict, unfold_coefficient,
};
use cuda_std::shared::SharedAddress;
use cuda_std::{global, kernel, thread, warp};

use crate::grid::{ALL_LANES, WARP};

const TILE: u32 = TILE_SIDE as u32;
const SUB_BLOCK: u32 = SUB_BLOCK_SIDE as u32;

/// Rows whose loads are under way together.
const ROWS_TOGETHER: usize = 4;

/// A tile as the lanes of half a warp see it.
struct Half {
    task: TileTask,
    format: NumberFormat,
    /// Without rows where there is no tile left for this half.
    tile: Tile,
    /// The modes of its sub-blocks, a byte each.
    modes: u32,
    /// Row or column of the lane.
    lane: u32,
    /// The tile's elements, as ordered integers.
    values: SharedAddress,
}

/// Eight elements of a tile in a row or a column.
struct Line {
    first: SharedAddress,
    stride: u32,
}

impl Eight for Line {
    #[inline(always)]
    fn get(&self, index: u32) -> i32 {
        // SAFETY: a sub-block's rows and columns have eight elements in the tile.
        unsafe { self.first.offset(index * self.stride).load_u32() as i32 }
    }

    #[inline(always)]
    fn set(&mut self, index: u32, value: i32) {
        // SAFETY: as above; only this lane accesses the line before a barrier.
        unsafe { self.first.offset(index * self.stride).store_u32(value as u32) }
    }
}

/// The modes of a tile's sub-blocks, a byte each.
#[inline(always)]
unsafe fn modes_of(task: &TileTask, tile: Tile) -> u32 {
    let mut modes = 0;
    let mut number = 0;
    while number < tile.sub_blocks() {
        let at = (task.modes as *const u8).wrapping_add((tile.sub_block + number) as usize);
        // SAFETY: the module's promise; the sub-block is one of the block's.
        modes |= u32::from(unsafe { global::load_u8_plain(at) }) << (8 * number);
        number += 1;
    }
    modes
}

impl Half {
    unsafe fn new(task: TileTask, number: u32, values: SharedAddress) -> Self {
        let grid = BlockGrid { elements: task.elements, columns: task.columns };
        let mut tile = grid.tile(task.first_tile);
        if number < task.tiles {
            tile = grid.tile(task.first_tile + number);
        } else {
            tile.height = 0;
        }
        let format = NumberFormat::from_packed(task.format);
        let lane = warp::lane_id() % TILE;
        // SAFETY: the module's promise.
        let modes = unsafe { modes_of(&task, tile) };
        Self { task, format, tile, modes, lane, values }
    }

    fn address(&self, row: u32, column: u32) -> SharedAddress {
        self.values.offset(row * tile_layout::ROW_BYTES + 4 * column)
    }

    fn contains(&self, row: u32, column: u32) -> bool {
        row < self.tile.height && column < self.tile.width
    }

    /// The mode of a sub-block of the tile.
    fn mode_of(&self, sub_block: u32) -> Mode {
        Mode::from_number((self.modes >> (8 * sub_block)) as u8).unwrap_or(Mode::None)
    }

    /// The mode of the sub-block of an element of the tile.
    fn mode_at(&self, row: u32, column: u32) -> Mode {
        self.mode_of(self.tile.sub_block_at(row, column))
    }

    /// The transforms of a sub-block; none where it isn't there or whole, whatever its mode says.
    fn transforms_at(&self, row: u32, column: u32) -> Option<(Transform, Transform)> {
        let last = (row / SUB_BLOCK + 1, column / SUB_BLOCK + 1);
        let is_whole = self.contains(last.0 * SUB_BLOCK - 1, last.1 * SUB_BLOCK - 1);
        if is_whole { self.mode_at(row, column).transforms() } else { None }
    }

    unsafe fn load_coded(&self, at: u32) -> u32 {
        let start = self.task.coded as *const u8;
        // SAFETY: the module's promise; the element is one of the block's.
        unsafe {
            match self.task.coded_width {
                1 => u32::from(global::load_u8_plain(start.add(at as usize))),
                2 => u32::from(global::load_u16_plain(start.cast::<u16>().add(at as usize))),
                _ => global::load_u32_plain(start.cast::<u32>().add(at as usize)),
            }
        }
    }

    /// Brings coded elements into shared memory, coefficients to their places; whether this lane had
    /// any of those.
    unsafe fn load(&self) -> bool {
        let mut transformed = false;
        let mut row = 0;
        while row < TILE {
            // All loads of some rows come before the first use of one.
            // SAFETY: the module's promise.
            let coded: [u32; ROWS_TOGETHER] =
                core::array::from_fn(|number| unsafe { self.load_row(row + number as u32) });
            let [a, b, c, d] = coded;
            transformed |= self.put_row(row, a) | self.put_row(row + 1, b);
            transformed |= self.put_row(row + 2, c) | self.put_row(row + 3, d);
            row += ROWS_TOGETHER as u32;
        }
        transformed
    }

    /// The coded element of a row that is at the place of the lane's column; the tile's first where there is
    /// none.
    #[inline(always)]
    unsafe fn load_row(&self, row: u32) -> u32 {
        if self.tile.height == 0 {
            return 0;
        }
        let at = if self.contains(row, self.lane) {
            let sub_block = self.tile.sub_block(self.tile.sub_block_at(row, self.lane));
            let inner = (row - sub_block.row, self.lane - sub_block.column);
            sub_block.coded + inner.0 * sub_block.width + inner.1
        } else {
            0
        };
        // SAFETY: the element is in the tile.
        unsafe { self.load_coded(self.tile.coded + at) }
    }

    /// Puts what [`Half::load_row`] loaded where it belongs; whether it is a coefficient.
    #[inline(always)]
    fn put_row(&self, row: u32, coded: u32) -> bool {
        let column = self.lane;
        if !self.contains(row, column) {
            return false;
        }
        let (place, value, is_coefficient) = match self.transforms_at(row, column) {
            Some((along_columns, along_rows)) => {
                let sub_block = self.tile.sub_block(self.tile.sub_block_at(row, column));
                let row = sub_block.row + along_columns.place(row - sub_block.row);
                let column = sub_block.column + along_rows.place(column - sub_block.column);
                (self.address(row, column), unfold_coefficient(coded) as u32, true)
            }
            None => (self.address(row, column), coded, false),
        };
        // SAFETY: in the tile; places of coefficients are a permutation of the sub-block.
        unsafe { place.store_u32(value) };
        is_coefficient
    }

    /// Inverse transforms along the lane's column.
    unsafe fn undo_columns(&self) {
        let mut row = 0;
        while row < TILE {
            if let Some((along_columns, _)) = self.transforms_at(row, self.lane) {
                let first = self.address(row, self.lane);
                along_columns.inverse(&mut Line { first, stride: tile_layout::ROW_BYTES });
            }
            row += SUB_BLOCK;
        }
    }

    /// Inverse transforms along the lane's row, the last ones.
    unsafe fn undo_rows(&self) {
        let mut column = 0;
        while column < TILE {
            if let Some((_, along_rows)) = self.transforms_at(self.lane, column) {
                let mut line = Line { first: self.address(self.lane, column), stride: 4 };
                along_rows.inverse(&mut line);
                let mut index = 0;
                while index < SUB_BLOCK {
                    line.set(index, self.format.wrapped(line.get(index)));
                    index += 1;
                }
            }
            column += SUB_BLOCK;
        }
    }

    /// How far up and left the neighbours are that any element of the tile is predicted from.
    fn reach(&self) -> (u32, u32) {
        let (mut up, mut left, mut number) = (0, 0, 0);
        while number < self.tile.sub_blocks() {
            let of_mode = self.mode_of(number).reach();
            up = u32::max(up, of_mode.0);
            left = u32::max(left, of_mode.1);
            number += 1;
        }
        (up, left)
    }

    /// Undoes predictions, in an order in which all neighbours come before.
    unsafe fn undo_predictions(&self) {
        let (up, left) = self.reach();
        // Both halves of the warp take as many steps.
        let along_diagonals = warp::warp_vote_ballot(ALL_LANES, up > 0 && left > 0) != 0;
        let steps = if along_diagonals { 2 * TILE - 1 } else { TILE };
        let mut step = 0;
        while step < steps {
            let (row, column) = if left == 0 {
                (step, self.lane)
            } else if up == 0 {
                (self.lane, step)
            } else {
                (self.lane, step.wrapping_sub(self.lane))
            };
            if self.contains(row, column) {
                // SAFETY: the element is in the tile.
                unsafe { self.undo_prediction(row, column) };
            }
            warp::sync_warp(ALL_LANES);
            step += 1;
        }
    }

    unsafe fn undo_prediction(&self, row: u32, column: u32) {
        if self.transforms_at(row, column).is_some() {
            return;
        }
        let mode = self.mode_at(row, column);
        let predicted = predict(self.format, mode, row, column, |up, left| {
            // SAFETY: the neighbour is in the tile, and had an earlier step.
            unsafe { self.address(row - up, column - left).load_u32() as i32 }
        });
        let at = self.address(row, column);
        // SAFETY: only this lane accesses the element before the next barrier.
        unsafe {
            let value = self.format.undo_residual(at.load_u32(), predicted);
            at.store_u32(value as u32);
        }
    }

    /// Writes the elements of the lane's column.
    unsafe fn store(&self) {
        let column = self.lane;
        let start = self.task.out as *mut u8;
        let mut row = 0;
        while row < TILE {
            if self.contains(row, column) {
                let at = (self.tile.first + row * self.task.columns + column) as usize;
                // SAFETY: the module's promise; the element is one of the block's, and no other
                // lane's.
                unsafe {
                    let value = self.address(row, column).load_u32();
                    let bits = self.format.from_ordered(value as i32);
                    match self.format.width().bytes() {
                        1 => global::store_u8(start.add(at), bits as u8),
                        2 => global::store_u16(start.cast::<u16>().add(at), bits as u16),
                        _ => global::store_u32(start.cast::<u32>().add(at), bits),
                    }
                }
            }
            row += 1;
        }
    }

    unsafe fn reconstruct(&self) {
        // SAFETY: the module's promise; barriers separate what lanes do to each other's elements.
        unsafe {
            let transformed = self.load();
            warp::sync_warp(ALL_LANES);
            if warp::warp_vote_ballot(ALL_LANES, transformed) != 0 {
                self.undo_columns();
                warp::sync_warp(ALL_LANES);
                self.undo_rows();
                warp::sync_warp(ALL_LANES);
            }
            self.undo_predictions();
            self.store();
            // The next tile takes this one's place.
            warp::sync_warp(ALL_LANES);
        }
    }
}

/// Reconstructs the tiles of all tasks; any number of thread blocks shares them.
///
/// # Safety
///
/// `tasks` has `task_count` tasks, whose coded elements and modes are readable and whose outputs
/// are writable; the dynamic shared memory has [`tile_layout::bytes`] for the thread block's warps.
#[kernel]
pub unsafe fn reconstruct_tiles(tasks: *const TileTask, task_count: u32) {
    let warps = thread::block_dim_x() / WARP;
    let warp_number = thread::thread_idx_x() / WARP;
    let half = warp::lane_id() / TILE;
    let place = warp_number * tile_layout::TILES_PER_WARP + half;
    let values = SharedAddress::base().offset(place * tile_layout::TILE_BYTES);
    let mut number = thread::block_idx_x() * warps + warp_number;
    while number < task_count {
        // SAFETY: below the number of tasks.
        let task = unsafe { *tasks.add(number as usize) };
        let mut tile = 0;
        while tile < task.tiles {
            // SAFETY: the caller's promise.
            unsafe { Half::new(task, tile + half, values).reconstruct() };
            tile += tile_layout::TILES_PER_WARP;
        }
        number += thread::grid_dim_x() * warps;
    }
}
