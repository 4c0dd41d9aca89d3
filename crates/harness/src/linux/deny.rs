//! `deny-io-uring [eperm|enosys|enomem] [--membarrier] -- COMMAND [ARGUMENT]...`: runs a command to which io_uring is denied, or
//! membarrier, or both.
//!
//! A seccomp filter makes the kernel answer as one that forbids io_uring does (`eperm`: containers, hardened
//! systems), as one that never had it (`enosys`), or as one that has no memory to lock for a ring (`enomem`: only
//! `io_uring_setup`). `--membarrier` has it refuse `membarrier(2)` (EPERM), of which io_uring knows nothing. The filters stay on the
//! command and on all that it starts. Works for any user: the process gives up gaining privileges first.

use std::{
    collections::BTreeMap, env, ffi::OsString, io, os::unix::process::CommandExt, process::Command,
};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

use crate::Trouble;

const USAGE: &str =
    "usage: deny-io-uring [eperm|enosys|enomem] [--membarrier] -- COMMAND [ARGUMENT]...";

/// What is denied.
#[derive(Debug, PartialEq, Eq)]
struct Denied {
    /// io_uring, with this error.
    io_uring: Option<i32>,
    membarrier: bool,
}

/// What the command line begins with; what is left is the command.
fn denied(args: &mut impl Iterator<Item = OsString>) -> Option<Denied> {
    let mut denied = Denied { io_uring: None, membarrier: false };
    loop {
        match args.next()?.to_str()? {
            "eperm" if denied.io_uring.is_none() => denied.io_uring = Some(libc::EPERM),
            "enosys" if denied.io_uring.is_none() => denied.io_uring = Some(libc::ENOSYS),
            "enomem" if denied.io_uring.is_none() => denied.io_uring = Some(libc::ENOMEM),
            "--membarrier" if !denied.membarrier => denied.membarrier = true,
            "--" if denied.io_uring.is_some() || denied.membarrier => return Some(denied),
            _ => return None,
        }
    }
}

/// Runs the program: returns only if the command could not be started.
pub fn run() -> Result<bool, Trouble> {
    let mut args = env::args_os().skip(1);
    let denied = denied(&mut args).ok_or_else(|| Trouble::new(USAGE))?;
    let command = args.next().ok_or_else(|| Trouble::new(USAGE))?;
    if denied.membarrier {
        deny_membarrier()?;
    }
    if let Some(errno) = denied.io_uring {
        deny_io_uring(errno)?;
    }
    let error = Command::new(&command).args(args).exec();
    Err(Trouble::new(format!("{}: {error}", command.display())))
}

fn deny_io_uring(errno: i32) -> Result<(), Trouble> {
    let mut denied = vec![libc::SYS_io_uring_setup];
    if errno != libc::ENOMEM {
        denied.extend([libc::SYS_io_uring_enter, libc::SYS_io_uring_register]);
    }
    deny(&denied, errno)?;
    // SAFETY: a ring of 0 entries and no parameters is refused by every kernel (EINVAL or EFAULT) before anything is
    // made or written, and the filter above answers before the kernel even looks.
    let answer = unsafe { libc::syscall(libc::SYS_io_uring_setup, 0, std::ptr::null_mut::<u8>()) };
    check(answer, errno)
}

fn deny_membarrier() -> Result<(), Trouble> {
    deny(&[libc::SYS_membarrier], libc::EPERM)?;
    // SAFETY: `MEMBARRIER_CMD_QUERY` only asks.
    let answer = unsafe { libc::syscall(libc::SYS_membarrier, 0, 0, 0) };
    check(answer, libc::EPERM)
}

/// From now on these system calls fail with `errno`, in this process and all that it becomes or starts.
fn deny(calls: &[libc::c_long], errno: i32) -> Result<(), Trouble> {
    let denied: BTreeMap<_, _> = calls.iter().map(|call| (*call, vec![])).collect();
    let arch = env::consts::ARCH.try_into().map_err(Trouble::at(env::consts::ARCH))?;
    let filter =
        SeccompFilter::new(denied, SeccompAction::Allow, SeccompAction::Errno(errno as u32), arch);
    let filter: BpfProgram =
        filter.and_then(TryInto::try_into).map_err(Trouble::at("making the filter"))?;
    apply_filter(&filter).map_err(Trouble::at("installing the filter"))
}

/// `answer` is what a denied call has just given.
fn check(answer: libc::c_long, errno: i32) -> Result<(), Trouble> {
    let error = io::Error::last_os_error();
    if answer != -1 || error.raw_os_error() != Some(errno) {
        return Err(Trouble::new(format!("the filter does not hold: {answer}, {error}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn told(line: &str) -> Option<Denied> {
        denied(&mut line.split(' ').map(OsString::from))
    }

    #[test]
    fn io_uring_or_membarrier_or_both_are_denied() {
        let io_uring = Some(libc::ENOSYS);
        assert_eq!(told("enosys -- true"), Some(Denied { io_uring, membarrier: false }));
        assert_eq!(told("--membarrier -- true"), Some(Denied { io_uring: None, membarrier: true }));
        assert_eq!(
            told("enosys --membarrier -- true"),
            told("--membarrier enosys -- true"),
            "in any order"
        );
        for wrong in ["-- true", "eperm enosys -- true", "eperm true", "eagain -- true", "eperm"] {
            assert_eq!(told(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn membarrier_is_denied_and_nothing_else() {
        // A filter holds for the thread that installs it.
        let filtered = thread::spawn(|| {
            deny_membarrier()?;
            // SAFETY: as in `deny_io_uring`: refused before anything is made or written.
            let answer =
                unsafe { libc::syscall(libc::SYS_io_uring_setup, 0, std::ptr::null_mut::<u8>()) };
            let error = io::Error::last_os_error();
            Ok::<_, Trouble>((answer, error.raw_os_error()))
        });
        // SAFETY: the same.
        let answer =
            unsafe { libc::syscall(libc::SYS_io_uring_setup, 0, std::ptr::null_mut::<u8>()) };
        let error = io::Error::last_os_error().raw_os_error();
        let Ok(Ok(there)) = filtered.join() else { panic!("the filter does not hold") };
        assert_eq!(there, (answer, error), "io_uring answers as it does without the filter");
    }
}
