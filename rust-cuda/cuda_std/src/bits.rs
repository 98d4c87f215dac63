//! Operations on bits that are one instruction.

#[cfg(target_arch = "nvptx64")]
use core::arch::asm;

/// Four bytes chosen from the eight of `low` (bytes 0 to 3) and `high` (4 to 7): nibble `i` of
/// `selector` names the byte that becomes byte `i`. Bit 3 of a nibble takes the byte's top bit
/// instead, eight times. The instruction `prmt.b32`.
#[inline(always)]
pub fn byte_permute(low: u32, high: u32, selector: u32) -> u32 {
    #[cfg(target_arch = "nvptx64")]
    {
        let chosen: u32;
        // SAFETY: arithmetic on registers.
        unsafe {
            asm!(
                "prmt.b32 {}, {}, {}, {};",
                out(reg32) chosen, in(reg32) low, in(reg32) high, in(reg32) selector,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        chosen
    }
    #[cfg(not(target_arch = "nvptx64"))]
    {
        let bytes = (u64::from(high) << 32 | u64::from(low)).to_le_bytes();
        u32::from_le_bytes(core::array::from_fn(|position| {
            let nibble = selector >> (4 * position) & 0xF;
            let byte = bytes[nibble as usize & 7];
            let repeat_sign = nibble & 8 != 0;
            if repeat_sign { (byte as i8 >> 7) as u8 } else { byte }
        }))
    }
}

/// The bits of `first` where `mask` has ones, and of `second` where it has zeros. The instruction
/// `lop3.b32`; the compiler makes two of the same in operators.
#[inline(always)]
pub fn select_bits(mask: u32, first: u32, second: u32) -> u32 {
    #[cfg(target_arch = "nvptx64")]
    {
        let selected: u32;
        // SAFETY: arithmetic on registers. 0xCA is the truth table of `mask ? first : second`.
        unsafe {
            asm!(
                "lop3.b32 {}, {}, {}, {}, 0xCA;",
                out(reg32) selected, in(reg32) mask, in(reg32) first, in(reg32) second,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        selected
    }
    #[cfg(not(target_arch = "nvptx64"))]
    {
        first & mask | second & !mask
    }
}

/// The product of two numbers, its low half first: one instruction, which also shifts to both sides
/// at once. The compiler takes it for nothing else and keeps it.
#[inline(always)]
pub fn multiply_wide(left: u32, right: u32) -> [u32; 2] {
    #[cfg(target_arch = "nvptx64")]
    {
        let (low, high): (u32, u32);
        // SAFETY: arithmetic on registers.
        unsafe {
            asm!(
                "{{ .reg .b64 product; mul.wide.u32 product, {}, {}; mov.b64 {{{}, {}}}, product; }}",
                in(reg32) left, in(reg32) right, out(reg32) low, out(reg32) high,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        [low, high]
    }
    #[cfg(not(target_arch = "nvptx64"))]
    {
        let product = u64::from(left) * u64::from(right);
        [product as u32, (product >> 32) as u32]
    }
}

/// `left * right + addend`, modulo 2^32: one instruction, where the compiler would sum up first and
/// multiply later.
#[inline(always)]
pub fn multiply_add(left: u32, right: u32, addend: u32) -> u32 {
    #[cfg(target_arch = "nvptx64")]
    {
        let sum: u32;
        // SAFETY: arithmetic on registers.
        unsafe {
            asm!(
                "mad.lo.u32 {}, {}, {}, {};",
                out(reg32) sum, in(reg32) left, in(reg32) right, in(reg32) addend,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        sum
    }
    #[cfg(not(target_arch = "nvptx64"))]
    {
        left.wrapping_mul(right).wrapping_add(addend)
    }
}

/// `number + addend`, modulo 2^32, where `wanted` is set, otherwise `number`: one instruction with a
/// predicate, where the compiler would add always and choose later.
#[inline(always)]
pub fn add_if(wanted: bool, number: u32, addend: u32) -> u32 {
    #[cfg(target_arch = "nvptx64")]
    {
        let mut sum = number;
        // SAFETY: arithmetic on registers.
        unsafe {
            asm!(
                "{{ .reg .pred wanted; setp.ne.u32 wanted, {}, 0; @wanted add.u32 {}, {}, {}; }}",
                in(reg32) u32::from(wanted), inout(reg32) sum, in(reg32) number, in(reg32) addend,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        sum
    }
    #[cfg(not(target_arch = "nvptx64"))]
    {
        if wanted { number.wrapping_add(addend) } else { number }
    }
}

#[cfg(test)]
mod tests {
    use super::{add_if, byte_permute, multiply_add, multiply_wide, select_bits};

    #[test]
    fn sums_are_taken_where_wanted() {
        assert_eq!(add_if(true, u32::MAX, 3), 2);
        assert_eq!(add_if(false, 7, 3), 7);
    }

    #[test]
    fn products_have_two_halves_and_sums_wrap() {
        assert_eq!(multiply_wide(0xFEDC_BA98, 1 << 12), [0xCBA9_8000, 0xFED]);
        assert_eq!(multiply_wide(u32::MAX, u32::MAX), [1, u32::MAX - 1]);
        assert_eq!(multiply_add(3, 5, u32::MAX), 14);
    }

    #[test]
    fn bits_are_selected_by_a_mask() {
        assert_eq!(select_bits(0xFF00_F0F0, 0x1234_5678, 0x9ABC_DEF1), 0x12BC_5E71);
        assert_eq!(select_bits(0, 1, 2), 2);
    }

    #[test]
    fn bytes_are_chosen_from_both_words() {
        let (low, high) = (0x0302_0180, 0x0706_0504);
        assert_eq!(byte_permute(low, high, 0x3210), low);
        assert_eq!(byte_permute(low, high, 0x7654), high);
        assert_eq!(byte_permute(low, high, 0x0541), 0x8005_0401);
        assert_eq!(byte_permute(low, high, 0x9988), 0x0000_FFFF);
    }
}
