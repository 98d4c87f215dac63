//! What is wanted of decoded blocks, as the kernel that copies rectangles takes it. Nothing here talks
//! to a device.

use codec::device::RectangleTask;

use crate::load::{Rectangle, Rows};

/// Bytes of a task, which one warp takes: little enough that a batch keeps all warps busy, and enough
/// that its description is next to nothing beside it.
const TASK_BYTES: u64 = 8 << 10;

/// Adds the copy of a rectangle of `rows` from decoded bytes at `decoded` to a slice at `slice`.
pub(super) fn add_tasks(
    rectangle: &Rectangle,
    rows: &Rows,
    (decoded, slice): (u64, u64),
    tasks: &mut Vec<RectangleTask>,
) {
    let Rectangle { from, to, width, height } = *rectangle;
    // A tensor's row may be longer than what is decoded of it, which is less than 2^31; then there is
    // only one.
    let (from_pitch, to_pitch) = if height > 1 { (rows.pitch, rows.width) } else { (0, 0) };
    let rows_of_task = (TASK_BYTES / width).max(1);
    for row in (0..height).step_by(rows_of_task as usize) {
        for column in (0..width).step_by(TASK_BYTES as usize) {
            tasks.push(RectangleTask {
                from: decoded + from + row * from_pitch + column,
                to: slice + to + row * to_pitch + column,
                from_pitch: from_pitch as u32,
                to_pitch: to_pitch as u32,
                width: TASK_BYTES.min(width - column) as u32,
                rows: rows_of_task.min(height - row) as u32,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECODED: u64 = 1 << 40;
    const SLICE: u64 = 1 << 41;

    /// Does on the CPU what the kernel does; every byte has to be one that nobody has written.
    fn run(tasks: &[RectangleTask], decoded: &[u8], slice: &mut [Option<u8>]) {
        for task in tasks {
            for row in 0..u64::from(task.rows) {
                let from = task.from - DECODED + row * u64::from(task.from_pitch);
                let to = task.to - SLICE + row * u64::from(task.to_pitch);
                for column in 0..u64::from(task.width) {
                    let target = &mut slice[(to + column) as usize];
                    assert_eq!(target.replace(decoded[(from + column) as usize]), None);
                }
            }
        }
    }

    #[test]
    fn tasks_of_little_each_copy_every_wanted_byte_once() {
        for (pitch, start, width, count) in [
            (100_000, 13, 70_000, 3),
            (20_000, 0, 8192, 7),
            (20_000, 11_000, 8193, 7),
            (4096, 2048, 2048, 40),
            (6, 2, 2, 30_000),
            (300_000, 100, 200_000, 1),
        ] {
            let rows = Rows { pitch, start, width, count };
            let bytes: Vec<u8> = (0..pitch * count).map(|at| (at % 251) as u8).collect();
            let mut expected = vec![0; rows.byte_len() as usize];
            rows.copy(&bytes, 0, &mut expected);
            let mut found = vec![None; expected.len()];
            // Cut within rows, and at their ends where they are as long.
            for part in bytes.chunks(60_000) {
                let first = part.as_ptr().addr() - bytes.as_ptr().addr();
                let range = first as u64..(first + part.len()) as u64;
                let mut tasks = Vec::new();
                for rectangle in rows.rectangles(&range) {
                    add_tasks(&rectangle, &rows, (DECODED, SLICE), &mut tasks);
                }
                let most = tasks.iter().map(|task| u64::from(task.width) * u64::from(task.rows));
                assert!(most.max().is_none_or(|most| most <= TASK_BYTES), "{rows:?}");
                run(&tasks, part, &mut found);
            }
            assert!(found.into_iter().eq(expected.into_iter().map(Some)), "{rows:?}");
        }
    }
}
