//! Memory that pieces of a file are made in.

use super::gathered::SMALL_PIECE_BYTES;
use crate::spares::Spares;

/// Memory of pieces that have been written, for the next ones.
#[derive(Default)]
pub(crate) struct Rooms(Spares<Vec<u8>>);

impl Rooms {
    /// Memory of at least so many bytes, whose contents are of no account.
    pub(crate) fn take(&self, bytes: usize) -> Vec<u8> {
        let room = self.0.take();
        // What is too small is not kept, so that in the end all are large enough for most pieces.
        if room.len() < bytes { vec![0; bytes] } else { room }
    }

    /// Keeps `memory` for others, unless it is only enough for small pieces, which have their own.
    pub(crate) fn give_back(&self, memory: Vec<u8>) {
        if memory.len() > SMALL_PIECE_BYTES {
            self.0.give_back(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_taken_again_if_it_is_enough() {
        const BYTES: usize = SMALL_PIECE_BYTES + 1;
        let rooms = Rooms::default();
        let mut room = rooms.take(BYTES);
        assert_eq!(room, [0; BYTES]);
        room[0] = 1;
        rooms.give_back(room);
        assert_eq!(rooms.take(BYTES - 1)[0], 1);

        rooms.give_back(vec![2; BYTES]);
        assert_eq!(rooms.take(BYTES + 1), [0; BYTES + 1]);

        rooms.give_back(vec![3; SMALL_PIECE_BYTES]);
        assert_eq!(rooms.take(1), [0]);
    }
}
