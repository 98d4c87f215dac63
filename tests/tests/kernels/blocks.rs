//! Blocks to decode, and the tables that they were encoded with.

use codec::block::{
    BlockError, BlockLayout, BlockSpec, DecodeTables, Part, PlaneCoding, PlaneEncodeTables,
    decode_block, decode_scratch_bytes, encode_classed_block, encode_scratch_bytes,
    encode_scratch_words, max_block_bytes,
};
use codec::constants::{ALPHABET, ESCAPE_SYMBOL, MAX_WIDTH, RANKS};
use codec::pair::{RankValues, ranks_of, symbol_of};
use codec::rans::{EncodeTable, normalize};
use codec::split::{ElementLayout, merge_heads, merge_planes, split_nibbles};
use wcodec_tests::Random;

use super::by_class::{ByClass, is_by_class};

/// How the elements of a block are coded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Width and rotation.
    pub(crate) layout: ElementLayout,
    /// States per lane.
    pub(crate) states_per_lane: usize,
    /// Codings of the planes; those beyond the width are raw.
    pub(crate) planes: [PlaneCoding; MAX_WIDTH],
}

impl Plan {
    pub(crate) fn spec(&self, elements: usize) -> BlockSpec {
        let Self { layout, states_per_lane, planes } = *self;
        BlockSpec { layout, elements, states_per_lane, planes }
    }

    pub(crate) fn width(&self) -> usize {
        self.layout.width.bytes()
    }
}

/// What fills the planes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Content {
    /// Values that each occur half as often as the one before, with an occasional outlier.
    Weights,
    /// Random bytes.
    Uniform,
}

impl Content {
    fn byte(self, random: &mut Random) -> u8 {
        let bits = random.bits();
        match self {
            Self::Weights if bits >> 58 != 0 => {
                126 - (bits as u32 | 1 << 20).trailing_zeros() as u8
            }
            Self::Weights | Self::Uniform => (bits >> 32) as u8,
        }
    }

    fn plane(self, coding: PlaneCoding, length: usize, random: &mut Random) -> Vec<u8> {
        match coding {
            PlaneCoding::Constant(value) => vec![value; length],
            PlaneCoding::Raw => (0..length).map(|_| random.bits() as u8).collect(),
            _ => (0..length).map(|_| self.byte(random)).collect(),
        }
    }
}

/// A block and the elements in it.
pub(crate) struct Block {
    pub(crate) spec: BlockSpec,
    pub(crate) elements: Vec<u8>,
    pub(crate) bytes: Vec<u8>,
}

/// Blocks of one plan with the same tables.
pub(crate) struct Coded {
    /// Tables of the planes that have streams.
    pub(crate) decode: Vec<Option<DecodeTables>>,
    /// Tables of planes by class.
    pub(crate) by_class: ByClass,
    pub(crate) blocks: Vec<Block>,
}

impl Coded {
    /// A block of each of these numbers of elements, filled with `content`.
    pub(crate) fn new(
        plan: &Plan,
        content: Content,
        elements: &[usize],
        random: &mut Random,
    ) -> Self {
        let planes: Vec<Vec<Vec<u8>>> = elements
            .iter()
            .map(|&elements| {
                let codings = &plan.planes[..plan.width()];
                codings.iter().map(|&coding| content.plane(coding, elements, random)).collect()
            })
            .collect();
        let tables = |plane: usize| {
            let values: Vec<&[u8]> = planes.iter().map(|planes| &planes[plane][..]).collect();
            tables_for(plan, plan.planes[plane], &values)
        };
        let (decode, encode): (Vec<_>, Vec<_>) = (0..plan.width())
            .map(|plane| tables(plane).map_or((None, None), |(d, e)| (Some(d), Some(e))))
            .unzip();
        let by_class = ByClass::new();
        let blocks = planes
            .iter()
            .zip(elements)
            .map(|(planes, &elements)| {
                Block::new(plan.spec(elements), &encode, &by_class, &planes.concat())
            })
            .collect();
        Self { decode, by_class, blocks }
    }

    /// What the CPU makes of `bytes`.
    pub(crate) fn decode(&self, spec: &BlockSpec, bytes: &[u8]) -> Result<Vec<u8>, BlockError> {
        let tables = std::array::from_fn(|plane| self.decode.get(plane).and_then(Option::as_ref));
        let mut scratch = vec![0x55; decode_scratch_bytes(spec)];
        let mut out = vec![0xAA; spec.decoded_bytes()];
        self.by_class.with_decode(spec, |classes| {
            decode_block(spec, &tables, classes, bytes, &mut scratch, &mut out).map(|()| out)
        })
    }

