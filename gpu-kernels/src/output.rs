//! Writing of decoded bytes.

use codec::device::arrangement;
use codec::split::{head_last_16, head_last_32};
use cuda_std::global;

/// Writes the 16 bytes of a lane's run at `offset` of an output of `length` bytes, or those of
/// them that are inside.
///
/// # Safety
///
/// `out` is writable for `length` bytes and a multiple of 16, and so is `offset`.
#[inline(always)]
pub(crate) unsafe fn store_run(out: *mut u8, offset: u32, length: u32, run: [u32; 4]) {
    if offset + 16 <= length {
        // SAFETY: inside the output; aligned.
        unsafe { global::store_u32x4(out.add(offset as usize).cast(), run) };
        return;
    }
    // As many steps for every lane, so that the compiler keeps no counter of them in the loops around.
    let mut byte = 0;
    while byte < 16 {
        if offset + byte < length {
            let value = (run[byte as usize / 4] >> (byte % 4 * 8)) as u8;
            // SAFETY: inside the output.
            unsafe { global::store_u8(out.add((offset + byte) as usize), value) };
        }
        byte += 1;
    }
}

/// What [`store_run`] wrote there, for [`add_to_run`]; zeros where not all of a run is inside.
///
/// # Safety
///
/// As for [`store_run`], which this lane called.
#[inline(always)]
pub(crate) unsafe fn run_before(out: *mut u8, offset: u32, length: u32) -> [u32; 4] {
    if offset + 16 > length {
        return [0; 4];
    }
    // SAFETY: inside the output; aligned.
    unsafe { global::load_u32x4_plain(out.add(offset as usize).cast_const().cast()) }
}

/// Adds the bits of `run` to what [`run_before`] said of the same place; or, where that `is_first` to be
/// written, puts them there.
///
/// # Safety
///
/// As for [`run_before`].
#[inline(always)]
pub(crate) unsafe fn add_to_run(
    out: *mut u8,
    (offset, length): (u32, u32),
    (before, is_first): ([u32; 4], bool),
    run: [u32; 4],
) {
    if offset + 16 <= length {
        let both = core::array::from_fn(|word| before[word] | run[word]);
        // SAFETY: inside the output; aligned.
        unsafe { global::store_u32x4(out.add(offset as usize).cast(), both) };
        return;
    }
    let (mut at, [mut a, mut b, mut c, mut d]) = (offset, run);
    // Once a block, so as short as can be: the next byte is always the lowest.
    while at < length {
        // SAFETY: inside the output.
        unsafe {
            let target = out.add(at as usize);
            let before = if is_first { 0 } else { global::load_u8_plain(target) };
            global::store_u8(target, before | a as u8);
        }
        let joined = |low: u32, high: u32| low >> 8 | high << 24;
        [a, b, c, d] = [joined(a, b), joined(b, c), joined(c, d), d >> 8];
        at += 1;
    }
}

/// Puts `value` in the place of those bits of byte `plane` of an element of `WIDTH` bytes that
/// `mask` names; the element's bits lie as `arranged` says.
///
/// # Safety
///
/// `out` is writable for `number + 1` elements and a multiple of `WIDTH`; no other lane writes this
/// element meanwhile.
#[inline(always)]
pub(crate) unsafe fn replace_bits<const WIDTH: u32>(
    out: *mut u8,
    number: u32,
    (plane, mask): (u32, u8),
    value: u8,
    arranged: u32,
) {
    let cleared = arrange::<WIDTH>(plane, mask, arranged);
    let bits = arrange::<WIDTH>(plane, value, arranged);
    let mut byte = 0;
    while byte < WIDTH {
        // SAFETY: inside the element.
        unsafe {
            let target = out.add((number * WIDTH + byte) as usize);
            let kept = global::load_u8_plain(target) & !((cleared >> (8 * byte)) as u8);
            global::store_u8(target, kept | (bits >> (8 * byte)) as u8);
        }
        byte += 1;
    }
}

/// Puts `value` in the place of byte `plane` of an element; says whether that was `expected`.
///
/// # Safety
///
/// As for [`replace_bits`].
#[inline(always)]
pub(crate) unsafe fn exchange_byte<const WIDTH: u32>(
    out: *mut u8,
    number: u32,
    plane: u32,
    (expected, value): (u8, u8),
    arranged: u32,
) -> bool {
    let mask = arrange::<WIDTH>(plane, u8::MAX, arranged);
    let mut present = 0;
    let mut byte = 0;
    while byte < WIDTH {
        // SAFETY: inside the element.
        let bits = unsafe { global::load_u8_plain(out.add((number * WIDTH + byte) as usize)) };
        present |= u64::from(bits) << (8 * byte);
        byte += 1;
    }
    // SAFETY: the caller's promise.
    unsafe { replace_bits::<WIDTH>(out, number, (plane, u8::MAX), value, arranged) };
    present & mask == arrange::<WIDTH>(plane, expected, arranged)
}

/// The element with `value` as byte `plane` and zeros for the others, its bits put back into order.
#[inline(always)]
fn arrange<const WIDTH: u32>(plane: u32, value: u8, arranged: u32) -> u64 {
    let shifted = u64::from(value) << (8 * plane);
    match (arranged, WIDTH) {
        (arrangement::PLAIN, _) => shifted,
        (arrangement::HEAD_FIRST, 2) => u64::from(head_last_16(shifted as u16)),
        (arrangement::HEAD_FIRST, _) => u64::from(head_last_32(shifted as u32)),
        (_, 1) => u64::from((shifted as u8).rotate_right(1)),
        (_, 2) => u64::from((shifted as u16).rotate_right(1)),
        (_, 4) => u64::from((shifted as u32).rotate_right(1)),
        _ => shifted.rotate_right(1),
    }
}
