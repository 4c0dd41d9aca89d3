//! The graceful end of a connection, in one call.
//!
//! To close with unread input would send a reset, which destroys what the peer has not read yet: the echo that was just sent. So the
//! reading side is emptied while the writing side is flushed, and the socket is closed when both ends are through.

use std::time::Duration;

use crate::{
    handle::{Handle, flush, stop_reading},
    operation::{Context, OpId, OpKind, Operation, Refused},
};

impl<K: Send + Sync + 'static, T: Send + 'static> Handle<K, T> {
    /// Ends the connection gracefully: stops reading (pending receives are cancelled, or complete with what had come), flushes the
    /// sends that are queued, shuts down writing, reads and discards to the peer's end or to the deadline, and closes the handle.
    ///
    /// One packet comes, with `context`: `Ok(bytes discarded)`, or an error: [`TimedOut`](std::io::ErrorKind::TimedOut) at the
    /// deadline, [`PeerReset`](crate::error::Situation::PeerReset) if the peer did. Either way the handle is closed then.
    /// Later starts are refused. The deadline counts from now; it needs a thread in `get` to pass.
    ///
    /// # Errors
    ///
    /// Refused, with the context given back: no stream, closed, ending already, too many queued.
    ///
    /// [`Handle::disconnect`] tells only the peer, [`Handle::disconnect_reuse`] leaves the handle open to connect again.
    ///
    /// ```
    /// use completion_port::{Buffer, CompletionPort};
    /// use std::{io::{Read, Write}, net::{TcpListener, TcpStream}, time::Duration};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut client = TcpStream::connect(listener.local_addr()?)?;
    /// let port = CompletionPort::<(), &str>::new()?;
    /// let server = port.associate(listener.accept()?.0, ())?;
    ///
    /// client.write_all(b"nobody will read this")?;
    /// server.send(Buffer::from(b"goodbye".to_vec()), "send")?;
    /// server.end(Duration::from_secs(10), "end")?;
    /// assert_eq!(port.get()?.context, "send");
    ///
    /// let mut got = String::new();
    /// client.read_to_string(&mut got)?; // all of it, and no reset
    /// assert_eq!(got, "goodbye");
    /// drop(client);
    /// assert_eq!(port.get()?.result?, 21);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "DisconnectEx")]
    pub fn end(&self, deadline: Duration, context: T) -> Result<OpId, Refused<T>> {
        self.start_end(Operation::new(OpKind::End, self.clone(), Context::One(context)), deadline)
    }

    /// A graceful end, whatever becomes of the handle then.
    pub(super) fn start_end(
        &self,
        op: Operation<K, T>,
        deadline: Duration,
    ) -> Result<OpId, Refused<T>> {
        let id = self.launch(op).map_err(|refused| Refused::of(refused, |_| ()))?;
        // It may be over already.
        if self.expire(id, deadline) {
            stop_reading(&self.0, id.sequence);
        }
        flush(&self.0);
        Ok(id)
    }
}
