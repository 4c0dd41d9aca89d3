//! Overlapped I/O with event objects: an echo server without routines and without a completion port. Each client has one operation in
//! flight and one event; the thread waits for any of the events and asks for the result of the operation behind it.
//!
//! `cargo run -p completion-port --example event_echo_server [ADDRESS]`
//!
//! Why the notes leave this model, too: each wait names every client again, Windows takes 64 in one wait, and the thread that started an
//! operation is the one that must wait for it. A completion port (`iocp_echo_server`) is told of what is over, not asked about what is not.
//!
//! Comments name the Win32 call that a line stands for.

use std::{
    env, io,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{self, Receiver},
    thread,
};

use completion_port::{
    Buffer,
    event::{Event, wait_any},
    routine::{Overlapped, OverlappedSocket},
};

#[allow(dead_code, reason = "the test of this example starts it by `serve`")]
fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9190".to_owned());
    serve(TcpListener::bind(address)?) // bind, listen
}

/// Accepts on a thread of its own, and echoes on this one.
pub fn serve(listener: TcpListener) -> io::Result<()> {
    println!("listening on {}", listener.local_addr()?);
    let arrived = Event::auto_reset(false); // CreateEvent(NULL, FALSE, FALSE, NULL)
    let (hand_over, arrivals) = mpsc::channel();
    thread::scope(|s| {
        let (bell, arrived) = (arrived.clone(), &arrived);
        let acceptor = s.spawn(move || {
            let accepted = accept_each(&listener, |client| {
                // Refused when the other thread has failed.
                let taken = hand_over.send(client).is_ok();
                bell.set(); // SetEvent
                taken
            });
            drop(hand_over);
            bell.set(); // the end: nobody comes any more
            accepted
        });
        echo(arrived, arrivals)?;
        acceptor.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn accept_each(
    listener: &TcpListener,
    mut hand_over: impl FnMut((TcpStream, SocketAddr)) -> bool,
) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok(client) => {
                if !hand_over(client) {
                    return Ok(());
                }
            }
            Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {} // somebody was there
            Err(e) => return Err(e),
        }
    }
}

fn echo(arrived: &Event, arrivals: Receiver<(TcpStream, SocketAddr)>) -> io::Result<()> {
    let mut clients: Vec<Client> = Vec::new();
    loop {
        let mut events = vec![arrived];
        events.extend(clients.iter().map(|client| &client.event));
        // WSAWaitForMultipleEvents(n, events, FALSE, WSA_INFINITE, FALSE)
        match wait_any(&events, None)? {
            Some(0) => loop {
                match arrivals.try_recv() {
                    Ok((stream, peer)) => clients.extend(Client::enter(stream, peer)),
                    Err(mpsc::TryRecvError::Empty) => break,
                    Err(mpsc::TryRecvError::Disconnected) => return Ok(()),
                }
            },
            // To the end of the list with who had a turn: the first in it that is signaled comes first.
            Some(at) => {
                let client = clients.remove(at - 1);
                clients.extend(client.go_on());
            }
            None => {}
        }
    }
}

struct Client {
    peer: SocketAddr,
    /// Set when the operation is over, reset when the next is started.
    event: Event,
    overlapped: Overlapped,
    sending: bool,
}

impl Client {
    fn enter(stream: TcpStream, peer: SocketAddr) -> Option<Self> {
        println!("{peer}: connected");
        let event = Event::manual_reset(false); // WSACreateEvent
        Self::read(&OverlappedSocket::from(stream), Buffer::with_capacity(1024), peer, event)
    }

    /// What comes after the operation that is over; nothing, if the connection is.
    fn go_on(self) -> Option<Self> {
        let Self { peer, event, overlapped, sending } = self;
        // WSAGetOverlappedResult(sock, &overlapped, &bytes, FALSE, NULL)
        let done = overlapped.result().map_err(|e| println!("{peer}: {e}")).ok()?;
        let mut buffer = done.buffer;
        match done.result {
            Ok(0) => {
                println!("{peer}: disconnected"); // closesocket: the last clone of the socket drops
                None
            }
            Ok(_) if sending => {
                buffer.clear();
                Self::read(&done.socket, buffer, peer, event)
            }
            Ok(_) => Self::write(&done.socket, buffer, peer, event),
            Err(e) => {
                println!("{peer}: {e}");
                None
            }
        }
    }

    fn read(
        socket: &OverlappedSocket,
        buffer: Buffer,
        peer: SocketAddr,
        event: Event,
    ) -> Option<Self> {
        // WSARecv(sock, &dataBuf, 1, &bytes, &flags, &overlapped, NULL)
        let started = socket.with_event(&event).recv(buffer);
        let overlapped = started.map_err(|e| println!("{peer}: {e}")).ok()?;
        Some(Self { peer, event, overlapped, sending: false })
    }

    fn write(
        socket: &OverlappedSocket,
        buffer: Buffer,
        peer: SocketAddr,
        event: Event,
    ) -> Option<Self> {
        // WSASend(sock, &dataBuf, 1, &bytes, 0, &overlapped, NULL)
        let started = socket.with_event(&event).send(buffer);
        let overlapped = started.map_err(|e| println!("{peer}: {e}")).ok()?;
        Some(Self { peer, event, overlapped, sending: true })
    }
}
