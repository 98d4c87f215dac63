//! Writing beside what computes: in a thread of its own, where a processor is free for one. Who computes
//! what is written then does not wait while the operating system copies it and the disk takes it. Where none
//! is free, waking such a thread costs more than it saves, and who computes writes.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;

use super::gathered::{Gathered, Piece};
use super::rooms::Rooms;

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

    /// Has all written that was put before; what is not flushed may never be.
    ///
    /// # Errors
    ///
    /// That of this or an earlier write.
    fn flush(&mut self) -> io::Result<()>;
}

/// What a thread does that has nothing else to do: a little each time, and then says whether there is more.
pub(crate) type InBetween = Box<dyn FnMut() -> bool + Send>;

/// Runs `compute` and writes to `writer`, in order, what it gives to its output, as far as it flushes that:
/// when so much has been given, or meanwhile, if there is something that a thread of its own is to do in
/// between, until there is no more of that or `compute` returns. Memory of what has been written goes back to
/// `rooms`. Returns how writing went and what `compute` returned.
///
/// When writing fails, so does a later call of that output, or the same one.
pub(crate) fn write_beside<R>(
    writer: &mut (impl Write + Send),
    in_between: Option<InBetween>,
    rooms: &Rooms,
    compute: impl FnOnce(&mut dyn Output) -> R,
) -> (io::Result<()>, R) {
    let Some(mut in_between) = in_between else {
        let computed = compute(&mut Gathered::new(writer, rooms));
        return (Ok(()), computed);
    };
    let (full, handed) = channel::<Handed>();
    let (done, spares) = channel();
    thread::scope(|scope| {
        let written = scope.spawn(move || {
            let mut has_more = true;
            loop {
                let next = match handed.try_recv() {
                    Err(TryRecvError::Empty) if has_more => {
                        has_more = in_between();
                        continue;
                    }
                    Err(TryRecvError::Empty) => handed.recv().ok(),
                    next => next.ok(),
                };
                let Some(Handed { mut bytes, is_flushed }) = next else { return Ok(()) };
                writer.write_all(&bytes)?;
                if is_flushed {
                    writer.flush()?;
                }
                bytes.clear();
                // Once everything is computed nobody needs a spare.
                let _ = done.send(bytes);
            }
        });
        let bytes = Vec::with_capacity(HANDED_BYTES);
        let mut behind = Behind { rooms, bytes, made: 1, full, spares };
        let computed = compute(&mut behind);
        drop(behind);
        let panicked = |_| Err(io::Error::other("the thread that writes panicked"));
        (written.join().unwrap_or_else(panicked), computed)
    })
}

/// What the thread that writes is given at a time.
struct Handed {
    bytes: Vec<u8>,
    /// Whether all up to here is wanted.
    is_flushed: bool,
}

/// Copies pieces for the thread that writes them: their own memory stays with who made them, whose cache has
/// it, and would have to take it back from another processor's each time.
struct Behind<'a> {
    rooms: &'a Rooms,
    bytes: Vec<u8>,
    /// How many of those have been made.
    made: usize,
    full: Sender<Handed>,
    /// What has been written.
    spares: Receiver<Vec<u8>>,
}

impl Behind<'_> {
    fn hand_over(&mut self, is_flushed: bool) -> io::Result<()> {
        let failed = || io::Error::other("an earlier write has failed");
        let spare = match self.spares.try_recv() {
            Ok(spare) => spare,
            Err(_) if self.made < HANDED => {
                self.made += 1;
                Vec::with_capacity(HANDED_BYTES)
            }
            Err(_) => self.spares.recv().map_err(|_| failed())?,
        };
        let bytes = std::mem::replace(&mut self.bytes, spare);
        self.full.send(Handed { bytes, is_flushed }).map_err(|_| failed())
    }
}

impl Output for Behind<'_> {
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

    fn flush(&mut self) -> io::Result<()> {
        self.hand_over(true)
    }
}

#[cfg(test)]
mod tests {
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
    fn nothing(of_its_own: bool) -> Option<InBetween> {
        of_its_own.then(|| Box::new(|| false) as InBetween)
    }

    #[test]
    fn all_bytes_arrive_in_order() {
        let many = HANDED * HANDED_BYTES * 3 + 1;
        let rooms = Rooms::of(STEP_BYTES);
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
        let rooms = Rooms::of(STEP_BYTES);
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
    fn what_is_not_flushed_is_not_written() {
        let rooms = Rooms::of(STEP_BYTES);
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
        let (sender, done) = channel();
        let mut left = 1000;
        let in_between = move || {
            left -= 1;
            if left == 0 {
                sender.send("done").unwrap();
            }
            left > 0
        };
        let (mut disk, rooms) = (disk(usize::MAX), Rooms::of(STEP_BYTES));
        let piece = bytes(HANDED_BYTES);
        let (written, computed) =
            write_beside(&mut disk, Some(Box::new(in_between)), &rooms, |output| {
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

    #[test]
    fn what_is_to_be_done_in_between_ends_with_the_computation() {
        let (mut disk, rooms) = (disk(usize::MAX), Rooms::of(STEP_BYTES));
        let endless: InBetween = Box::new(|| true);
        let (written, ()) = write_beside(&mut disk, Some(endless), &rooms, |output| {
            output.put(Piece::of(b"some")).unwrap();
            output.flush().unwrap();
        });
        written.unwrap();
        assert_eq!(disk.written, b"some");
    }
}
