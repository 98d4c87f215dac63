//! Kernels for any plan of the format, one for each width: plane after plane, every load straight
//! from global memory. Slower than [`crate::fast`], and short enough to audit line by line.
//!
//! The first plane's pass writes a block's output, the others add their bits to it. A lane only
//! ever reads back what it wrote itself, except for escapes, which follow a barrier.
//!
//! The unsafe functions here share one promise, which a kernel's caller gives: the task's block is
//! readable and its output writable for their lengths, shared memory is laid out as
//! [`SharedLayout`](crate::grid::SharedLayout) says, and all lanes of the warp call them together.

use codec::constants::{BLOCK_ALIGNMENT, LANES};
use codec::device::staging::WarpMemory;
use codec::device::{
    BlockTask, KernelClasses, KernelTable, PlaneSpecs, arrangement, plane_kind, status,
};
use codec::rans::{
    TableEntry, advance, byte_of, carried_by, drop_byte, is_escaped_head, is_first_state,
    needs_word, slot, take_word,
};
use codec::split::{
    exponent_of, head_last_32, heads_last, merge_four_nibbles, unrotate_bytes, unrotate_halves,
};
use cuda_std::{global, kernel, warp};

use crate::classes::Choices;
use crate::escapes::{Escapes, MARK, VALUES_BYTES, announced};
use crate::grid::{ALL_LANES, Work, for_each_task};
use crate::output::{add_to_run, replace_bits, store_run};

/// What all planes of a block have in common.
struct Block<'a, const WIDTH: u32> {
    task: BlockTask,
    specs: &'a PlaneSpecs,
    tables: *const KernelTable,
    classes: *const KernelClasses,
}

/// Where the last part of a block ended, and where the next counts of its footer are.
struct Cursor {
    at: u32,
    footer: u32,
}

/// A plane's stream, as the footer describes it; offsets in bytes from the block's start.
struct Stream {
    raw_at: u32,
    states_at: u32,
    words_at: u32,
    words: u32,
    escapes_at: u32,
    escapes: u32,
}

const fn aligned(bytes: u32) -> u32 {
    bytes.next_multiple_of(BLOCK_ALIGNMENT as u32)
}

/// The lowest `count` bytes of a word, for what lies beyond a part is not to be taken for its own:
/// bytes that states carry are added to zeros.
fn first_bytes(word: u32, count: u32) -> u32 {
    if count >= 4 { word } else { word & !(u32::MAX << (8 * count)) }
}

fn has_stream(kind: u8) -> bool {
    kind != plane_kind::RAW && kind != plane_kind::CONSTANT && kind != plane_kind::IN_HEADS
}

/// Whether a stream follows raw nibbles, two a byte.
fn has_nibbles(kind: u8) -> bool {
    kind == plane_kind::NIBBLE_PAIRS || kind == plane_kind::HEADS
}

