//! Throughput of decoding one block that stays in the cache, in every way that this processor can run:
//! what `codec` itself is bound by, without memory and all that is around it.

use std::hint::black_box;
use std::time::Duration;

use codec::block::{
    BlockSpec, DecodeTables, PlaneCoding, PlaneEncodeTables, encode_block, encode_scratch_bytes,
    encode_scratch_words, max_block_bytes,
};
use codec::constants::{ALPHABET, MAX_WIDTH, RANKS};
use codec::pair::ranks_of;
use codec::rans::{EncodeTable, normalize};
use codec::simd::{BlockInput, Level, PieceBuffers};
use codec::split::{ElementLayout, Width, split_planes};
use criterion::{BenchmarkId, Criterion, Throughput};
use wcodec::safetensors::Dtype;
use wcodec_tests::{Pattern, Random, TestTensor};

/// Elements of the block, as many as most have.
const ELEMENTS: usize = 1 << 16;
/// States of each lane, as most tensors have them.
const STATES_PER_LANE: usize = 2;

/// A block, what it decodes to, and the tables that it takes.
struct Sample {
    spec: BlockSpec,
    elements: Vec<u8>,
    block: Vec<u8>,
    tables: DecodeTables,
}

fn counts(bytes: impl Iterator<Item = u8>) -> [u64; ALPHABET] {
    let mut counts = [0; ALPHABET];
    bytes.for_each(|byte| counts[usize::from(byte)] += 1);
    counts
}

impl Sample {
    /// Gaussian weights of `dtype`, the last plane of which is coded as `coding`.
    fn new(dtype: Dtype, layout: ElementLayout, coding: PlaneCoding) -> Self {
        let shape = [ELEMENTS as u64];
        let tensor = TestTensor::new("", dtype, &shape, Pattern::Gaussian, &mut Random::new(7));
        let (elements, width) = (tensor.bytes, layout.width.bytes());
        let mut planes = [PlaneCoding::Raw; MAX_WIDTH];
        planes[width - 1] = coding;
        let spec =
            BlockSpec { layout, elements: ELEMENTS, states_per_lane: STATES_PER_LANE, planes };
        let mut split = vec![0; elements.len()];
        split_planes(layout, &elements, &mut split);
        let values = &split[(width - 1) * ELEMENTS..];
        let counts_of_values = counts(values.iter().copied());
        let mut order: Vec<u8> = (0..=u8::MAX).collect();
        order.sort_by_key(|&value| std::cmp::Reverse(counts_of_values[usize::from(value)]));
        let values_of_ranks: [u8; RANKS] = std::array::from_fn(|rank| order[rank]);
        let ranks = ranks_of(&values_of_ranks);
        let pairs = values.as_chunks::<2>().0.iter();
        let used = match coding {
            PlaneCoding::NibblePairs => counts(pairs.map(|[a, b]| a >> 4 | b & 0xF0)),
            PlaneCoding::Pairs => {
                let symbol =
                    |[a, b]: &[u8; 2]| Some(ranks[usize::from(*a)]? | ranks[usize::from(*b)]? << 4);
                // So that each pair has a slot.
                counts(pairs.filter_map(symbol)).map(|count| count.max(1))
            }
            _ => counts_of_values,
        };
        let frequencies = normalize(&used).expect("there are several symbols");
        let encode = PlaneEncodeTables {
            table: EncodeTable::new(&frequencies),
            has_slot: frequencies.as_array().map(|frequency| frequency > 0),
            ranks,
        };
        let mut of_planes = [None; MAX_WIDTH];
        of_planes[width - 1] = Some(&encode);
        let mut block = vec![0; max_block_bytes(&spec)];
        let mut scratch = vec![0; encode_scratch_bytes(&spec)];
        let mut words = vec![0; encode_scratch_words(&spec)];
        let length =
            encode_block(&spec, &of_planes, &elements, &mut scratch, &mut words, &mut block);
        block.truncate(length);
        let tables = DecodeTables::new(&frequencies, values_of_ranks);
        Self { spec, elements, block, tables }
    }

    /// Decodes the block as often as there are outputs, side by side.
    fn decode<const B: usize>(
        &self,
        level: Level,
        buffers: &mut [PieceBuffers; B],
        outs: &mut [Vec<u8>; B],
    ) {
        let mut tables = [None; MAX_WIDTH];
        tables[self.spec.layout.width.bytes() - 1] = Some(&self.tables);
        let inputs = [BlockInput { tables, bytes: &self.block }; B];
        let outs = outs.each_mut().map(|out| &mut out[..]);
        assert!(level.decode_blocks(&self.spec, black_box(inputs), buffers, outs));
    }

    fn measure<const B: usize>(&self, criterion: &mut Criterion, name: &str) {
        for level in Level::variants() {
            let mut buffers = std::array::from_fn(|_| PieceBuffers::default());
            let mut outs = std::array::from_fn(|_| vec![0; self.elements.len()]);
            self.decode::<B>(level, &mut buffers, &mut outs);
            assert!(outs.iter().all(|out| *out == self.elements), "{name} does not come back");
            let mut group = criterion.benchmark_group(format!("block/{name}"));
            group.throughput(Throughput::Bytes((B * self.elements.len()) as u64));
            let way = format!("{}, {B} at a time", level.way());
            group.bench_function(BenchmarkId::from_parameter(way), |bencher| {
                bencher.iter(|| self.decode::<B>(level, &mut buffers, &mut outs));
            });
            group.finish();
        }
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    let bf16 = ElementLayout { width: Width::Two, rotated: true };
    for (name, dtype, layout, coding) in [
        ("FP8 symbols", Dtype::F8E4M3, ElementLayout::BYTES, PlaneCoding::Symbols),
        ("INT8 nibble pairs", Dtype::I8, ElementLayout::BYTES, PlaneCoding::NibblePairs),
        ("BF16 pairs", Dtype::BF16, bf16, PlaneCoding::Pairs),
    ] {
        let sample = Sample::new(dtype, layout, coding);
        sample.measure::<1>(&mut criterion, name);
        sample.measure::<2>(&mut criterion, name);
    }
    criterion.final_summary();
}
