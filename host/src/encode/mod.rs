//! From tensors to blocks.
//!
//! [`checkpoint`] drives: it cuts tensors into segments of blocks, puts small ones together in a [`lot`], and takes a window
//! of lots at a time through [`histogram`] (what occurs), [`plan`] (how each block is coded, with [`count`] for
//! the symbols) and [`window`] (the coding itself), and writes the results as they come [`in_order`]. [`tables`] holds the
//! tables that all tensors share, [`layout`] says how a dtype is split, [`records`] collects what the index says,
//! [`digest`] hashes the original meanwhile, and [`sink`] is where everything goes.

mod checkpoint;
mod classes;
mod cluster;
mod copies;
mod count;
mod digest;
mod entropy;
mod histogram;
mod in_order;
mod layout;
mod lot;
mod options;
mod pairs;
mod plan;
mod profile;
mod records;
mod reference;
mod report;
mod sink;
mod source;
mod tables;
mod tiles;
mod window;

pub use checkpoint::{encode_safetensors, encode_safetensors_bytes, encode_safetensors_bytes_into};
pub(crate) use histogram::estimate_planes;
pub use options::EncodeOptions;
pub use profile::Profile;
pub use report::{EncodeReport, TensorReport};
