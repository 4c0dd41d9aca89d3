//! The operations on files, each as a method of [`Handle`](crate::Handle).
//!
//! A file has no pointer here (S158): each operation says where it begins. They are independent, and go on side by side, as many as are
//! started; two that touch the same bytes have no order, unless the second is started when the first is over.

use std::io;

use crate::{
    Buffer, error,
    handle::Handle,
    operation::{Context, Detail, OpId, OpKind, Operation, Place, Refused},
    sys::Vectored,
};

impl<K: Send + Sync + 'static, T: Send + 'static> Handle<K, T> {
    /// Starts to read from a file, beginning `offset` bytes from its start, into the spare room of `buffer`: `ReadFile` with an
    /// `OVERLAPPED`. It completes when the room is full, or with fewer bytes at the end of the file. A read that begins there, or behind
    /// it, fails with [`Situation::EndOfFile`](error::Situation::EndOfFile) (S159). Whether it was done at once or not, there is one packet
    /// (S160).
    ///
    /// Of a read that fails or is cancelled, a part may be in the buffer.
    ///
    /// # Errors
    ///
    /// Refused, with buffer and context given back: no file, closed, a buffer without spare room, an offset that no file has, too many
    /// started. All else, a file that was not opened for reading say, is told by the packet.
    ///
    /// ```
    /// use completion_port::{Buffer, CompletionPort, error::Situation};
    /// use std::fs::File;
    ///
    /// # let path = std::env::temp_dir().join(format!("completion-port-read-{}", std::process::id()));
    /// std::fs::write(&path, "hello, file")?;
    /// let port = CompletionPort::<(), u32>::new()?;
    /// let file = port.associate(File::open(&path)?, ())?;
    /// # std::fs::remove_file(&path)?;
    ///
    /// file.read_at(Buffer::with_capacity(100), 7, 1)?;
    /// assert_eq!(&port.get()?.buffer[..], b"file");
    ///
    /// file.read_at(Buffer::with_capacity(100), 11, 2)?;
    /// let error = port.get()?.result.unwrap_err();
    /// assert_eq!(Situation::of(&error), Some(Situation::EndOfFile));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "ReadFile")]
    pub fn read_at(
        &self,
        buffer: Buffer,
        offset: u64,
        context: T,
    ) -> Result<OpId, Refused<T, Buffer>> {
        if buffer.spare() == 0 {
            return Err(Refused { error: error::full_buffer(), context, buffer });
        }
        self.move_at(OpKind::ReadAt, buffer, offset, context)
    }

