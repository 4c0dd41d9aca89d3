//! Tests of the tests: each fault of the toy server is seen by the program that is there to see it, and a server
//! without a fault passes.
#![cfg(target_os = "linux")]

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Output, Stdio},
};

const TOY: &str = env!("CARGO_BIN_EXE_toy-echo");

/// The toy server with a fault; killed in the end.
struct Toy {
    child: Child,
    address: String,
}

impl Toy {
    fn start(fault: &str) -> Toy {
        let mut child = Command::new(TOY)
            .args(["serve", "--fault", fault])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the toy server starts");
        let mut line = String::new();
        let out = child.stdout.as_mut().expect("a pipe");
        BufReader::new(out).read_line(&mut line).expect("the toy server says where it listens");
        let address = line.trim_start_matches("listening on ").split(',').next().unwrap_or("");
        Toy { address: address.to_owned(), child }
    }

    fn pid(&self) -> String {
        self.child.id().to_string()
    }
}

impl Drop for Toy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last line of a program, its figures and whether it was content.
struct Outcome {
    good: bool,
    line: String,
}

impl Outcome {
    fn of(output: Output) -> Outcome {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().last().unwrap_or_default().to_owned();
        let code = output.status.code();
        let good = code == Some(0);
        assert_eq!(line.ends_with(" ok"), good, "{code:?}: {output:?}");
        assert_eq!(line.ends_with(" FAILED"), code == Some(1), "{code:?}: {output:?}");
        Outcome { good, line }
    }

    fn figure(&self, name: &str) -> u64 {
        let pair = |part: &str| {
            Some(part.split_once('=')?.1.to_owned()).filter(|_| part.starts_with(name))
        };
        let value = self.line.split_whitespace().find_map(pair);
        value
            .and_then(|value| value.parse().ok())
            .unwrap_or_else(|| panic!("{name}: {}", self.line))
    }
}

fn storm(fault: &str, more: &[&str]) -> Outcome {
    let toy = Toy::start(fault);
    let output = Command::new(env!("CARGO_BIN_EXE_storm"))
        .args([&toy.address, "--connections", "100", "--pieces", "3"])
        .args(["--server-pid", &toy.pid()])
        .args(more)
        .output()
        .expect("storm runs");
    Outcome::of(output)
}

#[test]
fn storm_passes_a_server_without_a_fault() {
    let outcome = storm("none", &["--rounds", "2"]);
    assert!(outcome.good, "{}", outcome.line);
    assert_eq!(outcome.figure("held="), 100);
    assert_eq!(outcome.figure("resets_by_us="), 50);
    assert!(outcome.figure("bytes=") > 100_000);
}

#[test]
fn storm_sees_each_fault_of_the_bytes() {
    for (fault, figure) in [
        ("flip", "wrong="),
        ("drop", "lost="),
        ("end", "lost="),
        ("twice", "reordered="),
        ("swap", "reordered="),
        ("extra", "unexpected="),
        ("reset", "unexpected="),
    ] {
        // Without resets of its own: an end or a loss behind one of those is nobody's fault.
        let outcome = storm(fault, &["--reset-fraction", "0", "--stall", "2"]);
        assert!(!outcome.good, "{fault}: {}", outcome.line);
        assert!(outcome.figure(figure) > 0, "{fault}: {}", outcome.line);
    }
}

#[test]
fn storm_sees_descriptors_that_leak_and_a_server_that_does_not_confirm() {
    assert!(!storm("leak", &[]).good);
    assert!(!storm("none", &["--confirm", "exit 1"]).good);
    assert!(storm("none", &["--confirm", "test $STORM_HELD = 100"]).good);
}

/// Messages of more than one read, over connections of which two have the fault.
fn ping(fault: &str) -> Output {
    let toy = Toy::start(fault);
    Command::new(env!("CARGO_BIN_EXE_ping"))
        .args([&toy.address, "--connections", "100", "--size", "70000", "--seconds", "0.2"])
        .output()
        .expect("ping runs")
}

#[test]
fn ping_checks_every_byte() {
    let good = ping("none");
    assert!(Outcome::of(good).figure("per_second=") > 0);
    for fault in ["flip", "drop", "twice", "swap", "end"] {
        let bad = ping(fault);
        assert_eq!(bad.status.code(), Some(2), "{fault}: {bad:?}");
    }
}

