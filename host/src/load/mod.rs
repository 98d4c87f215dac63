//! Whole checkpoints, or parts of them, ready for use: in device memory or on the host.

mod batches;
mod host;
mod loaded;
mod options;
mod report;
mod rows;
mod selection;
#[cfg(test)]
mod tests;

pub(crate) use batches::{
    BLOCK_ALIGNMENT, Batch, Check, Limits, PAGE_BYTES, Part, Piece, Place, Run, Span, batches,
    with_small_ones_last,
};
pub(crate) use loaded::load_selection;
pub use loaded::{LoadLayout, LoadedCheckpoint, TensorLayout};
pub use options::{Cancel, LoadOptions, Shard};
pub use report::{LoadReport, StageTimes};
pub(crate) use rows::{Rectangle, Rows};
pub use selection::TENSOR_ALIGNMENT;
pub(crate) use selection::{Selected, Selection};
