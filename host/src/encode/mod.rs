//! From tensors to blocks.
//!
//! [`checkpoint`] drives: it cuts tensors into segments of blocks and takes a window of segments at
//! a time through [`histogram`] (what occurs), [`plan`] (how each block is coded) and [`window`]
//! (the coding itself), and writes the results in order. [`tables`] holds the tables that all
//! tensors share, [`layout`] says how a dtype is split.

mod checkpoint;
mod classes;
mod cluster;
mod copies;
mod entropy;
mod histogram;
mod layout;
mod pairs;
mod plan;
mod profile;
mod reference;
mod report;
mod tables;
mod tiles;
mod window;

pub use checkpoint::{
    EncodeOptions, encode_safetensors, encode_safetensors_bytes, encode_safetensors_bytes_into,
};
pub(crate) use histogram::estimate_planes;
pub use profile::Profile;
pub use report::{EncodeReport, TensorReport};
