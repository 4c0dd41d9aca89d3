//! Files with completion routines.

use std::{fmt, fs::File, io};

use super::{
    OverlappedSocket,
    place::{Key, Task},
    start::{Done, Routine},
};
use crate::{
    Buffer,
    handle::Handle,
    operation::{OpId, Refused},
    sys::Descriptor,
};

/// A file for overlapped I/O with completion routines; clones name the same one, on any thread. It is what `CreateFile` with
/// `FILE_FLAG_OVERLAPPED` opens: it has no pointer (S158), and each operation says where it begins.
///
/// The operations are those of [`Handle`](crate::Handle::read_at), each with a routine, under the same rules as an
/// [`OverlappedSocket`]'s. They are independent: they go on side by side, and may end in any order. A file lives until its last clone
/// is dropped **and** nothing is pending on it.
///
/// ```
/// use completion_port::{Buffer, routine::{FileDone, OverlappedFile, sleep_ex}};
/// use std::{fs::File, time::Duration};
///
/// # let path = std::env::temp_dir().join(format!("completion-port-routine-{}", std::process::id()));
/// std::fs::write(&path, "hello, file")?;
/// let file = OverlappedFile::from(File::open(&path)?);
/// # std::fs::remove_file(&path)?;
/// file.read_at(Buffer::with_capacity(100), 7, |FileDone { result, buffer, .. }| {
///     assert_eq!((result.ok(), &buffer[..]), (Some(4), &b"file"[..]));
/// })?;
/// sleep_ex(Duration::MAX, true)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "FILE_FLAG_OVERLAPPED")]
#[derive(Clone, PartialEq, Eq)]
pub struct OverlappedFile(OverlappedSocket);

/// What a completion routine of a file is called with: the outcome of the operation that it was started for.
///
/// ```
/// use completion_port::{error::Situation, routine::FileDone};
///
/// fn at_the_end(done: &FileDone) -> bool {
///     done.result.as_ref().is_err_and(|e| Situation::of(e) == Some(Situation::EndOfFile))
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct FileDone {
    /// The file. It closes with its last clone.
    pub file: OverlappedFile,
    /// Bytes moved, or why not. A read that begins at the end of the file, or behind it, fails with
    /// [`Situation::EndOfFile`](crate::error::Situation::EndOfFile) (S159).
    pub result: io::Result<usize>,
    /// The operation's buffer, filled by a read. Empty where the operation had none.
    pub buffer: Buffer,
    /// The buffers of an operation on several; none of other operations.
    pub buffers: Vec<Buffer>,
}

