//! Every kernel, run by the emulator and held against the CPU decoder: the same bytes where that
//! decodes, a status where it reports an error, and never an access outside of what it was given.

#[path = "kernels/blocks.rs"]
mod blocks;
#[path = "kernels/by_class.rs"]
mod by_class;
#[path = "kernels/emulation.rs"]
mod emulation;
#[path = "kernels/subjects.rs"]
mod subjects;

use blocks::{Coded, Content};
use codec::block::BlockError;
use codec::device::status;
use cuda_std::emulator::{CopyTiming, LaneOrder};
use emulation::{Batch, Conditions, Decoded};
use subjects::{Subject, fast_subjects, general_subjects, subjects_by_class};
use wcodec_tests::Random;

/// Around the sizes of warps, groups and what states carry, and primes.
const ELEMENTS: [usize; 18] =
    [1, 2, 31, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 384, 511, 513, 1021, 4099];

/// Sizes for corruption: one whose states carry raw bytes, and one whose states do not.
const CORRUPTED_ELEMENTS: [usize; 2] = [301, 45];

const CONDITIONS: [Conditions; 3] = [
    conditions(LaneOrder::Ascending, 0, CopyTiming::Late),
    conditions(LaneOrder::Descending, 0, CopyTiming::Early),
    conditions(LaneOrder::Descending, 100, CopyTiming::Late),
];

const fn conditions(lane_order: LaneOrder, warp_lead: u32, copy_timing: CopyTiming) -> Conditions {
    Conditions { lane_order, warp_lead, copy_timing, blocks: 2, warps: 2 }
}

/// Blocks of both contents, each with tables of its own: two groups of tasks.
fn coded(subject: &Subject, elements: &[usize]) -> Vec<Coded> {
    let mut random = Random::new(elements.len() as u64);
    [Content::Weights, Content::Uniform]
        .map(|content| Coded::new(&subject.plan, content, elements, &mut random))
        .into()
}

fn check_intact(subject: &Subject) {
    let all = coded(subject, &ELEMENTS);
    CONDITIONS.iter().for_each(|conditions| check_groups(subject, &all, *conditions));
}

/// Decodes all blocks in one launch, a group of tasks for each of `groups`.
fn check_groups(subject: &Subject, groups: &[Coded], conditions: Conditions) {
    let mut batch = Batch::new(subject);
    for coded in groups {
        let blocks = coded.blocks.iter().map(|block| (block.spec, block.bytes.clone()));
        batch.add_group(coded, blocks.collect());
    }
    let decoded = batch.run(conditions).unwrap_or_else(|error| panic!("{subject}: {error}"));
    let expected: Vec<_> = groups.iter().flat_map(|coded| &coded.blocks).collect();
    assert_eq!(decoded.len(), expected.len());
    for (expected, found) in expected.into_iter().zip(decoded) {
        let elements = expected.spec.elements;
        assert_eq!(found.status, 0, "{subject}, {elements} elements");
        assert!(found.bytes == expected.elements, "{subject}, {elements} elements: wrong bytes");
    }
}

/// A block with single bits flipped, with words that lie where counts may be, and cut off or
/// extended.
fn corruptions(block: &[u8], random: &mut Random) -> Vec<Vec<u8>> {
    const LIES: [u32; 8] = [0, 1, 2, 0xFF, 0x1_0000, 1 << 28, 1 << 31, u32::MAX];
    let mut all = Vec::new();
    let ends = (0..32).chain(block.len() - 32..block.len());
    let flips: Vec<usize> =
        (0..160).map(|_| random.below(8 * block.len() as u64) as usize).collect();
    for bit in ends.flat_map(|byte| [8 * byte, 8 * byte + 5]).chain(flips) {
        let mut flipped = block.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        all.push(flipped);
    }
    // Counts are in words of the first or the last 16 bytes.
    let words = (0..4).map(|word| 4 * word).flat_map(|at| [at, block.len() - 16 + at]);
    for at in words {
        let old = u32::from_le_bytes(block[at..at + 4].try_into().expect("four bytes"));
        let near =
            [old.wrapping_add(1), old.wrapping_sub(1), old.wrapping_add(8), old.wrapping_mul(2)];
        for lie in LIES.into_iter().chain(near) {
            let mut lying = block.to_vec();
            lying[at..at + 4].copy_from_slice(&lie.to_le_bytes());
            all.push(lying);
        }
    }
    for length in [0, 16, 32, block.len() / 32 * 16, block.len() - 16] {
        all.push(block[..length].to_vec());
    }
    all.push([block, &[0; 16]].concat());
    all.push(vec![0; block.len()]);
    all.push(vec![0xFF; block.len()]);
    all
}

