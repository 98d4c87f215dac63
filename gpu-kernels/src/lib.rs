//! The decode kernels. A warp decodes a block, a thread is one lane; every arithmetic step is a
//! function of `codec`, the same that the CPU decoder calls.
//!
//! - [`fast`]: one body for the plans with a single stream, specialised by constants, with words
//!   and raw planes staged through shared memory by asynchronous copies;
//! - [`by_class`]: elements of one byte whose table depends on row and column, built like those;
//! - [`general`]: any plan of the format, loads straight from global memory, easy to audit;
//! - [`mod@reference`]: adds the base to what was taken against it;
//! - [`tiles`]: undoes the predictions and transforms of blocks that are coded in tiles;
//! - [`rectangles`]: copies what is wanted of blocks of which parts are wanted;
//! - [`grid`]: how thread blocks share the work of a launch.
//!
//! No lane reads outside its block or writes outside its block's output, whatever the bytes are.

#![cfg_attr(target_arch = "nvptx64", no_std)]
#![cfg_attr(target_arch = "nvptx64", feature(abi_ptx))]
#![allow(
    clippy::multiple_unsafe_ops_per_block,
    reason = "an access and the arithmetic of its address have the same proof"
)]

pub mod by_class;
mod classes;
mod escapes;
pub mod fast;
pub mod general;
pub mod grid;
mod lanes;
mod output;
mod parts;
pub mod rectangles;
pub mod reference;
mod ring;
pub mod tiles;
