//! Several elements merged at a time within a 32-bit register: what kernels use, and SIMD paths
//! where a vector is a row of such registers. Element 0 is in the lowest bits.

/// Four one-byte elements, rotated right by one bit each.
#[inline(always)]
pub const fn unrotate_bytes(elements: u32) -> u32 {
    (elements >> 1) & 0x7F7F_7F7F | (elements << 7) & 0x8080_8080
}

/// Two 16-bit elements, rotated right by one bit each.
#[inline(always)]
pub const fn unrotate_halves(elements: u32) -> u32 {
    (elements >> 1) & 0x7FFF_7FFF | (elements << 15) & 0x8000_8000
}

/// Two BF16 elements that lie head first, put back into their order.
#[inline(always)]
pub const fn heads_last(elements: u32) -> u32 {
    (elements & 0xFFE0_FFE0) >> 1 | (elements & 0x0010_0010) << 11 | elements & 0x000F_000F
}

/// Four one-byte elements from two pairs of high nibbles and two of low nibbles: `symbols` holds
/// one symbol in bits 0 to 7 and the next in bits 16 to 23, `raw` their raw bytes likewise.
#[inline(always)]
pub const fn merge_four_nibbles(symbols: u32, raw: u32) -> u32 {
    let high = (symbols << 4) & 0x00F0_00F0 | (symbols << 8) & 0xF000_F000;
    let low = raw & 0x000F_000F | (raw << 4) & 0x0F00_0F00;
    high | low
}

#[cfg(test)]
mod tests {
    use super::super::{ElementLayout, Width, merge_heads, merge_nibbles, merge_planes};
    use super::*;

    #[test]
    fn rotations_are_those_of_the_elements() {
        for bits in (0..u32::MAX - 65_537).step_by(65_537) {
            let bytes = bits.to_le_bytes();
            let mut out = [0; 4];
            merge_planes(ElementLayout { width: Width::One, rotated: true }, &bytes, &mut out);
            assert_eq!(unrotate_bytes(bits).to_le_bytes(), out);
            let planes = [bytes[0], bytes[2], bytes[1], bytes[3]];
            merge_planes(ElementLayout { width: Width::Two, rotated: true }, &planes, &mut out);
            assert_eq!(unrotate_halves(bits).to_le_bytes(), out);
            merge_heads(Width::Two, &planes, &mut out);
            assert_eq!(heads_last(bits).to_le_bytes(), out);
        }
    }

    #[test]
    fn four_nibbles_merge_like_two_pairs() {
        let layout = ElementLayout { width: Width::One, rotated: false };
        for bits in (0..u32::MAX - 65_537).step_by(65_537) {
            let [s0, s1, r0, r1] = bits.to_le_bytes();
            let mut out = [0; 4];
            merge_nibbles(layout, &[s0, s1], &[r0, r1], &mut out);
            let symbols = u32::from(s0) | u32::from(s1) << 16;
            let raw = u32::from(r0) | u32::from(r1) << 16;
            assert_eq!(merge_four_nibbles(symbols, raw).to_le_bytes(), out);
        }
    }
}
