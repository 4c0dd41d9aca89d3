//! Files that go out without passing through the process.

use std::{
    fs::File,
    io,
    ops::{Bound, RangeBounds},
    sync::Arc,
};

use crate::{
    Buffer, error,
    handle::Handle,
    operation::{Context, Detail, OpId, OpKind, Operation, Refused},
    sys,
};

impl<K: Send + Sync + 'static, T: Send + 'static> Handle<K, T> {
    /// Starts to send `head`, a range of a file, and `tail`, in this order, as one operation: `TransmitFile` (S156). It completes with the
    /// sum of their bytes or an error, never short; head and tail may be empty, and [`Completion::buffers`](crate::Completion::buffers)
    /// gives them back. It takes its turn among the sends of the handle.
    ///
    /// The bytes of the file are not copied through the process: the kernel passes its own pages on (a splice through a pipe on
    /// io_uring, `sendfile` on the readiness driver). On io_uring threads of the kernel wait for the disk; on readiness the thread that
    /// drives does, where a part of the file is not in memory.
    ///
    /// A range without an end goes to the end that the file has now. If the file becomes shorter meanwhile, the operation fails with
    /// [`EndOfFile`](crate::error::Situation::EndOfFile) when it gets there. The file's own position is neither used nor moved. An
    /// operation that fails or is cancelled may have sent a part of it all, and does not tell how much; so with every send. Linux only.
    ///
    /// # Errors
    ///
    /// Refused, with head, tail and context given back: as [`Handle::send`]; no byte in any of the three; no ordinary file, or a range
    /// that does not lie within it (`InvalidInput`); another system, or a simulated network (`Unsupported`).
    ///
    /// ```
    /// use completion_port::{Buffer, CompletionPort};
    /// use std::{fs::File, io::Read, net::{TcpListener, TcpStream}};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut client = TcpStream::connect(listener.local_addr()?)?;
    /// let port = CompletionPort::<(), ()>::new()?;
    /// let server = port.associate(listener.accept()?.0, ())?;
    ///
    /// let file = File::open("Cargo.toml")?;
    /// let [head, tail] = [b"<", b">"].map(|text| Buffer::from(text.to_vec()));
    /// server.transmit_file(file, 0..9, head, tail, ())?;
    /// assert_eq!(port.get()?.result?, 11);
    /// let mut got = [0; 11];
    /// client.read_exact(&mut got)?;
    /// assert_eq!(&got, b"<[package]>");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "TransmitFile")]
    pub fn transmit_file(
        &self,
        file: impl Into<Arc<File>>,
        range: impl RangeBounds<u64>,
        head: Buffer,
        tail: Buffer,
        context: T,
    ) -> Result<OpId, Refused<T, [Buffer; 2]>> {
        let file = file.into();
        let part = match part_of(&file, range) {
            Ok(part) => part,
            Err(error) => return Err(Refused { error, context, buffer: [head, tail] }),
        };
        if part.1 == 0 && head.is_empty() && tail.is_empty() {
            return Err(Refused { error: error::empty_buffer(), context, buffer: [head, tail] });
        }
        self.launch(
            Operation::new(OpKind::TransmitFile, self.clone(), Context::One(context))
                .with_file(sys::TransmitFile::new(head, file, part, tail)),
        )
        .map_err(|refused| {
            Refused::of(refused, |work| match work.detail {
                Detail::TransmitFile(what) => what.into_buffers(),
                _ => Default::default(),
            })
        })
    }
}

/// Where a range of a file starts, and how long it is.
fn part_of(file: &File, range: impl RangeBounds<u64>) -> io::Result<(u64, u64)> {
    if !sys::SENDS_FILES {
        return Err(error::not_here());
    }
    let known = file.metadata()?;
    let start = match range.start_bound() {
        Bound::Included(start) => Some(*start),
        Bound::Excluded(before) => before.checked_add(1),
        Bound::Unbounded => Some(0),
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.checked_add(1),
        Bound::Excluded(end) => Some(*end),
        Bound::Unbounded => Some(known.len()),
    };
    match (start, end) {
        (Some(start), Some(end)) if known.is_file() && start <= end && end <= known.len() => {
            Ok((start, end - start))
        }
        _ => Err(error::not_a_range()),
    }
}
