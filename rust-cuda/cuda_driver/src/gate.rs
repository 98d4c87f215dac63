//! A stream that waits until more work has been queued on it.

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use cust::error::CudaResult;
use cust::stream::Stream;

/// The longest that a gate stays closed, so that a call which waits for the stream while it holds the
/// gate is slow and does not hang.
const LONGEST: Duration = Duration::from_secs(2);

/// Keeps a stream from going on until it is opened or dropped.
///
/// A launch takes the host some microseconds. Between two events they would count as the kernel's
/// time, unless event, launch and event have all been queued before the stream gets to the first.
#[derive(Debug)]
pub struct Gate(Sender<()>);

impl Gate {
    /// Closes `stream` for what is queued from now on.
    ///
    /// # Errors
    ///
    /// When the driver cannot queue the wait.
    pub fn close(stream: &Stream) -> CudaResult<Self> {
        let (sender, receiver) = channel();
        stream.add_callback(Box::new(move || {
            // Opened, dropped or late: in any case the stream goes on.
            let _ = receiver.recv_timeout(LONGEST);
        }))?;
        Ok(Self(sender))
    }

    /// Lets the stream go on.
    pub fn open(self) {
        // Without a receiver the stream has gone on already.
        let _ = self.0.send(());
    }
}
