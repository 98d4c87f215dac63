//! Elements from byte planes.

use super::lanes::Lanes;
use crate::constants::MAX_WIDTH;
use crate::split::{self, ElementLayout, Width};

/// Elements that a level merges at a time.
const AT_A_TIME: usize = 64;

/// [`split::merge_rows`], in the level's instructions as far as it has any for it.
///
/// # Safety
///
/// The processor has the instructions of `L`.
#[inline(always)]
pub(super) unsafe fn merge_rows<L: Lanes>(
    layout: ElementLayout,
    rows: &[&[u8]],
    elements: &mut [u8],
) {
    // SAFETY: the caller's promise.
    let done = unsafe {
        match (layout.width, rows) {
            (Width::Two, &[low, high]) => {
                if layout.rotated {
                    two::<L, true>([low, high], elements)
                } else {
                    two::<L, false>([low, high], elements)
                }
            }
            (Width::Four, &[a, b, c, d]) => {
                if layout.rotated {
                    four::<L, true>([a, b, c, d], elements)
                } else {
                    four::<L, false>([a, b, c, d], elements)
                }
            }
            _ => 0,
        }
    };
    let width = layout.width.bytes();
    let elements = &mut elements[done * width..];
    // All pieces but a block's last are a whole number of times as many.
    if elements.is_empty() {
        return;
    }
    let mut rest: [&[u8]; MAX_WIDTH] = [&[]; MAX_WIDTH];
    for (rest, row) in rest.iter_mut().zip(rows) {
        *rest = &row[done..];
    }
    split::merge_rows(layout, &rest[..width], elements);
}

/// Merges elements of two bytes as long as there are [`AT_A_TIME`], and returns how many.
#[inline(always)]
unsafe fn two<L: Lanes, const ROTATED: bool>(rows: [&[u8]; 2], elements: &mut [u8]) -> usize {
    let [low, high] = rows.map(|row| row.as_chunks::<AT_A_TIME>().0);
    let outs = elements.as_chunks_mut::<{ 2 * AT_A_TIME }>().0;
    for ((out, low), high) in outs.iter_mut().zip(low).zip(high) {
        // SAFETY: the caller's promise.
        unsafe { L::merge_two::<ROTATED>([low, high], out) };
    }
    AT_A_TIME * outs.len()
}

/// The same of elements of four.
#[inline(always)]
unsafe fn four<L: Lanes, const ROTATED: bool>(rows: [&[u8]; 4], elements: &mut [u8]) -> usize {
    let [a, b, c, d] = rows.map(|row| row.as_chunks::<AT_A_TIME>().0);
    let outs = elements.as_chunks_mut::<{ 4 * AT_A_TIME }>().0;
    for ((out, (a, b)), (c, d)) in outs.iter_mut().zip(a.iter().zip(b)).zip(c.iter().zip(d)) {
        // SAFETY: the caller's promise.
        unsafe { L::merge_four::<ROTATED>([a, b, c, d], out) };
    }
    AT_A_TIME * outs.len()
}
