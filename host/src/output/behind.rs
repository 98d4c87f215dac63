//! Writing beside what computes: in a thread of its own, where a processor is free for one. Who computes
//! what is written then does not wait while the operating system copies it and the disk takes it. Where none
//! is free, waking such a thread costs more than it saves, and who computes writes.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::gathered::{Gathered, Piece};
use super::rooms::Rooms;
use crate::processors;

/// Bytes that are handed over at a time: enough for a write to be worth its call, and few enough for the
/// processor's cache to still have them.
const HANDED_BYTES: usize = 128 << 10;
/// How often so much is being filled, is waiting, or is being written; made when it is needed.
const HANDED: usize = 6;

/// Takes pieces of a file, front to back.
pub(crate) trait Output: Send {
    /// Takes the next piece, which is written some time later.
    ///
    /// # Errors
    ///
    /// That of this or an earlier write.
    fn put(&mut self, piece: Piece) -> io::Result<()>;

    /// Says how far the computation has come.
    fn reach(&mut self, _reached: u64) {}

    /// Has all written that was put before; what is not flushed may never be.
    ///
    /// # Errors
    ///
    /// That of this or an earlier write.
    fn flush(&mut self) -> io::Result<()>;
}

/// What a thread does when there is nothing to write.
pub(crate) trait InBetween: Send {
    /// Does a little of it, and says whether there is more.
    fn go_on(&mut self) -> bool;

    /// Whether it has not come as far as the computation. Then it comes first, and who computes writes.
    fn is_behind(&self, reached: u64) -> bool;
}

/// Nothing to do in between.
pub(crate) struct Nothing;

impl InBetween for Nothing {
    fn go_on(&mut self) -> bool {
        false
    }

    fn is_behind(&self, _reached: u64) -> bool {
        false
    }
}

/// Runs `compute` and writes to `writer`, in order, what it gives to its output, as far as it flushes that:
/// when so much has been given, or meanwhile, if there is something that a thread of its own is to do in
/// between, until there is no more of that or `compute` returns. Memory of what has been written goes back to
/// `rooms`. Returns how writing went and what `compute` returned.
///
/// When writing fails, so does a later call of that output, or the same one.
pub(crate) fn write_beside<R>(
    writer: &mut (impl Write + Send),
    in_between: Option<Box<dyn InBetween>>,
    rooms: &Rooms,
    compute: impl FnOnce(&mut dyn Output) -> R,
) -> (io::Result<()>, R) {
    let Some(in_between) = in_between else {
        let computed = compute(&mut Gathered::new(writer, rooms));
        return (Ok(()), computed);
    };
    let line = Line::new(writer);
    let (worked, computed) = thread::scope(|scope| {
        let worker = processors::spawn_apart(scope, || line.work(in_between));
        let bytes = Vec::with_capacity(HANDED_BYTES);
        let mut behind = Behind { rooms, bytes, made: 1, line: &line };
        let computed = compute(&mut behind);
        drop(behind);
        (worker.join(), computed)
    });
    let panicked = |_| Err(io::Error::other("the thread that writes panicked"));
    (worked.map_or_else(panicked, |()| line.written()), computed)
}

/// What is handed over at a time.
struct Handed {
    bytes: Vec<u8>,
    /// Whether all up to here is wanted.
    is_flushed: bool,
}

/// What has been handed over, for whoever comes to write it.
struct Line<W> {
    /// Locked before something is taken to be written, so that everything is in order.
    writing: Mutex<Writing<W>>,
    waiting: Mutex<Waiting>,
    /// Something has been handed over or written, or nothing more will be.
    has_moved: Condvar,
    /// How far the computation has come.
    reached: AtomicU64,
}

struct Writing<W> {
    writer: W,
    /// How it went.
    done: io::Result<()>,
}

struct Waiting {
    handed: VecDeque<Handed>,
    /// Memory of what has been written.
    spares: Vec<Vec<u8>>,
    has_failed: bool,
    is_ended: bool,
    /// Threads that wait for something to move.
    threads: usize,
}

