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

#[cfg(test)]
mod tests {
    use super::byte_permute;

    #[test]
    fn bytes_are_chosen_from_both_words() {
        let (low, high) = (0x0302_0180, 0x0706_0504);
        assert_eq!(byte_permute(low, high, 0x3210), low);
        assert_eq!(byte_permute(low, high, 0x7654), high);
        assert_eq!(byte_permute(low, high, 0x0541), 0x8005_0401);
        assert_eq!(byte_permute(low, high, 0x9988), 0x0000_FFFF);
    }
}