    /// Escapes of a block, of all its planes.
    pub(crate) fn escapes(&self, block: &Block) -> usize {
        let layout = BlockLayout::read(&block.spec, &block.bytes).expect("an intact block");
        let escapes =
            |part: &Part| if let Part::Stream(stream) = part { stream.escapes } else { 0 };
        layout.parts.iter().map(escapes).sum()
    }
}

impl Block {
    pub(crate) fn has_pairs(&self) -> bool {
        self.spec.planes().contains(&PlaneCoding::Pairs)
    }

    fn new(
        spec: BlockSpec,
        tables: &[Option<PlaneEncodeTables>],
        by_class: &ByClass,
        planes: &[u8],
    ) -> Self {
        let mut elements = vec![0; spec.decoded_bytes()];
        if spec.has_heads() {
            merge_heads(spec.layout.width, planes, &mut elements);
        } else {
            merge_planes(spec.layout, planes, &mut elements);
        }
        let tables = std::array::from_fn(|plane| tables.get(plane).and_then(Option::as_ref));
        let mut scratch = vec![0xAA; encode_scratch_bytes(&spec)];
        let mut words = vec![0xAAAA; encode_scratch_words(&spec)];
        let mut bytes = vec![0xAA; max_block_bytes(&spec)];
        let length = by_class.with_encode(&spec, |classes| {
            let (scratch, words) = (&mut scratch, &mut words);
            encode_classed_block(&spec, &tables, classes, &elements, scratch, words, &mut bytes)
        });
        bytes.truncate(length);
        Self { spec, elements, bytes }
    }
}

/// Tables that fit these values of a plane; `None` where it has no stream.
fn tables_for(
    plan: &Plan,
    coding: PlaneCoding,
    values: &[&[u8]],
) -> Option<(DecodeTables, PlaneEncodeTables)> {
    coding.elements_per_symbol().filter(|_| !is_by_class(coding))?;
    let ranks = ranks_by_count(&count(values.iter().copied().flatten().copied()));
    let counts = match coding {
        PlaneCoding::Pairs => count_pairs(&ranks, values),
        PlaneCoding::NibblePairs => count_nibble_pairs(plan.layout, values),
        _ => count(values.iter().copied().flatten().copied()),
    };
    let frequencies = normalize(&counts).expect("two symbols occur");
    let decode = DecodeTables::new(&frequencies, ranks);
    let encode = PlaneEncodeTables {
        table: EncodeTable::new(&frequencies),
        has_slot: frequencies.as_array().map(|frequency| frequency > 0),
        ranks: ranks_of(&ranks),
    };
    Some((decode, encode))
}

/// How often bytes occur; two of them count once more, so that there are two.
fn count(bytes: impl Iterator<Item = u8>) -> [u64; ALPHABET] {
    let mut counts = [0; ALPHABET];
    (counts[0], counts[usize::from(ESCAPE_SYMBOL)]) = (1, 1);
    bytes.for_each(|byte| counts[usize::from(byte)] += 1);
    counts
}

fn ranks_by_count(counts: &[u64; ALPHABET]) -> RankValues {
    let mut order: [u8; ALPHABET] = std::array::from_fn(|value| value as u8);
    order.sort_by_key(|&value| std::cmp::Reverse(counts[usize::from(value)]));
    std::array::from_fn::<u8, RANKS, _>(|rank| order[rank])
}

/// Symbols of pairs, without those that occur only once, which so become escapes.
fn count_pairs(ranks: &RankValues, values: &[&[u8]]) -> [u64; ALPHABET] {
    let rank_of = ranks_of(ranks);
    let symbols = values.iter().flat_map(|values| values.chunks_exact(2)).map(|pair| {
        let ranks = rank_of[usize::from(pair[0])].zip(rank_of[usize::from(pair[1])]);
        ranks.and_then(|(first, second)| symbol_of(first, second)).unwrap_or(ESCAPE_SYMBOL)
    });
    let mut counts = count(symbols).map(|count| if count < 2 { 0 } else { count });
    counts[0] += 1;
    counts[usize::from(ESCAPE_SYMBOL)] += 1;
    counts
}

fn count_nibble_pairs(layout: ElementLayout, values: &[&[u8]]) -> [u64; ALPHABET] {
    let symbols = values.iter().flat_map(|values| {
        let mut elements = vec![0; values.len()];
        merge_planes(layout, values, &mut elements);
        let mut symbols = vec![0; values.len().div_ceil(2)];
        let mut raw = symbols.clone();
        split_nibbles(layout, &elements, &mut symbols, &mut raw);
        symbols
    });
    count(symbols)
}
