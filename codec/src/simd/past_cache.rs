//! Copies that leave the cache as it is.

/// Copies `from` to `to`, which has as many bytes, past the cache, into memory: for bytes that another processor
/// reads next. Where that one has read what was there before, it would have to give up each line first, and then
/// ask for it again.
///
/// # Panics
///
/// When `to` has another length.
pub fn copy_past_cache(from: &[u8], to: &mut [u8]) {
    assert_eq!(from.len(), to.len(), "a copy is as long as what is copied");
    #[cfg(target_arch = "x86_64")]
    copy_by_registers(from, to);
    #[cfg(not(target_arch = "x86_64"))]
    to.copy_from_slice(from);
}

#[cfg(target_arch = "x86_64")]
fn copy_by_registers(from: &[u8], to: &mut [u8]) {
    use core::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_stream_si128};

    // SAFETY: a register is 16 bytes, whatever they are.
    let (first, registers, last) = unsafe { to.align_to_mut::<__m128i>() };
    let (from_first, rest) = from.split_at(first.len());
    let (from_registers, from_last) = rest.split_at(size_of_val(registers));
    first.copy_from_slice(from_first);
    last.copy_from_slice(from_last);
    for (to, from) in registers.iter_mut().zip(from_registers.as_chunks::<16>().0) {
        // SAFETY: `to` is aligned as a register is, there are 16 bytes at `from`, every x86-64 processor has these
        // instructions, and the fence comes before anything else looks at what is stored.
        unsafe { _mm_stream_si128(to, _mm_loadu_si128(from.as_ptr().cast())) };
    }
    fence();
}

/// What was written past the cache is seen before what is written from here on.
pub(super) fn fence() {
    // SAFETY: every x86-64 processor has the instruction, which touches no memory.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        core::arch::x86_64::_mm_sfence();
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;

    #[test]
    fn every_byte_is_copied_wherever_it_lies_and_no_other() {
        let from: Vec<u8> = (0..600u32).map(|number| (number % 251) as u8).collect();
        for start in 0..33 {
            for length in (0..70).chain([255, 256, 257, 511]) {
                for place in 0..17 {
                    let mut to = vec![0xEE; place + length + 20];
                    let from = &from[start..start + length];
                    copy_past_cache(from, &mut to[place..place + length]);
                    assert!(to[place..place + length] == *from, "{start} {length} {place}");
                    let others = to[..place].iter().chain(&to[place + length..]);
                    assert!(
                        others.into_iter().all(|&byte| byte == 0xEE),
                        "{start} {length} {place}"
                    );
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "as long as")]
    fn a_copy_of_another_length_is_none() {
        copy_past_cache(&[1; 3], &mut [0; 4]);
    }
}
