//! The block decoder for the processor's vectors.
//!
//! All levels run one generic loop, `stream` and `pieces`, over a type that holds the 32 lanes
//! of a stream (`lanes`), an array for any processor, four AVX2 or two AVX-512 registers, and over
//! the form that its states take their steps in (`states`). What a level decodes equals what
//! [`crate::block::decode_block`] does, bit for bit; a block with anything wrong is left to that
//! reference, which says what it is.
//!
//! Unsafe code is confined to this module: instructions that not every processor has, and their
//! reads and writes through pointers.

#![allow(unsafe_code)]
// What makes a block of vector code sound is one promise: that of the level's instructions.
#![allow(clippy::multiple_unsafe_ops_per_block)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod encode;
#[cfg(target_arch = "x86_64")]
mod encode_avx512;
mod lanes;
mod merge;
mod mixed;
mod outputs;
mod past_cache;
mod pieces;
mod portable;
mod prefetch;
mod states;
mod stream;

pub use outputs::PieceBytes;
pub use past_cache::copy_past_cache;
pub use pieces::{BlockInput, PieceBuffers};

use self::outputs::{InPlace, Outputs, PastCache};

use crate::block::{BlockError, BlockSpec, BlockTables, EncodeTables, PlaneClasses, PlaneCoding};
use crate::constants::ALPHABET;
use crate::rans::{DecodeTable, EncodeTable};
use crate::split::ElementLayout;

/// Asks the processor for `bytes`, which are to be read soon: a hint, of use where what is done with the
/// bytes before them takes about as long as memory takes to answer.
#[inline]
pub fn prefetch(bytes: &[u8]) {
    prefetch::for_reading(bytes);
}

/// A set of instructions that this processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level(Kind);

/// Which level. The vector ones are made only by [`Level::avx2`] and [`Level::avx512`], so that
/// having one proves that the processor has its instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "std"), allow(dead_code, reason = "only std knows what a processor has"))]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(Tuning),
    #[cfg(target_arch = "x86_64")]
    Avx512(Tuning),
}

/// Which of two ways to look entries up is the faster one. Both are right on every processor of a level.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "std"), allow(dead_code, reason = "only std knows what a processor has"))]
enum Tuning {
    /// AVX2 looks entries up one by one, AVX-512 in halves of a table.
    Any,
    /// AVX2 gathers entries, AVX-512 looks up in quarters of a table.
    Intel,
}

#[cfg(all(any(test, feature = "std"), target_arch = "x86_64"))]
impl Tuning {
    const ALL: [Self; 2] = [Self::Any, Self::Intel];

    /// For AVX2. Gathers are slow on AMD's processors, and on Intel's with the microcode against Downfall,
    /// which those before AVX-VNNI came have.
    fn for_avx2() -> Self {
        let gathers = is_intel() && std::is_x86_feature_detected!("avxvnni");
        if gathers { Self::Intel } else { Self::Any }
    }

    fn for_avx512() -> Self {
        if is_intel() { Self::Intel } else { Self::Any }
    }
}

#[cfg(all(any(test, feature = "std"), target_arch = "x86_64"))]
fn is_intel() -> bool {
    let vendor = core::arch::x86_64::__cpuid(0);
    let name = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
    name.as_flattened() == b"GenuineIntel"
}

impl Level {
    /// No vector instructions but those that the compiler finds a use for.
    pub const fn portable() -> Self {
        Self(Kind::Portable)
    }

    /// AVX2, on a processor that has it.
    pub fn avx2() -> Option<Self> {
        #[cfg(all(any(test, feature = "std"), target_arch = "x86_64"))]
        if std::is_x86_feature_detected!("avx2") {
            return Some(Self(Kind::Avx2(Tuning::for_avx2())));
        }
        None
    }

    /// AVX-512 with the subsets F, BW, VL, VBMI, VBMI2 and BITALG (Intel from Ice Lake, AMD from Zen 4
    /// on), on a processor that has them.
    pub fn avx512() -> Option<Self> {
        #[cfg(all(any(test, feature = "std"), target_arch = "x86_64"))]
        if std::is_x86_feature_detected!("avx512f")
            && std::is_x86_feature_detected!("avx512bw")
            && std::is_x86_feature_detected!("avx512vl")
            && std::is_x86_feature_detected!("avx512vbmi")
            && std::is_x86_feature_detected!("avx512vbmi2")
            && std::is_x86_feature_detected!("avx512bitalg")
        {
            return Some(Self(Kind::Avx512(Tuning::for_avx512())));
        }
        None
    }

