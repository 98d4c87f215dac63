//! Writing beside what computes: in a thread of its own, where a processor is free for one. Who computes
//! what is written then does not wait while the operating system copies it and the disk takes it. Where none
//! is free, waking such a thread costs more than it saves, and who computes writes.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use codec::simd::copy_past_cache;

use super::gathered::{Gathered, Piece};
use super::rooms::Rooms;
use crate::processors;

/// Bytes that are handed over at a time: enough for a write to be worth its call, and few enough for the other
/// thread not to wait long for the first.
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
        let mut behind = Behind { rooms, memory: new_memory(), length: 0, made: 1, line: &line };
        let computed = compute(&mut behind);
        drop(behind);
        (worker.join(), computed)
    });
    let panicked = |_| Err(io::Error::other("the thread that writes panicked"));
    (worked.map_or_else(panicked, |()| line.written()), computed)
}

/// What is handed over at a time.
struct Handed {
    memory: Vec<u8>,
    /// How many bytes at its beginning are meant.
    length: usize,
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
        let Some(Handed { memory, length, is_flushed }) = self.waiting().handed.pop_front() else {
            return false;
        };
        if writing.done.is_ok() {
            writing.done = writing.write(&memory[..length], is_flushed);
        }
        let mut waiting = self.waiting();
        waiting.has_failed |= writing.done.is_err();
        waiting.spares.push(memory);
        self.tell(&waiting);
        true
    }

    /// Memory for the next bytes, which whoever asks writes others for if nobody else does.
    fn spare(&self) -> Vec<u8> {
        loop {
            let spare = {
                let mut waiting = self.waiting();
                // What is being written when that panics does not come back.
                let lost = waiting.has_failed.then(new_memory);
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

/// Memory for what is handed over at a time.
fn new_memory() -> Vec<u8> {
    vec![0; HANDED_BYTES]
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Copies pieces for who writes them: their own memory stays with who made them, whose cache has it, and
/// would have to take it back from another processor's each time. For the same reason the copies go past it.
struct Behind<'a, W: Write> {
    rooms: &'a Rooms,
    /// What is being filled.
    memory: Vec<u8>,
    /// Bytes that it has been filled with.
    length: usize,
    /// How many of those have been made.
    made: usize,
    line: &'a Line<W>,
}

impl<W: Write> Behind<'_, W> {
    fn hand_over(&mut self, is_flushed: bool) -> io::Result<()> {
        let memory = std::mem::take(&mut self.memory);
        let length = std::mem::take(&mut self.length);
        let (has_failed, spare) = {
            let mut waiting = self.line.waiting();
            waiting.handed.push_back(Handed { memory, length, is_flushed });
            self.line.tell(&waiting);
            (waiting.has_failed, waiting.spares.pop())
        };
        if has_failed {
            return Err(io::Error::other("an earlier write has failed"));
        }
        self.memory = match spare {
            Some(spare) => spare,
            None if self.made < HANDED => {
                self.made += 1;
                new_memory()
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
        while let Some(taken) = rest.split_off(..rest.len().min(HANDED_BYTES - self.length))
            && !taken.is_empty()
        {
            copy_past_cache(taken, &mut self.memory[self.length..][..taken.len()]);
            self.length += taken.len();
            if self.length == HANDED_BYTES {
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
mod tests;
