//! One block, decoded by the reference, by every set of vector instructions and by the emulated
//! kernels: the same bytes, or an error from all.
#![no_main]

#[path = "../../tests/tests/kernels/blocks.rs"]
#[allow(dead_code)]
mod blocks;
#[path = "../../tests/tests/kernels/by_class.rs"]
#[allow(dead_code)]
mod by_class;
#[path = "../../tests/tests/kernels/emulation.rs"]
#[allow(dead_code)]
mod emulation;
#[path = "../../tests/tests/kernels/subjects.rs"]
#[allow(dead_code)]
mod subjects;

use std::sync::OnceLock;

use blocks::{Block, Coded, Content};
use codec::block::{BlockError, decode_scratch_bytes};
use codec::simd::{BlockInput, Level, PieceBuffers};
use cuda_std::emulator::{CopyTiming, LaneOrder};
use emulation::{Batch, Conditions, Decoded};
use libfuzzer_sys::fuzz_target;
use subjects::{Subject, fast_subjects, general_subjects};
use wcodec_fuzz::Choices;
use wcodec_tests::Random;

/// Sizes around those of warps and groups.
const ELEMENTS: [usize; 8] = [1, 2, 45, 64, 129, 257, 301, 511];

/// What is decoded: a kernel with a plan, and blocks of that plan.
struct Case {
    subject: Subject,
    contents: Vec<Coded>,
}

fn cases() -> &'static [Case] {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    CASES.get_or_init(|| {
        let subjects = fast_subjects().into_iter().chain(general_subjects());
        subjects.enumerate().map(|(number, subject)| case(number, subject)).collect()
    })
}

fn case(number: usize, subject: Subject) -> Case {
    let random = &mut Random::new(number as u64);
    let contents = [Content::Weights, Content::Uniform]
        .map(|content| Coded::new(&subject.plan, content, &ELEMENTS, random));
    Case { subject, contents: contents.into() }
}

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Choices(bytes);
    let cases = cases();
    let case = &cases[choices.below(cases.len())];
    let coded = &case.contents[choices.below(case.contents.len())];
    let block = &coded.blocks[choices.below(coded.blocks.len())];
    let conditions = conditions(choices.byte());
    let mut damaged = block.bytes.clone();
    choices.mutate(&mut damaged);
    // Lengths of blocks are multiples of 16 wherever a reader takes them from.
    damaged.resize(damaged.len().next_multiple_of(16), 0);

    let expected = coded.decode(&block.spec, &damaged);
    if damaged == block.bytes {
        assert!(expected.as_ref() == Ok(&block.elements), "an undamaged block");
    }
    for level in Level::variants() {
        check_level(level, coded, block, &damaged, &expected);
    }
    let mut batch = Batch::new(&case.subject);
    batch.add_group(coded, vec![(block.spec, damaged)]);
    let found = batch.run(conditions).unwrap_or_else(|error| panic!("{}: {error}", case.subject));
    check_kernel(&case.subject, &expected, &found[0]);
});

/// Mostly one warp, which is quickest; there is only one block to decode.
fn conditions(bits: u8) -> Conditions {
    let count = if bits >> 5 == 7 { 2 } else { 1 };
    Conditions {
        blocks: count,
        warps: count,
        lane_order: if bits & 1 == 0 { LaneOrder::Ascending } else { LaneOrder::Descending },
        warp_lead: u32::from(bits >> 2),
        copy_timing: if bits & 2 == 0 { CopyTiming::Late } else { CopyTiming::Early },
    }
}

fn check_level(
    level: Level,
    coded: &Coded,
    block: &Block,
    damaged: &[u8],
    expected: &Result<Vec<u8>, BlockError>,
) {
    let tables = std::array::from_fn(|plane| coded.decode.get(plane).and_then(Option::as_ref));
    let input = BlockInput { tables, bytes: damaged };
    let mut out = vec![0xAA; block.spec.decoded_bytes()];
    let mut buffers = [PieceBuffers::default()];
    let is_right = if block.spec.has_classes() {
        // The same errors as the reference, too.
        let result = coded.by_class.with_decode(&block.spec, |classes| {
            let mut scratch = vec![0x55; decode_scratch_bytes(&block.spec)];
            level.decode_classed_block(
                &block.spec,
                &tables,
                classes,
                damaged,
                &mut scratch,
                &mut out,
            )
        });
        assert_eq!(result.as_ref().err(), expected.as_ref().err(), "{}", level.name());
        result.is_ok()
    } else {
        level.decode_blocks(&block.spec, [input], &mut buffers, [&mut out])
    };
    match expected {
        // A level may leave a good block to the reference, but not decode it to other bytes.
        Ok(expected) => assert!(!is_right || out == *expected, "{} differs", level.name()),
        Err(error) => {
            assert!(!is_right, "{} decodes, and the reference says: {error}", level.name())
        }
    }
}

/// Kernels don't look at padding, and don't compare the list of escapes with the symbols that
/// announce them.
fn check_kernel(subject: &Subject, expected: &Result<Vec<u8>, BlockError>, found: &Decoded) {
    match expected {
        Ok(bytes) => {
            assert_eq!(found.status, 0, "{subject}: the reference decodes");
            assert!(found.bytes == *bytes, "{subject}: other bytes");
        }
        Err(BlockError::Padding { .. } | BlockError::Escape { .. }) => {}
        Err(error) => assert_ne!(found.status, 0, "{subject}: the reference says: {error}"),
    }
}
