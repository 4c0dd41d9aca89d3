//! A start that was refused: everything comes back.

use std::{error::Error, fmt, io};

use super::{Operation, Place, Work};

/// Why an operation was not started, and itself.
pub(crate) type NotStarted<K, T> = (io::Error, Place<K, T>);

/// An operation that was refused at its start, with what the caller had put into it.
///
/// No packet will come for it. Refused, alike on every driver: a closed port or handle, the wrong kind of handle, an empty or full
/// buffer, too many queued ([`io::ErrorKind::WouldBlock`], S183). What the system says about the I/O itself is always a completion.
///
/// ```
/// use completion_port::{Buffer, CompletionPort};
///
/// let port = CompletionPort::<&str, u32>::new()?;
/// let key_only = port.key("no socket here");
/// let refused = key_only.send(Buffer::from(b"lost?".to_vec()), 7).unwrap_err();
/// assert_eq!((refused.context, &refused.buffer[..]), (7, &b"lost?"[..]));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Refused<T, B = ()> {
    /// Why.
    pub error: io::Error,
    /// The context, given back.
    pub context: T,
    /// The buffer or buffers, given back.
    pub buffer: B,
}

impl<T, B> Refused<T, B> {
    /// What its starter had put into an operation that was not started; `buffer` takes the buffers out.
    pub(crate) fn of<K>((error, op): NotStarted<K, T>, buffer: impl FnOnce(Work) -> B) -> Self {
        let Operation { header, context, .. } = op.into_inner();
        Self { error, context: context.into_one(), buffer: buffer(header.work.into_inner()) }
    }
}

impl<T, B> fmt::Debug for Refused<T, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<T, B> fmt::Display for Refused<T, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the operation was not started: {}", self.error)
    }
}

impl<T, B> Error for Refused<T, B> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

impl<T, B> From<Refused<T, B>> for io::Error {
    fn from(refused: Refused<T, B>) -> Self {
        refused.error
    }
}
