//! One layer of 8-bit weights at a time: the small API for code that holds weights in memory.
//!
//! ```
//! use wcodec::{Decoder, Encoder, EncoderOptions, TileShape};
//!
//! # fn main() -> wcodec::Result<()> {
//! let (rows, columns) = (64, 96);
//! let weights: Vec<i8> = (0..rows * columns).map(|i| (i % 7) as i8 - 3).collect();
//!
//! let encoder = Encoder::new(EncoderOptions::default().with_tile(TileShape::Wide8x32));
//! let (encoded, stats) = encoder.encode_layer(&weights, rows, columns)?;
//! assert_eq!(stats.encoded_bytes, encoded.len() as u64);
//! println!("{:.2} times smaller", stats.compression_ratio());
//!
//! assert_eq!(Decoder::new().decode_layer(&encoded, rows, columns)?, weights);
//! # Ok(())
//! # }
//! ```
//!
//! What [`Encoder::encode_layer`] returns is a whole `.wcodec` file with one I8 tensor, which
//! [`Checkpoint::from_bytes`] opens too. A file has a fixed part of some hundred bytes; many small
//! layers are better stored together with [`crate::encode_safetensors_bytes`].

#[cfg(test)]
mod tests;

use std::fmt;

use crate::decode::{Checkpoint, Tensor};
use crate::encode::{EncodeOptions, encode_safetensors_bytes};
use crate::error::{Error, Result, quoted};
use crate::safetensors::{Dtype, TensorData, build};

/// Name of the one tensor of a layer's file.
const LAYER_NAME: &str = "layer";
/// Layers may be small, and are read from memory.
const SECTION_ALIGNMENT: usize = 64;
/// Entry of the file's metadata that holds the tile shape.
const TILE_KEY: &str = "tile";

/// The region of a layer that a two-dimensional predictor and transform work in, rows by columns.
///
/// The shape is recorded in the encoded layer and checked when it is decoded. The current encoder
/// codes every tile without a predictor or transform, so the shape changes neither size nor speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TileShape {
    /// 16 rows by 16 columns.
    #[default]
    Square16,
    /// 8 rows by 32 columns.
    Wide8x32,
    /// 32 rows by 8 columns.
    Tall32x8,
}

impl TileShape {
    /// Every shape.
    pub const ALL: [Self; 3] = [Self::Square16, Self::Wide8x32, Self::Tall32x8];

    /// Rows of a tile.
    pub const fn rows(self) -> usize {
        match self {
            Self::Square16 => 16,
            Self::Wide8x32 => 8,
            Self::Tall32x8 => 32,
        }
    }

    /// Columns of a tile.
    pub const fn columns(self) -> usize {
        match self {
            Self::Square16 => 16,
            Self::Wide8x32 => 32,
            Self::Tall32x8 => 8,
        }
    }

    /// The shape that [`TileShape`]'s `Display` form names.
    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|shape| shape.to_string() == name)
    }
}

impl fmt::Display for TileShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.rows(), self.columns())
    }
}

/// How an [`Encoder`] encodes. Start from the default and set what differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncoderOptions {
    /// The tile shape to record.
    pub tile: TileShape,
    /// See [`EncodeOptions::block_elements`].
    pub block_elements: usize,
    /// See [`EncodeOptions::states_per_lane`].
    pub states_per_lane: usize,
}

impl Default for EncoderOptions {
    fn default() -> Self {
        let EncodeOptions { block_elements, states_per_lane, .. } = EncodeOptions::default();
        Self { tile: TileShape::default(), block_elements, states_per_lane }
    }
}

impl EncoderOptions {
    /// The same options with another tile shape.
    pub fn with_tile(self, tile: TileShape) -> Self {
        Self { tile, ..self }
    }

    /// The same options with another block size; see [`EncodeOptions::block_elements`].
    pub fn with_block_elements(self, block_elements: usize) -> Self {
        Self { block_elements, ..self }
    }

    /// The same options with 1 or 2 states per lane; see [`EncodeOptions::states_per_lane`].
    pub fn with_states_per_lane(self, states_per_lane: usize) -> Self {
        Self { states_per_lane, ..self }
    }
}

/// What encoding a layer did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EncodeStats {
    /// Bytes of the weights.
    pub original_bytes: u64,
    /// Bytes of the encoded layer, all of the file.
    pub encoded_bytes: u64,
}

impl EncodeStats {
    /// Original bytes over encoded bytes.
    pub fn compression_ratio(&self) -> f64 {
        self.original_bytes as f64 / self.encoded_bytes as f64
    }
}

/// Encodes layers of 8-bit weights.
#[derive(Debug, Clone, Default)]
pub struct Encoder {
    options: EncoderOptions,
}

