//! From blocks back to tensors and files.

mod blocks;
mod checkpoint;
mod elements;
mod explain;
mod restore;
mod salvage;
mod stream;
mod validate;
mod verify;

pub(crate) use blocks::layout_of;
pub use checkpoint::{Checkpoint, Tensor};
pub use elements::{Decoded, Element};
pub use explain::{Explanation, ToolGain};
pub use restore::RestoreOptions;
pub use salvage::{LostRange, SalvageReport};
pub use verify::VerifyReport;