impl OverlappedFile {
    /// Starts to read into the spare room of `buffer`, as [`Handle::read_at`](crate::Handle::read_at) does: `ReadFileEx`. `routine`
    /// runs in the calling thread's next alertable wait after that is over.
    ///
    /// # Errors
    ///
    /// Refused, with buffer and routine given back (S166): as by [`Handle::read_at`](crate::Handle::read_at), or the thread is ending or
    /// can have no driver, or this is no regular file. All else is told to the routine.
    #[doc(alias = "ReadFileEx")]
    pub fn read_at<F: FnOnce(FileDone) + 'static>(
        &self,
        buffer: Buffer,
        offset: u64,
        routine: F,
    ) -> Result<OpId, Refused<F, Buffer>> {
        self.start(buffer, routine, |handle, buffer, task| handle.read_at(buffer, offset, task))
    }

    /// Starts to write all of `buffer`, as [`Handle::write_at`](crate::Handle::write_at) does: `WriteFileEx`.
    ///
    /// # Errors
    ///
    /// As [`read_at`](OverlappedFile::read_at), and refused if `buffer` is empty.
    #[doc(alias = "WriteFileEx")]
    pub fn write_at<F: FnOnce(FileDone) + 'static>(
        &self,
        buffer: Buffer,
        offset: u64,
        routine: F,
    ) -> Result<OpId, Refused<F, Buffer>> {
        self.start(buffer, routine, |handle, buffer, task| handle.write_at(buffer, offset, task))
    }

    /// Starts to read into the spare rooms of several buffers; [`FileDone::buffers`] has them.
    ///
    /// # Errors
    ///
    /// As [`read_at`](OverlappedFile::read_at).
    pub fn read_vectored_at<F: FnOnce(FileDone) + 'static>(
        &self,
        buffers: Vec<Buffer>,
        offset: u64,
        routine: F,
    ) -> Result<OpId, Refused<F, Vec<Buffer>>> {
        self.start(buffers, routine, |handle, buffers, task| {
            handle.read_vectored_at(buffers, offset, task)
        })
    }

    /// Starts to write several buffers as one; [`FileDone::buffers`] has them.
    ///
    /// # Errors
    ///
    /// As [`write_at`](OverlappedFile::write_at).
    pub fn write_vectored_at<F: FnOnce(FileDone) + 'static>(
        &self,
        buffers: Vec<Buffer>,
        offset: u64,
        routine: F,
    ) -> Result<OpId, Refused<F, Vec<Buffer>>> {
        self.start(buffers, routine, |handle, buffers, task| {
            handle.write_vectored_at(buffers, offset, task)
        })
    }

    /// Starts to bring what was written to the disk, data and all that the system notes about the file.
    ///
    /// # Errors
    ///
    /// As [`read_at`](OverlappedFile::read_at).
    #[doc(alias = "FlushFileBuffers")]
    pub fn sync<F: FnOnce(FileDone) + 'static>(&self, routine: F) -> Result<OpId, Refused<F>> {
        self.start((), routine, |handle, (), task| handle.sync(task))
    }

    /// The same for the data, and what is needed to read it again.
    ///
    /// # Errors
    ///
    /// As [`read_at`](OverlappedFile::read_at).
    pub fn sync_data<F: FnOnce(FileDone) + 'static>(&self, routine: F) -> Result<OpId, Refused<F>> {
        self.start((), routine, |handle, (), task| handle.sync_data(task))
    }

    /// Asks for the end of one operation that the calling thread has started: `CancelIoEx`. Its routine is called all the same (S89).
    /// False if there is none.
    #[doc(alias = "CancelIoEx")]
    pub fn cancel(&self, op: OpId) -> bool {
        self.0.cancel(op)
    }

    /// Asks for the end of what the calling thread has started here: `CancelIo` (S87). Tells how many operations that were.
    #[doc(alias = "CancelIo")]
    pub fn cancel_own(&self) -> usize {
        self.0.cancel_own()
    }

    /// Asks for the end of what all threads have started here: `CancelIoEx(file, NULL)` (S86). Tells how many operations that were.
    #[doc(alias = "CancelIoEx")]
    pub fn cancel_all(&self) -> usize {
        self.0.cancel_all()
    }

    /// Closes it now: `CloseHandle`. Whatever is pending is cancelled, whichever thread started it, and its routine is told. Later
    /// calls are refused.
    #[doc(alias = "CloseHandle")]
    pub fn close(&self) {
        self.0.close();
    }

    fn start<B, F: FnOnce(FileDone) + 'static>(
        &self,
        buffer: B,
        routine: F,
        start: impl FnOnce(&Handle<Key, Task>, B, Task) -> Result<OpId, Refused<Task, B>>,
    ) -> Result<OpId, Refused<F, B>> {
        let boxed = |routine: F| -> Routine {
            Box::new(move |Done { socket, result, buffer, buffers, .. }| {
                routine(FileDone { file: Self(socket), result, buffer, buffers });
            })
        };
        self.0.start_as(buffer, routine, boxed, start)
    }
}

impl From<File> for OverlappedFile {
    /// What is no regular file or block device is refused by its first operation.
    fn from(file: File) -> Self {
        Self(OverlappedSocket::of_file(file))
    }
}

impl OverlappedFile {
    pub(crate) fn descriptor(&self) -> &Descriptor {
        self.0.descriptor()
    }
}

impl fmt::Debug for OverlappedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OverlappedFile").field("fd", self.descriptor()).finish_non_exhaustive()
    }
}
