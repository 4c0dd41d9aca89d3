//! Ports with a limit, and threads that do what a test says, step by step.

use std::{
    io::ErrorKind,
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, Scope, ScopedJoinHandle},
    time::{Duration, Instant},
};

use completion_port::{
    Buffer, Completion, CompletionPort, DriverKind, GetError, Observation, OpKind, Release, Waking,
};

use crate::util::{PATIENCE, drivers::say_once, put_to_use, until};

/// Packets of most tests are told apart by their contexts.
pub type Port = CompletionPort<(), u32>;

/// A port in use, as that of a server is: somebody is to sleep in its driver.
pub fn open<K: Send + Sync + 'static, T: Send + 'static>(
    driver: DriverKind,
    limit: usize,
    release: Release,
    waking: Waking,
) -> CompletionPort<K, T> {
    let port = only_posted_to(driver, limit, release, waking);
    put_to_use(&port);
    port
}

/// A port of which all waiters are parked, until it is more than posted to.
pub fn only_posted_to<K: Send + Sync + 'static, T: Send + 'static>(
    driver: DriverKind,
    limit: usize,
    release: Release,
    waking: Waking,
) -> CompletionPort<K, T> {
    let builder = CompletionPort::builder().driver(driver).limit(limit);
    builder.release(release).waking(waking).build().expect("a probed driver can be had")
}

/// NT's model as it stands: who is counted is known, and a waiter is woken as soon as the limit allows it.
pub fn exact(driver: DriverKind, limit: usize) -> Port {
    open(driver, limit, Release::Exact, Waking::Eager)
}

/// The same, in use and only posted to.
pub fn both(driver: DriverKind, limit: usize) -> [Port; 2] {
    [open, only_posted_to].map(|port| port(driver, limit, Release::Exact, Waking::Eager))
}

/// Whether the port can see that a worker is blocked elsewhere; what needs that is skipped otherwise.
pub fn observes() -> bool {
    let observes = Observation::here() != Observation::Nothing;
    if !observes {
        say_once("skipped: what needs to see that a thread is blocked (this system tells nothing)");
    }
    observes
}

/// What a wait that ended with the port's close is said to have got.
pub const CLOSED: u32 = u32::MAX;

/// Posts packets with these contexts.
#[track_caller]
pub fn post(port: &Port, contexts: impl IntoIterator<Item = u32>) {
    let key = port.key(());
    contexts.into_iter().for_each(|context| key.post(0, context).expect("open"));
}

/// Waits until so many threads wait for packets.
#[track_caller]
pub fn waiting<K: Send + Sync + 'static, T: Send + 'static>(
    port: &CompletionPort<K, T>,
    threads: usize,
) {
    let now = || port.snapshot().waiting_threads;
    until(&format!("{threads} threads wait; {} do", now()), || now() == threads);
}

/// `(packets that wait, threads that run)`.
pub fn queued_and_running(port: &Port) -> (usize, usize) {
    let snapshot = port.snapshot();
    (snapshot.packets, snapshot.running_threads)
}

/// Gives what should not happen a chance to happen: those who are out are looked at a few times, if anybody looks at all.
pub fn a_moment(port: &Port) {
    let looks = || port.snapshot().scheduling.looks;
    let enough = looks() + 10;
    let end = Instant::now() + Duration::from_millis(5);
    while looks() < enough && Instant::now() < end {
        thread::yield_now();
    }
}

/// A thread that takes its steps one by one, and between them counts as what it was.
///
/// Between steps it blocks in a channel: where the port must not see that, it must not observe.
pub struct Puppet<'scope> {
    tell: mpsc::Sender<Box<dyn FnOnce() + Send + 'scope>>,
    thread: ScopedJoinHandle<'scope, ()>,
}

impl<'scope> Puppet<'scope> {
    pub fn new(s: &'scope Scope<'scope, '_>) -> Self {
        let (tell, told) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let thread = s.spawn(move || told.into_iter().for_each(|step| step()));
        Self { tell, thread }
    }

