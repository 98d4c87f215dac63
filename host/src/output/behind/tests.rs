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
        let (written, computed) = write_beside(&mut disk, nothing(of_its_own), &rooms, |output| {
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
        let (written, computed) = write_beside(&mut disk, nothing(of_its_own), &rooms, |output| {
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
        let (written, ()) = write_beside(&mut disk, Some(Box::new(endless)), &rooms, |output| {
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
