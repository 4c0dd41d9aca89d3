//! The end of sending as an operation, and a socket that is used again.

use std::time::Duration;

use crate::{
    handle::Handle,
    operation::{Context, OpId, OpKind, Operation, Refused},
};

impl<K: Send + Sync + 'static, T: Send + 'static> Handle<K, T> {
    /// Starts to disconnect: `DisconnectEx`. When everything that was started to send before has gone, the peer is told the end, and the
    /// operation completes with 0 bytes. Later sends are refused, receives go on (S153). That there is no connection is a completion:
    /// `NotConnected` (S154).
    ///
    /// Which to use: [`Handle::shutdown`] does the same and tells nobody when; [`Handle::end`] also waits for the peer's end, and closes;
    /// [`Handle::disconnect_reuse`] waits for it, and leaves a socket that can connect again.
    ///
    /// # Errors
    ///
    /// Refused, with the context given back: no stream, closed, sending ends already, too many queued.
    ///
    /// ```
    /// use completion_port::{Buffer, CompletionPort};
    /// use std::{io::{Read, Write}, net::{TcpListener, TcpStream}};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut client = TcpStream::connect(listener.local_addr()?)?;
    /// let port = CompletionPort::<(), &str>::new()?;
    /// let server = port.associate(listener.accept()?.0, ())?;
    ///
    /// server.send(Buffer::from(b"that is all".to_vec()), "send")?;
    /// server.disconnect("disconnect")?;
    /// assert_eq!((port.get()?.context, port.get()?.context), ("send", "disconnect"));
    /// let mut got = String::new();
    /// client.read_to_string(&mut got)?;
    /// client.write_all(b"goodbye")?;
    /// server.recv(Buffer::with_capacity(64), "recv")?;
    /// assert_eq!((&got[..], &port.get()?.buffer[..]), ("that is all", &b"goodbye"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "DisconnectEx")]
    #[doc(alias = "TF_DISCONNECT")]
    pub fn disconnect(&self, context: T) -> Result<OpId, Refused<T>> {
        self.launch(Operation::new(OpKind::Disconnect, self.clone(), Context::One(context)))
            .map_err(|refused| Refused::of(refused, |_| ()))
    }

    /// Ends the connection gracefully, as [`Handle::end`] does, and leaves the handle open and its socket fit to
    /// [`connect`](Handle::connect) again: `DisconnectEx` with `TF_REUSE_SOCKET` (S155). The packet's kind is
    /// [`OpKind::End`](crate::OpKind::End), its bytes are those discarded.
    ///
    /// It completes when the peer has ended its side too: to use the socket before that would reset the connection, and destroy what the
    /// peer has not read. With an error (the deadline, a reset, a cancel) the handle is closed, as by `end`. A socket that was bound keeps
    /// its local address, and connects to the same peer from it only when the system lets it (`TIME_WAIT`). Of an accepted socket the same
    /// is true: it becomes one that connects; it is never accepted into again, since each accept brings a socket of its own.
    ///
    /// # Errors
    ///
    /// As [`Handle::end`]; and refused on a simulated network.
    ///
    /// ```
    /// use completion_port::{CompletionPort, TcpSocket};
    /// use std::{net::TcpListener, time::Duration};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// let port = CompletionPort::<(), ()>::new()?;
    /// let client = port.associate(TcpSocket::new(&address)?, ())?;
    /// for _ in 0..2 {
    ///     client.connect(address, ())?;
    ///     port.get()?.result?;
    ///     client.disconnect_reuse(Duration::from_secs(10), ())?;
    ///     drop(listener.accept()?); // the peer's end
    ///     port.get()?.result?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "DisconnectEx")]
    #[doc(alias = "TF_REUSE_SOCKET")]
    pub fn disconnect_reuse(&self, deadline: Duration, context: T) -> Result<OpId, Refused<T>> {
        let op = Operation::new(OpKind::End, self.clone(), Context::One(context));
        self.start_end(op.reusing(), deadline)
    }
}
