//! What kernels call, with the names that Rust-CUDA gives it: [`thread`], [`warp`], [`shared`] and
//! [`global`] memory, [`async_copy`], [`bits`], and the attribute [`kernel`].
//!
//! Every function has two forms. On `nvptx64` it is one instruction of PTX. Anywhere else it asks
//! the `emulator`, under which the very same kernel source runs thread by thread, with every
//! access and every collective checked.
//!
//! Memory is accessed by functions rather than by dereferencing, because they choose the exact
//! instruction (state space, width, cache path), and because the emulator can check them.

#![cfg_attr(target_arch = "nvptx64", no_std)]
#![cfg_attr(
    target_arch = "nvptx64",
    feature(stdarch_nvptx, asm_experimental_arch, link_llvm_intrinsics)
)]
#![cfg_attr(target_arch = "nvptx64", allow(internal_features))]

pub use cuda_std_macros::kernel;

pub mod async_copy;
pub mod bits;
#[cfg(not(target_arch = "nvptx64"))]
pub mod emulator;
pub mod global;
pub mod shared;
pub mod thread;
pub mod warp;

#[cfg(target_arch = "nvptx64")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: ends the kernel with an error; nothing runs after it.
    unsafe { core::arch::nvptx::trap() }
}
