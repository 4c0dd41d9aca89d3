//! `cport serve --model routine`: the notes' first server. One thread, completion routines, a non-blocking accept in turn with an
//! alertable sleep.
//!
//! It does for its clients what the server on a completion port does, and counts alike. Why the notes leave this model, and so does
//! `cport serve` unless it is told otherwise: its one thread alternates between accept and sleep.
//!
//! - A client that comes while the thread sleeps is accepted up to [`TURN`] later. The port's accept completes at once.
//! - An idle server wakes ten times a second; one on a port sleeps until something happens.
//! - One thread is one processor, and a routine that takes its time holds everybody up.
//!
//! Measured side by side (2026-11-23, Linux 6.18, io_uring, two shared cores; medians of 5 and of 3 rounds, with `ping` of
//! crates/harness against `cport serve`, interleaved):
//!
//! | the same load | routines | port, 1 worker | port, 2 workers |
//! | --- | --- | --- | --- |
//! | one client, 150 ms after the last: connect, echo (`--churn --connections 1 --pause-us 150000`), median | 50.2 ms | | 0.33 ms |
//! | woken in 5 s of nothing | 50 | 0 | 0 |
//! | 64 clients, 64 bytes: processor time for a message | 6.4 us | 5.0 us | 13.1 us |
//!
//! So under a steady load a message costs about the same: it is one thread and one driver either way, and a second worker that
//! shares two cores with the load does not make messages cheaper. What the model costs is the time of whoever comes to a server that
//! sleeps, and the sleep of a server to whom nobody comes.

mod echo;

use std::{
    io,
    net::TcpListener,
    rc::Rc,
    sync::mpsc::{Receiver, TryRecvError, channel},
    time::{Duration, Instant},
};

use completion_port::routine::{self, OverlappedSocket, sleep_ex};

use self::echo::Server;
use super::{Event, accept, report, signals, stop::CUT_AT_MOST, stop::Stop};
use crate::{
    args::Serve,
    error::{Failure, plain},
    output,
    sys::limits,
};

/// How long the thread sleeps when nothing happens: `SleepEx(100, TRUE)` of the notes.
const TURN: Duration = Duration::from_millis(100);
/// Clients accepted before routines have their turn again.
const AT_A_TIME: usize = 256;
/// A lasting shortage is said again after this time.
const REMIND: Duration = Duration::from_secs(60);

/// Serves until it is told to stop.
pub fn run(options: &Serve) -> Result<(), Failure> {
    limits::raise_descriptors();
    let (events, inbox) = channel();
    signals::forward(events).map_err(|error| {
        Failure::runtime(format!("cannot listen for signals: {}", plain(&error)))
    })?;
    let sockets = accept::bind(options.addresses())?;
    let driver = choose_driver(options)?;
    if !options.quiet {
        output::line(&format!(
            "listening on {}, driver {} ({}), model routine, 1 thread",
            accept::names(&sockets),
            driver.kind(),
            driver.reason()
        ));
    }
    let most = options.max_connections.map_or(usize::MAX, Into::into);
    let mut listeners = Listeners::new(sockets, most);
    let server = Rc::new(Server::new(options.idle_timeout));
    loop {
        sleep(TURN)?;
        match inbox.try_recv() {
            Ok(Event::Stop) | Err(TryRecvError::Disconnected) => break,
            Ok(Event::Report) => report::routines(&server.totals(), server.closed()),
            Ok(_) | Err(TryRecvError::Empty) => {}
        }
        listeners.accept(&server);
    }
    stop(&server, listeners, Stop::within(options.grace), &inbox)?;
    if !options.quiet {
        report::served(&server.totals(), server.closed());
    }
    Ok(())
}

/// Has the thread's routines served by the driver that was asked for, or the best.
fn choose_driver(options: &Serve) -> Result<completion_port::DriverChoice, Failure> {
    let chosen = options.driver.0.map_or(Ok(()), routine::use_driver);
    chosen.and_then(|()| routine::driver()).map_err(|error| {
        Failure::runtime(format!(
            "cannot run completion routines: {}; `cport doctor` tells what works here",
            plain(&error)
        ))
    })
}

/// The alertable sleep, in which the routines run.
fn sleep(time: Duration) -> Result<(), Failure> {
    sleep_ex(time, true)
        .map(drop)
        .map_err(|error| Failure::runtime(format!("the thread's driver failed: {}", plain(&error))))
}

/// The listening sockets, and how the accepts go.
struct Listeners {
    /// They, non-blocking.
    list: Vec<OverlappedSocket>,
    /// Connections served at a time.
    most: usize,
    /// When a shortage was last said.
    warned: Option<Instant>,
}

impl Listeners {
    /// Switches them to non-blocking.
    fn new(sockets: Vec<TcpListener>, most: usize) -> Self {
        let list: Vec<_> = sockets.into_iter().map(OverlappedSocket::from).collect();
        list.iter().for_each(|listener| listener.set_nonblocking(true));
        Self { list, most, warned: None }
    }

    /// Takes in who waits, as far as there is room, and tells how many that were. If it fails, the next turn tries again.
    fn accept(&mut self, server: &Rc<Server>) -> usize {
        let before = server.totals().accepted;
        self.accept_from_each(server);
        (server.totals().accepted - before) as usize
    }

    /// The same, without the count.
    fn accept_from_each(&mut self, server: &Rc<Server>) {
        for listener in &self.list {
            for _ in 0..AT_A_TIME {
                if server.open() >= self.most {
                    return;
                }
                match listener.accept() {
                    Ok((socket, _)) => server.admit(socket),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if accept::is_passing(&error) => {}
                    Err(error) => {
                        server.count_error();
                        if self.warned.is_none_or(|when| when.elapsed() >= REMIND) {
                            self.warned = Some(Instant::now());
                            tracing::warn!(
                                "cannot accept: {error}; {} connections are open, new ones wait until one of them ends",
                                server.open()
                            );
                        }
                        break;
                    }
                }
            }
        }
    }
}

/// Stops: takes in who waits, because a closed backlog is reset, ends everybody gracefully, and cuts off whoever is left at the end.
fn stop(
    server: &Rc<Server>,
    mut listeners: Listeners,
    stop: Stop,
    inbox: &Receiver<Event>,
) -> Result<(), Failure> {
    server.stop(stop);
    while listeners.accept(server) > 0 {}
    listeners.list.iter().for_each(OverlappedSocket::close);
    if !empty(server, stop.end_by, inbox)? {
        tracing::warn!("the grace time is over: {} connections are cut off", server.open());
        server.cut_off();
        if !empty(server, Instant::now() + CUT_AT_MOST, inbox)? {
            tracing::warn!("some connections did not end when they were cut off");
        }
    }
    Ok(())
}

/// Runs routines until nobody is left, or until `end`. Says which.
fn empty(server: &Server, end: Instant, inbox: &Receiver<Event>) -> Result<bool, Failure> {
    while server.open() > 0 {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        sleep(left.min(TURN))?;
        match inbox.try_recv() {
            // A second signal to stop.
            Ok(Event::Stop) => {
                report::served(&server.totals(), server.closed());
                std::process::exit(1);
            }
            Ok(Event::Report) => report::routines(&server.totals(), server.closed()),
            _ => {}
        }
    }
    Ok(true)
}