impl<const WIDTH: u32> Block<'_, WIDTH> {
    /// Elements of a lane in one group.
    const RUN: u32 = 16 / WIDTH;

    unsafe fn decode(&self) -> u32 {
        let streams = (0..WIDTH).filter(|&p| has_stream(self.specs.kinds[p as usize])).count();
        let footer_bytes = 8 * streams as u32;
        let length = self.task.block_bytes;
        if length < footer_bytes
            || length > 1 << 28
            || !length.is_multiple_of(BLOCK_ALIGNMENT as u32)
        {
            return status::LENGTH;
        }
        let mut cursor = Cursor { at: 0, footer: length - footer_bytes };
        let mut found = 0;
        let mut plane = 0;
        while plane < WIDTH {
            // SAFETY: the module's promise; the plane is one of the element's.
            match unsafe { self.decode_plane(plane, &mut cursor) } {
                Some(bad) => found |= bad,
                None => return status::LENGTH,
            }
            plane += 1;
        }
        if aligned(cursor.at + footer_bytes) != length { found | status::LENGTH } else { found }
    }

    /// One plane; `None` when its parts do not fit into the block.
    unsafe fn decode_plane(&self, plane: u32, cursor: &mut Cursor) -> Option<u32> {
        let kind = self.specs.kinds[plane as usize];
        if kind == plane_kind::IN_HEADS {
            return Some(0);
        }
        if has_stream(kind) {
            // SAFETY: the block is long enough for a footer, see `decode`.
            let stream = unsafe { self.next_stream(kind, cursor)? };
            // SAFETY: the stream's parts lie within the block.
            return Some(unsafe {
                match kind {
                    plane_kind::CLASSES => self.decode_classes(plane, &stream),
                    plane_kind::HEADS => self.decode_heads(plane, &stream),
                    _ => self.decode_stream(plane, kind, &stream),
                }
            });
        }
        let raw_at = aligned(cursor.at);
        let length = self.task.elements - if plane == 0 { self.carried_raw() } else { 0 };
        if kind == plane_kind::RAW {
            cursor.at = aligned(raw_at + length);
            if cursor.at > self.task.block_bytes {
                return None;
            }
        }
        let constant = u32::from(self.specs.constants[plane as usize]) * 0x0101_0101;
        let mut group = 0;
        while group < self.groups() {
            let bytes = if kind == plane_kind::RAW {
                // SAFETY: the raw plane lies within the block.
                unsafe { self.raw_run(raw_at, length, group) }
            } else {
                [constant; 4]
            };
            // SAFETY: the module's promise; the group is one of the block's.
            unsafe { self.put(plane, group, bytes) };
            group += 1;
        }
        Some(0)
    }

    /// Bytes of plane 0, where it is raw, that the states of the last plane's stream carry.
    fn carried_raw(&self) -> u32 {
        if has_nibbles(self.specs.kinds[WIDTH as usize - 1]) { 0 } else { self.carried() }
    }

    /// Bytes of plane 0, or of raw nibbles, that the states of the last plane's stream carry.
    fn carried(&self) -> u32 {
        let (first, last) = (self.specs.kinds[0], self.specs.kinds[WIDTH as usize - 1]);
        let raw_bytes = if has_nibbles(last) {
            self.task.elements.div_ceil(2)
        } else if first == plane_kind::RAW && has_stream(last) {
            self.task.elements
        } else {
            0
        };
        let room = self.specs.states_per_lane * (LANES * 2) as u32;
        if raw_bytes >= room { room } else { 0 }
    }

    fn groups(&self) -> u32 {
        self.task.elements.div_ceil(LANES as u32 * Self::RUN)
    }

    fn part(&self, at: u32) -> *const u8 {
        (self.task.block as *const u8).wrapping_add(at as usize)
    }

    /// The bytes of a lane's run in a group, of a raw part with `length` bytes at `at`: so many as
    /// the run has elements, the rest zeros.
    unsafe fn raw_run(&self, at: u32, length: u32, group: u32) -> [u32; 4] {
        let offset = (group * LANES as u32 + warp::lane_id()) * Self::RUN;
        let mut bytes = [0; 4];
        let mut word = 0;
        // Whole words are inside the block as long as one byte is: parts end in padding.
        while word < 4 {
            let this = offset + 4 * word;
            if 4 * word < Self::RUN && this < length {
                let from = self.part(at + this);
                let loaded = if Self::RUN < 4 {
                    // SAFETY: within the part or its padding; a multiple of 2.
                    unsafe { u32::from(global::load_u16(from.cast())) }
                } else {
                    // SAFETY: within the part or its padding; a multiple of 4.
                    unsafe { global::load_u32(from.cast()) }
                };
                bytes[word as usize] = first_bytes(loaded, length - this);
            }
            word += 1;
        }
        bytes
    }

    /// Reads a stream's counts and checks that its parts lie within the block.
    unsafe fn next_stream(&self, kind: u8, cursor: &mut Cursor) -> Option<Stream> {
        let footer = self.part(cursor.footer).cast::<u32>();
        // SAFETY: the block is long enough for a footer, see `decode`.
        let (words, escapes) =
            unsafe { (global::load_u32(footer), global::load_u32(footer.add(1))) };
        let most = self.task.block_bytes;
        if words > most || escapes > most || kind != plane_kind::PAIRS && escapes > 0 {
            return None;
        }
        let raw_at = aligned(cursor.at);
        let nibbles = has_nibbles(kind);
        let raw = if nibbles { self.task.elements.div_ceil(2) - self.carried() } else { 0 };
        let states_at = aligned(raw_at + raw);
        let words_at = states_at + self.specs.states_per_lane * (LANES * 4) as u32;
        let escapes_at = (words_at + 2 * words).next_multiple_of(4);
        cursor.at = escapes_at + 4 * escapes;
        cursor.footer += 8;
        let stream = Stream { raw_at, states_at, words_at, words, escapes_at, escapes };
        (cursor.at <= most).then_some(stream)
    }

    unsafe fn decode_stream(&self, plane: u32, kind: u8, stream: &Stream) -> u32 {
        // SAFETY: the host made it a position within the tables.
        let table = unsafe { self.tables.add(self.specs.tables[plane as usize] as usize) };
        // SAFETY: the stream's parts lie within the block.
        let mut lane = unsafe { Lane::new(self, stream) };
        let per_symbol = if kind == plane_kind::SYMBOLS { 1 } else { 2 };
        let (mut group, mut escapes) = (0, 0);
        while group < self.groups() {
            let mut bytes = [0u32; 4];
            let mut symbol_number = 0;
            while symbol_number < Self::RUN / per_symbol {
                // SAFETY: the lane was made for a stream of the block.
                let symbol = unsafe { lane.step(table) };
                let two = kind == plane_kind::PAIRS;
                // SAFETY: the lane was made for a stream of the block.
                let value = if two { unsafe { values(table, symbol) } } else { symbol };
                let at = symbol_number * if two { 2 } else { 1 };
                if two {
                    let element = (group * LANES as u32 + warp::lane_id()) * Self::RUN + at;
                    escapes += announced([value], self.task.elements.saturating_sub(element));
                }
                bytes[at as usize / 4] |= (value & 0xFFFF) << (at % 4 * 8);
                symbol_number += 1;
            }
            if kind == plane_kind::NIBBLE_PAIRS {
                // SAFETY: the raw nibbles lie within the block.
                bytes = unsafe { self.merge_nibbles(stream, group, bytes) };
            }
            // SAFETY: the module's promise; the group is one of the block's.
            unsafe { self.put(plane, group, bytes) };
            group += 1;
        }
        let carries = plane + 1 == WIDTH && self.carried() > 0;
        let mut found = lane.finish(carries);
        if carries {
            // SAFETY: the module's promise; the last plane's stream has been decoded.
            unsafe { self.fill_in_carried(kind, &lane) };
        }
        if kind == plane_kind::PAIRS {
            // SAFETY: the escapes lie within the block.
            found |= unsafe {
                let list = self.part(stream.escapes_at).cast();
                let listed = Escapes { list, count: stream.escapes };
                let place = (plane, self.specs.arrangement);
                listed.fill_in::<WIDTH>(&self.task, place, values_at(table, MARK), escapes)
            };
        }
        found
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

    /// The choices of a plane by class.
    unsafe fn choices(&self, plane: u32) -> Choices {
        let position = self.specs.tables[plane as usize] as usize;
        // SAFETY: the host made it a position within the classes.
        Choices::new(unsafe { *self.classes.add(position) })
    }

    /// The table of the next of a lane's elements; the number of those behind the block's end is not
    /// that of any element, and what pads a stream takes the first table.
    unsafe fn choose(&self, choices: &mut Choices, inside: bool) -> *const KernelTable {
        // SAFETY: the caller's promise, that what the classes point to is readable.
        let table = unsafe { if inside { choices.next() } else { choices.first() } };
        // SAFETY: the host made it a position within the tables.
        unsafe { self.tables.add(table as usize) }
    }

    /// A plane whose symbols take tables by class.
    unsafe fn decode_classes(&self, plane: u32, stream: &Stream) -> u32 {
        // SAFETY: the stream's parts lie within the block; the module's promise.
        let (mut lane, mut choices) = unsafe { (Lane::new(self, stream), self.choices(plane)) };
        let mut group = 0;
        while group < self.groups() {
            let element = (group * LANES as u32 + warp::lane_id()) * Self::RUN;
            let mut bytes = [0u32; 4];
            // SAFETY: the module's promise.
            unsafe { choices.seek(self.task.first + u64::from(element)) };
            let mut number = 0;
            while number < Self::RUN {
                // SAFETY: the lane was made for a stream of the block.
                let symbol = unsafe {
                    let table = self.choose(&mut choices, element + number < self.task.elements);
                    lane.step(table)
                };
                bytes[number as usize / 4] |= symbol << (number % 4 * 8);
                number += 1;
            }
            // SAFETY: the module's promise; the group is one of the block's.
            unsafe { self.put(plane, group, bytes) };
            group += 1;
        }
        let carries = plane + 1 == WIDTH && self.carried() > 0;
        if carries {
            // SAFETY: the module's promise; the last plane's stream has been decoded.
            unsafe { self.fill_in_carried(plane_kind::CLASSES, &lane) };
        }
        lane.finish(carries)
    }

    /// The two last planes, from heads and raw nibbles.
    unsafe fn decode_heads(&self, plane: u32, stream: &Stream) -> u32 {
        let base = self.specs.constants[plane as usize];
        // SAFETY: the stream's parts lie within the block; the module's promise.
        let (mut lane, mut choices) = unsafe { (Lane::new(self, stream), self.choices(plane)) };
        let mut group = 0;
        while group < self.groups() {
            let element = (group * LANES as u32 + warp::lane_id()) * Self::RUN;
            // SAFETY: the module's promise.
            unsafe { choices.seek(self.task.first + u64::from(element)) };
            let mut exponents = [0u32; 4];
            // SAFETY: the raw nibbles lie within the block.
            let mut below = unsafe { self.nibbles_of_run(stream, element) };
            let mut number = 0;
            while number < Self::RUN {
                let inside = element + number < self.task.elements;
                // SAFETY: the lane was made for a stream of the block.
                let (head, tail) = unsafe {
                    let table = self.choose(&mut choices, inside);
                    let head = lane.step(table);
                    (head, lane.tail(inside && is_escaped_head(head as u8)))
                };
                let escaped = is_escaped_head(head as u8);
                let exponent = if escaped { tail } else { exponent_of(head as u8, base) };
                let shift = number % 4 * 8;
                exponents[number as usize / 4] |= u32::from(exponent) << shift;
                below[number as usize / 4] |= (head & 15) << (shift + 4);
                number += 1;
            }
            // SAFETY: the module's promise; the group is one of the block's.
            unsafe {
                self.put(plane - 1, group, below);
                self.put(plane, group, exponents);
            }
            group += 1;
        }
        let carries = self.carried() > 0;
        if carries {
            // SAFETY: the module's promise; the last plane's stream has been decoded.
            unsafe { self.fill_in_carried(plane_kind::HEADS, &lane) };
        }
        lane.finish(carries)
    }

    /// The raw nibbles of a lane's run that begins at `element`, a byte each; zeros for those that
    /// are not stored.
    unsafe fn nibbles_of_run(&self, stream: &Stream, element: u32) -> [u32; 4] {
        let length = self.task.elements.div_ceil(2) - self.carried();
        let at = element / 2;
        if at >= length {
            return [0; 4];
        }
        let from = self.part(stream.raw_at + at);
        let packed = if Self::RUN < 8 {
            // SAFETY: within the nibbles or their padding; a multiple of 2.
            u32::from(unsafe { global::load_u16(from.cast()) })
        } else {
            // SAFETY: within the nibbles or their padding; a multiple of 4.
            unsafe { global::load_u32(from.cast()) }
        };
        let packed = first_bytes(packed, length - at);
        let spread =
            |two: u32| two & 0x0F | (two & 0xF0) << 4 | (two & 0x0F00) << 8 | (two & 0xF000) << 12;
        [spread(packed & 0xFFFF), spread(packed >> 16), 0, 0]
    }

    /// Adds a plane's bytes of a run to the output.
    unsafe fn put(&self, plane: u32, group: u32, bytes: [u32; 4]) {
        let offset = (group * LANES as u32 + warp::lane_id()) * 16;
        let length = self.task.elements * WIDTH;
        let run = self.place(plane, bytes);
        let out = self.task.out as *mut u8;
        // SAFETY: the output has `length` bytes; a run begins at a multiple of 16.
        unsafe {
            if plane == 0 {
                store_run(out, offset, length, run);
            } else {
                add_to_run(out, offset, length, run);
            }
        }
    }

    /// The bits that bytes of a plane have in their elements, rotation undone.
    fn place(&self, plane: u32, bytes: [u32; 4]) -> [u32; 4] {
        let shift = 8 * (plane % 4);
        let byte = |number: u32| bytes[number as usize / 4] >> (number % 4 * 8) & 0xFF;
        let arranged = self.specs.arrangement;
        let rotated = arranged == arrangement::ROTATED;
        match WIDTH {
            1 => bytes.map(|word| if rotated { unrotate_bytes(word) } else { word }),
            2 => core::array::from_fn(|word| {
                let word = word as u32;
                let both = (byte(2 * word) | byte(2 * word + 1) << 16) << shift;
                match arranged {
                    arrangement::ROTATED => unrotate_halves(both),
                    arrangement::HEAD_FIRST => heads_last(both),
                    _ => both,
                }
            }),
            4 => core::array::from_fn(|word| {
                let element = byte(word as u32) << shift;
                match arranged {
                    arrangement::ROTATED => element.rotate_right(1),
                    arrangement::HEAD_FIRST => head_last_32(element),
                    _ => element,
                }
            }),
            _ => core::array::from_fn(|word| {
                let element = u64::from(byte(word as u32 / 2)) << (8 * plane);
                let element = if rotated { element.rotate_right(1) } else { element };
                (element >> (32 * (word % 2))) as u32
            }),
        }
    }

    /// Puts the bytes that the states carried over the zeros that stand for them.
    unsafe fn fill_in_carried(&self, kind: u8, lane: &Lane) {
        warp::sync_warp(ALL_LANES);
        let out = self.task.out as *mut u8;
        let arranged = self.specs.arrangement;
        let nibbles = has_nibbles(kind);
        // The plane that nibbles are the low ones of.
        let plane = if kind == plane_kind::HEADS { WIDTH - 2 } else { 0 };
        let raw_bytes = if nibbles { self.task.elements.div_ceil(2) } else { self.task.elements };
        let mut number = 0;
        while number < self.specs.states_per_lane {
            let carried = carried_by(lane.states[number as usize]);
            let mut byte = 0;
            while byte < 2 {
                let at = raw_bytes - self.carried() + 64 * number + 2 * warp::lane_id() + byte;
                let value = (carried >> (8 * byte)) as u8;
                // SAFETY: the carried bytes are the last of plane 0 or of the nibbles, so that their
                // elements exist.
                unsafe {
                    if !nibbles {
                        replace_bits::<WIDTH>(out, at, (0, u8::MAX), value, arranged);
                    } else {
                        replace_bits::<WIDTH>(out, 2 * at, (plane, 15), value & 15, arranged);
                        if 2 * at + 1 < self.task.elements {
                            replace_bits::<WIDTH>(
                                out,
                                2 * at + 1,
                                (plane, 15),
                                value >> 4,
                                arranged,
                            );
                        }
                    }
                }
                byte += 1;
            }
            number += 1;
        }
    }
}