    /// Starts to write all of `buffer` to a file, beginning `offset` bytes from its start: `WriteFile` with an `OVERLAPPED`. It completes
    /// with all its bytes or an error (a disk that is full, say, after a part was written). A file that ends before the offset grows, and
    /// what is between reads as zeros; one that was opened to append is appended to, on Linux, whatever the offset.
    ///
    /// # Errors
    ///
    /// Refused, with buffer and context given back: as for [`Handle::read_at`], and an empty buffer.
    ///
    /// ```
    /// use completion_port::{Buffer, CompletionPort};
    /// use std::fs::File;
    ///
    /// # let path = std::env::temp_dir().join(format!("completion-port-write-{}", std::process::id()));
    /// let port = CompletionPort::<(), ()>::new()?;
    /// let file = port.associate(File::create(&path)?, ())?;
    /// file.write_at(Buffer::from(b"world".to_vec()), 6, ())?;
    /// file.write_at(Buffer::from(b"hello,".to_vec()), 0, ())?;
    /// assert_eq!(port.get()?.result? + port.get()?.result?, 11);
    /// assert_eq!(std::fs::read(&path)?, b"hello,world");
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "WriteFile")]
    pub fn write_at(
        &self,
        buffer: Buffer,
        offset: u64,
        context: T,
    ) -> Result<OpId, Refused<T, Buffer>> {
        if buffer.is_empty() {
            return Err(Refused { error: error::empty_buffer(), context, buffer });
        }
        self.move_at(OpKind::WriteAt, buffer, offset, context)
    }

    /// Starts to read from a file into the spare rooms of several buffers, one after the other: `ReadFileScatter`, without its demands
    /// on sizes. [`Completion::buffers`](crate::Completion::buffers) gives them back.
    ///
    /// # Errors
    ///
    /// As for [`Handle::read_at`]; refused when there is no spare room in any of them.
    ///
    /// ```
    /// use completion_port::{Buffer, CompletionPort};
    /// use std::fs::File;
    ///
    /// # let path = std::env::temp_dir().join(format!("completion-port-scatter-{}", std::process::id()));
    /// std::fs::write(&path, "headbody")?;
    /// let port = CompletionPort::<(), ()>::new()?;
    /// let file = port.associate(File::open(&path)?, ())?;
    /// # std::fs::remove_file(&path)?;
    /// file.read_vectored_at(vec![Buffer::with_capacity(4), Buffer::with_capacity(100)], 0, ())?;
    /// let mut done = port.get()?;
    /// let parts = done.buffers();
    /// assert_eq!((done.result?, &parts[0][..], &parts[1][..]), (8, &b"head"[..], &b"body"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "ReadFileScatter")]
    pub fn read_vectored_at(
        &self,
        buffers: Vec<Buffer>,
        offset: u64,
        context: T,
    ) -> Result<OpId, Refused<T, Vec<Buffer>>> {
        if buffers.iter().all(|buffer| buffer.spare() == 0) {
            return Err(Refused { error: error::full_buffer(), context, buffer: buffers });
        }
        self.move_several_at(OpKind::ReadAt, Vectored::spare, buffers, offset, context)
    }

    /// Starts to write several buffers to a file as one, in their order: `WriteFileGather`, without its demands on sizes.
    /// [`Completion::buffers`](crate::Completion::buffers) gives them back.
    ///
    /// # Errors
    ///
    /// As for [`Handle::write_at`]; refused when there is no byte in any of them.
    ///
    /// ```
    /// use completion_port::{Buffer, CompletionPort};
    /// use std::fs::File;
    ///
    /// # let path = std::env::temp_dir().join(format!("completion-port-gather-{}", std::process::id()));
    /// let port = CompletionPort::<(), ()>::new()?;
    /// let file = port.associate(File::create(&path)?, ())?;
    /// file.write_vectored_at(vec![b"head".to_vec().into(), b"body".to_vec().into()], 0, ())?;
    /// assert_eq!(port.get()?.result?, 8);
    /// assert_eq!(std::fs::read(&path)?, b"headbody");
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "WriteFileGather")]
    pub fn write_vectored_at(
        &self,
        buffers: Vec<Buffer>,
        offset: u64,
        context: T,
    ) -> Result<OpId, Refused<T, Vec<Buffer>>> {
        if buffers.iter().all(|buffer| buffer.is_empty()) {
            return Err(Refused { error: error::empty_buffer(), context, buffer: buffers });
        }
        self.move_several_at(OpKind::WriteAt, Vectored::full, buffers, offset, context)
    }

    /// Starts to bring what was written to the disk, data and all that the system notes about the file: `FlushFileBuffers`. It covers
    /// the writes that are over when it is started; the packet has 0 bytes.
    ///
    /// # Errors
    ///
    /// Refused, with the context given back: no file, closed, too many started.
    ///
    /// ```
    /// use completion_port::{Buffer, CompletionPort};
    /// use std::fs::File;
    ///
    /// # let path = std::env::temp_dir().join(format!("completion-port-sync-{}", std::process::id()));
    /// let port = CompletionPort::<(), &str>::new()?;
    /// let file = port.associate(File::create(&path)?, ())?;
    /// # std::fs::remove_file(&path)?;
    /// file.write_at(Buffer::from(b"precious".to_vec()), 0, "written")?;
    /// assert_eq!(port.get()?.context, "written");
    /// file.sync("safe")?;
    /// let done = port.get()?;
    /// assert_eq!((done.context, done.result?), ("safe", 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "FlushFileBuffers")]
    pub fn sync(&self, context: T) -> Result<OpId, Refused<T>> {
        self.sync_by(OpKind::Sync, context)
    }

    /// The same for the data, and what is needed to read it again (its length, say): `fdatasync`. Times need not be on the disk.
    ///
    /// # Errors
    ///
    /// As for [`Handle::sync`].
    #[doc(alias = "NtFlushBuffersFileEx")]
    pub fn sync_data(&self, context: T) -> Result<OpId, Refused<T>> {
        self.sync_by(OpKind::SyncData, context)
    }

    fn sync_by(&self, kind: OpKind, context: T) -> Result<OpId, Refused<T>> {
        self.launch(Operation::new(kind, self.clone(), Context::One(context)))
            .map_err(|refused| Refused::of(refused, |_| ()))
    }

    fn move_at(
        &self,
        kind: OpKind,
        buffer: Buffer,
        offset: u64,
        context: T,
    ) -> Result<OpId, Refused<T, Buffer>> {
        if let Some(error) = too_far(offset) {
            return Err(Refused { error, context, buffer });
        }
        // Put together where it stays: it is large.
        let mut op = Place::new(Operation::new(kind, self.clone(), Context::One(context)));
        let work = op.header.work.get_mut();
        work.buffer = buffer;
        work.detail = Detail::At(offset);
        self.start(op).map_err(|refused| Refused::of(refused, |work| work.buffer))
    }

    fn move_several_at(
        &self,
        kind: OpKind,
        vectored: fn(Vec<Buffer>, u64) -> Vectored,
        buffers: Vec<Buffer>,
        offset: u64,
        context: T,
    ) -> Result<OpId, Refused<T, Vec<Buffer>>> {
        if let Some(error) = too_far(offset) {
            return Err(Refused { error, context, buffer: buffers });
        }
        let op = Operation::new(kind, self.clone(), Context::One(context))
            .with_detail(Detail::Vectored(Box::new(vectored(buffers, offset))));
        self.launch(op).map_err(|refused| {
            Refused::of(refused, |work| match work.detail {
                Detail::Vectored(vectored) => vectored.into_buffers(),
                _ => Vec::new(),
            })
        })
    }
}

/// Why nothing begins there, if so. The system counts in signed numbers, and takes some negative ones for something else.
fn too_far(offset: u64) -> Option<io::Error> {
    i64::try_from(offset).is_err().then(|| error::too_far(offset))
}