impl<W: Write> Line<W> {
    fn new(writer: W) -> Self {
        let waiting = Waiting {
            handed: VecDeque::new(),
            spares: Vec::new(),
            has_failed: false,
            is_ended: false,
            threads: 0,
        };
        Self {
            writing: Mutex::new(Writing { writer, done: Ok(()) }),
            waiting: Mutex::new(waiting),
            has_moved: Condvar::new(),
            reached: AtomicU64::new(0),
        }
    }

    /// Writes, and in between does something else, until everything is computed and written.
    fn work(&self, mut in_between: Box<dyn InBetween>) {
        let guard = FailOnPanic(self);
        let mut has_more = true;
        loop {
            let comes_first =
                has_more && in_between.is_behind(self.reached.load(Ordering::Relaxed));
            if !comes_first && self.write_next() {
                continue;
            }
            if has_more && !self.waiting().is_ended {
                has_more = in_between.go_on();
                continue;
            }
            let waiting = self.wait_while(|now| now.handed.is_empty() && !now.is_ended);
            has_more &= !waiting.is_ended;
            if waiting.is_ended && waiting.handed.is_empty() {
                break;
            }
        }
        std::mem::forget(guard);
    }

    /// Writes what comes next. Returns whether there was something.
    fn write_next(&self) -> bool {
        let mut writing = lock(&self.writing);
        let Some(Handed { mut bytes, is_flushed }) = self.waiting().handed.pop_front() else {
            return false;
        };
        if writing.done.is_ok() {
            writing.done = writing.write(&bytes, is_flushed);
        }
        bytes.clear();
        let mut waiting = self.waiting();
        waiting.has_failed |= writing.done.is_err();
        waiting.spares.push(bytes);
        self.tell(&waiting);
        true
    }

    /// Memory for the next bytes, which whoever asks writes others for if nobody else does.
    fn spare(&self) -> Vec<u8> {
        loop {
            let spare = {
                let mut waiting = self.waiting();
                // What is being written when that panics does not come back.
                let lost = waiting.has_failed.then(Vec::new);
                waiting.spares.pop().or(lost)
            };
            if let Some(spare) = spare {
                return spare;
            }
            // If there is nothing to write, the last of it is being written.
            if !self.write_next() {
                drop(self.wait_while(|now| now.spares.is_empty() && !now.has_failed));
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.waiting)
    }

    fn wait_while(&self, is_so: impl Fn(&Waiting) -> bool) -> MutexGuard<'_, Waiting> {
        let mut waiting = self.waiting();
        waiting.threads += 1;
        let waited = self.has_moved.wait_while(waiting, |waiting| is_so(waiting));
        let mut waiting = waited.unwrap_or_else(PoisonError::into_inner);
        waiting.threads -= 1;
        waiting
    }

    /// Wakes who waits for something to move; where nobody does, nobody need be asked.
    fn tell(&self, waiting: &Waiting) {
        if waiting.threads > 0 {
            self.has_moved.notify_all();
        }
    }

    /// How writing went.
    fn written(self) -> io::Result<()> {
        self.writing.into_inner().unwrap_or_else(PoisonError::into_inner).done
    }
}

/// Lets nobody wait for what a thread that panicked would have written.
struct FailOnPanic<'a, W: Write>(&'a Line<W>);

impl<W: Write> Drop for FailOnPanic<'_, W> {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        waiting.has_failed = true;
        self.0.tell(&waiting);
    }
}

