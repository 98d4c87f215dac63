//! Writing in a thread of its own: who computes what is written does not wait while the operating
//! system copies it and the disk takes it. Where no processor is free for such a thread, waking it costs
//! more than it saves, and who computes writes.

use std::io::{self, BufWriter, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// Bytes that are handed over at a time: enough for a write to be worth its call, and few enough for the
/// processor's cache to still have them.
const PIECE_BYTES: usize = 128 << 10;
/// Pieces that are being filled, are waiting, or are being written; made when they are needed.
const PIECES: usize = 6;

/// Bytes that are written at a time without such a thread.
const BUFFER_BYTES: usize = 256 << 10;

/// Runs `compute` and writes to `writer`, in order, what it gives to its writer, as far as it flushes that:
/// meanwhile, in a thread of its own, if `has_processor`, and else when so much has been given. Returns how
/// writing went and what `compute` returned.
///
/// When writing fails, so does a later write to that writer, or the same one.
pub(crate) fn write_beside<R>(
    writer: &mut (impl Write + Send),
    has_processor: bool,
    compute: impl FnOnce(&mut (dyn Write + Send)) -> R,
) -> (io::Result<()>, R) {
    if has_processor {
        return write_behind(writer, |behind| compute(behind));
    }
    let mut buffered = BufWriter::with_capacity(BUFFER_BYTES, writer);
    let computed = compute(&mut buffered);
    // What was not flushed is not wanted.
    let (writer, _) = buffered.into_parts();
    (writer.flush(), computed)
}

/// Takes bytes for the thread that writes them.
#[derive(Debug)]
pub(crate) struct Behind {
    piece: Vec<u8>,
    /// Pieces that have been made.
    made: usize,
    full: Sender<Vec<u8>>,
    /// Pieces that have been written.
    spares: Receiver<Vec<u8>>,
}

/// Runs `compute`, and meanwhile writes to `writer`, in order, what it gives to the [`Behind`]. Returns how
/// the writing went and what `compute` returned.
///
/// When writing fails, so does the next write to the [`Behind`], with an error that only says so.
fn write_behind<R>(
    writer: &mut (impl Write + Send),
    compute: impl FnOnce(&mut Behind) -> R,
) -> (io::Result<()>, R) {
    let (full, pieces) = channel::<Vec<u8>>();
    let (done, spares) = channel();
    thread::scope(|scope| {
        let written = scope.spawn(move || {
            for mut piece in pieces {
                writer.write_all(&piece)?;
                piece.clear();
                // Once everything is computed nobody needs a spare.
                let _ = done.send(piece);
            }
            writer.flush()
        });
        let mut behind = Behind { piece: Vec::with_capacity(PIECE_BYTES), made: 1, full, spares };
        let computed = compute(&mut behind);
        drop(behind);
        let panicked = |_| Err(io::Error::other("the thread that writes panicked"));
        (written.join().unwrap_or_else(panicked), computed)
    })
}

impl Behind {
    fn hand_over(&mut self) -> io::Result<()> {
        let failed = || io::Error::other("an earlier write has failed");
        let spare = match self.spares.try_recv() {
            Ok(spare) => spare,
            Err(_) if self.made < PIECES => {
                self.made += 1;
                Vec::with_capacity(PIECE_BYTES)
            }
            Err(_) => self.spares.recv().map_err(|_| failed())?,
        };
        let piece = std::mem::replace(&mut self.piece, spare);
        self.full.send(piece).map_err(|_| failed())
    }
}

impl Write for Behind {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE_BYTES {
            self.hand_over()?;
        }
        Ok(taken)
    }

    /// Hands over what there is; it is written some time later.
    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() { Ok(()) } else { self.hand_over() }
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn all_bytes_arrive_in_order() {
        let many = PIECES * PIECE_BYTES * 2 + 1;
        for has_processor in [false, true] {
            for (count, step) in [(0, 1), (1, 1), (PIECE_BYTES, PIECE_BYTES), (many, 99_991)] {
                let (mut disk, bytes) = (disk(usize::MAX), bytes(count));
                let (written, computed) = write_beside(&mut disk, has_processor, |writer| {
                    bytes.chunks(step).try_for_each(|part| writer.write_all(part))?;
                    writer.flush()
                });
                written.unwrap();
                computed.unwrap();
                assert!(disk.written == bytes && disk.is_flushed);
            }
        }
    }

    #[test]
    fn a_full_disk_ends_the_computation_with_its_error() {
        for has_processor in [false, true] {
            let mut disk = disk(3 * PIECE_BYTES + 5);
            let piece = bytes(PIECE_BYTES);
            let (written, computed) = write_beside(&mut disk, has_processor, |writer| {
                // Ends because writing fails, or never.
                loop {
                    if let Err(error) = writer.write_all(&piece) {
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
            assert_eq!(disk.written.len(), 3 * PIECE_BYTES + 5);
        }
    }

    #[test]
    fn what_is_not_flushed_is_not_written() {
        for has_processor in [false, true] {
            let mut disk = disk(usize::MAX);
            let (written, computed) = write_beside(&mut disk, has_processor, |writer| {
                writer.write_all(b"some").unwrap();
                Err::<(), &str>("no more")
            });
            written.unwrap();
            assert_eq!(computed, Err("no more"));
            assert!(disk.written.is_empty());
        }
    }
}
