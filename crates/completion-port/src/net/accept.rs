//! Accepts.

use crate::{
    Buffer, error,
    handle::Handle,
    operation::{Context, Each, OpId, OpKind, Operation, Refused},
};

impl<K: Send + Sync + 'static, T: Send + 'static> Handle<K, T> {
    /// Starts to accept one connection: `AcceptEx` without first data (S137). The packet has the listener's key (S142);
    /// [`Completion::accepted`](crate::Completion::accepted) is the new socket, to be associated in its turn. Many may be
    /// outstanding; they are served in call order (S145).
    ///
    /// # Errors
    ///
    /// Refused, with the context given back: no listener, closed, too many queued.
    ///
    /// ```
    /// use completion_port::CompletionPort;
    /// use std::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// let port = CompletionPort::<&str, ()>::new()?;
    /// port.associate(listener, "listener")?.accept(())?;
    ///
    /// let client = TcpStream::connect(address)?;
    /// let mut done = port.get()?;
    /// let stream = done.accepted().expect("a socket came");
    /// assert_eq!(stream.peer_addr()?, client.local_addr()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "AcceptEx")]
    pub fn accept(&self, context: T) -> Result<OpId, Refused<T>> {
        self.launch(Operation::new(OpKind::Accept, self.clone(), Context::One(context)).with_peer())
            .map_err(|refused| Refused::of(refused, |_| ()))
    }

    /// Starts to accept one connection and to receive its first data into the spare room of `buffer`: `AcceptEx` with a receive length
    /// (S137). It completes when the peer has sent anything, with the bytes of that, or with `Ok(0)` if it has ended without a word (S138).
    /// [`Completion::accepted`](crate::Completion::accepted) is the new socket, [`Completion::addresses`](crate::Completion::addresses)
    /// both its addresses. (Of a Unix listener it is `Completion::accepted_unix`, and there are no addresses.)
    ///
    /// Accepts are served in call order (S145). One that has its connection does not hold up the next while it waits for data; but a silent
    /// client keeps it, with its buffer, until it is cancelled: [`Handle::half_accepted`] tells for how long (S144). A cancelled one, or
    /// one whose listener is closed, closes the connection that it had.
    ///
    /// # Errors
    ///
    /// Refused, with buffer and context given back: no listener, closed, a buffer without spare room, too many queued; on a simulated
    /// network (`Unsupported`).
    ///
    /// ```
    /// use completion_port::{Buffer, CompletionPort};
    /// use std::{io::Write, net::{TcpListener, TcpStream}};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// let port = CompletionPort::<&str, ()>::new()?;
    /// port.associate(listener, "listener")?.accept_with(Buffer::with_capacity(64), ())?;
    ///
    /// let mut client = TcpStream::connect(address)?;
    /// client.write_all(b"hello")?;
    /// let mut done = port.get()?;
    /// assert!(done.accepted().is_some());
    /// assert_eq!(&done.buffer[..], b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "AcceptEx")]
    pub fn accept_with(&self, buffer: Buffer, context: T) -> Result<OpId, Refused<T, Buffer>> {
        if buffer.spare() == 0 {
            return Err(Refused { error: error::full_buffer(), context, buffer });
        }
        self.launch(
            Operation::new(OpKind::AcceptWith, self.clone(), Context::One(context))
                .with_buffer(buffer)
                .with_peer(),
        )
        .map_err(|refused| Refused::of(refused, |work| work.buffer))
    }

    /// Starts to accept every connection that comes, until it is cancelled, the listener is closed, or the system refuses (no
    /// descriptor left, say: then it is to be started again when there is one; the connection waits in the backlog). `maker`
    /// makes the context of each packet: the first here, the others on whichever thread brings the packet in, which is one in `get`
    /// or one that starts, cancels or closes something on this handle. Hold no lock there that the maker takes. The final packet,
    /// with the error, is marked by [`Completion::last`](crate::Completion::last).
    ///
    /// If `maker` panics, that connection is closed (or the final packet lost), the panic comes out of the call that it was in, and
    /// the accept goes on.
    ///
    /// # Errors
    ///
    /// Refused: no listener, closed, too many queued.
    ///
    /// ```
    /// use completion_port::CompletionPort;
    /// use std::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// let port = CompletionPort::<(), u32>::new()?;
    /// let listener = port.associate(listener, ())?;
    /// let mut number = 0;
    /// listener.accept_each(move || { number += 1; number })?;
    ///
    /// let _clients = [TcpStream::connect(address)?, TcpStream::connect(address)?];
    /// for expected in 1..=2 {
    ///     let mut done = port.get()?;
    ///     assert_eq!((done.context, done.accepted().is_some(), done.last()), (expected, true, false));
    /// }
    /// listener.close();
    /// assert!(port.get()?.last());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "AcceptEx")]
    pub fn accept_each(
        &self,
        maker: impl FnMut() -> T + Send + 'static,
    ) -> Result<OpId, Refused<()>> {
        let context = Context::Each(Box::new(Each::begin(maker)));
        self.launch(Operation::new(OpKind::AcceptEach, self.clone(), context))
            .map_err(|(error, _)| Refused { error, buffer: (), context: () })
    }
}