impl<W: Write> Writing<W> {
    fn write(&mut self, bytes: &[u8], is_flushed: bool) -> io::Result<()> {
        self.writer.write_all(bytes)?;
        if is_flushed { self.writer.flush() } else { Ok(()) }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Copies pieces for who writes them: their own memory stays with who made them, whose cache has it, and
/// would have to take it back from another processor's each time.
struct Behind<'a, W: Write> {
    rooms: &'a Rooms,
    bytes: Vec<u8>,
    /// How many of those have been made.
    made: usize,
    line: &'a Line<W>,
}

impl<W: Write> Behind<'_, W> {
    fn hand_over(&mut self, is_flushed: bool) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.bytes);
        let (has_failed, spare) = {
            let mut waiting = self.line.waiting();
            waiting.handed.push_back(Handed { bytes, is_flushed });
            self.line.tell(&waiting);
            (waiting.has_failed, waiting.spares.pop())
        };
        if has_failed {
            return Err(io::Error::other("an earlier write has failed"));
        }
        self.bytes = match spare {
            Some(spare) => spare,
            None if self.made < HANDED => {
                self.made += 1;
                Vec::with_capacity(HANDED_BYTES)
            }
            None => self.line.spare(),
        };
        Ok(())
    }
}

impl<W: Write> Drop for Behind<'_, W> {
    fn drop(&mut self) {
        let mut waiting = self.line.waiting();
        waiting.is_ended = true;
        self.line.tell(&waiting);
    }
}

