//! Tests that need a process of their own: what they count or limit belongs to the whole process, and other tests run beside them.
//!
//! The test binary runs itself again with the one test named, and a variable that tells the test to do what it is about.

use std::{
    env,
    process::{Command, Output},
    thread,
};

use super::drivers::running_test;

/// Names the test that is to run its body in this process.
const ALONE: &str = "COMPLETION_PORT_TEST_ALONE";

/// What runs this test binary where the system cannot by itself: an emulator, with its arguments.
const RUNNER: &str = "COMPLETION_PORT_TEST_RUNNER";

/// The child says this when the body has run: a name that matches no test would pass too.
const RAN: &str = "the body of the test has run";

/// Runs the body of the current test of [`on_each_driver`](crate::on_each_driver) in a process of its own.
#[track_caller]
pub fn alone(body: impl FnOnce()) {
    alone_as(&running_test(), |command| command.output(), body);
}

/// Runs the body of the test that the harness knows by `name` in a process that `run` runs.
#[track_caller]
pub fn alone_as(
    name: &str,
    run: impl FnOnce(&mut Command) -> std::io::Result<Output>,
    body: impl FnOnce(),
) {
    if env::var(ALONE).as_deref() == Ok(name) {
        body();
        println!("{RAN}");
        return;
    }
    let output = run(itself([name, "--exact", "--nocapture", "--test-threads=1"]).env(ALONE, name))
        .expect("the test binary runs");
    let said = printed(&output);
    assert!(
        output.status.success() && said.contains(RAN),
        "{name}, in a process of its own: {}\n{said}",
        output.status
    );
}

/// This test binary, once more.
pub fn itself<const N: usize>(arguments: [&str; N]) -> Command {
    let binary = env::current_exe().expect("the test binary has a path");
    let runner = env::var(RUNNER).unwrap_or_default();
    let mut words = runner.split_whitespace();
    let mut command = match words.next() {
        Some(program) => {
            let mut command = Command::new(program);
            command.args(words).arg(binary);
            command
        }
        None => Command::new(binary),
    };
    command.args(arguments);
    command
}

/// What a process has printed.
pub fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// Runs a command with io_uring's system calls failing by `errno`.
///
/// A filter is a thread's, and its children inherit it: the thread that sets it is gone afterwards.
#[cfg(target_os = "linux")]
pub fn without_io_uring(errno: i32, command: &mut Command) -> std::io::Result<Output> {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

    let calls = [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];
    let filter = SeccompFilter::new(
        calls.into_iter().map(|call| (call, Vec::new())).collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(errno as u32),
        env::consts::ARCH.try_into().expect("an architecture that seccompiler knows"),
    );
    let program: BpfProgram = filter.and_then(TryInto::try_into).expect("a small filter");
    thread::scope(|s| {
        let child = s.spawn(|| {
            seccompiler::apply_filter(&program).expect("a filter needs no privilege");
            command.output()
        });
        child.join().expect("the thread that runs the command")
    })
}