    /// Begins a step.
    pub fn begin<R: Send + 'scope>(&self, act: impl FnOnce() -> R + Send + 'scope) -> Step<R> {
        let (tell, told) = mpsc::channel();
        self.tell.send(Box::new(move || _ = tell.send(act()))).expect("the thread is there");
        Step { told, result: None }
    }

    /// Takes a step.
    #[track_caller]
    pub fn act<R: Send + 'scope>(&self, act: impl FnOnce() -> R + Send + 'scope) -> R {
        self.begin(act).end()
    }

    /// Waits for a packet. The packet is dropped, the thread runs on. [`CLOSED`] when the port is closed.
    pub fn get(&self, port: &'scope Port) -> Step<u32> {
        self.begin(|| match port.get() {
            Ok(done) => done.context,
            Err(GetError::Closed) => CLOSED,
            Err(e) => panic!("{e}: {}", port.snapshot()),
        })
    }

    /// Is the next to wait for a packet, behind `before` others.
    #[track_caller]
    pub fn wait(&self, port: &'scope Port, before: usize) -> Step<u32> {
        let step = self.get(port);
        waiting(port, before + 1);
        step
    }

    /// The thread ends, and is gone with all it had when this returns.
    #[track_caller]
    pub fn exit(self) {
        drop(self.tell);
        self.thread.join().expect("no panic");
    }

    /// The thread panics, and is gone. Nothing is printed.
    #[track_caller]
    pub fn panic(self, payload: &'static str) {
        drop(self.begin(move || std::panic::resume_unwind(Box::new(payload))));
        let panic = self.thread.join().expect_err("it panics");
        assert_eq!(panic.downcast_ref(), Some(&payload));
    }
}

/// What a puppet is about.
pub struct Step<R> {
    told: mpsc::Receiver<R>,
    result: Option<R>,
}

impl<R> Step<R> {
    #[track_caller]
    pub fn end(mut self) -> R {
        self.result
            .take()
            .unwrap_or_else(|| self.told.recv_timeout(PATIENCE).expect("the step comes to an end"))
    }

    pub fn is_over(&mut self) -> bool {
        self.result = self.result.take().or_else(|| self.told.try_recv().ok());
        self.result.is_some()
    }
}

/// How many threads are in something at once.
#[derive(Default)]
pub struct Inside {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Inside {
    /// The number of those inside, the new one included.
    pub fn enter(&self) -> usize {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        now
    }

    pub fn leave(&self) {
        self.now.fetch_sub(1, Ordering::SeqCst);
    }

    pub fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }

    pub fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

/// Uses the processor until a flag is set, and never blocks.
pub fn burn_until(flag: &AtomicBool) {
    while !flag.load(Ordering::Acquire) {
        // It lets others run, on a machine with few processors, and remains runnable.
        thread::yield_now();
    }
}

/// Sets flags when a test ends, so that a failure leaves nobody burning.
pub struct SetOnDrop<'a, const N: usize>(pub [&'a AtomicBool; N]);

impl<const N: usize> Drop for SetOnDrop<'_, N> {
    fn drop(&mut self) {
        self.0.iter().for_each(|flag| flag.store(true, Ordering::Release));
    }
}

/// Uses the processor for a moment.
pub fn burn(times: usize) {
    for _ in 0..times {
        std::hint::spin_loop();
    }
}

/// The next step of an echo: what was received is sent back, and what was sent is followed by a receive. Not after the peer's end, nor
/// once the port is closed.
pub fn echo<K: Send + Sync + 'static, T: Send + 'static>(done: Completion<K, T>) {
    let kind = done.kind();
    let mut buffer: Buffer = done.buffer;
    let refused = match (kind, done.result.expect("nobody resets anything")) {
        (OpKind::Recv, 0) => None,
        (OpKind::Recv, _) => done.handle.send(buffer, done.context).err(),
        _ => {
            buffer.clear();
            done.handle.recv(buffer, done.context).err()
        }
    };
    if let Some(refused) = refused {
        assert_eq!(refused.error.kind(), ErrorKind::NotConnected, "the port is closed");
    }
}

#[track_caller]
pub fn times_out<K: Send + Sync + 'static, T: Send + 'static>(port: &CompletionPort<K, T>) {
    match port.get_timeout(Duration::ZERO) {
        Err(GetError::TimedOut) => {}
        Err(e) => panic!("{e}"),
        Ok(done) => panic!("a packet that is not for this thread: {:?}", done.kind()),
    }
}