    /// The levels of this processor, the fastest first.
    pub fn available() -> impl Iterator<Item = Self> {
        [Self::avx512(), Self::avx2(), Some(Self::portable())].into_iter().flatten()
    }

    /// The same levels in every way that they can run in, whichever is the faster one here: for tests.
    pub fn variants() -> impl Iterator<Item = Self> {
        Self::available()
            .flat_map(|level| match level.0 {
                #[cfg(all(any(test, feature = "std"), target_arch = "x86_64"))]
                Kind::Avx2(_) => Tuning::ALL.map(|tuning| Some(Self(Kind::Avx2(tuning)))),
                #[cfg(all(any(test, feature = "std"), target_arch = "x86_64"))]
                Kind::Avx512(_) => Tuning::ALL.map(|tuning| Some(Self(Kind::Avx512(tuning)))),
                _ => [Some(level), None],
            })
            .flatten()
    }

    /// The fastest level of this processor.
    pub fn best() -> Self {
        Self::available().next().unwrap_or(Self::portable())
    }

    /// The level's name in lower case: `portable`, `avx2` or `avx512`.
    pub const fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_) => "avx512",
        }
    }

    /// The level's name, and how it looks entries up.
    pub const fn way(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(Tuning::Any) => "avx2, one by one",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(Tuning::Intel) => "avx2, gathers",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(Tuning::Any) => "avx512, halves",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(Tuning::Intel) => "avx512, quarters",
        }
    }

    /// Runs `task`, with what is inlined into it compiled for this level's instructions: for loops
    /// over arrays that a compiler makes vectors of. The result is that of `task()`, bit for bit. Give
    /// `task`, and the functions that it calls, the attribute `#[inline(always)]`, without which the
    /// compiler may leave them as they are.
    pub fn run<R>(self, task: impl FnOnce() -> R) -> R {
        match self.0 {
            Kind::Portable => task(),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level is made only where the processor has its instructions.
            Kind::Avx2(_) => unsafe { avx2::run(task) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Kind::Avx512(_) => unsafe { avx512::run(task) },
        }
    }

    /// Whether two blocks at a time decode faster than one after the other. Two states per lane keep
    /// a processor busy by themselves, but for AVX-512, which does both states' steps at once.
    pub const fn gains_by_two(self, states_per_lane: usize) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_) => true,
            _ => states_per_lane == 1,
        }
    }

    /// Decodes `B` blocks with the same description at a time, each into its output, and returns
    /// whether all are what an encoder writes. Two at a time keep a processor busy that would wait
    /// with one.
    ///
    /// Each of `outs` has exactly [`BlockSpec::decoded_bytes`]; another length, or a stream without
    /// tables, panics. Where the result is `false`, the outputs are unspecified, and
    /// [`crate::block::decode_block`] gives the error, or decodes the block that has none. Blocks with
    /// tables by class are left to it.
    #[must_use]
    pub fn decode_blocks<const B: usize>(
        self,
        spec: &BlockSpec,
        blocks: [BlockInput<'_>; B],
        buffers: &mut [PieceBuffers; B],
        outs: [&mut [u8]; B],
    ) -> bool {
        let outs = InPlace::new(outs, spec.layout.width.bytes());
        self.decode_blocks_to(spec, blocks, buffers, outs)
    }

    /// Whether [`Level::decode_blocks_past_cache`] is faster than [`Level::decode_blocks`] for blocks with this
    /// layout that go to memory. Four bytes of an element are more to write than they are to decode.
    pub const fn gains_past_cache(self, layout: ElementLayout) -> bool {
        layout.width.bytes() >= 4 && !matches!(self.0, Kind::Portable)
    }

    /// [`Level::decode_blocks`] for outputs that are not read soon, and which the cache has no room for: elements
    /// are written past it. `each_part` is called with the number of a block and the bytes that follow in its
    /// output, while they are in the cache. Where nothing is gained, blocks are decoded in place.
    #[must_use]
    pub fn decode_blocks_past_cache<const B: usize>(
        self,
        spec: &BlockSpec,
        blocks: [BlockInput<'_>; B],
        (buffers, made): (&mut [PieceBuffers; B], &mut [PieceBytes; B]),
        mut outs: [&mut [u8]; B],
        mut each_part: impl FnMut(usize, &[u8]),
    ) -> bool {
        if !self.gains_past_cache(spec.layout) {
            let parts = outs.each_mut().map(|out| &mut **out);
            let right = self.decode_blocks(spec, blocks, buffers, parts);
            outs.iter().enumerate().for_each(|(number, out)| each_part(number, out));
            return right;
        }
        let outs = PastCache::new(outs, made, each_part);
        let right = self.decode_blocks_to(spec, blocks, buffers, outs);
        past_cache::fence();
        right
    }

    #[inline]
    fn decode_blocks_to<O: Outputs<B>, const B: usize>(
        self,
        spec: &BlockSpec,
        blocks: [BlockInput<'_>; B],
        buffers: &mut [PieceBuffers; B],
        outs: O,
    ) -> bool {
        if spec.has_classes() {
            return false;
        }
        match self.0 {
            Kind::Portable if !O::IN_PLACE => false,
            // SAFETY: arrays take no special instructions.
            Kind::Portable => unsafe {
                pieces::decode::<portable::Array, _, B>(spec, blocks, buffers, outs)
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level is made only where the processor has its instructions.
            Kind::Avx2(tuning) => unsafe {
                match tuning {
                    Tuning::Any => avx2::decode_blocks::<_, B, false>(spec, blocks, buffers, outs),
                    Tuning::Intel => avx2::decode_blocks::<_, B, true>(spec, blocks, buffers, outs),
                }
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Kind::Avx512(tuning) => unsafe {
                match tuning {
                    Tuning::Any => {
                        avx512::decode_blocks::<_, B, false>(spec, blocks, buffers, outs)
                    }
                    Tuning::Intel => {
                        avx512::decode_blocks::<_, B, true>(spec, blocks, buffers, outs)
                    }
                }
            },
        }
    }

    /// The same as [`crate::block::encode_classed_block`].
    #[allow(clippy::too_many_arguments, reason = "those of the reference")]
    pub fn encode_block(
        self,
        spec: &BlockSpec,
        tables: &EncodeTables<'_>,
        classes: &PlaneClasses<'_, EncodeTable>,
        elements: &[u8],
        scratch: &mut [u8],
        words: &mut [u16],
        out: &mut [u8],
    ) -> usize {
        let tables = (tables, classes);
        match self.0 {
            // SAFETY: arrays take no special instructions.
            Kind::Portable => unsafe {
                encode::encode_block::<portable::Array>(spec, tables, elements, scratch, words, out)
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level is made only where the processor has its instructions.
            Kind::Avx2(_) => unsafe {
                avx2::encode_block(spec, tables, elements, scratch, words, out)
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Kind::Avx512(_) => unsafe {
                encode_avx512::encode_block(spec, tables, elements, scratch, words, out)
            },
        }
    }

    /// The same as [`crate::block::decode_block`], faster for blocks with tables by class.
    pub fn decode_classed_block(
        self,
        spec: &BlockSpec,
        tables: &BlockTables<'_>,
        classes: &PlaneClasses<'_, DecodeTable>,
        block: &[u8],
        scratch: &mut [u8],
        out: &mut [u8],
    ) -> Result<(), BlockError> {
        let tables = (tables, classes);
        match self.0 {
            // SAFETY: arrays take no special instructions.
            Kind::Portable => unsafe {
                mixed::decode_block::<portable::Array>(spec, tables, block, scratch, out)
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level is made only where the processor has its instructions.
            Kind::Avx2(_) => unsafe {
                avx2::decode_classed_block(spec, tables, block, scratch, out)
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Kind::Avx512(_) => unsafe {
                avx512::decode_classed_block(spec, tables, block, scratch, out)
            },
        }
    }

    /// The symbols that plane `coded.0` of a block is coded as with the coding `coded.1`, if all
    /// pairs of `ranks` have a slot: what a table is to be made for.
    ///
    /// `elements` are the block's elements, `planes` has at least as many bytes, and `symbols` at
    /// least one for each element; the part of it that holds the symbols is returned.
    pub fn symbols<'a>(
        self,
        layout: ElementLayout,
        coded: (usize, PlaneCoding),
        ranks: &[Option<u8>; ALPHABET],
        elements: &[u8],
        planes: &mut [u8],
        symbols: &'a mut [u8],
    ) -> &'a [u8] {
        match self.0 {
            // SAFETY: arrays take no special instructions.
            Kind::Portable => unsafe {
                encode::symbols::<portable::Array>(layout, coded, ranks, elements, planes, symbols)
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level is made only where the processor has its instructions.
            Kind::Avx2(_) => unsafe {
                avx2::symbols(layout, coded, ranks, elements, planes, symbols)
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Kind::Avx512(_) => unsafe {
                avx512::symbols(layout, coded, ranks, elements, planes, symbols)
            },
        }
    }
}
