//! Threads with completion routines, and a log of what ran.

use std::{
    io::Write,
    net::TcpStream,
    panic::resume_unwind,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use completion_port::{
    DriverKind,
    routine::{
        Done, OverlappedSocket, Thread, Woken, current, queue_user_apc, sleep_ex, use_driver,
    },
};

use crate::kit::{PATIENCE, connection};

/// Runs something on a thread that has this driver for its routines, and is gone when this returns. A panic goes on here.
pub fn on_a_thread<R: Send>(driver: DriverKind, body: impl FnOnce() -> R + Send) -> R {
    elsewhere(|| {
        use_driver(driver).expect("a probed driver can be had, and the thread has none");
        body()
    })
}

/// The same on a thread that has no driver.
pub fn elsewhere<R: Send>(body: impl FnOnce() -> R + Send) -> R {
    // Joined by hand: a scope's own join does not wait for what a thread drops last.
    thread::scope(|s| s.spawn(body).join()).unwrap_or_else(|panic| resume_unwind(panic))
}

/// A connection whose accepted end takes routines, and the other end.
pub fn overlapped() -> (OverlappedSocket, TcpStream) {
    let (server, client) = connection();
    (server.into(), client)
}

/// A connection with something to read on it.
pub fn overlapped_with(bytes: &[u8]) -> (OverlappedSocket, TcpStream) {
    let (server, mut client) = overlapped();
    client.write_all(bytes).expect("written");
    (server, client)
}

pub fn this_thread() -> Thread {
    current().expect("it has a driver")
}

/// Queues a call that says so to the calling thread.
pub fn queue_apc(log: &Log<&'static str>, what: &'static str) {
    queue_user_apc(&this_thread(), log.apc(what)).expect("it is alive");
}

/// One alertable wait, in which something must run.
#[track_caller]
pub fn run() {
    let woken = sleep_ex(PATIENCE, true).expect("the driver works");
    assert_eq!(woken, Woken::IoCompletion, "nothing ran");
}

/// Alertable waits until something is so by what runs in them.
#[track_caller]
pub fn run_until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        run();
    }
}

/// One alertable wait, in which nothing may run.
#[track_caller]
pub fn nothing_runs() {
    let woken = sleep_ex(Duration::ZERO, true).expect("the driver works");
    assert_eq!(woken, Woken::TimedOut, "something ran");
}

/// What has happened, in its order.
pub struct Log<T>(Arc<Mutex<Vec<T>>>);

impl<T> Default for Log<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Log<T> {
    fn with<R>(&self, act: impl FnOnce(&mut Vec<T>) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn add(&self, one: T) {
        self.with(|all| all.push(one));
    }

    pub fn len(&self) -> usize {
        self.with(|all| all.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of it; it is empty then.
    pub fn take(&self) -> Vec<T> {
        self.with(std::mem::take)
    }
}

impl<T: 'static> Log<T> {
    /// A routine that only says so.
    pub fn routine(&self, what: T) -> impl FnOnce(Done) + use<T> {
        let log = self.clone();
        move |_| log.add(what)
    }
}

impl<T: Send + 'static> Log<T> {
    /// A call that only says so.
    pub fn apc(&self, what: T) -> impl FnOnce() + Send + use<T> {
        let log = self.clone();
        move || log.add(what)
    }
}

impl Log<Done> {
    /// A routine that keeps what it was told.
    pub fn keep(&self) -> impl FnOnce(Done) + use<> {
        let log = self.clone();
        move |done| log.add(done)
    }

    /// What the one routine that has run was told.
    #[track_caller]
    pub fn only(&self) -> Done {
        let mut all = self.take();
        assert_eq!(all.len(), 1, "as many routines have run");
        all.remove(0)
    }
}
