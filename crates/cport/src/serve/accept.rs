//! The listening sockets: accept as an overlapped operation, and what to do when it cannot go on.
//!
//! Everything here runs on the main thread, which hears of it by events. The workers only take what was accepted.

use std::{
    collections::VecDeque,
    io,
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use socket2::SockRef;

use super::{
    Handle,
    census::Guest,
    connection::{Key, Mode},
    echo::Echo,
};
use crate::{
    args::Address,
    error::{Failure, plain},
    sys::{limits, sockets},
};

/// Connections that the kernel keeps until they are accepted, as far as it allows: ten thousand clients may come at once.
const BACKLOG: i32 = 4096;
/// The first pause after an accept that failed; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(10);
/// Pauses are doubled this often at most: 1.28 s.
const DOUBLINGS: u32 = 7;
/// After so many vain tries, a process out of its own descriptors waits for one of its connections to end, and for nothing else.
const TRIES: u32 = 6;
/// A lasting shortage is said again after this time.
const REMIND: Duration = Duration::from_secs(60);

/// Opens a listening socket for each address.
pub fn bind<'a>(addresses: impl Iterator<Item = &'a Address>) -> Result<Vec<TcpListener>, Failure> {
    addresses.map(bind_one).collect()
}

/// Where they listen, for the first line.
pub fn names(sockets: &[TcpListener]) -> String {
    let name = |socket: &TcpListener| {
        socket.local_addr().map_or("?".into(), |address| address.to_string())
    };
    sockets.iter().map(name).collect::<Vec<_>>().join(" and ")
}

/// Opens one.
fn bind_one(address: &Address) -> Result<TcpListener, Failure> {
    let failed = |error: io::Error| cannot_listen(address, &error);
    sockets::listen(&address.resolve()?, BACKLOG).map_err(failed)
}

/// Why an address cannot be had, and what to do.
pub fn cannot_listen(address: &Address, error: &io::Error) -> Failure {
    let what_to_do = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; stop the program that has the port, or take another (port 0 takes a free one)"
        }
        io::ErrorKind::PermissionDenied => sockets::REFUSED,
        io::ErrorKind::AddrNotAvailable => {
            "; give an address of this machine, or 0.0.0.0 for all of them"
        }
        _ => "",
    };
    Failure::runtime(format!("cannot listen on {address}: {}{what_to_do}", plain(error)))
}

/// All listening sockets, at work.
pub struct Listeners<'a> {
    /// To serve what is found in the backlog at the end.
    echo: Echo<'a>,
    /// The sockets, by their numbers.
    list: Vec<Listener>,
    /// Accepted, and one too many: fewer than there are listeners.
    unseated: VecDeque<(TcpStream, Guest)>,
    /// When a shortage was last said.
    warned: Option<Instant>,
}

/// One listening socket.
struct Listener {
    /// It, at the port.
    handle: Handle,
    /// It once more, to empty its backlog at the end.
    socket: TcpListener,
    /// What its accept does.
    state: State,
    /// Accepts that failed one after the other.
    failures: u32,
    /// How many connections there had been when the last one failed.
    accepted: u64,
}

/// What the accept of a listening socket does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is under way.
    Armed,
    /// There are as many connections as there may be.
    Full,
    /// It has failed. It waits for a connection to end, and, if a time is given, not longer than until then.
    Paused(Option<Instant>),
}

impl<'a> Listeners<'a> {
    /// Associates the sockets with the port and starts to accept.
    pub fn open(echo: Echo<'a>, sockets: Vec<TcpListener>) -> io::Result<Self> {
        let mut listeners = Self {
            echo,
            list: Vec::with_capacity(sockets.len()),
            unseated: VecDeque::new(),
            warned: None,
        };
        for (n, socket) in sockets.into_iter().enumerate() {
            let handle = echo.port.associate(socket.try_clone()?, Key::Listener(n))?;
            listeners.list.push(Listener {
                handle,
                socket,
                state: State::Full,
                failures: 0,
                accepted: 0,
            });
            listeners.arm(n);
        }
        Ok(listeners)
    }

    /// Starts to accept: one connection after the other if their number is bounded, otherwise all that come.
    fn arm(&mut self, n: usize) {
        if !self.has_room() {
            self.list[n].state = State::Full;
            return;
        }
        let census = &self.echo.server.census;
        let handle = &self.list[n].handle;
        let started = if census.bounded() {
            handle.accept(Mode::Accept(census.arrive())).map_err(|refused| refused.error)
        } else {
            handle.accept_each(self.echo.arrivals()).map_err(|refused| refused.error)
        };
        match started {
            Ok(_) => self.list[n].state = State::Armed,
            Err(error) => self.pause(n, &error),
        }
    }

