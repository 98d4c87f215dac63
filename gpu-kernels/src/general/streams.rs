//! Planes with one table, step by step: any coding, any number of states. Elements of two and four bytes
//! have [`super::passes`] for it.
//!
//! The unsafe functions here share the promise of [`super`].

use codec::constants::LANES;
use codec::device::{plane_kind, shared_layout};
use codec::rans::TableEntry;
use codec::split::merge_four_nibbles;
use cuda_std::shared::SharedAddress;
use cuda_std::{async_copy, global, thread, warp};

use super::lane::Lane;
use super::layout::Stream;
use super::output::RunBytes;
use super::{Block, Target};
use crate::escapes::{Escapes, MARK, VALUES_BYTES, announced};
use crate::grid::{ALL_LANES, SharedLayout, WARP, copy_to_shared};
use crate::parts::first_bytes;

impl<const WIDTH: u32> Block<'_, WIDTH> {
    /// A plane of symbols with one table.
    pub(super) unsafe fn decode_stream(&self, target: Target, kind: u8, stream: &Stream) -> u32 {
        // SAFETY: the stream's parts lie within the block.
        let mut lane = unsafe { Lane::new(self, stream) };
        // SAFETY: the module's promise.
        let table = unsafe { self.load_table(target.plane) };
        lane.wait();
        let per_symbol = if kind == plane_kind::SYMBOLS { 1 } else { 2 };
        let (mut group, mut escapes) = (0, 0);
        while group < self.groups() {
            // SAFETY: the module's promise; the group is one of the block's.
            let before = unsafe { self.before(target, group) };
            let mut bytes = RunBytes::default();
            let mut symbol_number = 0;
            while symbol_number < Self::RUN / per_symbol {
                let last = self.carries_symbols() && group + 1 == self.groups();
                let symbol = match self.carried_steps().checked_sub(Self::RUN - symbol_number) {
                    // SAFETY: the table is the stream's.
                    Some(number) if last => unsafe { table.values(lane.carried(number)) },
                    // SAFETY: the lane was made for a stream of the block.
                    _ => unsafe { lane.step(|slot| table.entry(slot)) },
                };
                let two = kind == plane_kind::PAIRS;
                // SAFETY: the table is the stream's.
                let value = if two { unsafe { table.values(symbol) } } else { symbol };
                let at = symbol_number * if two { 2 } else { 1 };
                if two {
                    let element = (group * LANES as u32 + warp::lane_id()) * Self::RUN + at;
                    escapes += announced([value], self.task.elements.saturating_sub(element));
                }
                bytes.push(value & 0xFF);
                if two {
                    bytes.push(value >> 8 & 0xFF);
                }
                symbol_number += 1;
            }
            let bytes = if kind == plane_kind::NIBBLE_PAIRS {
                // SAFETY: the raw nibbles lie within the block.
                unsafe { self.merge_nibbles(stream, group, bytes.words(Self::RUN / 2)) }
            } else {
                bytes.words(Self::RUN)
            };
            // SAFETY: the module's promise; the group is one of the block's.
            unsafe { self.put(target, group, before, bytes) };
            group += 1;
        }
        let carries = target.plane + 1 == WIDTH && self.carried() > 0;
        let mut found = lane.finish(carries || self.carries_symbols());
        if carries {
            // SAFETY: the module's promise; the last plane's stream has been decoded.
            unsafe { self.fill_in_carried(kind, lane.final_states()) };
        }
        if kind == plane_kind::PAIRS {
            // SAFETY: the escapes lie within the block.
            found |= unsafe {
                let list = self.part(stream.escapes_at).cast();
                let listed = Escapes { list, count: stream.escapes };
                let place = (target.plane, self.specs.arrangement);
                listed.fill_in::<WIDTH>(&self.task, place, table.mark(), escapes)
            };
        }
        found
    }

    /// The shared memory of a thread block as the warp sees it, with a table of its own.
    pub(super) fn shared_of_warp(&self) -> SharedLayout {
        let warp = thread::thread_idx_x() / WARP;
        let mut shared = self.shared;
        shared.entries = shared.entries.offset(warp * shared_layout::TABLE_BYTES);
        shared.expanded = shared.entries.offset(shared_layout::EXPANDED);
        shared
    }

    /// Starts to bring the table of a plane to the warp's shared memory, in the place of the one before.
    pub(super) unsafe fn load_table(&self, plane: u32) -> Table {
        let target = self.shared_of_warp().entries;
        // The other lanes may still be reading the one before.
        warp::sync_warp(ALL_LANES);
        // SAFETY: the host made it a position within the tables; within the table and its room.
        unsafe {
            let table = self.tables.add(self.specs.tables[plane as usize] as usize);
            let lanes = (warp::lane_id(), WARP);
            copy_to_shared(table.cast(), target, shared_layout::TABLE_BYTES, lanes);
        }
        async_copy::commit();
        Table(target)
    }

    /// Eight symbols in two words, joined with their raw nibbles.
    unsafe fn merge_nibbles(&self, stream: &Stream, group: u32, symbols: [u32; 4]) -> [u32; 4] {
        let offset = (group * LANES as u32 + warp::lane_id()) * 8;
        let length = self.task.elements.div_ceil(2) - self.carried();
        let mut run = [0; 4];
        let mut word = 0;
        while word < 4 {
            let at = offset + 4 * (word / 2);
            let raw = if at < length {
                // SAFETY: within the raw nibbles or their padding; a multiple of 4.
                let loaded = unsafe { global::load_u32(self.part(stream.raw_at + at).cast()) };
                first_bytes(loaded, length - at)
            } else {
                0
            };
            let half = |both: u32| {
                let two = both >> (word % 2 * 16);
                two & 0xFF | (two & 0xFF00) << 8
            };
            run[word as usize] = merge_four_nibbles(half(symbols[word as usize / 2]), half(raw));
            word += 1;
        }
        run
    }
}

/// A table in shared memory, laid out as [`codec::device::KernelTable`].
#[derive(Clone, Copy)]
pub(super) struct Table(SharedAddress);

impl Table {
    /// The entry of a slot, which is below the table's size.
    unsafe fn entry(self, slot: u32) -> TableEntry {
        // SAFETY: the caller's promise; nobody writes there while a stream is decoded.
        TableEntry(unsafe { self.0.offset(4 * slot).load_u32_constant() })
    }

    /// Both values of a symbol of pairs, in the low half.
    unsafe fn values(self, symbol: u32) -> u32 {
        // SAFETY: every symbol has an entry; nobody writes there while a stream is decoded.
        unsafe { self.expanded().offset(symbol * VALUES_BYTES).load_u32_constant() }
    }

    /// What stands for an escape.
    unsafe fn mark(self) -> u32 {
        // SAFETY: it has a place there; nobody writes there while a stream is decoded.
        unsafe { self.expanded().offset(MARK).load_u32_constant() }
    }

    fn expanded(self) -> SharedAddress {
        self.0.offset(shared_layout::EXPANDED)
    }
}
