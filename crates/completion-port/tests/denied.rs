//! Where io_uring is denied (a container's seccomp profile, an old kernel, a low memlock limit) the port comes up on readiness, says why,
//! and works. Linux only: nobody else has io_uring, or such filters. The whole suite of the promises under such a filter is in `promises/drivers.rs`.

#![cfg(target_os = "linux")]

mod util;

use std::{
    fmt::Write as _,
    io::{self, Read, Write},
    sync::{Mutex, PoisonError},
    thread,
};

use completion_port::{CompletionPort, DRIVER_VARIABLE, DriverKind, OpKind, probe};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};
use util::{
    child::{alone_as, without_io_uring},
    pair,
};

/// Keeps what is logged, a line each.
struct Log;

static LINES: Mutex<Vec<(Level, String)>> = Mutex::new(Vec::new());

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        LINES
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((*event.metadata().level(), line.0));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

fn echo_works(port: &CompletionPort<(), ()>) {
    let (server, mut client) = pair(port, ());
    thread::scope(|s| {
        let _close = port.close_on_drop();
        for _ in 0..2 {
            s.spawn(|| {
                while let Ok(done) = port.get() {
                    if done.kind() == OpKind::RecvLent {
                        // In this order: with its last echo the user is through, and the port closes.
                        done.handle.recv_lent(()).expect("started");
                        done.handle.send(done.buffer, ()).expect("started");
                    }
                }
            });
        }
        server.recv_lent(()).expect("started");
        for word in [&b"once"[..], b"and again"] {
            client.write_all(word).expect("written");
            let mut back = vec![0; word.len()];
            client.read_exact(&mut back).expect("echoed");
            assert_eq!(back, word);
        }
    });
}

/// The test runs itself again under a filter that makes io_uring's system calls fail by `errno`. The reason must hold these words.
fn falls_back(test: &str, errno: i32, words: &[&str]) {
    let run = |command: &mut std::process::Command| {
        without_io_uring(errno, command.env_remove(DRIVER_VARIABLE))
    };
    alone_as(test, run, || {
        tracing::subscriber::set_global_default(Log).expect("the only one");
        let port = CompletionPort::<(), ()>::new().expect("a port comes up all the same");
        assert_eq!(port.driver().kind(), DriverKind::Readiness);
        let reason = port.driver().reason();
        for word in words {
            assert!(reason.contains(word), "{word:?} is not in the reason: {reason}");
        }
        let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        let warned =
            lines.iter().any(|(level, line)| *level == Level::WARN && line.contains(words[0]));
        assert!(warned, "no warning with the reason: {lines:?}");
        drop(lines);
        echo_works(&port);

        // The probe says the same, and who insists is told so.
        for one in probe().iter().filter(|one| one.kind() != DriverKind::Readiness) {
            let why = one.available().expect_err("denied");
            assert!(words.iter().all(|word| why.contains(word)), "{why}");
            let error =
                CompletionPort::builder().driver(one.kind()).build::<(), ()>().expect_err("denied");
            let text = error.to_string();
            assert_eq!(error.kind(), io::ErrorKind::Unsupported);
            assert!(
                text.contains(&one.kind().to_string())
                    && text.contains("forced by the builder")
                    && text.contains(why),
                "{text}"
            );
        }
    });
}

/// Docker's and containerd's default profiles, and `kernel.io_uring_disabled`.
#[test]
fn eperm_is_not_permitted() {
    falls_back(
        "eperm_is_not_permitted",
        libc::EPERM,
        &["not permitted", "seccomp", "io_uring_disabled"],
    );
}

#[test]
fn enosys_is_a_kernel_without_it() {
    falls_back("enosys_is_a_kernel_without_it", libc::ENOSYS, &["this kernel has none"]);
}

/// Kernels before 5.12 count rings as locked memory.
#[test]
fn enomem_is_a_low_memlock_limit() {
    falls_back("enomem_is_a_low_memlock_limit", libc::ENOMEM, &["memlock", "ulimit -l"]);
}

#[test]
fn emfile_is_no_descriptor_left() {
    falls_back("emfile_is_no_descriptor_left", libc::EMFILE, &["no descriptor", "ulimit -n"]);
}

/// The variable names a driver that is denied: an error that names the variable, no fallback in silence.
#[test]
fn what_the_variable_forces_is_not_replaced() {
    let run = |command: &mut std::process::Command| {
        without_io_uring(libc::EPERM, command.env(DRIVER_VARIABLE, "io_uring"))
    };
    alone_as("what_the_variable_forces_is_not_replaced", run, || {
        let text = CompletionPort::<(), ()>::new().expect_err("denied").to_string();
        assert!(text.contains(DRIVER_VARIABLE) && text.contains("not permitted"), "{text}");
        CompletionPort::builder().driver(DriverKind::Readiness).build::<(), ()>().expect("a port");
    });
}
