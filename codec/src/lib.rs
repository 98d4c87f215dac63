//! The arithmetic of wcodec, without allocation, I/O or the standard library.
//!
//! The CPU decoder and the GPU kernels both call the functions of this crate, so that they agree
//! bit for bit by construction:
//!
//! - [`rans`]: the entropy coder, one lane's step at a time, and the reference loops over 32 lanes;
//! - [`pair`]: two exponents (or nibbles) as one symbol, with escapes;
//! - [`split`]: which bits of an element go into which plane, and the way back;
//! - [`classes`]: which of several tables codes an element;
//! - [`mod@reference`]: elements against those of another checkpoint;
//! - [`tile`]: predictions and reversible transforms within tiles of 16x16 elements;
//! - [`block`]: how the planes of one block lie in its bytes;
//! - [`simd`]: the decoder for the processor's vectors, the only place with unsafe code.
//!
//! `docs/FORMAT.md` describes the same things for someone who writes a reader of their own.

#![no_std]
#![deny(unsafe_code)]

#[cfg(any(test, feature = "std"))]
extern crate std;

pub mod block;
pub mod classes;
pub mod constants;
pub mod device;
pub mod pair;
pub mod rans;
pub mod reference;
// Kernels have lanes of their own.
#[cfg(not(target_arch = "nvptx64"))]
pub mod simd;
pub mod split;
pub mod tile;