impl Encoder {
    /// An encoder with `options`, which are checked when a layer is encoded.
    pub fn new(options: EncoderOptions) -> Self {
        Self { options }
    }

    /// Encodes a matrix of `rows` times `columns` weights, row-major, into a `.wcodec` file in
    /// memory.
    ///
    /// # Errors
    ///
    /// When there are not `rows * columns` weights, or an option is out of its range.
    pub fn encode_layer(
        &self,
        weights: &[i8],
        rows: usize,
        columns: usize,
    ) -> Result<(Vec<u8>, EncodeStats)> {
        if rows.checked_mul(columns) != Some(weights.len()) {
            return Err(Error::InvalidArgument {
                what: format!("a layer of {rows} rows and {columns} columns"),
                detail: format!(
                    "{} weights were given; give exactly rows * columns",
                    weights.len()
                ),
            });
        }
        let layer = TensorData {
            name: LAYER_NAME,
            dtype: Dtype::I8,
            shape: &[rows as u64, columns as u64],
            bytes: bytemuck::cast_slice(weights),
        };
        let file = build(&[layer], &[(TILE_KEY, &self.options.tile.to_string())])?;
        let options = EncodeOptions {
            section_alignment: SECTION_ALIGNMENT,
            block_elements: self.options.block_elements,
            states_per_lane: self.options.states_per_lane,
            ..EncodeOptions::default()
        };
        let (encoded, _) = encode_safetensors_bytes(&file, &options)?;
        let stats = EncodeStats {
            original_bytes: weights.len() as u64,
            encoded_bytes: encoded.len() as u64,
        };
        Ok((encoded, stats))
    }
}

/// Decodes what [`Encoder::encode_layer`] encoded.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Decoder {}

impl Decoder {
    /// A decoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes a layer of `rows` times `columns` weights, row-major.
    ///
    /// # Errors
    ///
    /// When `encoded` is damaged, is no layer (one I8 tensor with a tile shape), or has another
    /// shape than `rows` times `columns`.
    pub fn decode_layer(&self, encoded: &[u8], rows: usize, columns: usize) -> Result<Vec<i8>> {
        let checkpoint = Checkpoint::from_bytes(encoded.to_vec())?;
        let layer = only_tensor(&checkpoint)?;
        recorded_tile(&checkpoint)?;
        if layer.shape() != [rows as u64, columns as u64] {
            return Err(not_usable(format!(
                "it has the shape {:?}, and [{rows}, {columns}] was asked for",
                layer.shape()
            )));
        }
        let length = rows.checked_mul(columns).filter(|&length| length as u64 == layer.byte_len());
        let Some(length) = length else {
            return Err(not_usable(format!("its {} bytes do not fit its shape", layer.byte_len())));
        };
        let mut weights = vec![0; length];
        layer.decode_into(bytemuck::cast_slice_mut(&mut weights))?;
        Ok(weights)
    }
}

fn not_usable(detail: String) -> Error {
    Error::InvalidArgument { what: "the encoded layer".into(), detail }
}

/// The layer itself, if it is the only tensor and of the right dtype.
fn only_tensor(checkpoint: &Checkpoint) -> Result<Tensor<'_>> {
    let mut tensors = checkpoint.tensors();
    let count = tensors.len();
    let (Some(layer), 1) = (tensors.next(), count) else {
        return Err(not_usable(format!(
            "it is a file of {count} tensors, not of one; open it as a Checkpoint"
        )));
    };
    if layer.dtype() != Dtype::I8 {
        return Err(not_usable(format!(
            "its tensor {} has dtype {}, not I8; open it as a Checkpoint",
            quoted(layer.name()),
            layer.dtype()
        )));
    }
    Ok(layer)
}

/// The part of the original header that a layer's file adds to the tensor.
#[derive(serde::Deserialize)]
struct LayerHeader {
    #[serde(rename = "__metadata__")]
    metadata: LayerMetadata,
}

#[derive(serde::Deserialize)]
struct LayerMetadata {
    tile: String,
}

/// The tile shape that the encoder recorded.
fn recorded_tile(checkpoint: &Checkpoint) -> Result<TileShape> {
    // The JSON follows the header's length.
    let json = checkpoint.original_header().get(size_of::<u64>()..).unwrap_or_default();
    let header: LayerHeader = serde_json::from_slice(json).map_err(|error| {
        not_usable(format!("it records no tile shape ({error}); open it as a Checkpoint"))
    })?;
    TileShape::from_name(&header.metadata.tile).ok_or_else(|| {
        let known = TileShape::ALL.map(|shape| shape.to_string()).join(", ");
        not_usable(format!(
            "its tile shape {} is none of {known}; update wcodec",
            quoted(&header.metadata.tile)
        ))
    })
}
