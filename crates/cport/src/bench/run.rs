//! One run: starts the threads, says how it goes, and gathers what they have measured.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{Sender, channel},
    },
    thread,
    time::Duration,
};

use super::{
    meter::{Counters, Measured},
    options::Bench,
    outcome::Outcome,
    plan::Plan,
    tcp,
    threads::{Event, datagrams, streams},
    udp,
    watch::Watch,
};
use crate::{
    args::Address,
    error::{Failure, plain},
    sys::{
        Signal,
        process::{Process, Usage},
        signals,
    },
};

/// How long it takes at most to find out whether anybody answers.
const PATIENCE: Duration = Duration::from_secs(3);

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
    let udp = if options.udp { "--udp " } else { "" };
    Err(Failure::usage(format!(
        "cannot measure {address}: {why}; start a server, with `cport serve {udp}{address}` for one"
    )))
}

/// From now on the first signal to stop ends the run, and the second the process.
fn listen_for_signals(plan: &Arc<Plan>, events: Sender<Event>) -> Result<(), Failure> {
    let plan = Arc::clone(plan);
    let tell = move |_| {
        // If the main thread does not wait for it, the run is over.
        if plan.stop.swap(true, Relaxed) || events.send(Event::Interrupt).is_err() {
            std::process::exit(1);
        }
        true
    };
    signals::listen(&[Signal::Stop], tell)
        .map_err(|error| Failure::runtime(format!("cannot listen for signals: {}", plain(&error))))
}
