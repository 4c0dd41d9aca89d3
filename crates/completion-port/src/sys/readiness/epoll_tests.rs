//! The kernel is asked for the time that was asked for.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    sync::mpsc::channel,
    thread,
    time::Instant,
};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

use super::*;

/// The thread's system call, and its fourth argument; `None` while it runs.
fn call_of(thread: i32) -> Option<(i64, u64)> {
    let text = fs::read_to_string(format!("/proc/self/task/{thread}/syscall")).expect("it lives");
    let mut words = text.split_whitespace();
    let number = words.next()?.parse().ok()?;
    let argument = words.nth(3)?.strip_prefix("0x")?;
    Some((number, u64::from_str_radix(argument, 16).expect("a number")))
}

/// What two numbers of 64 bits there are at an address of this process.
fn pair_at(address: u64) -> [i64; 2] {
    let memory = File::open("/proc/self/mem").expect("/proc is there");
    [0, 8].map(|offset| {
        let mut bytes = [0; 8];
        memory.read_exact_at(&mut bytes, address + offset).expect("a thread sleeps on it");
        i64::from_ne_bytes(bytes)
    })
}

/// Seen from outside: what a sleeping thread has handed to the kernel.
#[test]
fn a_time_reaches_the_kernel_as_it_is() {
    if fs::read("/proc/self/syscall").is_err() {
        eprintln!("SKIPPED: this kernel does not tell what system call a thread is in");
        return;
    }
    let poller = Poller::new().expect("a poller");
    let (tell, told) = channel();
    thread::scope(|s| {
        s.spawn(|| {
            tell.send(rustix::thread::gettid().as_raw_nonzero().get()).expect("somebody listens");
            poller.wait(Some(Duration::new(3_000, 200_001)), &mut Vec::new()).expect("it waits");
        });
        let thread = told.recv().expect("told");
        let begun = Instant::now();
        let seen = loop {
            // The call alone does not tell that it sleeps in it, but from its beginning to its end the time is there.
            match call_of(thread) {
                Some((libc::SYS_epoll_pwait2, address)) => break Ok(pair_at(address)),
                Some((libc::SYS_epoll_pwait, milliseconds)) => break Err(milliseconds),
                _ if begun.elapsed() > Duration::from_secs(20) => break Err(0),
                _ => thread::yield_now(),
            }
        };
        // Before anything is asserted: the thread would keep this one here.
        poller.notify();
        if poller.to_the_nanosecond.load(Ordering::Relaxed) {
            assert_eq!(seen, Ok([3_000, 200_001]));
        } else {
            assert_eq!(seen, Err(3_000_001));
        }
    });
}

/// On a thread to which the exact call is denied, as an old kernel or a container does it.
fn with_the_call_denied(errno: i32) {
    let rules = [(libc::SYS_epoll_pwait2, Vec::new())].into();
    let arch = std::env::consts::ARCH.try_into().expect("an architecture that seccomp has");
    let (allow, deny) = (SeccompAction::Allow, SeccompAction::Errno(errno as u32));
    let filter = SeccompFilter::new(rules, allow, deny, arch).expect("a filter");
    let filter: BpfProgram = filter.try_into().expect("a program");
    apply_filter(&filter).expect("any thread may deny itself something");

    let poller = Poller::new().expect("a poller");
    for _ in 0..2 {
        let (time, begun) = (Duration::from_micros(200), Instant::now());
        poller.wait(Some(time), &mut Vec::new()).expect("the older call does it");
        assert!(begun.elapsed() >= time);
        assert!(!poller.to_the_nanosecond.load(Ordering::Relaxed), "it was not denied");
    }
    poller.notify();
    poller.wait(Some(Duration::new(3_000, 1)), &mut Vec::new()).expect("it is woken");
}

#[test]
fn an_older_kernel_rounds_up() {
    for errno in [libc::ENOSYS, libc::EPERM] {
        // A filter stays on its thread for good.
        thread::spawn(move || with_the_call_denied(errno)).join().expect("no panic");
    }
}

/// Whichever call it is.
#[test]
fn no_wait_ends_early() {
    let poller = Poller::new().expect("a poller");
    for time in [1, 999, 200_000, 1_000_000, 1_000_001, 2_500_000].map(Duration::from_nanos) {
        let begun = Instant::now();
        poller.wait(Some(time), &mut Vec::new()).expect("it waits");
        assert!(begun.elapsed() >= time, "{time:?}");
    }
}