/// A lane of a stream.
struct Lane {
    states: [u32; 2],
    two: bool,
    words: *const u16,
    word_count: u32,
    taken: u32,
    found: u32,
}

impl Lane {
    unsafe fn new<const WIDTH: u32>(block: &Block<'_, WIDTH>, stream: &Stream) -> Self {
        let states = block.part(stream.states_at).cast::<u32>();
        let lane = warp::lane_id() as usize;
        let two = block.specs.states_per_lane == 2;
        // SAFETY: a state of the block for each lane.
        let first = unsafe { global::load_u32(states.add(lane)) };
        let second =
            // SAFETY: as many states again, with two states per lane.
            if two { unsafe { global::load_u32(states.add(LANES + lane)) } } else { first };
        let bad = needs_word(first) || needs_word(second);
        let any = warp::warp_vote_ballot(ALL_LANES, bad) != 0;
        Self {
            states: [first, second],
            two,
            words: block.part(stream.words_at).cast(),
            word_count: stream.words,
            taken: 0,
            found: if any { status::INITIAL_STATE } else { 0 },
        }
    }

    /// One step: the symbol of the first state, which then goes behind the second, if there is one.
    unsafe fn step(&mut self, table: *const KernelTable) -> u32 {
        let state = self.states[0];
        // SAFETY: the table is one of the launch's; only its address is taken.
        let at = unsafe { (&raw const (*table).entries).cast::<u32>() };
        // SAFETY: a slot is below the table's size.
        let entry = TableEntry(unsafe { global::load_u32(at.add(slot(state) as usize)) });
        // SAFETY: the lane was made for a stream of the block.
        let next = unsafe { self.refill(advance(state, entry), true) };
        self.states = if self.two { [self.states[1], next] } else { [next, next] };
        u32::from(entry.symbol())
    }

