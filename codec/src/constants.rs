//! Every number that the byte format fixes, grouped by what it is.

// The entropy coder.

/// Lanes of one rANS stream; a GPU warp decodes one stream with one thread per lane.
pub const LANES: usize = 32;
/// Bits of a probability: frequencies of a table sum to `1 << PROBABILITY_BITS`.
pub const PROBABILITY_BITS: u32 = 12;
/// Sum of the frequencies of a table, and the number of entries of its decode table.
pub const TABLE_SIZE: usize = 1 << PROBABILITY_BITS;
/// Bits of a word, the unit in which a state is refilled.
pub const WORD_BITS: u32 = 16;
/// Lower bound of a normalised state; states lie in `STATE_LOWER_BOUND..=u32::MAX`.
pub const STATE_LOWER_BOUND: u32 = 1 << WORD_BITS;
/// Symbols of an alphabet.
pub const ALPHABET: usize = 256;
/// The largest number of rANS states that a lane may hold; a stream has 1 or 2.
pub const MAX_STATES_PER_LANE: usize = 2;

// Blocks.

/// Bytes of output that a lane produces in one group, whatever the element's width.
pub const LANE_RUN_BYTES: usize = 16;
/// Output bytes of one group: one run of every lane.
pub const GROUP_BYTES: usize = LANES * LANE_RUN_BYTES;
/// Every part of a block starts at a multiple of this many bytes.
pub const BLOCK_ALIGNMENT: usize = 16;
/// The largest number of elements in a block that a reader accepts; an escape's pair index has 16 bits.
pub const MAX_BLOCK_ELEMENTS: usize = 1 << 17;
/// The smallest number of elements in a block other than a tensor's last.
pub const MIN_BLOCK_ELEMENTS: usize = 1 << 10;
/// Bytes of the widest element, and so the largest number of planes.
pub const MAX_WIDTH: usize = 8;

// Pairs.

/// Ranks of a paired field: the most frequent values, four bits each.
pub const RANKS: usize = 16;
/// The symbol that says that both values of a pair are in the block's escape list.
pub const ESCAPE_SYMBOL: u8 = 255;

// Heads.

/// Exponents that a head symbol can name: its high nibble, up to [`ESCAPED_HEAD`].
pub const HEAD_EXPONENTS: u8 = 15;
/// Heads from this one on are followed by their exponent as a byte of its own.
pub const ESCAPED_HEAD: u8 = HEAD_EXPONENTS << 4;

// Tiles.

/// Rows and columns of a tile: no prediction reaches beyond it.
pub const TILE_SIDE: usize = 16;
/// Rows and columns of a sub-block: it has one mode, and transforms take all of it.
pub const SUB_BLOCK_SIDE: usize = 8;

// What the numbers above must satisfy among themselves; checked by every build.
const _: () = {
    // A table entry has a symbol of 8 bits, an offset and a frequency.
    assert!(8 + 2 * PROBABILITY_BITS == u32::BITS);
    assert!(ALPHABET == 1 << 8 && RANKS * RANKS == ALPHABET);
    // One word refills any state: the smallest one after a step is the smallest quotient.
    assert!((STATE_LOWER_BOUND >> PROBABILITY_BITS) << WORD_BITS >= STATE_LOWER_BOUND);
    // An escape's 16 bits can name every pair of a block.
    assert!(MAX_BLOCK_ELEMENTS / 2 <= 1 << 16);
};
