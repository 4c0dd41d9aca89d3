//! `cport serve`: the echo server of the notes.
//!
//! Worker threads take completions from the port ([`echo`]); the main thread waits for events: a signal ([`signals`]), an accept
//! that cannot go on ([`accept`]), the last connection that leaves during a stop ([`stop`]). When nothing happens, nothing runs.

mod accept;
mod census;
mod connection;
mod datagrams;
mod echo;
mod registry;
mod report;
mod routine;
mod signals;
mod stop;
mod tally;
mod workers;

use std::{
    io,
    net::{TcpListener, TcpStream},
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use completion_port::{Builder, CompletionPort, PoolOptions};

use self::{
    accept::Listeners,
    census::{Census, Guest},
    connection::{Key, Mode},
    echo::Echo,
    registry::Registry,
    stop::Stop,
    tally::{Tally, Totals},
};
use crate::{
    args::{Model, Serve},
    error::{Failure, plain},
    output,
    sys::limits,
};

/// What `cport help serve` says below the options.
pub const HELP: &str = "\
The first line on standard output, once connections are accepted:
  listening on 127.0.0.1:9190, driver NAME (REASON), N workers, limit N      or, with --model routine,
  listening on 127.0.0.1:9190, driver NAME (REASON), model routine, 1 thread

On SIGUSR1 (on Windows: Ctrl-Break), one line with what holds now:
  open=N accepted=N closed=N read=BYTES sent=BYTES errors=N port: ...        (no port: with --model routine)

On SIGTERM or SIGINT (on Windows: Ctrl-C) the server accepts no more, echoes what has arrived, tells each client the end of the
stream, and exits with code 0 when the last connection is gone or the grace time is over. A second such signal exits at once, with
code 1. Windows gives a server whose console is closed some seconds for it, whatever the grace time is.

The last lines on standard output, what the port's scheduling has done and what the server has:
  scheduling: wakes=N handed_off=N took_over=N released_by_accounting=N released_by_observation=N ...
  served: accepted=N closed=N read=BYTES sent=BYTES reset=N unsent=BYTES discarded=BYTES idle=N
  accepted, closed  connections        read, sent  bytes received, and echoed
  reset             connections that their client reset
  unsent            bytes received whose echo failed; read = sent + unsent
  discarded         bytes that came too late, after the end had begun
  idle              connections closed by --idle-timeout

With --udp datagrams are echoed (RFC 862). The first line ends in `, datagrams`, and the others count those, without open, accepted,
closed, reset, unsent and discarded:
  received, echoed  datagrams            read, sent  their bytes
  failed            datagrams whose echo failed; received = echoed + failed
What the system drops because it comes faster than it is taken, it counts itself (on Linux as `drops` in /proc/net/udp). On SIGTERM or
SIGINT the server takes no more, and ends when the echo of what was taken has left.";

/// How long the port may wait for cancelled operations when it is closed. Everything has ended by then, or has been cut off.
const DRAIN: Duration = Duration::from_millis(250);

/// Bytes that one receive takes at most, and its echo sends: a message of 64 KiB goes in one piece and not in four, for half the processor
/// time. What holds little costs no more: memory is touched by the page, and idle connections have no buffer.
const BUFFER: usize = 64 * 1024;

/// Workers beside those that may run at once: they step in for those that block. Each costs a stack that it does not use.
const SPARE: usize = 30;

/// The server's port.
type Port = CompletionPort<Key, Mode>;
/// A handle at it.
type Handle = completion_port::Handle<Key, Mode>;
/// A packet from it.
type Done = completion_port::Completion<Key, Mode>;

/// What the main thread waits for.
#[derive(Debug)]
pub enum Event {
    /// It is to stop: SIGTERM or SIGINT, Ctrl-C.
    Stop,
    /// It is to say how things stand: SIGUSR1, Ctrl-Break.
    Report,
    /// A listener does not accept any more: for want of room, or because of an error.
    AcceptEnded {
        /// Its number.
        listener: usize,
        /// The error, if it is one.
        why: Option<io::Error>,
    },
    /// A connection was accepted for which there is no room any more.
    Unseated {
        /// It.
        stream: TcpStream,
        /// It, in the count.
        guest: Guest,
    },
    /// A connection has left, and the main thread had asked to know.
    Room,
    /// The last connection has left, and the main thread had asked to know.
    Empty,
    /// A worker cannot take completions any more.
    Failed(io::Error),
}

/// What all threads of the server share.
pub struct Server {
    /// How many connections there are.
    census: Arc<Census>,
    /// Which they are.
    registry: Registry<Handle>,
    /// The counters of each worker, and behind them those of the main thread.
    tallies: Box<[Tally]>,
    /// Set when the server stops.
    stop: OnceLock<Stop>,
    /// Set when that is.
    stopping: AtomicBool,
    /// Held while a receive is cancelled.
    cancelling: Mutex<()>,
    /// Where the main thread hears of things.
    events: Sender<Event>,
    /// How long a client may say nothing, or not take its echo.
    idle_timeout: Option<Duration>,
    /// Print no first and no last line.
    quiet: bool,
}

impl Server {
    /// The stop that is under way, if there is one.
    fn stopping(&self) -> Option<&Stop> {
        self.stop.get()
    }

    /// Whether there is one, asked in one order with what is noted of [receives](connection::Connection::begin_reading), as
    /// [`Server::stopping`] is not.
    fn is_stopping(&self) -> bool {
        self.stopping.load(SeqCst)
    }

    /// Begins the stop. Only the first counts.
    fn stop(&self, stop: Stop) {
        let _ = self.stop.set(stop);
        self.stopping.store(true, SeqCst);
    }

    /// For who cancels a receive.
    fn cancelling(&self) -> MutexGuard<'_, ()> {
        self.cancelling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the main thread. If it is gone, so is the server.
    fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }

    /// Prints the last line.
    fn served(&self) {
        if !self.quiet {
            report::served(&self.totals(), self.census.closed());
        }
    }

    /// What has been done so far.
    fn totals(&self) -> Totals {
        Totals::of(&self.tallies)
    }
}

