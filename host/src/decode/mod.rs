//! From blocks back to tensors and files.

mod blocks;
mod checkpoint;
mod elements;
mod explain;
mod restore;
mod runs;
mod salvage;
mod stream;
mod tensor;
mod validate;
mod verify;

pub(crate) use blocks::{Destination, layout_of};
pub use checkpoint::Checkpoint;
pub use elements::{Decoded, Element};
pub use explain::{Explanation, ToolGain};
pub use restore::RestoreOptions;
pub use salvage::{LostRange, SalvageReport};
pub use tensor::Tensor;
pub use verify::VerifyReport;
