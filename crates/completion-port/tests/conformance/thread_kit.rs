//! Threads that take a step when they are told to, and between steps run on.
//!
//! They never block between steps: whoever blocks may lose its place by that (S49), and between steps a thread is to count as running. So
//! they look again and again for what to do, and let others run meanwhile.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Scope, ScopedJoinHandle},
    time::{Duration, Instant},
};

use completion_port::{CompletionPort, DriverKind, GetError, Release, Waking};

use crate::kit::{Port, until};

/// A port with a limit, by NT's model as it stands.
pub fn limited(driver: DriverKind, limit: usize) -> Port {
    let builder = CompletionPort::builder().driver(driver).limit(limit);
    let builder = builder.release(Release::Exact).waking(Waking::Eager);
    builder.build().expect("a probed driver can be had")
}

/// Posts packets with these contexts.
#[track_caller]
pub fn post(port: &Port, contexts: impl IntoIterator<Item = u32>) {
    let key = port.key("posted");
    contexts.into_iter().for_each(|context| key.post(0, context).expect("open"));
}

/// Waits until so many threads wait for packets.
#[track_caller]
pub fn waiting(port: &Port, threads: usize) {
    until(&format!("{threads} threads wait"), || port.snapshot().waiting_threads == threads);
}

/// Gives what should not happen a chance to happen. (If it does not happen now, the order of what follows tells as well.)
pub fn a_moment() {
    let end = Instant::now() + Duration::from_millis(3);
    while Instant::now() < end {
        thread::yield_now();
    }
}

type Act<'scope> = Box<dyn FnOnce() + Send + 'scope>;

#[derive(Default)]
struct Desk<'scope> {
    work: Mutex<Option<Act<'scope>>>,
    has_work: AtomicBool,
    leave: AtomicBool,
}

/// Nobody panics behind these locks, and nobody waits for them: a flag says whose turn it is.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread that takes steps.
pub struct Puppet<'scope> {
    desk: Arc<Desk<'scope>>,
    thread: Option<ScopedJoinHandle<'scope, ()>>,
}

impl<'scope> Puppet<'scope> {
    pub fn new(s: &'scope Scope<'scope, '_>) -> Self {
        let desk = Arc::<Desk<'scope>>::default();
        let own = desk.clone();
        let thread = s.spawn(move || {
            while !own.leave.load(Ordering::Acquire) {
                if own.has_work.swap(false, Ordering::AcqRel) {
                    let work = lock(&own.work).take();
                    work.into_iter().for_each(|work| work());
                }
                thread::yield_now();
            }
        });
        Self { desk, thread: Some(thread) }
    }

    /// Begins a step.
    pub fn begin<R: Send + 'scope>(&self, act: impl FnOnce() -> R + Send + 'scope) -> Step<R> {
        let step = Step(Arc::new((AtomicBool::new(false), Mutex::new(None))));
        let over = step.0.clone();
        *lock(&self.desk.work) = Some(Box::new(move || {
            let result = act();
            *lock(&over.1) = Some(result);
            over.0.store(true, Ordering::Release);
        }));
        self.desk.has_work.store(true, Ordering::Release);
        step
    }

    /// Takes a step.
    #[track_caller]
    pub fn act<R: Send + 'scope>(&self, act: impl FnOnce() -> R + Send + 'scope) -> R {
        self.begin(act).end()
    }

    /// Waits for a packet, and runs on with it; `None` when the port is closed.
    pub fn get(&self, port: &'scope Port) -> Step<Option<u32>> {
        self.begin(|| match port.get() {
            Ok(packet) => Some(packet.context),
            Err(GetError::Closed) => None,
            Err(e) => panic!("{e}: {}", port.snapshot()),
        })
    }

    /// Is the next to wait for a packet, behind `before` others.
    #[track_caller]
    pub fn wait(&self, port: &'scope Port, before: usize) -> Step<Option<u32>> {
        let step = self.get(port);
        waiting(port, before + 1);
        step
    }

    /// The thread ends, and is gone with all it had when this returns.
    #[track_caller]
    pub fn exit(mut self) {
        self.desk.leave.store(true, Ordering::Release);
        let thread = self.thread.take().expect("it exits once");
        thread.join().expect("no panic");
    }
}

impl Drop for Puppet<'_> {
    fn drop(&mut self) {
        self.desk.leave.store(true, Ordering::Release);
    }
}

/// What a puppet is about.
pub struct Step<R>(Arc<(AtomicBool, Mutex<Option<R>>)>);

impl<R> Step<R> {
    pub fn is_over(&self) -> bool {
        self.0.0.load(Ordering::Acquire)
    }

    #[track_caller]
    pub fn end(self) -> R {
        until("the step comes to an end", || self.is_over());
        lock(&self.0.1).take().expect("it has a result")
    }
}