/// Whether kernels may miss an error: they do not look at padding, which changes nothing that they
/// decode.
fn may_be_missed(error: &BlockError) -> bool {
    matches!(error, BlockError::Padding { .. })
}

/// Compares what a kernel says of a corrupted block with what the CPU says.
fn check_against_cpu(
    expected: &Result<Vec<u8>, BlockError>,
    found: &Decoded,
) -> Result<(), String> {
    match expected {
        Ok(_) if found.status != 0 => {
            Err(format!("the kernel reports {:#x}, the CPU decodes", found.status))
        }
        Ok(bytes) if *bytes != found.bytes => Err("the kernel decodes other bytes".to_owned()),
        Err(error) if found.status == 0 && !may_be_missed(error) => {
            Err(format!("the kernel decodes, the CPU reports: {error}"))
        }
        Err(_) if found.status & status::NOT_DECODED != 0 => {
            Err("the kernel reports nothing".to_owned())
        }
        _ => Ok(()),
    }
}

fn check_corrupted(subject: &Subject) {
    let mut random = Random::new(77);
    let mut errors = 0;
    for coded in coded(subject, &CORRUPTED_ELEMENTS) {
        let mut corrupted = Vec::new();
        for block in &coded.blocks {
            let variants = corruptions(&block.bytes, &mut random);
            corrupted.extend(variants.into_iter().map(|bytes| (block, bytes)));
        }
        let mut batch = Batch::new(subject);
        let blocks = corrupted.iter().map(|(block, bytes)| (block.spec, bytes.clone()));
        batch.add_group(&coded, blocks.collect());
        let decoded = batch.run(CONDITIONS[0]).unwrap_or_else(|error| panic!("{subject}: {error}"));
        for (number, ((block, bytes), found)) in corrupted.iter().zip(&decoded).enumerate() {
            let expected = coded.decode(&block.spec, bytes);
            errors += usize::from(expected.is_err());
            check_against_cpu(&expected, found).unwrap_or_else(|problem| {
                panic!(
                    "{subject}, corruption {number}, {} elements: {problem}",
                    block.spec.elements
                )
            });
        }
    }
    assert!(errors > 0, "{subject}: no corruption was one");
}

#[test]
fn fast_kernels_decode_what_was_encoded() {
    fast_subjects().iter().for_each(check_intact);
}

/// More groups than a warp looks at in one go, with fewer tasks than a thread block has warps, and with
/// more; and more thread blocks than groups.
#[test]
fn groups_of_any_number_of_tasks_are_shared_by_any_number_of_thread_blocks() {
    let subjects = [fast_subjects(), subjects_by_class(), general_subjects()];
    for subject in subjects.iter().filter_map(|subjects| subjects.first()) {
        let mut random = Random::new(5);
        let groups: Vec<_> = (0..70)
            .map(|number| {
                let elements = vec![5 + number; 1 + number % 4];
                Coded::new(&subject.plan, Content::Uniform, &elements, &mut random)
            })
            .collect();
        for (count, blocks, warps) in [(70, 3, 2), (70, 1, 3), (3, 7, 2), (1, 4, 3)] {
            check_groups(subject, &groups[..count], Conditions { blocks, warps, ..CONDITIONS[1] });
        }
    }
}

#[test]
fn kernels_by_class_decode_what_was_encoded() {
    subjects_by_class().iter().for_each(check_intact);
}

#[test]
fn kernels_by_class_report_what_the_cpu_reports() {
    subjects_by_class().iter().for_each(check_corrupted);
}

#[test]
fn general_kernels_decode_what_was_encoded() {
    general_subjects().iter().for_each(check_intact);
}

#[test]
fn fast_kernels_report_what_the_cpu_reports() {
    fast_subjects().iter().for_each(check_corrupted);
}

#[test]
fn general_kernels_report_what_the_cpu_reports() {
    general_subjects().iter().for_each(check_corrupted);
}

#[test]
fn pairs_are_tested_with_escapes() {
    for subject in fast_subjects() {
        for coded in coded(&subject, &[4099]) {
            let [block] = &coded.blocks[..] else { panic!("one block was asked for") };
            assert_eq!(coded.escapes(block) > 0, block.has_pairs(), "{subject}");
        }
    }
}
