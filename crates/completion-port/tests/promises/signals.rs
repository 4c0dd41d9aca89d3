//! A signal that a thread handles while it waits is no packet, no error and no end of the wait.

use std::{
    ptr,
    sync::{
        Once,
        atomic::{AtomicI32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use completion_port::{DriverKind, GetError};

use crate::util::{both, get, open, pair, pattern, until, while_read};

crate::on_each_driver!(do_not_end_a_wait, do_not_tear_a_send);

extern "C" fn ignore(_: libc::c_int) {}

/// Has SIGUSR1 handled, by nothing, and without restarting the call that it interrupts.
fn handle_the_signal() {
    static HANDLED: Once = Once::new();
    HANDLED.call_once(|| {
        // SAFETY: a handler that does nothing is safe in any thread at any time, and nothing else in this process uses the signal.
        // The action is all zeros (no flags, no mask) but for the handler.
        let result = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = ignore as *const () as usize;
            libc::sigaction(libc::SIGUSR1, &action, ptr::null_mut())
        };
        assert_eq!(result, 0);
    });
}

/// A thread that can be interrupted: it says its number.
#[derive(Default)]
struct Target(AtomicI32);

impl Target {
    fn is_me(&self) {
        let own = std::fs::read_link("/proc/thread-self").expect("/proc is there");
        let own =
            own.file_name().and_then(|id| id.to_str()?.parse().ok()).expect("a thread's number");
        self.0.store(own, Ordering::Relaxed);
    }

    fn interrupt(&self) {
        let (process, thread) = (std::process::id() as libc::pid_t, self.0.load(Ordering::Relaxed));
        if thread != 0 {
            // SAFETY: a number of a thread that is gone finds none in this process, and the signal does nothing anyway.
            unsafe { libc::tgkill(process, thread, libc::SIGUSR1) };
        }
    }
}

/// One thread sleeps in the driver and one behind it, or both are parked; both keep their time, and get their packets.
fn do_not_end_a_wait(driver: DriverKind) {
    handle_the_signal();
    for port in both::<(), u32>(driver) {
        let time = Duration::from_millis(50);
        let targets = [Target::default(), Target::default(), Target::default()];
        let [one, other, timed] = &targets;
        let wait = |target: &Target| {
            target.is_me();
            get(&port).context
        };
        let wait = &wait;
        thread::scope(|s| {
            let _close = port.close_on_drop();
            let waiters = [s.spawn(move || wait(one)), s.spawn(move || wait(other))];
            until("both wait", || port.snapshot().waiting_threads == 2);
            let begun = Instant::now();
            while begun.elapsed() < time {
                targets.iter().for_each(Target::interrupt);
                thread::sleep(Duration::from_millis(1));
            }
            // The last of them may be awake for a moment.
            until("they wait still", || port.snapshot().waiting_threads == 2);
            port.key(()).post(0, 1).expect("open");
            port.key(()).post(0, 2).expect("open");
            let contexts: u32 =
                waiters.into_iter().map(|waiter| waiter.join().expect("no panic")).sum();
            assert_eq!(contexts, 3, "each has one of the two");

            let waiter = s.spawn(|| {
                timed.is_me();
                let begun = Instant::now();
                (port.get_timeout(time), begun.elapsed())
            });
            while !waiter.is_finished() {
                timed.interrupt();
                thread::sleep(Duration::from_millis(1));
            }
            let (result, took) = waiter.join().expect("no panic");
            assert!(matches!(result, Err(GetError::TimedOut)) && took >= time, "{took:?}");
        });
    }
}

fn do_not_tear_a_send(driver: DriverKind) {
    const MUCH: usize = 16 << 20;
    handle_the_signal();
    let port = open::<(), ()>(driver);
    let (server, mut client) = pair(&port, ());
    let bytes = pattern(0, MUCH);
    let target = Target::default();
    thread::scope(|s| {
        let sender = s.spawn(|| {
            target.is_me();
            server.send(bytes[..].into(), ()).expect("started");
            get(&port).result
        });
        while_read(&mut client, &bytes, || {
            while !sender.is_finished() {
                target.interrupt();
                thread::yield_now();
            }
        });
        assert_eq!(sender.join().expect("no panic").expect("whole"), MUCH);
    });
}