    /// The tail byte in the state of the last step, in lanes that have one; others get 0.
    unsafe fn tail(&mut self, has_tail: bool) -> u8 {
        if warp::warp_vote_ballot(ALL_LANES, has_tail) == 0 {
            return 0;
        }
        let state = self.states[1];
        // SAFETY: the lane was made for a stream of the block.
        let next = unsafe { self.refill(drop_byte(state), has_tail) };
        if !has_tail {
            return 0;
        }
        self.states = if self.two { [self.states[0], next] } else { [next, next] };
        byte_of(state)
    }

    /// The state after it has taken a word, if it is `active` and needs one.
    unsafe fn refill(&mut self, state: u32, active: bool) -> u32 {
        let mut next = state;
        let needs = active && needs_word(next);
        let takers = warp::warp_vote_ballot(ALL_LANES, needs);
        if needs {
            let number = self.taken + (takers & warp::lane_mask_lt()).count_ones();
            let inside = number < self.word_count;
            let word =
                // SAFETY: `number` is below the number of words.
                if inside { unsafe { global::load_u16(self.words.add(number as usize)) } } else { 0 };
            next = take_word(next, word);
        }
        self.taken += takers.count_ones();
        next
    }

    fn finish(&self, carries: bool) -> u32 {
        let off = self.states.iter().any(|&state| !is_first_state(state, carries));
        let mut found = self.found;
        if warp::warp_vote_ballot(ALL_LANES, off) != 0 {
            found |= status::FINAL_STATE;
        }
        if self.taken != self.word_count {
            found |= status::WORDS;
        }
        found
    }
}

