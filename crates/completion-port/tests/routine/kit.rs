//! Threads with a driver, sockets with routines, waits that must run something.

use std::{
    io::Write,
    net::TcpStream,
    panic::resume_unwind,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use completion_port::{
    Buffer, DriverKind,
    routine::{Done, OverlappedSocket, Woken, sleep_ex, use_driver},
};

use crate::util::{PATIENCE, connection};

/// Runs something on a thread that has this driver for its routines, and is gone, with all it had, when this returns. A panic goes on here.
pub fn on_a_thread<R: Send>(driver: DriverKind, body: impl FnOnce() -> R + Send) -> R {
    elsewhere(|| {
        drive_by(driver);
        body()
    })
}

/// The same on a thread that has no driver yet.
pub fn elsewhere<R: Send>(body: impl FnOnce() -> R + Send) -> R {
    // Joined by hand: a scope's own join does not wait for what a thread drops last.
    thread::scope(|s| s.spawn(body).join()).unwrap_or_else(|panic| resume_unwind(panic))
}

/// The first thing that a thread with routines does.
#[track_caller]
pub fn drive_by(driver: DriverKind) {
    use_driver(driver).expect("a probed driver can be had, and the thread has none");
}

/// A connection whose accepted end takes routines, and the other end.
pub fn pair() -> (OverlappedSocket, TcpStream) {
    let (server, client) = connection();
    (server.into(), client)
}

/// A connection with something to read on it.
pub fn pair_with(bytes: &[u8]) -> (OverlappedSocket, TcpStream) {
    let (server, mut client) = pair();
    client.write_all(bytes).expect("written");
    (server, client)
}

/// Room to receive so much.
pub fn room(bytes: usize) -> Buffer {
    Buffer::with_capacity(bytes)
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
        // What runs may be something else, again and again.
        assert!(Instant::now() < deadline, "in vain: {what}");
        let left = deadline.saturating_duration_since(Instant::now());
        let woken = sleep_ex(left, true).expect("the driver works");
        assert_eq!(woken, Woken::IoCompletion, "in vain: {what}");
    }
}

/// One alertable wait, in which nothing may run.
#[track_caller]
pub fn nothing_runs() {
    let woken = sleep_ex(Duration::ZERO, true).expect("the driver works");
    assert_eq!(woken, Woken::TimedOut, "something ran");
}

/// What has happened, in its order, wherever it did.
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
    pub fn with<R>(&self, act: impl FnOnce(&mut Vec<T>) -> R) -> R {
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
}

/// Tells other threads to stop, also if this one panics.
pub struct StopOnDrop<'a>(pub &'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
