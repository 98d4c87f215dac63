//! How each block is coded: every plane as whatever measures smallest, with a
//! preference for two elements per symbol where it costs next to nothing, since that decodes at
//! twice the speed.

use codec::block::PlaneCoding;
use codec::constants::{ALPHABET, LANES};
use codec::split::{ElementLayout, Width};

use super::classes::{SymbolKind, TensorClasses};
use super::cluster::{Group, group_blocks, group_tensors};
use super::entropy::{about_entropy_bits, entropy_bits};
use super::histogram::{PlaneCounts, is_exact};
use super::pairs::{PairCounts, TableChoice, choose_symbol_table};
use super::profile::Profile;
use super::tables::{NO_SLOT, SymbolBits, TablePool, cost, cost_of_many};
use crate::format::{PlanRecord, PlaneRecord};
use crate::spares::Spares;

/// Part of a lower plane's bits that coding must save: mantissas are almost incompressible, and a
/// second stream halves the decoder's speed.
const LOWER_PLANE_GAIN: f64 = 1.0 / 64.0;

/// The same where only the rows that gain are coded in other than eight bits.
const EXACT_GAIN: f64 = 1.0 / 256.0;
/// Bits that such a stream takes beside its symbols, at most.
const EXACT_STREAM_BITS: f64 = 2.0 * 1024.0;

/// Symbols that may get a slot though a sample has none of them: they cost the others at most 0.02 bits.
const MOST_MISSED: usize = 48;

/// Elements that tell whether a tensor's bytes may be coded as pairs of nibbles.
const NIBBLE_TRIAL_ELEMENTS: usize = 1 << 15;

/// Elements of a block from which on any stream of pairs may pay.
const SMALL_BLOCK_ELEMENTS: usize = 1024;

/// Blocks that are planned together: of one tensor, or of several.
pub(crate) struct PlanInput<'a, 'room> {
    pub(crate) layout: ElementLayout,
    pub(crate) states_per_lane: usize,
    pub(crate) profile: Profile,
    /// Part of the elements' bits that two of them per symbol may cost more than one.
    pub(crate) pair_tolerance: f64,
    /// The tensor's classes, if it is coded by class.
    pub(crate) classes: Option<&'a TensorClasses>,
    /// Tensors that the blocks are of.
    pub(crate) tensors: usize,
    /// Number in the tensor of each block's first element.
    pub(crate) first_elements: Vec<u64>,
    /// Elements of each block, little-endian.
    pub(crate) blocks: Vec<&'a [u8]>,
    /// Counts of each block's planes, estimated by the profile's sample.
    pub(crate) counts: Vec<Vec<PlaneCounts>>,
    /// Memory for a block's planes and symbols.
    pub(crate) rooms: &'room Spares<Vec<u8>>,
}

/// A plane's records for every block.
type PlanePlan = Vec<PlaneRecord>;

/// The plan of each block of `input`. New tables go to `pool`.
pub(crate) fn plan_blocks(pool: &mut TablePool, input: &PlanInput<'_, '_>) -> Vec<PlanRecord> {
    let width = input.layout.width.bytes();
    let classed = match input.classes.map(|classes| classes.symbols) {
        None => vec![],
        Some(SymbolKind::TopByte) => vec![PlaneRecord::Classes(0)],
        Some(SymbolKind::Head { base }) => {
            vec![PlaneRecord::InHeads, PlaneRecord::Heads { classes: 0, base }]
        }
    };
    let mut planes: Vec<PlanePlan> =
        (0..width - classed.len()).map(|plane| plan_plane(pool, input, plane)).collect();
    planes.extend(classed.into_iter().map(|record| vec![record; input.blocks.len()]));
    let of_block = |block| PlanRecord::of_planes(planes.iter().map(|plan| plan[block]).collect());
    (0..input.blocks.len()).map(of_block).collect()
}

