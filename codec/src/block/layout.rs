//! Where the parts of a block lie.
//!
//! A block is its planes in order, and a footer that says for each plane with a stream how many
//! words and escapes it has (two little-endian u32). A raw plane is its bytes, followed by zero
//! bytes up to a multiple of 16. A stream is its initial states (u32), its words (u16) and, from the
//! next multiple of 4, its escapes (u32); with nibble pairs the raw low nibbles come before it, like
//! a raw plane. A stream begins at a multiple of 16. Zero bytes before the footer make the block's
//! length a multiple of 16. The last bytes of plane 0 may be carried by the states of the last
//! plane's stream, see [`BlockSpec::carried_bytes`].

use core::fmt;

use super::{BlockSpec, PlaneCoding};
use crate::constants::{BLOCK_ALIGNMENT, MAX_BLOCK_ELEMENTS, MAX_STATES_PER_LANE, MAX_WIDTH};
use crate::rans::{StreamError, StreamShape};

/// What is wrong with a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockError {
    /// The block's description is one that no reader accepts.
    Spec,
    /// The block has another length than its parts together.
    Length {
        /// Bytes of the block.
        actual: usize,
        /// Bytes of its parts, as its footer counts them.
        expected: usize,
    },
    /// A byte between two parts is not zero.
    Padding {
        /// Where in the block.
        offset: usize,
    },
    /// The escapes are not those that the symbols announce.
    Escape {
        /// Which escape of the list.
        index: usize,
    },
    /// A plane's stream does not decode.
    Stream {
        /// The plane.
        plane: usize,
        /// What is wrong with it.
        error: StreamError,
    },
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec => f.write_str("its description is not one of this format"),
            Self::Length { actual, expected } => {
                write!(f, "its parts take {expected} bytes, but it has {actual}")
            }
            Self::Padding { offset } => {
                write!(f, "the padding byte at offset {offset} is not zero")
            }
            Self::Escape { index } => {
                write!(
                    f,
                    "its escapes differ from what its symbols announce, from escape {index} on"
                )
            }
            Self::Stream { plane, error } => write!(f, "in plane {plane}, {error}"),
        }
    }
}

impl core::error::Error for BlockError {}

/// The part of a block that holds a plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Bytes of the block, from `offset`.
    Raw {
        /// Where in the block.
        offset: usize,
        /// How many bytes.
        length: usize,
    },
    /// Every element's byte.
    Constant(u8),
    /// Nothing: the heads of the plane above are all that there is of it.
    InHeads,
    /// A stream, and for nibble pairs and heads the raw bytes before it.
    Stream(StreamPart),
}

/// Where a stream lies in its block; offsets are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamPart {
    /// How its symbols are dealt to lanes.
    pub shape: StreamShape,
    /// Raw low nibbles, for nibble pairs and heads.
    pub raw_offset: usize,
    /// Bytes of raw low nibbles; zero for others.
    pub raw_length: usize,
    /// Initial states.
    pub states_offset: usize,
    /// Words.
    pub words_offset: usize,
    /// Number of words.
    pub words: usize,
    /// Escapes.
    pub escapes_offset: usize,
    /// Number of escapes.
    pub escapes: usize,
}

/// The parts of a block, plane by plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockLayout {
    /// One for each plane; entries beyond the width are meaningless.
    pub parts: [Part; MAX_WIDTH],
    /// Bytes of the whole block.
    pub length: usize,
}

/// `offset`, rounded up to the alignment of a block's parts.
#[inline(always)]
pub(super) const fn aligned(offset: usize) -> usize {
    offset.next_multiple_of(BLOCK_ALIGNMENT)
}