fn idle(fault: &str) -> Outcome {
    let toy = Toy::start(fault);
    let output = Command::new(env!("CARGO_BIN_EXE_idle"))
        .args([&toy.address, "--connections", "500", "--seconds", "1", "--watch", "1"])
        .args(["--server-pid", &toy.pid()])
        .output()
        .expect("idle runs");
    Outcome::of(output)
}

#[test]
fn idle_passes_a_server_that_is_idle() {
    let outcome = idle("none");
    assert!(outcome.good, "{}", outcome.line);
}

#[test]
fn idle_sees_a_timer_and_memory() {
    let outcome = idle("tick");
    assert!(!outcome.good && outcome.figure("switches=") > 0, "{}", outcome.line);
    let outcome = idle("fat");
    assert!(!outcome.good && outcome.figure("rss_per_connection=") > 4000, "{}", outcome.line);
}

#[test]
fn crowd_sees_memory_and_that_nobody_runs() {
    let crowd = |fault| {
        let toy = Toy::start(fault);
        let output = Command::new(env!("CARGO_BIN_EXE_crowd"))
            .args([&toy.address, "--connections", "500", "--seconds", "0.1", "--watch", "0.5"])
            .args(["--server-pid", &toy.pid()])
            .output()
            .expect("crowd runs");
        Outcome::of(output)
    };
    let outcome = crowd("none");
    assert!(outcome.good && outcome.figure("idle_switches=") == 0, "{}", outcome.line);
    assert!(crowd("fat").figure("rss=") > 4000);
    assert!(crowd("tick").figure("idle_switches=") > 0);
}

fn stop(fault: &str, never_read: &str) -> Outcome {
    // The toy is started by the program as it would start the command, so the fault comes in by a script.
    let folder = env!("CARGO_TARGET_TMPDIR");
    let script = format!("{folder}/toy-{fault}-{never_read}");
    let text = format!("#!/bin/sh\nexec {TOY} \"$@\" --fault {fault}\n");
    std::fs::write(&script, text).expect("a script");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).expect("an executable script");
    let output = Command::new(env!("CARGO_BIN_EXE_stop"))
        .args(["--server", &script, "--connections", "20", "--grace", "1", "--load-ms", "300"])
        .args(["--never-read", never_read])
        .output()
        .expect("stop runs");
    Outcome::of(output)
}

#[test]
fn stop_passes_a_server_that_ends_gracefully() {
    let outcome = stop("none", "0");
    assert!(outcome.good, "{}", outcome.line);
    let outcome = stop("none", "1");
    assert!(outcome.good, "{}", outcome.line);
}

#[test]
fn stop_sees_a_server_that_ends_badly() {
    let outcome = stop("abrupt", "0");
    assert!(!outcome.good && outcome.figure("resets=") > 0, "{}", outcome.line);
    for fault in ["late", "miscount", "flip", "drop"] {
        let outcome = stop(fault, "0");
        assert!(!outcome.good, "{fault}: {}", outcome.line);
    }
}

#[test]
fn io_uring_is_denied_with_the_errno_that_was_asked_for() {
    // The program checks its own filter before it starts the command, and the command sees that it is filtered.
    for errno in ["eperm", "enosys", "enomem"] {
        let output = Command::new(env!("CARGO_BIN_EXE_deny-io-uring"))
            .args([errno, "--", "grep", "-q", "^Seccomp:.*2$", "/proc/self/status"])
            .output()
            .expect("deny-io-uring runs");
        assert!(output.status.success(), "{errno}: {output:?}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_deny-io-uring"))
        .args(["eperm", "--", "sh", "-c", "exit 7"])
        .output()
        .expect("deny-io-uring runs");
    assert_eq!(output.status.code(), Some(7), "the exit code of the command is the program's own");
    let output = Command::new(env!("CARGO_BIN_EXE_deny-io-uring"))
        .args(["eagain", "--", "true"])
        .output()
        .expect("deny-io-uring runs");
    assert_eq!(output.status.code(), Some(2));
}