fn plan_plane(pool: &mut TablePool, input: &PlanInput<'_, '_>, plane: usize) -> PlanePlan {
    let mut records = vec![PlaneRecord::Raw; input.blocks.len()];
    let mut varied = Vec::new();
    for (block, record) in records.iter_mut().enumerate() {
        match only_value(&input.counts[block][plane]) {
            Some(value) => *record = PlaneRecord::Constant(value),
            None if input.elements(block) == 0 => {}
            None => match input.exact_rows_record(block, plane) {
                Some(by_class) => *record = by_class,
                None if input.cannot_pay(block, plane) => {}
                None => varied.push(block),
            },
        }
    }
    let counts: Vec<&PlaneCounts> =
        varied.iter().map(|&block| &input.counts[block][plane]).collect();
    let stride = input.profile.stride();
    let is_sampled = varied.iter().any(|&block| !is_exact(input.elements(block), stride));
    let sampled = if is_sampled { stride } else { 1 };
    let groups = match input.tensors {
        1 => group_blocks(&counts, sampled),
        _ => group_tensors(&counts, sampled),
    };
    for group in groups {
        let blocks: Vec<usize> = group.members.iter().map(|&member| varied[member]).collect();
        if let Some((record, coded)) = code_group(pool, input, plane, group, &blocks) {
            coded.into_iter().for_each(|block| records[block] = record);
        }
    }
    records
}

/// The value that all elements of a plane have.
fn only_value(counts: &PlaneCounts) -> Option<u8> {
    let mut used = (0..=u8::MAX).filter(|&value| counts[usize::from(value)] > 0);
    let first = used.next()?;
    used.next().is_none().then_some(first)
}

/// How the blocks of a group are coded, and those of them for which that beats raw bytes.
fn code_group(
    pool: &mut TablePool,
    input: &PlanInput<'_, '_>,
    plane: usize,
    group: Group,
    blocks: &[usize],
) -> Option<(PlaneRecord, Vec<usize>)> {
    let marginal_bits = group.bits;
    let costs: Vec<f64> =
        blocks.iter().map(|&block| cost(&input.counts[block][plane], &marginal_bits)).collect();
    let marginal: f64 = costs.iter().sum();
    let required = input.required_gain(plane);
    // Of several blocks some may pay for a table that all of them together would not.
    let most_bits = match blocks {
        [block] => {
            8.0 * input.elements(*block) as f64 * (1.0 - required)
                - input.stream_bits(*block, plane, &marginal_bits)
        }
        _ => f64::INFINITY,
    };
    let coding = choose_coding(pool, input, plane, &group, (blocks, most_bits))?;
    // What a block costs with the chosen coding is taken to be in proportion to its plain symbols.
    let factor = coding.bits / marginal.max(1.0);
    let gain = |block: usize, cost: f64| {
        let raw = 8.0 * input.elements(block) as f64;
        raw * (1.0 - required) - cost * factor - input.stream_bits(block, plane, &marginal_bits)
    };
    let gains = blocks.iter().zip(costs).map(|(&block, cost)| (block, gain(block, cost)));
    let (coded, gains): (Vec<usize>, Vec<f64>) = gains.filter(|(_, gain)| *gain > 0.0).unzip();
    let total: f64 = gains.into_iter().sum();
    if total <= coding.table_bits() {
        return None;
    }
    Some((coding.into_record(pool), coded))
}

/// A coding for a group, its table not yet in the pool.
struct Coding {
    kind: fn(u32) -> PlaneRecord,
    table: TableChoice,
    /// Bits of the group's blocks, without the table's.
    bits: f64,
}

impl Coding {
    fn new(kind: fn(u32) -> PlaneRecord, (table, bits): (TableChoice, f64)) -> Self {
        let mut coding = Self { kind, table, bits };
        coding.bits -= coding.table_bits();
        coding
    }

    fn table_bits(&self) -> f64 {
        match &self.table {
            TableChoice::Shared(_) => 0.0,
            TableChoice::New(table) => table.stored_bits(),
        }
    }

    fn total_bits(&self) -> f64 {
        self.bits + self.table_bits()
    }

    fn into_record(self, pool: &mut TablePool) -> PlaneRecord {
        (self.kind)(self.table.into_id(pool))
    }
}

