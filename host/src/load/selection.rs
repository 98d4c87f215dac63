//! From names, patterns and shards to what is wanted of each tensor.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use glob::Pattern;
use rayon::prelude::*;

use super::batches::Part;
use super::options::{LoadOptions, Shard};
use super::rows::Rows;
use crate::decode::{Checkpoint, Tensor};
use crate::error::{Error, Result, quoted};

/// Tensors begin at multiples of this in what is loaded, in bytes.
pub const TENSOR_ALIGNMENT: u64 = 256;

/// Tensors for which it is worth it to have another thread.
const GRAIN: usize = 256;

/// A tensor that is to be loaded, and its place.
#[derive(Debug, Clone)]
pub(crate) struct Selected<'a> {
    /// The one that was asked for.
    pub(crate) tensor: Tensor<'a>,
    /// Dimensions of what is loaded of it.
    pub(crate) shape: Cow<'a, [u64]>,
    /// The tensor whose blocks are decoded, what of it, and where it goes.
    pub(crate) part: Part<'a>,
}

impl Selected<'_> {
    /// Bytes that are loaded.
    pub(crate) fn byte_len(&self) -> u64 {
        self.part.rows.byte_len()
    }

    /// Whether all of the tensor is loaded.
    pub(crate) fn is_whole(&self) -> bool {
        self.byte_len() == self.tensor.byte_len()
    }
}

/// Everything that `options` ask for, in the order of the file, one after the other.
#[derive(Debug)]
pub(crate) struct Selection<'a> {
    pub(crate) tensors: Vec<Selected<'a>>,
    /// Bytes of all, with the gaps between them.
    pub(crate) total: u64,
}

impl<'a> Selection<'a> {
    pub(crate) fn new(checkpoint: &'a Checkpoint, options: &LoadOptions) -> Result<Self> {
        checkpoint.require_base()?;
        let slicer = options.shard.as_ref().map(Slicer::new).transpose()?;
        let named = named(checkpoint, &options.tensors)?;
        let Some(slicer) = slicer else { return Ok(Self::whole(named)) };
        let slice = |tensor: &Tensor<'_>| slicer.slice(tensor);
        let sliced: Result<Vec<_>> = named.par_iter().with_min_len(GRAIN).map(slice).collect();
        let mut selection = Self { tensors: Vec::with_capacity(named.len()), total: 0 };
        for (tensor, (rows, shape)) in named.into_iter().zip(sliced?) {
            selection.push(tensor, rows, shape.into());
        }
        Ok(selection)
    }

    /// Whole tensors, in this order.
    pub(crate) fn whole(tensors: impl IntoIterator<Item = Tensor<'a>>) -> Self {
        let tensors = tensors.into_iter();
        let mut selection = Self { tensors: Vec::with_capacity(tensors.size_hint().0), total: 0 };
        for tensor in tensors {
            selection.push(tensor, Rows::all(tensor.byte_len()), tensor.shape().into());
        }
        selection
    }

    fn push(&mut self, tensor: Tensor<'a>, rows: Rows, shape: Cow<'a, [u64]>) {
        let part = Part { tensor: tensor.stored(), rows, out: self.total };
        // Parts of a file that fit into its original's length, rounded up.
        self.total += rows.byte_len().next_multiple_of(TENSOR_ALIGNMENT);
        self.tensors.push(Selected { tensor, shape, part });
    }

    pub(crate) fn parts(&self) -> Vec<Part<'a>> {
        self.tensors.par_iter().with_min_len(GRAIN).map(|tensor| tensor.part).collect()
    }

    /// Bytes of all tensors, without gaps.
    pub(crate) fn tensor_bytes(&self) -> u64 {
        self.tensors.iter().map(Selected::byte_len).sum()
    }
}