    /// Whether there is room. If not, there will be an event when there is.
    fn has_room(&self) -> bool {
        let census = &self.echo.server.census;
        if !census.has_room() {
            census.tell_room();
        }
        census.has_room()
    }

    /// The accept of listener `n` is over: for want of room, or because of an error.
    pub fn ended(&mut self, n: usize, why: Option<io::Error>) {
        match why {
            None => self.arm(n),
            // That client has gone while it waited. The next may be there.
            Some(error) if is_passing(&error) => self.arm(n),
            Some(error) => self.pause(n, &error),
        }
    }

    /// Several listeners have each accepted a connection when there was room for one: this one waits, as if it were in the backlog.
    pub fn unseated(&mut self, stream: TcpStream, guest: Guest) {
        self.unseated.push_back((stream, guest));
        self.seat();
    }

    /// Serves those who wait, while there is room.
    fn seat(&mut self) {
        while self.has_room() {
            let Some((stream, guest)) = self.unseated.pop_front() else { return };
            match guest.seat() {
                Ok(guest) => self.echo.admit(stream, guest),
                Err(guest) => self.unseated.push_front((stream, guest)),
            }
        }
    }

    /// A connection has ended: whoever waits tries again.
    pub fn room(&mut self) {
        self.seat();
        for listener in &mut self.list {
            listener.failures = 0;
        }
        self.arm_where(|state| state != State::Armed);
    }

    /// When the first pause is over, if there is one.
    pub fn next_try(&self) -> Option<Instant> {
        let due = |listener: &Listener| match listener.state {
            State::Paused(until) => until,
            State::Armed | State::Full => None,
        };
        self.list.iter().filter_map(due).min()
    }

    /// Tries again where a pause is over.
    pub fn try_again(&mut self) {
        let now = Instant::now();
        self.arm_where(|state| matches!(state, State::Paused(Some(at)) if at <= now));
    }

    /// Arms the listeners whose state is such.
    fn arm_where(&mut self, which: impl Fn(State) -> bool) {
        for n in 0..self.list.len() {
            if which(self.list[n].state) {
                self.arm(n);
            }
        }
    }

    /// Does not accept for a while. Connections wait in the backlog meanwhile; none is turned away.
    fn pause(&mut self, n: usize, error: &io::Error) {
        let server = self.echo.server;
        let accepted = server.totals().accepted;
        let listener = &mut self.list[n];
        if listener.accepted != accepted {
            listener.accepted = accepted;
            listener.failures = 0;
        }
        let pause = PAUSE * (1 << listener.failures.min(DOUBLINGS));
        listener.failures = listener.failures.saturating_add(1);
        // Descriptors of this process come free only when one of its connections ends: it need not look for anything else. A few
        // tries are made all the same, because a socket closes a moment after its connection is counted as gone.
        let only_ours = limits::is_own_table_full(error) && server.census.seated() > 0;
        let until = (!only_ours || listener.failures <= TRIES).then(|| Instant::now() + pause);
        listener.state = State::Paused(until);
        server.census.tell_room();
        if self.warned.is_none_or(|when| when.elapsed() >= REMIND) {
            self.warned = Some(Instant::now());
            tracing::warn!(
                "cannot accept: {error}; {} connections are open, new ones wait until one of them ends",
                server.census.seated()
            );
        }
    }

    /// Accepts no more: ends every accept, and takes in what already waits, because a closed backlog is reset.
    pub fn close(&mut self) {
        for listener in &self.list {
            listener.handle.cancel_all();
            if let Err(error) = self.empty_backlog(&listener.socket) {
                tracing::debug!("the backlog is not emptied: {error}");
            }
            listener.handle.close();
        }
        for (stream, guest) in std::mem::take(&mut self.unseated) {
            self.admit_late(stream, guest);
        }
    }

    /// Takes in somebody who was accepted while the server had begun to stop: room or not, it is not for long.
    pub fn admit_late(&self, stream: TcpStream, guest: Guest) {
        self.echo.admit(stream, guest.squeeze_in());
    }

    /// Takes in everybody who waits, as far as there is room.
    fn empty_backlog(&self, socket: &TcpListener) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        // A worker may be starting the very last accept at this moment, and its driver may want a socket that blocks. Then this one
        // does not block for long.
        SockRef::from(socket).set_read_timeout(Some(Duration::from_millis(1)))?;
        while self.has_room() {
            match socket.accept() {
                Ok((stream, _)) => self.admit_late(stream, self.echo.server.census.arrive()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Notes, while stopping, that the accept of listener `n` is over.
    pub fn closed(&mut self, n: usize) {
        self.list[n].state = State::Full;
    }

    /// Whether every accept is over, so that no connection is on its way any more.
    pub fn all_closed(&self) -> bool {
        self.list.iter().all(|listener| listener.state != State::Armed)
    }
}

/// Whether only the connection that was about to be accepted is affected.
pub fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