/// The smallest coding of a group's blocks; there may be none that takes less than `most_bits`.
fn choose_coding(
    pool: &TablePool,
    input: &PlanInput<'_, '_>,
    plane: usize,
    group: &Group,
    (blocks, most_bits): (&[usize], f64),
) -> Option<Coding> {
    let elements: usize = blocks.iter().map(|&block| input.elements(block)).sum();
    let element_bits = 8.0 * input.layout.width.bytes() as f64;
    let allowance = elements as f64 * element_bits * input.pair_tolerance;
    let marginal = cost_of_many(&group.counts, &group.bits);
    let paired = match pair_kind(input.layout, plane, &group.counts) {
        None => None,
        Some(PairKind::Nibbles)
            if !input.may_pair_nibbles(
                &group.counts,
                blocks,
                marginal + group.table_bits + allowance,
            ) =>
        {
            None
        }
        Some(PairKind::Ranks) => {
            input.rank_pairs(pool, (plane, &group.counts), (blocks, most_bits), elements)
        }
        Some(PairKind::Nibbles) => input.nibble_pairs(pool, (blocks, most_bits), elements),
    };
    match paired {
        Some(paired) if paired.total_bits() <= marginal + group.table_bits + allowance => {
            Some(paired)
        }
        _ => {
            // Estimates may lack a symbol, and a table must not.
            let none = [None; ALPHABET];
            let stride = input.profile.stride();
            let all_counted = blocks.iter().all(|&block| is_exact(input.elements(block), stride));
            let (counts, step) = if all_counted {
                (group.counts, 1)
            } else if input.layout.width == Width::One {
                let step = input.profile.symbol_step(elements);
                (input.count_bytes_of(blocks, &group.counts, step), step)
            } else {
                (input.count_symbols((plane, PlaneCoding::Symbols), &none, blocks, 1), 1)
            };
            let choice = choose_symbol_table(&counts, pool, most_bits, step)?;
            Some(Coding::new(PlaneRecord::Symbols, choice))
        }
    }
}

/// About the bits of bytes with these counts as pairs of their high nibbles, if neighbours do not
/// depend on each other, and raw low ones.
fn nibble_bits(layout: ElementLayout, counts: &[u64; ALPHABET]) -> f64 {
    let mut high = [0u64; 16];
    for (byte, count) in (0..=u8::MAX).zip(counts) {
        high[usize::from(byte.rotate_left(layout.rotated.into()) >> 4)] += count;
    }
    entropy_bits(&high) + 4.0 * counts.iter().sum::<u64>() as f64
}

/// What two elements' share of a symbol can be.
enum PairKind {
    Ranks,
    Nibbles,
}

/// Whether a plane may be coded in pairs.
fn may_pair(layout: ElementLayout, plane: usize) -> bool {
    match layout.width {
        Width::One => true,
        Width::Two => plane == 1,
        Width::Four => plane == 3,
        Width::Eight => false,
    }
}

/// How a plane can be coded in pairs: exponents of 8 bits, bytes of few values, other bytes.
fn pair_kind(layout: ElementLayout, plane: usize, values: &[u64; ALPHABET]) -> Option<PairKind> {
    let few_values = || values.iter().filter(|&&count| count > 0).count() <= 16;
    match layout.width {
        _ if !may_pair(layout, plane) => None,
        Width::One if !few_values() => Some(PairKind::Nibbles),
        _ => Some(PairKind::Ranks),
    }
}

impl PlanInput<'_, '_> {
    pub(super) fn elements(&self, block: usize) -> usize {
        self.blocks[block].len() / self.layout.width.bytes()
    }

    /// The record of a lower plane of which enough rows are exact numbers of a smaller type.
    fn exact_rows_record(&self, block: usize, plane: usize) -> Option<PlaneRecord> {
        let exact = self.classes?.exact.as_ref()?;
        let elements = self.elements(block);
        let first = self.first_elements[block];
        let bits = exact.bits(plane, first, elements) + EXACT_STREAM_BITS;
        let raw = 8.0 * elements as f64;
        // The record of the heads' classes is the first.
        (bits < raw * (1.0 - EXACT_GAIN)).then_some(PlaneRecord::Classes(1 + plane as u32))
    }

    /// Bits that a stream takes beside its symbols: header, alignment, padding symbols, and half of
    /// the states where they have no raw bytes to carry.
    fn stream_bits(&self, block: usize, plane: usize, bits: &SymbolBits) -> f64 {
        let states = self.states_per_lane * LANES * 16;
        let carries = self.layout.width.bytes() > 1
            && plane + 1 == self.layout.width.bytes()
            && 8 * self.elements(block) >= states;
        let states = if carries { 0 } else { states };
        let fixed = 64.0 + 64.0 + states as f64;
        let group = codec::constants::GROUP_BYTES / self.layout.width.bytes();
        let padding = self.elements(block).next_multiple_of(group) - self.elements(block);
        if padding == 0 {
            return fixed;
        }
        let cheapest = bits.iter().copied().fold(f32::INFINITY, f32::min);
        fixed + padding as f64 * f64::from(cheapest)
    }

