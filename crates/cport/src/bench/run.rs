//! One run: starts the threads, says how it goes, and gathers what they have measured.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    meter::{Counters, Measured, Meter},
    options::Bench,
    outcome::{Interval, Outcome, Seen},
    plan::Plan,
    process::{Process, Usage},
    progress::Progress,
    schedule::Clock,
    tcp, udp,
};
use crate::{
    args::Address,
    error::{Failure, plain},
};

/// A short run is looked at more often than once a second, so that it has a curve over time too.
const LOOKS: u32 = 10;
/// The longest and the shortest time between two looks.
const LOOK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// How long it takes at most to find out whether anybody answers.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the main thread waits for.
enum Event {
    /// A thread has connected, or cannot go on.
    Ready(Result<Ready, Failure>),
    /// A thread has failed in the middle.
    Failed,
    /// A signal.
    Interrupt,
}

/// A thread that is about to begin.
struct Ready {
    /// Connections that it has.
    connections: usize,
    /// What they run on.
    driver: String,
    /// Where it waits for the beginning.
    begin: Sender<Clock>,
}

/// Measures.
pub fn run(options: &Bench) -> Result<Outcome, Failure> {
    let address = options.address()?;
    let server = options.server_pid.map(|pid| Process(pid.get()));
    usage(server)?;
    let plan = Arc::new(Plan::new(options, reach(options, &address)?));
    let (events, inbox) = channel();
    listen_for_signals(&plan, events.clone())?;
    let counters: Vec<_> = (0..plan.threads).map(|_| Counters::default()).collect();
    thread::scope(|scope| {
        // Whatever goes wrong below, the threads end.
        let _stop = StopOnDrop(&plan);
        let mut threads = Vec::with_capacity(plan.threads);
        for (n, counters) in counters.iter().enumerate() {
            let (plan, events) = (&plan, events.clone());
            let work = move || {
                if options.udp {
                    datagrams(plan, n, counters, &events)
                } else {
                    streams(plan, n, counters, &events)
                }
            };
            let thread = thread::Builder::new().name(format!("load-{n}")).spawn_scoped(scope, work);
            threads.push(thread.map_err(|error| {
                Failure::runtime(format!("cannot start thread {n} of the load: {}", plain(&error)))
            })?);
        }
        let watch = Watch { options, plan: &plan, counters: &counters, server, inbox: &inbox };
        let seen = watch.run(&address)?;
        let mut measured = Measured::default();
        for thread in threads {
            measured.merge(
                thread.join().map_err(|_| Failure::runtime("a thread of the load panicked"))??,
            );
        }
        Ok(Outcome::new(options, options.label(&address), &plan, seen, measured))
    })
}

/// Makes the threads end when it is dropped.
struct StopOnDrop<'a>(&'a Plan);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Relaxed);
    }
}

/// What a process has taken so far, if one was named.
fn usage(server: Option<Process>) -> Result<Option<Usage>, Failure> {
    let refuse = |pid, error: io::Error| {
        Failure::usage(format!("--server-pid {pid}: its figures cannot be read: {}", plain(&error)))
    };
    server.map(|server| server.usage().map_err(|error| refuse(server.0, error))).transpose()
}

/// The first of the server's addresses that answers.
fn reach(options: &Bench, address: &Address) -> Result<SocketAddr, Failure> {
    let patience = options.timeout().min(PATIENCE);
    let mut why = String::new();
    for candidate in address.resolve()? {
        let answer = if options.udp {
            udp::knock(candidate, options.size.get(), patience)
        } else {
            tcp::knock(candidate, patience)
        };
        match answer {
            Ok(()) => return Ok(candidate),
            Err(error) => why = error,
        }
    }
    let serve = if options.udp {
        String::new()
    } else {
        format!("; start a server, with `cport serve {address}` for one")
    };
    Err(Failure::usage(format!("cannot measure {address}: {why}{serve}")))
}

