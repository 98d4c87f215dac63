//! What the whole-system tests and the benches share: reproducible random elements of every dtype,
//! checkpoints made of them, and whether there is a GPU.

mod gpu;
mod kills;
mod memory;
mod parts;
mod pattern;
mod random;
mod smooth;
mod trials;

use wcodec::Result;
use wcodec::safetensors::{Dtype, TensorData, build};

pub use gpu::{REQUIRE_GPU, find_gpu, require_gpu};
pub use kills::{Kills, kill_at_random};
pub use memory::LimitedAllocator;
pub use parts::Parts;
pub use pattern::Pattern;
pub use random::Random;
pub use smooth::SmoothTable;
pub use trials::{Trials, bombs, flips, lies, small_file, small_original, truncations};

/// Every dtype that the library knows, and one that it doesn't.
pub fn all_dtypes() -> Vec<Dtype> {
    let mut dtypes = Dtype::KNOWN.to_vec();
    dtypes.push(Dtype::Other("F7_NEW".into()));
    dtypes
}

/// A tensor and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestTensor {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub dtype: Dtype,
    /// Dimensions, the slowest first.
    pub shape: Vec<u64>,
    /// Elements, little-endian.
    pub bytes: Vec<u8>,
}

impl TestTensor {
    /// A tensor of `shape`, filled with `pattern`. Dtypes whose elements don't fill whole bytes get
    /// one more dimension, so that they do.
    pub fn new(
        name: impl Into<String>,
        dtype: Dtype,
        shape: &[u64],
        pattern: Pattern,
        random: &mut Random,
    ) -> Self {
        let mut shape = shape.to_vec();
        match dtype.bits() {
            Some(4) => shape.push(2),
            Some(6) => shape.push(4),
            _ => {}
        }
        let elements: u64 = shape.iter().product();
        let bytes = (elements * u64::from(dtype.bits().unwrap_or(8))).div_ceil(8) as usize;
        let bytes = pattern.fill(&dtype, bytes, random);
        Self { name: name.into(), dtype, shape, bytes }
    }

    /// The tensor as [`build`] takes it.
    pub fn data(&self) -> TensorData<'_> {
        TensorData {
            name: &self.name,
            dtype: self.dtype.clone(),
            shape: &self.shape,
            bytes: &self.bytes,
        }
    }
}

/// A `.safetensors` file of `tensors`, in their order.
///
/// # Errors
///
/// When they don't make a valid file, for instance because two have the same name.
pub fn safetensors_file(tensors: &[TestTensor]) -> Result<Vec<u8>> {
    let tensors: Vec<TensorData<'_>> = tensors.iter().map(TestTensor::data).collect();
    build(&tensors, &[("format", "pt")])
}

/// A file of `golden/`, and how it was encoded, in blocks of 1024 elements.
#[derive(Debug, Clone, Copy)]
pub struct GoldenFile {
    /// Its name.
    pub name: &'static str,
    /// rANS states per lane.
    pub states_per_lane: usize,
}

/// The golden files. All of them hold [`golden_tensors`].
pub const GOLDEN_FILES: [GoldenFile; 2] = [
    GoldenFile { name: "v1-all-dtypes.wcodec", states_per_lane: 1 },
    GoldenFile { name: "v1-all-dtypes-two-states.wcodec", states_per_lane: 2 },
];

/// The tensors of the golden files: every dtype with every pattern, in sizes that leave a block of
/// 1024 elements cut short; two long ones; and some odd shapes.
///
/// The golden files hold these very bytes, so they, [`Random`] and the patterns they use may never
/// change; add a function beside this one for new golden files.
pub fn golden_tensors() -> Vec<TestTensor> {
    let mut random = Random::new(1);
    let mut tensors = Vec::new();
    for dtype in all_dtypes() {
        for pattern in Pattern::ALL {
            // Few that need many bytes, so that the files stay small.
            let shape = match pattern {
                Pattern::Gaussian => [7, 173],
                Pattern::RareSymbol | Pattern::Constant => [3, 691],
                _ => [7, 3],
            };
            let name = format!("{dtype}.{pattern:?}");
            tensors.push(TestTensor::new(name, dtype.clone(), &shape, pattern, &mut random));
        }
    }
    // Long enough that two elements share a symbol.
    for dtype in [Dtype::BF16, Dtype::I8] {
        let name = format!("{dtype}.long");
        tensors.push(TestTensor::new(name, dtype, &[12_007], Pattern::Gaussian, &mut random));
    }
    for (name, shape) in [("scalar", &[][..]), ("empty", &[0, 3]), ("one", &[1, 1, 1])] {
        tensors.push(TestTensor::new(name, Dtype::BF16, shape, Pattern::Uniform, &mut random));
    }
    tensors
}
