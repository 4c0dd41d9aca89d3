//! The first server of the notes: overlapped I/O with completion routines, on one thread and without a completion port. Receives and
//! sends start each other in their routines; the main loop alternates between an alertable sleep, in which routines run, and a
//! non-blocking accept.
//!
//! `cargo run -p completion-port --example overlapped_echo_server [ADDRESS]`
//!
//! Why the notes then leave this model: the one thread can only be at one of two things. While it sleeps, nobody is accepted, for up
//! to 100 ms; while it accepts, no routine runs; and when nothing happens, it still wakes ten times a second. The completion port
//! (`iocp_echo_server`) gives accept to a thread of its own, I/O to as many as there are CPUs, and sleeps until something happens.
//!
//! Measured under the same load (one client, 150 ms after the last; connect and echo): 50 ms here, 0.3 ms there; a message of 64
//! clients that keep coming costs both the same. More figures are in `cport`'s serve/routine, where this server is a command too.
//!
//! Comments name the Win32 call that a line stands for.

use std::{
    env, io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use completion_port::{
    Buffer,
    routine::{self, Done, OverlappedSocket, sleep_ex},
};

#[allow(dead_code, reason = "the test of this example starts it by `serve`")]
fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9190".to_owned());
    serve(TcpListener::bind(address)?) // bind, listen
}

pub fn serve(listener: TcpListener) -> io::Result<()> {
    let listener = OverlappedSocket::from(listener); // WSASocket(PF_INET, SOCK_STREAM, 0, NULL, 0, WSA_FLAG_OVERLAPPED)
    listener.set_nonblocking(true); // ioctlsocket(hLisnSock, FIONBIO, &mode)
    println!("listening on {}, driver {}", listener.local_addr()?, routine::driver()?);
    loop {
        sleep_ex(Duration::from_millis(100), true)?; // SleepEx(100, TRUE): for the alertable wait state
        // The notes accept one client a turn. If clients are quiet, that is ten a second; so take all that are there.
        loop {
            let (client, peer) = match listener.accept() {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break, // WSAEWOULDBLOCK: nobody is there
                Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => continue, // somebody was
                accepted => accepted?,
            };
            println!("{peer}: connected");
            // WSARecv(hRecvSock, &wsaBuf, 1, ..., lpOvLp, ReadCompRoutine). The closure is what hEvent carries in the notes.
            start(client.recv(Buffer::with_capacity(1024), read_completed(peer)), peer);
        }
    }
}

/// `ReadCompRoutine`
fn read_completed(peer: SocketAddr) -> impl FnOnce(Done) {
    move |done| match done.result {
        Ok(0) => println!("{peer}: disconnected"), // closesocket, free: the last clone of the socket drops
        Ok(_) => start(done.socket.send(done.buffer, write_completed(peer)), peer), // WSASend
        Err(e) => println!("{peer}: read failed: {e}"),
    }
}

/// `WriteCompRoutine`
fn write_completed(peer: SocketAddr) -> impl FnOnce(Done) {
    move |mut done| match done.result {
        Ok(_) => {
            done.buffer.clear();
            start(done.socket.recv(done.buffer, read_completed(peer)), peer); // WSARecv
        }
        Err(e) => println!("{peer}: write failed: {e}"),
    }
}

/// A refused start gives everything back; there is nothing to be done with it here.
fn start<T, R: std::error::Error>(started: Result<T, R>, peer: SocketAddr) {
    if let Err(refused) = started {
        println!("{peer}: {refused}");
    }
}