/// Both values of a symbol of pairs, in the low half.
unsafe fn values(table: *const KernelTable, symbol: u32) -> u32 {
    // SAFETY: every symbol has an entry.
    unsafe { values_at(table, symbol * VALUES_BYTES) }
}

unsafe fn values_at(table: *const KernelTable, offset: u32) -> u32 {
    // SAFETY: the table is one of the launch's; only its address is taken.
    let at = unsafe { (&raw const (*table).expanded).cast::<u8>() };
    // SAFETY: the caller's promise that there is an entry.
    unsafe { global::load_u32(at.add(offset as usize).cast()) }
}

macro_rules! general_kernels {
    ($($(#[$doc:meta])* $name:ident: $width:literal;)*) => { $(
        $(#[$doc])*
        ///
        /// # Safety
        ///
        /// As for [`for_each_task`]; the tasks' blocks and outputs are valid for their lengths,
        /// their `specs` are positions in `specs`, and those of planes by class in `classes`, whose
        /// lists are readable and hold no class without a table.
        #[kernel]
        #[allow(clippy::too_many_arguments, reason = "a launch has no structures to pass")]
        pub unsafe fn $name(
            groups: *const codec::device::TaskGroup,
            group_count: u32,
            counters: *mut u32,
            tasks: *const BlockTask,
            tables: *const KernelTable,
            status: *mut u32,
            specs: *const PlaneSpecs,
            classes: *const KernelClasses,
        ) {
            let work = Work { groups, group_count, counters, tasks, tables, status };
            // SAFETY: the caller's promise.
            unsafe {
                for_each_task(work, WarpMemory::NONE, |task, _| {
                    let specs = &*specs.add(task.specs as usize);
                    Block::<$width> { task, specs, tables, classes }.decode()
                });
            }
        }
    )* };
}

general_kernels! {
    /// Elements of one byte.
    decode_1_general: 1;
    /// Elements of two bytes.
    decode_2_general: 2;
    /// Elements of four bytes.
    decode_4_general: 4;
    /// Elements of eight bytes.
    decode_8_general: 8;
}
