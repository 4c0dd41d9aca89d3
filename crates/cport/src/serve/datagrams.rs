//! `cport serve --udp`: the echo of RFC 862 over UDP, on a completion port.
//!
//! One continuing receive on each socket brings every datagram in a buffer of the pool, to whichever worker is free; it goes back to its
//! sender from the same buffer. While all buffers are out, what comes waits in the sockets, and the system drops (and counts) what has no
//! room there.

use std::{
    io,
    net::UdpSocket,
    num::NonZeroUsize,
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst, fence},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Instant,
};

use completion_port::{CompletionPort, OpId, PoolOptions};
use socket2::SockRef;

use super::{
    Event, SPARE, accept,
    echo::is_cancelled,
    report, signals,
    stop::{CUT_AT_MOST, Stop},
    tally::Counter,
    workers,
};
use crate::{
    args::Serve,
    error::{Failure, plain},
    output,
    sys::limits,
};

/// Room for the longest datagram of either version of the internet.
const LONGEST: usize = 64 * 1024;
/// Datagrams in hand at a time, 32 MiB; most need a page or two of their buffers.
const AT_A_TIME: usize = 512;
/// What a socket is to keep until it is taken, as far as the system allows.
const KEPT: usize = 4 * 1024 * 1024;

/// The context of an operation.
#[derive(Debug)]
enum Mode {
    /// A datagram came.
    Receive,
    /// Its echo has left.
    Send,
}

/// The server's port.
type Port = CompletionPort<(), Mode>;
/// A socket at it.
type Handle = completion_port::Handle<(), Mode>;
/// A packet from it.
type Done = completion_port::Completion<(), Mode>;

/// One worker's counters, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Tally {
    /// Datagrams received.
    received: Counter,
    /// Their bytes.
    read: Counter,
    /// Datagrams echoed.
    echoed: Counter,
    /// Their bytes.
    sent: Counter,
    /// Datagrams whose echo failed.
    failed: Counter,
    /// Operations that failed.
    errors: Counter,
}

/// What all threads of the server share.
struct Server {
    /// The counters of each worker, and behind them those of the main thread.
    tallies: Box<[Tally]>,
    /// Receives that go on.
    receives: AtomicUsize,
    /// The main thread wants to know when something ends.
    stopping: AtomicBool,
    /// Where it hears of it.
    events: Sender<Event>,
    /// Print no first and no last line.
    quiet: bool,
}

impl Server {
    /// The sum of one counter. Exact when the workers are at rest; a moment's picture while they run.
    fn sum(&self, which: fn(&Tally) -> &Counter) -> u64 {
        self.tallies.iter().map(|tally| which(tally).get()).sum()
    }

    /// Whether nothing more comes, and every echo has left or failed.
    fn is_over(&self) -> bool {
        self.receives.load(SeqCst) == 0
            && self.sum(|tally| &tally.received)
                == self.sum(|tally| &tally.echoed) + self.sum(|tally| &tally.failed)
    }

    /// What has been counted.
    fn counts(&self) -> String {
        format!(
            "received={} echoed={} read={} sent={} failed={} errors={}",
            self.sum(|tally| &tally.received),
            self.sum(|tally| &tally.echoed),
            self.sum(|tally| &tally.read),
            self.sum(|tally| &tally.sent),
            self.sum(|tally| &tally.failed),
            self.sum(|tally| &tally.errors),
        )
    }

    /// Prints the last line.
    fn served(&self) {
        if !self.quiet {
            output::line(&format!("served: {}", self.counts()));
        }
    }

    /// Tells the main thread. If it is gone, so is the server.
    fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }

    /// Something has ended: the main thread may wait for it.
    fn ended(&self) {
        // Either the main thread sees what was counted, or this thread sees that it waits.
        fence(SeqCst);
        if self.stopping.load(SeqCst) {
            self.tell(Event::Empty);
        }
    }
}

/// Serves until it is told to stop.
pub fn run(options: &Serve) -> Result<(), Failure> {
    limits::raise_descriptors();
    let (events, inbox) = channel();
    signals::forward(events.clone()).map_err(|error| {
        Failure::runtime(format!("cannot listen for signals: {}", plain(&error)))
    })?;
    let sockets = bind(options)?;
    let pool = PoolOptions::new().buffer_size(LONGEST).limit(AT_A_TIME);
    let port: Port = super::open_port(options, |builder| builder.pool(pool))?;
    let workers = options.workers.map_or(port.concurrency() + SPARE, NonZeroUsize::get);
    let server = Server {
        tallies: (0..=workers).map(|_| Tally::default()).collect(),
        receives: AtomicUsize::new(0),
        stopping: AtomicBool::new(false),
        events,
        quiet: options.quiet,
    };
    let (own, tallies) = match &server.tallies[..] {
        [tallies @ .., own] => (own, tallies),
        [] => return Err(Failure::runtime("there are no workers")),
    };
    thread::scope(|scope| {
        // Whatever goes wrong below, the workers are released.
        let _close = port.close_on_drop();
        let jobs = tallies.iter().map(|tally| {
            let worker = Worker { port: &port, server: &server, tally };
            move || worker.work()
        });
        workers::spawn(scope, jobs)?;
        serve(options, Worker { port: &port, server: &server, tally: own }, sockets, &inbox)
    })?;
    if !options.quiet {
        report::scheduling(&port);
    }
    server.served();
    Ok(())
}