impl BlockLayout {
    /// Reads the footer of `block`, and checks that the parts fill it exactly and that what lies
    /// between them is zero.
    pub fn read(spec: &BlockSpec, block: &[u8]) -> Result<Self, BlockError> {
        if !spec.is_valid()
            || spec.elements > MAX_BLOCK_ELEMENTS
            || !(1..=MAX_STATES_PER_LANE).contains(&spec.states_per_lane)
        {
            return Err(BlockError::Spec);
        }
        let footer_at = block.len().checked_sub(footer_bytes(spec)).ok_or(BlockError::Length {
            actual: block.len(),
            expected: aligned(footer_bytes(spec)),
        })?;
        let mut counts =
            block[footer_at..].as_chunks::<8>().0.iter().map(|&[a, b, c, d, e, f, g, h]| {
                (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
            });
        let layout = Self::new(spec, |_| counts.next().unwrap_or_default());
        for (part, &coding) in layout.parts.iter().zip(spec.planes()) {
            if matches!(part, Part::Stream(stream) if stream.escapes > 0)
                && coding != PlaneCoding::Pairs
            {
                return Err(BlockError::Escape { index: 0 });
            }
        }
        if layout.length != block.len() {
            return Err(BlockError::Length { actual: block.len(), expected: layout.length });
        }
        layout.check_padding(spec, block)?;
        Ok(layout)
    }

    /// The layout of a block whose plane `p` has `counts(p)` words and escapes. No count
    /// overflows: eight planes of less than 2^36 bytes each.
    pub(super) fn new(spec: &BlockSpec, mut counts: impl FnMut(usize) -> (u32, u32)) -> Self {
        let mut parts = [Part::Constant(0); MAX_WIDTH];
        let mut at = 0;
        for (plane, (part, &coding)) in parts.iter_mut().zip(spec.planes()).enumerate() {
            *part = match coding {
                PlaneCoding::Constant(value) => Part::Constant(value),
                PlaneCoding::InHeads => Part::InHeads,
                PlaneCoding::Raw => {
                    let carried =
                        if plane == 0 && !spec.has_heads() { spec.carried_bytes() } else { 0 };
                    let (offset, length) = (aligned(at), spec.elements - carried);
                    at = aligned(offset + length);
                    Part::Raw { offset, length }
                }
                PlaneCoding::Symbols
                | PlaneCoding::Pairs
                | PlaneCoding::NibblePairs
                | PlaneCoding::Classes
                | PlaneCoding::Heads { .. } => {
                    let stream = StreamPart::new(spec, coding, aligned(at), counts(plane));
                    at = stream.escapes_offset + 4 * stream.escapes;
                    Part::Stream(stream)
                }
            };
        }
        Self { parts, length: aligned(at + footer_bytes(spec)) }
    }

    fn check_padding(&self, spec: &BlockSpec, block: &[u8]) -> Result<(), BlockError> {
        let zero = |from: usize, to: usize| {
            let gap = &block[from..to];
            match gap.iter().position(|&byte| byte != 0) {
                Some(at) => Err(BlockError::Padding { offset: from + at }),
                None => Ok(()),
            }
        };
        // What no part covers, from the end of one to the start of the next.
        let mut covered = 0;
        for part in &self.parts[..spec.planes().len()] {
            match *part {
                Part::Constant(_) | Part::InHeads => {}
                Part::Raw { offset, length } => {
                    zero(covered, offset)?;
                    covered = offset + length;
                }
                Part::Stream(stream) => {
                    zero(covered, stream.raw_offset)?;
                    zero(stream.raw_offset + stream.raw_length, stream.states_offset)?;
                    zero(stream.words_offset + 2 * stream.words, stream.escapes_offset)?;
                    covered = stream.escapes_offset + 4 * stream.escapes;
                }
            }
        }
        zero(covered, self.length - footer_bytes(spec))
    }
}

impl StreamPart {
    /// The bytes of its initial states and of its words.
    pub(super) fn bytes<'a>(&self, block: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let states = &block[self.states_offset..self.words_offset];
        (states, &block[self.words_offset..][..2 * self.words])
    }

    fn new(spec: &BlockSpec, coding: PlaneCoding, at: usize, counts: (u32, u32)) -> Self {
        let shape = spec.stream_shape(coding.elements_per_symbol().unwrap_or(1));
        let raw_length = match coding {
            PlaneCoding::NibblePairs | PlaneCoding::Heads { .. } => {
                spec.elements.div_ceil(2) - spec.carried_bytes()
            }
            _ => 0,
        };
        let states_offset = aligned(at + raw_length);
        let words_offset = states_offset + shape.state_bytes();
        let words = counts.0 as usize;
        Self {
            shape,
            raw_offset: at,
            raw_length,
            states_offset,
            words_offset,
            words,
            escapes_offset: (words_offset + 2 * words).next_multiple_of(4),
            escapes: counts.1 as usize,
        }
    }
}

/// Bytes of a block's footer.
pub(super) fn footer_bytes(spec: &BlockSpec) -> usize {
    8 * spec.planes().iter().filter(|coding| coding.elements_per_symbol().is_some()).count()
}
