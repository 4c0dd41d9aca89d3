//! Datagrams: each operation receives or sends one.

use std::net::SocketAddr;

use crate::{
    Buffer, error,
    handle::Handle,
    operation::{Context, Each, OpId, OpKind, Operation, Refused},
    sys::Message,
};

impl<K: Send + Sync + 'static, T: Send + 'static> Handle<K, T> {
    /// Starts to receive one datagram into the spare room of `buffer`: `WSARecvFrom`. Its sender is in
    /// [`Completion::peer`](crate::Completion::peer). Several receives are filled in call order.
    ///
    /// A datagram may be of no bytes: `Ok(0)`, which is no end of anything (S131). One that is longer than the room for it fails with
    /// [`Situation::Truncated`](crate::error::Situation::Truncated): the buffer has what there was room for, and the rest of it is lost
    /// (S19, S129).
    ///
    /// # Errors
    ///
    /// Refused, with buffer and context given back: no datagram socket, closed, a buffer without spare room, too many queued.
    ///
    /// ```
    /// use completion_port::{Buffer, CompletionPort, error::Situation};
    /// use std::net::UdpSocket;
    ///
    /// let client = UdpSocket::bind("127.0.0.1:0")?;
    /// let server = UdpSocket::bind("127.0.0.1:0")?;
    /// let address = server.local_addr()?;
    /// let port = CompletionPort::<(), ()>::new()?;
    /// let server = port.associate(server, ())?;
    ///
    /// server.recv_from(Buffer::with_capacity(1024), ())?;
    /// client.send_to(b"hello", address)?;
    /// let done = port.get()?;
    /// assert_eq!((&done.buffer[..], done.peer()), (&b"hello"[..], Some(client.local_addr()?)));
    ///
    /// server.recv_from(Buffer::with_capacity(4), ())?;
    /// client.send_to(b"hello", address)?;
    /// let done = port.get()?;
    /// assert_eq!(&done.buffer[..], b"hell");
    /// assert_eq!(done.result.err().and_then(|e| Situation::of(&e)), Some(Situation::Truncated));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "WSARecvFrom")]
    pub fn recv_from(&self, buffer: Buffer, context: T) -> Result<OpId, Refused<T, Buffer>> {
        if buffer.spare() == 0 {
            return Err(Refused { error: error::full_buffer(), context, buffer });
        }
        self.launch_with(OpKind::RecvFrom, buffer, Message::incoming(), context)
    }

    /// Starts to receive one datagram, as [`recv_from`](Handle::recv_from), without a buffer: one is lent by the port's pool when a
    /// datagram arrives, as for [`recv_lent`](Handle::recv_lent). The pool's buffers hold 16 KiB unless
    /// [`PoolOptions`](crate::PoolOptions) says otherwise; the longest datagram has 65,507 bytes.
    ///
    /// # Errors
    ///
    /// Refused, with the context given back: no datagram socket, closed, too many queued.
    ///
    /// ```
    /// use completion_port::CompletionPort;
    /// use std::net::UdpSocket;
    ///
    /// let client = UdpSocket::bind("127.0.0.1:0")?;
    /// let server = UdpSocket::bind("127.0.0.1:0")?;
    /// client.connect(server.local_addr()?)?;
    /// let port = CompletionPort::<(), ()>::new()?;
    /// let server = port.associate(server, ())?;
    ///
    /// server.recv_from_lent(())?;
    /// client.send(b"hello")?;
    /// let done = port.get()?;
    /// assert_eq!((&done.buffer[..], done.buffer.is_lent()), (&b"hello"[..], true));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "WSARecvFrom")]
    pub fn recv_from_lent(&self, context: T) -> Result<OpId, Refused<T>> {
        self.launch_with(OpKind::RecvFromLent, Buffer::new(), Message::incoming(), context)
            .map_err(|Refused { error, context, .. }| Refused { error, context, buffer: () })
    }

