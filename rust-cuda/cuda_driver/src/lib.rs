//! The CUDA driver without linking to it.
//!
//! [`cust`] calls the functions of `libcuda`, and a binary that is linked to that library does not
//! start on a machine without a driver. This crate defines those functions itself: each forwards to
//! `libcuda.so.1`, which is opened at the first call. Without a driver they return
//! `CUDA_ERROR_STUB_LIBRARY`, [`available`] says why, and the program goes on without a GPU.

mod forwarders;
mod gate;
mod library;
mod result;

pub use cust;
pub use cust_raw as raw;
pub use gate::Gate;
pub use library::{Unavailable, available};