/// Serves until it is told to stop.
pub fn run(options: &Serve) -> Result<(), Failure> {
    match options.model {
        Model::Port if options.udp => datagrams::run(options),
        Model::Port => run_on_port(options),
        Model::Routine => routine::run(options),
    }
}

/// Serves on a completion port.
fn run_on_port(options: &Serve) -> Result<(), Failure> {
    limits::raise_descriptors();
    let (events, inbox) = channel();
    signals::forward(events.clone()).map_err(|error| {
        Failure::runtime(format!("cannot listen for signals: {}", plain(&error)))
    })?;
    let sockets = accept::bind(options.addresses())?;
    let port: Port = open_port(options, |builder| builder)?;
    let workers = options.workers.map_or(port.concurrency() + SPARE, NonZeroUsize::get);
    let server = Server {
        census: Census::new(options.max_connections.map(NonZeroUsize::get), events.clone()),
        registry: Registry::new(),
        tallies: (0..=workers).map(|_| Tally::default()).collect(),
        stop: OnceLock::new(),
        stopping: AtomicBool::new(false),
        cancelling: Mutex::new(()),
        events,
        idle_timeout: options.idle_timeout,
        quiet: options.quiet,
    };
    let (tally, tallies) = match &server.tallies[..] {
        [tallies @ .., tally] => (tally, tallies),
        [] => return Err(Failure::runtime("there are no workers")),
    };
    thread::scope(|scope| {
        // Whatever goes wrong below, the workers are released.
        let _close = port.close_on_drop();
        let jobs = tallies.iter().map(|tally| {
            let echo = Echo { port: &port, server: &server, tally };
            move || echo.work()
        });
        workers::spawn(scope, jobs)?;
        serve(Echo { port: &port, server: &server, tally }, sockets, options.grace, &inbox)
    })?;
    // All workers have ended, so the counts are exact.
    if !server.quiet {
        report::scheduling(&port);
    }
    server.served();
    Ok(())
}

/// Opens the port with the driver and the limit that were asked for.
fn open_port<K: Send + Sync + 'static, T: Send + 'static>(
    options: &Serve,
    more: impl FnOnce(Builder) -> Builder,
) -> Result<CompletionPort<K, T>, Failure> {
    let pool = PoolOptions::new().buffer_size(BUFFER);
    let builder = CompletionPort::builder().limit(options.limit).drain(DRAIN).pool(pool);
    let mut builder = more(builder);
    if let Some(driver) = options.driver.0 {
        builder = builder.driver(driver);
    }
    builder.build().map_err(|error| {
        let which =
            options.driver.0.map_or(String::new(), |driver| format!(" with driver {driver}"));
        Failure::runtime(format!(
            "cannot open a completion port{which}: {}; `cport doctor` tells what works here",
            plain(&error)
        ))
    })
}

/// The main thread: accepts, says so, and waits for events until one of them is to stop.
fn serve(
    echo: Echo<'_>,
    sockets: Vec<TcpListener>,
    grace: Duration,
    inbox: &Receiver<Event>,
) -> Result<(), Failure> {
    let addresses = accept::names(&sockets);
    let mut listeners = Listeners::open(echo, sockets).map_err(|error| {
        Failure::runtime(format!("cannot accept on {addresses}: {}", plain(&error)))
    })?;
    if !echo.server.quiet {
        let driver = echo.port.driver();
        output::line(&format!(
            "listening on {addresses}, driver {} ({}), {} workers, limit {}",
            driver.kind(),
            driver.reason(),
            echo.server.tallies.len() - 1,
            echo.port.concurrency()
        ));
    }
    loop {
        match next(inbox, listeners.next_try()) {
            Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            Ok(Event::Report) => report::state(echo),
            Ok(Event::AcceptEnded { listener, why }) => listeners.ended(listener, why),
            Ok(Event::Unseated { stream, guest }) => listeners.unseated(stream, guest),
            Ok(Event::Room) => listeners.room(),
            Ok(Event::Empty) => {}
            Ok(Event::Failed(error)) => {
                return Err(Failure::runtime(format!(
                    "the completion port failed: {}",
                    plain(&error)
                )));
            }
            Err(RecvTimeoutError::Timeout) => listeners.try_again(),
        }
    }
    stop::run(echo, listeners, Stop::within(grace), inbox);
    Ok(())
}

/// The next event. There is a timer only while an accept waits to be tried again.
fn next(inbox: &Receiver<Event>, timer: Option<Instant>) -> Result<Event, RecvTimeoutError> {
    match timer {
        None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        Some(at) => inbox.recv_timeout(at.saturating_duration_since(Instant::now())),
    }
}