    /// Starts to receive every datagram that comes, each into a buffer of the pool, until it is cancelled, the handle is closed, or the
    /// system refuses. A datagram that is cut to the pool's buffers, or one sent earlier that found no receiver, is a packet with that
    /// error, and the receive goes on. While all buffers of the pool are out, what comes waits in the socket, as far as the system keeps it.
    ///
    /// `maker` makes the context of each packet, under the conditions of [`accept_each`](Handle::accept_each): the first here, the
    /// others on whichever thread brings the packet in. If it panics, that datagram is lost, the panic comes out of the call that it
    /// was in, and the receive goes on. The final packet, with the error, is marked by
    /// [`Completion::last`](crate::Completion::last). Receives that are started behind it wait for its end.
    ///
    /// # Errors
    ///
    /// Refused: no datagram socket, closed, too many queued.
    ///
    /// ```
    /// use completion_port::CompletionPort;
    /// use std::net::UdpSocket;
    ///
    /// let client = UdpSocket::bind("127.0.0.1:0")?;
    /// let server = UdpSocket::bind("127.0.0.1:0")?;
    /// client.connect(server.local_addr()?)?;
    /// let port = CompletionPort::<(), u32>::new()?;
    /// let server = port.associate(server, ())?;
    /// let mut number = 0;
    /// server.recv_from_each(move || { number += 1; number })?;
    ///
    /// for expected in 1..=3 {
    ///     client.send(&[expected as u8])?;
    ///     let done = port.get()?;
    ///     assert_eq!((done.context, &done.buffer[..], done.last()), (expected, &[expected as u8][..], false));
    /// }
    /// server.close();
    /// assert!(port.get()?.last());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "WSARecvFrom")]
    pub fn recv_from_each(
        &self,
        maker: impl FnMut() -> T + Send + 'static,
    ) -> Result<OpId, Refused<()>> {
        let context = Context::Each(Box::new(Each::begin(maker)));
        let op = Operation::new(OpKind::RecvFromEach, self.clone(), context);
        self.launch(op.with_message(Message::incoming())).map_err(|(error, _)| Refused {
            error,
            buffer: (),
            context: (),
        })
    }

    /// Starts to send `buffer` as one datagram to `address`: `WSASendTo`. It leaves whole or not at all; a buffer without bytes is a
    /// datagram of none. Several leave in call order. That it was sent does not say that it arrives. The completion gives the buffer
    /// back as it was.
    ///
    /// # Errors
    ///
    /// Refused, with buffer and context given back: no datagram socket, closed, too many queued. What the system says of the datagram
    /// is told by the completion: one that is too long fails as [`Situation::Truncated`](crate::error::Situation::Truncated).
    ///
    /// ```
    /// use completion_port::{Buffer, CompletionPort};
    /// use std::net::UdpSocket;
    ///
    /// let peer = UdpSocket::bind("127.0.0.1:0")?;
    /// let port = CompletionPort::<(), ()>::new()?;
    /// let socket = port.associate(UdpSocket::bind("127.0.0.1:0")?, ())?;
    ///
    /// socket.send_to(Buffer::from(b"hello".to_vec()), peer.local_addr()?, ())?;
    /// assert_eq!(port.get()?.result?, 5);
    /// let mut came = [0; 16];
    /// assert_eq!(peer.recv(&mut came)?, 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "WSASendTo")]
    pub fn send_to(
        &self,
        buffer: Buffer,
        address: SocketAddr,
        context: T,
    ) -> Result<OpId, Refused<T, Buffer>> {
        self.send_datagram(buffer, Some(address), context)
    }

    /// To that address, or to the one that the socket is connected to.
    pub(super) fn send_datagram(
        &self,
        buffer: Buffer,
        address: Option<SocketAddr>,
        context: T,
    ) -> Result<OpId, Refused<T, Buffer>> {
        self.launch_with(OpKind::SendTo, buffer, Message::outgoing(address), context)
    }

    fn launch_with(
        &self,
        kind: OpKind,
        buffer: Buffer,
        message: Message,
        context: T,
    ) -> Result<OpId, Refused<T, Buffer>> {
        let op = Operation::new(kind, self.clone(), Context::One(context));
        self.launch(op.with_buffer(buffer).with_message(message))
            .map_err(|refused| Refused::of(refused, |work| work.buffer))
    }
}