/// From now on the first SIGINT or SIGTERM ends the run, and the second the process.
#[cfg(unix)]
fn listen_for_signals(plan: &Arc<Plan>, events: Sender<Event>) -> Result<(), Failure> {
    use signal_hook::{
        consts::{SIGINT, SIGTERM},
        iterator::Signals,
    };
    let failed = |error: io::Error| {
        Failure::runtime(format!("cannot listen for signals: {}", plain(&error)))
    };
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
    let plan = Arc::clone(plan);
    let wait = move || {
        for _ in signals.forever() {
            // If the main thread does not wait for it, the run is over.
            if plan.stop.swap(true, Relaxed) || events.send(Event::Interrupt).is_err() {
                std::process::exit(1);
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(wait).map_err(failed)?;
    Ok(())
}

/// Systems without signals end the process themselves.
#[cfg(not(unix))]
fn listen_for_signals(_: &Arc<Plan>, _: Sender<Event>) -> Result<(), Failure> {
    Ok(())
}

/// A thread of the load on streams.
fn streams(
    plan: &Plan,
    n: usize,
    counters: &Counters,
    events: &Sender<Event>,
) -> Result<Measured, Failure> {
    let start = || {
        let mut worker = tcp::Worker::new(plan, n, Meter::new(counters))?;
        let connections = worker.connect()?;
        let driver = worker.driver();
        Ok((worker, connections, driver))
    };
    work(start, |worker, clock| worker.run(clock), plan, events)
}

/// A thread of the load on datagrams.
fn datagrams(
    plan: &Plan,
    n: usize,
    counters: &Counters,
    events: &Sender<Event>,
) -> Result<Measured, Failure> {
    let start = || {
        let worker = udp::Worker::new(plan, n, Meter::new(counters))?;
        let connections = worker.count();
        Ok((worker, connections, "poll".into()))
    };
    work(start, |worker, clock| worker.run(clock), plan, events)
}

/// Starts, says so, waits for the beginning, and runs.
fn work<W>(
    start: impl FnOnce() -> io::Result<(W, usize, String)>,
    run: impl FnOnce(W, Clock) -> io::Result<Measured>,
    plan: &Plan,
    events: &Sender<Event>,
) -> Result<Measured, Failure> {
    let failed = |error: io::Error| Failure::runtime(format!("the load failed: {}", plain(&error)));
    if plan.rate.is_some() {
        be_punctual();
    }
    // If the main thread does not listen any more, it has failed and says why.
    let tell = |event| drop(events.send(event));
    let (begin, began) = channel();
    let worker = match start() {
        Ok((worker, connections, driver)) => {
            tell(Event::Ready(Ok(Ready { connections, driver, begin })));
            worker
        }
        Err(error) => {
            tell(Event::Ready(Err(failed(error))));
            return Ok(Measured::default());
        }
    };
    let Ok(clock) = began.recv() else { return Ok(Measured::default()) };
    run(worker, clock).map_err(|error| {
        plan.stop.store(true, Relaxed);
        tell(Event::Failed);
        failed(error)
    })
}

/// Linux lets a thread sleep some 50 us longer than it asked for, which would make messages late.
#[cfg(target_os = "linux")]
fn be_punctual() {
    // Refused, they are a little late.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}

/// Other systems have no such thing.
#[cfg(not(target_os = "linux"))]
fn be_punctual() {}

/// What the main thread does meanwhile.
struct Watch<'a> {
    /// What was asked for.
    options: &'a Bench,
    /// What the threads do.
    plan: &'a Plan,
    /// What they count.
    counters: &'a [Counters],
    /// The server's process.
    server: Option<Process>,
    /// Where it hears from them.
    inbox: &'a Receiver<Event>,
}

impl Watch<'_> {
    /// From the first connection to the end of the measured time.
    fn run(&self, address: &Address) -> Result<Seen, Failure> {
        let progress = Progress::new(self.options.quiet);
        progress.connecting(self.plan);
        let (begins, driver) = self.gather(address)?;
        let clock = Clock::start(self.options.warm_up, self.options.duration);
        for begin in begins {
            // A thread that has gone has said so.
            let _ = begin.send(clock);
        }
        progress.warming_up(self.options.warm_up);
        let mut interrupted = self.wait(clock.from);
        let load = cfg!(target_os = "linux").then(|| Process(std::process::id() as usize));
        let look = |process: Option<Process>| {
            process.and_then(|process| Some((process.0, process.usage().ok()?)))
        };
        let before = (look(self.server), look(load));
        let begun = Instant::now();
        let (first, errors) = self.counts();
        let mut last = (begun, first, errors);
        let every = (self.options.duration / LOOKS).clamp(LOOK.0, LOOK.1);
        let (mut timeline, mut said) = (Vec::new(), begun);
        for n in 1u32.. {
            let now = Instant::now();
            if interrupted || now >= clock.until {
                break;
            }
            let next = (clock.from + every * n).min(clock.until);
            interrupted = self.wait(next);
            let now = Instant::now();
            let (messages, errors) = self.counts();
            let seconds = (now - last.0).as_secs_f64().max(f64::EPSILON);
            let interval = Interval {
                at_s: (now - begun).as_secs_f64(),
                messages_per_second: (messages - last.1) as f64 / seconds,
                errors: errors - last.2,
            };
            last = (now, messages, errors);
            if now >= said + LOOK.1 || now >= clock.until {
                said += LOOK.1;
                progress.going_on(&interval, errors, self.plan.size);
            }
            timeline.push(interval);
        }
        let pair = |before: Option<(usize, Usage)>, after: Option<(usize, Usage)>| {
            before.zip(after).map(|((pid, before), (_, after))| (pid, before, after))
        };
        let seen = Seen {
            measured: last.0 - begun,
            messages: last.1 - first,
            timeline,
            interrupted,
            driver,
            server: pair(before.0, look(self.server)),
            load: pair(before.1, look(load)),
        };
        progress.over();
        Ok(seen)
    }

    /// Waits until all threads have connected.
    fn gather(&self, address: &Address) -> Result<(Vec<Sender<Clock>>, String), Failure> {
        let (mut begins, mut driver, mut connections) = (Vec::new(), String::new(), 0);
        while begins.len() < self.plan.threads {
            match self.inbox.recv() {
                Ok(Event::Ready(ready)) => {
                    let ready = ready?;
                    connections += ready.connections;
                    driver = ready.driver;
                    begins.push(ready.begin);
                }
                // The threads see it too, and are ready at once.
                Ok(Event::Interrupt | Event::Failed) => {}
                Err(_) => return Err(Failure::runtime("the threads of the load have gone")),
            }
        }
        if connections == 0 && !self.plan.stop.load(Relaxed) {
            return Err(Failure::usage(format!(
                "cannot measure {address}: no connection can be made"
            )));
        }
        Ok((begins, driver))
    }

    /// Waits until then. True if the run is to end now.
    fn wait(&self, until: Instant) -> bool {
        loop {
            if self.plan.stop.load(Relaxed) {
                return true;
            }
            match self.inbox.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Event::Ready(_)) => {}
                Ok(Event::Interrupt | Event::Failed) => return true,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// Messages and errors so far.
    fn counts(&self) -> (u64, u64) {
        let sum = |of: fn(&Counters) -> u64| self.counters.iter().map(of).sum();
        (sum(|one| one.messages.load(Relaxed)), sum(|one| one.errors.load(Relaxed)))
    }
}