impl<W: Write + Send> Output for Behind<'_, W> {
    fn put(&mut self, piece: Piece) -> io::Result<()> {
        let mut rest = piece.bytes();
        while let Some(taken) = rest.split_off(..rest.len().min(HANDED_BYTES - self.bytes.len()))
            && !taken.is_empty()
        {
            self.bytes.extend_from_slice(taken);
            if self.bytes.len() == HANDED_BYTES {
                self.hand_over(false)?;
            }
        }
        self.rooms.give_back(piece.into_memory());
        Ok(())
    }

    fn reach(&mut self, reached: u64) {
        self.line.reached.store(reached, Ordering::Relaxed);
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hand_over(true)?;
        // Nothing else is to be computed before that.
        while self.line.write_next() {}
        match self.line.waiting().has_failed {
            true => Err(io::Error::other("an earlier write has failed")),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::super::gathered::STEP_BYTES;
    use super::*;

    /// Takes so many bytes, a few at a time, and then fails.
    struct Disk {
        written: Vec<u8>,
        room: usize,
        is_flushed: bool,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(100_003).min(self.room - self.written.len());
            if taken == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.written.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.is_flushed = true;
            Ok(())
        }
    }

    fn disk(room: usize) -> Disk {
        Disk { written: Vec::new(), room, is_flushed: false }
    }

    fn bytes(count: usize) -> Vec<u8> {
        (0..count as u32).map(|number| (number % 251) as u8).collect()
    }

    /// Nothing to do in between, for a thread of its own or none.
    fn nothing(of_its_own: bool) -> Option<Box<dyn InBetween>> {
        of_its_own.then(|| Box::new(Nothing) as _)
    }

    /// Something to be done in so many steps, then a message, and whether it comes before writing.
    struct Steps {
        left: usize,
        sender: Sender<&'static str>,
        is_first: bool,
    }

    impl InBetween for Steps {
        fn go_on(&mut self) -> bool {
            self.left -= 1;
            if self.left == 0 {
                self.sender.send("done").unwrap();
            }
            self.left > 0
        }

        fn is_behind(&self, _reached: u64) -> bool {
            self.is_first
        }
    }

    #[test]
    fn all_bytes_arrive_in_order() {
        let many = HANDED * HANDED_BYTES * 3 + 1;
        let rooms = Rooms::default();
        for of_its_own in [false, true] {
            for (count, step) in [(0, 1), (1, 1), (STEP_BYTES, STEP_BYTES), (many, 99_991)] {
                let (mut disk, bytes) = (disk(usize::MAX), bytes(count));
                let (written, computed) =
                    write_beside(&mut disk, nothing(of_its_own), &rooms, |output| {
                        bytes.chunks(step).try_for_each(|part| output.put(Piece::of(part)))?;
                        output.flush()
                    });
                written.unwrap();
                computed.unwrap();
                assert!(disk.written == bytes && disk.is_flushed);
            }
        }
    }

    #[test]
    fn a_full_disk_ends_the_computation_with_its_error() {
        let rooms = Rooms::default();
        for of_its_own in [false, true] {
            let room = 3 * STEP_BYTES + 5;
            let mut disk = disk(room);
            let piece = bytes(HANDED_BYTES);
            let (written, computed) =
                write_beside(&mut disk, nothing(of_its_own), &rooms, |output| {
                    // Ends because writing fails, or never.
                    loop {
                        if let Err(error) = output.put(Piece::of(&piece)) {
                            return error;
                        }
                    }
                });
            match written {
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
                    assert_eq!(computed.to_string(), "an earlier write has failed");
                }
                Ok(()) => assert_eq!(computed.kind(), io::ErrorKind::StorageFull),
            }
            assert_eq!(disk.written.len(), room);
        }
    }

    #[test]
    fn a_panic_of_who_writes_ends_the_computation() {
        /// Panics when a thread writes to it that is not this one.
        struct Elsewhere(thread::ThreadId);

        impl Write for Elsewhere {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                assert_eq!(thread::current().id(), self.0, "no good");
                // Slow, so that the other thread has something to write.
                thread::sleep(std::time::Duration::from_millis(1));
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let (mut writer, rooms) = (Elsewhere(thread::current().id()), Rooms::default());
        let piece = bytes(HANDED_BYTES);
        let (written, error) = write_beside(&mut writer, nothing(true), &rooms, |output| {
            // Ends because the other thread panics, or never.
            loop {
                if let Err(error) = output.put(Piece::of(&piece)) {
                    return error;
                }
            }
        });
        assert_eq!(error.to_string(), "an earlier write has failed");
        assert!(written.unwrap_err().to_string().contains("panicked"));
    }

    #[test]
    fn what_is_not_flushed_is_not_written() {
        let rooms = Rooms::default();
        for of_its_own in [false, true] {
            let mut disk = disk(usize::MAX);
            let (written, computed) =
                write_beside(&mut disk, nothing(of_its_own), &rooms, |output| {
                    output.put(Piece::of(b"some")).unwrap();
                    Err::<(), &str>("no more")
                });
            written.unwrap();
            assert_eq!(computed, Err("no more"));
            assert!(disk.written.is_empty());
        }
    }

    #[test]
    fn what_is_to_be_done_in_between_is() {
        for is_first in [false, true] {
            let (sender, done) = channel();
            let steps = Steps { left: 1000, sender, is_first };
            let (mut disk, rooms) = (disk(usize::MAX), Rooms::default());
            let piece = bytes(HANDED_BYTES);
            let (written, computed) =
                write_beside(&mut disk, Some(Box::new(steps)), &rooms, |output| {
                    for _ in 0..3 * HANDED {
                        output.put(Piece::of(&piece)).unwrap();
                    }
                    output.flush().unwrap();
                    done.recv().unwrap()
                });
            written.unwrap();
            assert_eq!(computed, "done");
            assert!(disk.written == piece.repeat(3 * HANDED) && disk.is_flushed);
        }
    }

    #[test]
    fn what_is_to_be_done_in_between_ends_with_the_computation() {
        for is_first in [false, true] {
            let (sender, _done) = channel();
            let endless = Steps { left: usize::MAX, sender, is_first };
            let (mut disk, rooms) = (disk(usize::MAX), Rooms::default());
            let piece = bytes(HANDED_BYTES);
            let (written, ()) =
                write_beside(&mut disk, Some(Box::new(endless)), &rooms, |output| {
                    // More than can wait, so that somebody has to write it.
                    for _ in 0..3 * HANDED {
                        output.put(Piece::of(&piece)).unwrap();
                    }
                    output.flush().unwrap();
                });
            written.unwrap();
            assert!(disk.written == piece.repeat(3 * HANDED) && disk.is_flushed);
        }
    }
}