    /// Whether a stream of a block's plane cannot pay, whatever its table.
    fn cannot_pay(&self, block: usize, plane: usize) -> bool {
        let elements = self.elements(block);
        let paired = may_pair(self.layout, plane);
        if paired && elements > SMALL_BLOCK_ELEMENTS {
            return false;
        }
        let raw = 8.0 * elements as f64 * (1.0 - self.required_gain(plane));
        if self.stream_bits(block, plane, &[0.0; ALPHABET]) >= raw {
            return true;
        }
        let counts = &self.counts[block][plane];
        let most = counts.iter().copied().max().unwrap_or_default();
        let mut bits = [NO_SLOT; ALPHABET];
        bits[0] = (elements as f32 / most as f32).log2();
        let symbols = match about_entropy_bits(counts) {
            // A pair of values has at least half of what both have by themselves, less one bit for what
            // is known of them by their being first or second.
            entropy if paired => (entropy - elements as f64).max(0.0) / 2.0,
            entropy => entropy,
        };
        symbols + self.stream_bits(block, plane, &bits) >= raw
    }

    /// Part of a plane's bits that coding it must save.
    fn required_gain(&self, plane: usize) -> f64 {
        if plane + 1 < self.layout.width.bytes() { LOWER_PLANE_GAIN } else { 0.0 }
    }

    /// Whether a look at few elements leaves a chance that pairs of nibbles take no more than
    /// `most_bits`: without one they need not be counted. `counts` are those of the bytes.
    fn may_pair_nibbles(&self, counts: &[u64; ALPHABET], blocks: &[usize], most_bits: f64) -> bool {
        let elements: usize = blocks.iter().map(|&block| self.elements(block)).sum();
        let step = elements / NIBBLE_TRIAL_ELEMENTS;
        // What neighbours have in common can only make pairs smaller than this.
        if self.profile == Profile::Max || step < 2 || nibble_bits(self.layout, counts) <= most_bits
        {
            return true;
        }
        let coded = (0, PlaneCoding::NibblePairs);
        let pairs = self.count_symbols(coded, &[None; ALPHABET], blocks, step);
        // A sample has less entropy than the whole.
        entropy_bits(&pairs) + 4.0 * elements as f64 <= most_bits
    }

    fn rank_pairs(
        &self,
        pool: &TablePool,
        (plane, values): (usize, &[u64; ALPHABET]),
        (blocks, most_bits): (&[usize], f64),
        elements: usize,
    ) -> Option<Coding> {
        let pairs = PairCounts::new(values);
        let ranks = pairs.ranks();
        let count = |step| {
            let symbols = self.count_symbols((plane, PlaneCoding::Pairs), &ranks, blocks, step);
            pairs.with_symbols(symbols)
        };
        // What is missed can be escaped, so that a sample of a large tensor does.
        let step = self.profile.rank_pair_step(elements);
        let first_look = self.profile.first_look_step(step, elements);
        let suiting = if first_look > step && pool.recent(true).next().is_some() {
            count(first_look).suiting_table(pool, first_look, step)
        } else {
            None
        };
        let choice = suiting.or_else(|| count(step).choose_table(pool, most_bits, step))?;
        Some(Coding::new(PlaneRecord::Pairs, choice))
    }

    fn nibble_pairs(
        &self,
        pool: &TablePool,
        (blocks, most_bits): (&[usize], f64),
        elements: usize,
    ) -> Option<Coding> {
        let coded = (0, PlaneCoding::NibblePairs);
        let count = |step| self.count_symbols(coded, &[None; ALPHABET], blocks, step);
        let mut step = self.profile.nibble_pair_step(elements);
        let mut counts = count(step);
        if step > 1 {
            // What a sample misses must have a slot, for which there is room if it is little.
            let missed = counts.iter().filter(|&&count| count == 0).count();
            if missed <= MOST_MISSED {
                counts.iter_mut().for_each(|count| *count = (*count).max(1));
            } else {
                step = 1;
                counts = count(step);
            }
        }
        let raw = 4.0 * elements as f64;
        let choice = choose_symbol_table(&counts, pool, most_bits - raw, step)?;
        let mut coding = Coding::new(PlaneRecord::NibblePairs, choice);
        coding.bits += raw;
        Some(coding)
    }
}
