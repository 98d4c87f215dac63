//! Counts for SECURITY.md: every truncation, every flipped bit and lying numbers at every place of a
//! small real file, with the most memory that any of them took.

use std::time::Instant;

use wcodec::Checkpoint;
use wcodec_tests::{
    LimitedAllocator, Trials, bombs, flips, lies, small_file, small_original, truncations,
};

/// Far beyond what is promised, so that a file that takes too much is seen in the figures.
#[global_allocator]
static ALLOCATOR: LimitedAllocator = LimitedAllocator::new(4 << 30);

fn main() -> wcodec::Result<()> {
    let (original, file) = (small_original()?, small_file()?);
    println!("a file of {} bytes, of an original of {} bytes", file.len(), original.len());
    type Trial = fn(&[u8], &[u8], usize) -> Trials;
    let all: [(&str, Trial); 3] =
        [("truncations", truncations), ("flipped bits", flips), ("lying numbers", lies)];
    for (name, trial) in all {
        let start = Instant::now();
        let mut trials = Trials::default();
        let peak = ALLOCATOR.peak_of(|| trials = trial(&file, &original, 1));
        let Trials { tried, refused, exact, wrong } = trials;
        println!(
            "{name}: {tried} tried, {refused} refused, {exact} exact, {wrong} wrong; at most {} KiB \
             of memory, {} s",
            peak >> 10,
            start.elapsed().as_secs()
        );
    }
    for bomb in bombs() {
        let peak = ALLOCATOR.peak_of(|| {
            if Checkpoint::from_bytes(bomb.clone()).is_ok() {
                println!("a bomb is taken for a good file");
            }
        });
        println!("a bomb of {} bytes: at most {} KiB of memory", bomb.len(), peak >> 10);
    }
    Ok(())
}