/// The tensors with these names, or names like these, in the order of the file.
pub(crate) fn named<'a>(checkpoint: &'a Checkpoint, names: &[String]) -> Result<Vec<Tensor<'a>>> {
    if names.is_empty() {
        return Ok(checkpoint.tensors().collect());
    }
    let mut wanted = HashSet::new();
    for name in names {
        // A name may have characters that mean something in patterns.
        if let Ok(tensor) = checkpoint.tensor(name) {
            wanted.insert(tensor.number());
            continue;
        }
        let before = wanted.len();
        if name.contains(['*', '?', '[']) {
            let pattern = pattern(name)?;
            let alike = checkpoint.tensors().filter(|tensor| pattern.matches(tensor.name()));
            wanted.extend(alike.map(|tensor| tensor.number()));
            if wanted.len() > before || checkpoint.tensors().any(|t| pattern.matches(t.name())) {
                continue;
            }
        }
        checkpoint.tensor(name)?;
    }
    Ok(checkpoint.tensors().filter(|tensor| wanted.contains(&tensor.number())).collect())
}

fn pattern(text: &str) -> Result<Pattern> {
    Pattern::new(text).map_err(|error| Error::InvalidArgument {
        what: format!("the pattern {}", quoted(text)),
        detail: format!("{error}; use * for any characters and ? for one"),
    })
}

/// A shard with its patterns ready.
struct Slicer {
    rank: u64,
    count: u64,
    rules: Vec<(Pattern, usize)>,
}

impl Slicer {
    fn new(shard: &Shard) -> Result<Self> {
        if shard.rank >= shard.count {
            return Err(Error::InvalidArgument {
                what: format!("shard {} of {}", shard.rank, shard.count),
                detail: "shards are counted from 0 and fewer than there are".into(),
            });
        }
        let rules = shard.rules.iter().map(|(text, dimension)| Ok((pattern(text)?, *dimension)));
        let rules = rules.collect::<Result<_>>()?;
        Ok(Self { rank: shard.rank, count: shard.count, rules })
    }

    /// What is taken of a tensor, and its dimensions then.
    fn slice(&self, tensor: &Tensor<'_>) -> Result<(Rows, Vec<u64>)> {
        let mut shape = tensor.shape().to_vec();
        let rule = self.rules.iter().find(|(pattern, _)| pattern.matches(tensor.name()));
        let dimension = rule.map(|(_, dimension)| *dimension);
        let Some((dimension, &length)) = dimension.and_then(|at| Some((at, shape.get(at)?))) else {
            return Ok((Rows::all(tensor.byte_len()), shape));
        };
        let cut =
            |rank: u64| (u128::from(rank) * u128::from(length) / u128::from(self.count)) as u64;
        let wanted = cut(self.rank)..cut(self.rank + 1);
        let rows = rows_of(tensor, dimension, length, &wanted)?;
        shape[dimension] = wanted.end - wanted.start;
        Ok((rows, shape))
    }
}

/// The elements `wanted` along a dimension of so many.
fn rows_of(
    tensor: &Tensor<'_>,
    dimension: usize,
    length: u64,
    wanted: &Range<u64>,
) -> Result<Rows> {
    if tensor.byte_len() == 0 {
        return Ok(Rows::all(0));
    }
    // The products are at most the number of elements, which the header's checks have found possible.
    let count: u64 = tensor.shape()[..dimension].iter().product();
    let pitch = tensor.byte_len() / count;
    let place = |at: u64| {
        let scaled = u128::from(at) * u128::from(pitch);
        let is_whole = scaled.is_multiple_of(u128::from(length));
        is_whole.then(|| (scaled / u128::from(length)) as u64)
    };
    let whole_rows = pitch * count == tensor.byte_len();
    match (place(wanted.start), place(wanted.end)) {
        (Some(start), Some(end)) if whole_rows => {
            let contiguous = count == 1 || (start == 0 && end == pitch);
            Ok(if contiguous {
                Rows::run(tensor.byte_len(), start..start + (end - start) * count)
            } else {
                Rows { pitch, start, width: end - start, count }
            })
        }
        _ => Err(Error::InvalidArgument {
            what: format!(
                "a slice along dimension {dimension} of tensor {}",
                quoted(tensor.name())
            ),
            detail: format!(
                "its {} elements {wanted:?} begin or end within a byte; choose another dimension or \
                 another number of shards",
                tensor.dtype()
            ),
        }),
    }
}
