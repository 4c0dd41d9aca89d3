//! The bytes of an operation: one concrete type, wherever they came from.
//!
//! The driver works on raw parts of a buffer ([`Buffer::spare_parts`], [`Buffer::fill`]) because the kernel does; everybody
//! else sees a slice.

mod pool;

use std::{fmt, ops::Deref, sync::Arc};

#[cfg_attr(not(target_os = "linux"), allow(unused_imports))] // the io_uring driver's
pub(crate) use pool::HEAD;
pub(crate) use pool::{Lent, Pool};
pub use pool::{PoolOptions, PoolSnapshot};

/// The bytes that an operation sends or fills.
///
/// An operation owns its buffer from start to completion; the completion hands it back. A buffer is one of three:
///
/// - **owned**, from [`Buffer::with_capacity`] or a `Vec<u8>` (no copy, and back into one with no copy);
/// - **shared**, from an `Arc<[u8]>`: the same bytes sent to many without a copy each. It cannot be received into;
/// - **lent** by a port's pool, when data arrives ([`Handle::recv_lent`](crate::Handle::recv_lent)) or on request
///   ([`CompletionPort::lend`](crate::CompletionPort::lend)). Dropping it, on any thread, gives it back.
///
/// A receive fills the *spare capacity*, behind the bytes that are there, as `Read::read_to_end` would. It stands for `WSABUF`.
///
/// ```
/// use completion_port::Buffer;
/// use std::sync::Arc;
///
/// let mut line = Buffer::from(b"hello".to_vec());
/// line.extend_from_slice(b", port");
/// assert_eq!(&line[..], b"hello, port");
///
/// let shared = Buffer::from(Arc::<[u8]>::from(&b"news"[..]));
/// assert_eq!((shared.len(), shared.spare()), (4, 0));
/// assert_eq!(Vec::from(shared), b"news");
/// ```
#[doc(alias = "WSABUF")]
#[derive(Default)]
pub struct Buffer(Repr);

enum Repr {
    Owned(Vec<u8>),
    Shared(Arc<[u8]>),
    Lent(Lent),
}

impl Default for Repr {
    fn default() -> Self {
        Repr::Owned(Vec::new())
    }
}

impl Buffer {
    /// An empty buffer without memory. Nothing can be received into it.
    #[must_use]
    pub const fn new() -> Self {
        Self(Repr::Owned(Vec::new()))
    }

    /// An empty owned buffer with room for at least `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Repr::Owned(Vec::with_capacity(capacity)))
    }

    pub(crate) fn lent(lent: Lent) -> Self {
        Self(Repr::Lent(lent))
    }

    /// How many bytes it can hold in all, what is in it included.
    #[must_use]
    pub fn capacity(&self) -> usize {
        match &self.0 {
            Repr::Owned(bytes) => bytes.capacity(),
            Repr::Shared(bytes) => bytes.len(),
            Repr::Lent(lent) => lent.capacity(),
        }
    }

    /// How many more bytes a receive could put into it. Zero for a shared buffer.
    #[must_use]
    pub fn spare(&self) -> usize {
        self.capacity() - self.len()
    }

    /// Whether it belongs to a port's pool, and goes back there when it is dropped.
    #[must_use]
    pub fn is_lent(&self) -> bool {
        matches!(self.0, Repr::Lent(_))
    }

    /// Forgets its bytes and keeps its room. A shared buffer becomes an empty one without room.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Keeps the first `len` bytes; nothing happens if there are no more than that. A shared buffer that is cut becomes an owned copy of what is left.
    pub fn truncate(&mut self, len: usize) {
        match &mut self.0 {
            Repr::Owned(bytes) => bytes.truncate(len),
            Repr::Shared(bytes) if len < bytes.len() => self.0 = Repr::Owned(bytes[..len].to_vec()),
            Repr::Shared(_) => {}
            Repr::Lent(lent) => lent.truncate(len),
        }
    }

    /// Appends `bytes`, and grows if there is no room: a shared buffer, or a lent one that is too small, becomes an owned copy.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let done = match &mut self.0 {
            Repr::Owned(own) => {
                own.extend_from_slice(bytes);
                true
            }
            Repr::Lent(lent) => lent.extend(bytes),
            Repr::Shared(_) => false,
        };
        if done {
            return;
        }
        let mut own = Vec::with_capacity(self.len() + bytes.len());
        own.extend_from_slice(self);
        own.extend_from_slice(bytes);
        self.0 = Repr::Owned(own);
    }

    /// The bytes, to change in place. A shared buffer becomes an owned copy first.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        if let Repr::Shared(bytes) = &self.0 {
            self.0 = Repr::Owned(bytes.to_vec());
        }
        match &mut self.0 {
            Repr::Owned(bytes) => bytes,
            Repr::Lent(lent) => lent.as_mut_slice(),
            // Made owned above; an empty slice is the same bytes if that ever changes.
            Repr::Shared(_) => &mut [],
        }
    }

    /// Where a receive may write, and how much. The memory stays where it is while the buffer is moved about.
    pub(crate) fn spare_parts(&mut self) -> (*mut u8, usize) {
        match &mut self.0 {
            Repr::Owned(bytes) => {
                let spare = bytes.spare_capacity_mut();
                (spare.as_mut_ptr().cast(), spare.len())
            }
            Repr::Shared(bytes) => (bytes.as_ptr().cast_mut(), 0),
            Repr::Lent(lent) => lent.spare_parts(),
        }
    }

    /// Counts `filled` bytes behind the present ones as received.
    ///
    /// # Safety
    ///
    /// That many bytes of [`Buffer::spare_parts`] have been written.
    pub(crate) unsafe fn fill(&mut self, filled: usize) {
        debug_assert!(filled <= self.spare(), "the kernel filled more than it was given");
        match &mut self.0 {
            // SAFETY: the caller wrote them, within the capacity.
            Repr::Owned(bytes) => unsafe { bytes.set_len(bytes.len() + filled) },
            Repr::Shared(_) => {}
            // SAFETY: as above.
            Repr::Lent(lent) => unsafe { lent.fill(filled) },
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Owned(bytes) => bytes,
            Repr::Shared(bytes) => bytes,
            Repr::Lent(lent) => lent.as_slice(),
        }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Vec<u8>> for Buffer {
    /// Takes the vector over without a copy; its spare capacity can be received into.
    fn from(bytes: Vec<u8>) -> Self {
        Self(Repr::Owned(bytes))
    }
}

impl From<Arc<[u8]>> for Buffer {
    /// Shares the bytes, for a broadcast that copies nothing.
    fn from(bytes: Arc<[u8]>) -> Self {
        Self(Repr::Shared(bytes))
    }
}

impl From<&[u8]> for Buffer {
    /// Copies the bytes.
    fn from(bytes: &[u8]) -> Self {
        Self(Repr::Owned(bytes.to_vec()))
    }
}

impl From<Buffer> for Vec<u8> {
    /// The bytes as a vector: without a copy from an owned buffer, with one from a shared or lent one.
    fn from(buffer: Buffer) -> Self {
        match buffer.0 {
            Repr::Owned(bytes) => bytes,
            Repr::Shared(bytes) => bytes.to_vec(),
            Repr::Lent(lent) => lent.as_slice().to_vec(),
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            Repr::Owned(_) => "owned",
            Repr::Shared(_) => "shared",
            Repr::Lent(_) => "lent",
        };
        write!(f, "Buffer({kind}, {} of {} bytes)", self.len(), self.capacity())
    }
}
