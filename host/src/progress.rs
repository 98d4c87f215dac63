//! How far a long operation has come.

/// Receives the progress of an encode or a decode, in bytes of the original file. Calls come from
/// threads of the operation, of a directory's from several at a time.
pub trait Progress: Send + Sync {
    /// The operation begins and has `total` bytes to go through.
    fn start(&self, total: u64);
    /// `bytes` more are done.
    fn advance(&self, bytes: u64);
}