/// Opens a socket for each address.
fn bind(options: &Serve) -> Result<Vec<UdpSocket>, Failure> {
    let one = |address: &crate::args::Address| {
        let failed = |error: io::Error| accept::cannot_listen(address, &error);
        let socket = UdpSocket::bind(&address.resolve()?[..]).map_err(failed)?;
        SockRef::from(&socket).set_recv_buffer_size(KEPT).map_err(failed)?;
        Ok(socket)
    };
    options.addresses().map(one).collect()
}

/// The main thread: starts the receives, says so, and waits for events until one of them is to stop.
fn serve(
    options: &Serve,
    worker: Worker<'_>,
    sockets: Vec<UdpSocket>,
    inbox: &Receiver<Event>,
) -> Result<(), Failure> {
    let Worker { port, server, .. } = worker;
    let name =
        |socket: &UdpSocket| socket.local_addr().map_or("?".into(), |address| address.to_string());
    let addresses = sockets.iter().map(name).collect::<Vec<_>>().join(" and ");
    let receives = sockets.into_iter().map(|socket| worker.open(socket));
    let receives: Vec<_> = receives.collect::<io::Result<_>>().map_err(|error| {
        Failure::runtime(format!("cannot receive on {addresses}: {}", plain(&error)))
    })?;
    if !options.quiet {
        let driver = port.driver();
        output::line(&format!(
            "listening on {addresses}, driver {} ({}), {} workers, limit {}, datagrams",
            driver.kind(),
            driver.reason(),
            server.tallies.len() - 1,
            port.concurrency()
        ));
    }
    loop {
        match inbox.recv() {
            Ok(Event::Stop) | Err(_) => break,
            Ok(Event::Report) => report(worker),
            Ok(Event::Failed(error)) => {
                return Err(Failure::runtime(format!(
                    "receiving on {addresses} failed: {}",
                    plain(&error)
                )));
            }
            Ok(_) => {}
        }
    }
    stop(worker, &receives, Stop::within(options.grace), inbox);
    Ok(())
}

/// The answer to SIGUSR1, or Ctrl-Break.
fn report(worker: Worker<'_>) {
    let snapshot = worker.port.snapshot().to_string();
    let snapshot: Vec<_> = snapshot.split_whitespace().collect();
    output::line(&format!("{} port: {}", worker.server.counts(), snapshot.join(" ")));
}

/// Takes no more, and waits until the echo of what was taken has left, or the grace time is over.
fn stop(worker: Worker<'_>, receives: &[(Handle, OpId)], stop: Stop, inbox: &Receiver<Event>) {
    worker.server.stopping.store(true, SeqCst);
    // Pairs with the fence of a worker for which something has just ended.
    fence(SeqCst);
    for (handle, receive) in receives {
        handle.cancel(*receive);
    }
    if !wait(worker, inbox, stop.end_by) {
        receives.iter().for_each(|(handle, _)| handle.close());
        wait(worker, inbox, Instant::now() + CUT_AT_MOST);
    }
    worker.port.close().into_iter().for_each(|done| worker.take(done));
}

/// Waits until all is over, or until `end`. Says which.
fn wait(worker: Worker<'_>, inbox: &Receiver<Event>, end: Instant) -> bool {
    while !worker.server.is_over() {
        match inbox.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(Event::Report) => report(worker),
            // The second signal.
            Ok(Event::Stop) => {
                worker.server.served();
                std::process::exit(1);
            }
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    true
}

/// What a thread needs to serve.
#[derive(Clone, Copy)]
struct Worker<'a> {
    /// Where completions come from.
    port: &'a Port,
    /// What all workers share.
    server: &'a Server,
    /// This thread's counters.
    tally: &'a Tally,
}

impl Worker<'_> {
    /// Associates a socket, and starts to receive all that comes.
    fn open(&self, socket: UdpSocket) -> io::Result<(Handle, OpId)> {
        let handle = self.port.associate(socket, ())?;
        let receive = handle.recv_from_each(|| Mode::Receive)?;
        self.server.receives.fetch_add(1, SeqCst);
        Ok((handle, receive))
    }

    /// Takes completions until the port closes.
    fn work(&self) {
        if let Err(error) = workers::work(self.port, |done| self.take(done)) {
            self.server.tell(Event::Failed(error));
        }
    }

    /// Sends a datagram back, or notes that it has left.
    fn take(&self, done: Done) {
        let (peer, last) = (done.peer(), done.last());
        match (done.context, done.result, peer) {
            (Mode::Receive, Ok(count), Some(peer)) => {
                self.tally.received.add(1);
                self.tally.read.add(count);
                if done.handle.send_to(done.buffer, peer, Mode::Send).is_err() {
                    self.tally.failed.add(1);
                    self.tally.errors.add(1);
                }
            }
            (Mode::Receive, result, _) => {
                let error = result.err().filter(|error| !is_cancelled(error));
                self.tally.errors.add(usize::from(error.is_some()));
                if last {
                    self.server.receives.fetch_sub(1, SeqCst);
                    error.map_or_else(
                        || self.server.ended(),
                        |e| self.server.tell(Event::Failed(e)),
                    );
                }
            }
            (Mode::Send, result, _) => {
                match result {
                    Ok(count) => {
                        self.tally.echoed.add(1);
                        self.tally.sent.add(count);
                    }
                    Err(error) => {
                        self.tally.failed.add(1);
                        self.tally.errors.add(1);
                        tracing::debug!("an echo was not sent: {error}");
                    }
                }
                self.server.ended();
            }
        }
    }
}
