//! `deny-io-uring (eperm|enosys|enomem) -- COMMAND [ARGUMENT]...`: runs a command to which io_uring is denied.
//!
//! A seccomp filter makes the kernel answer as one that forbids io_uring does (`eperm`: containers, hardened
//! systems), as one that never had it (`enosys`), or as one that has no memory to lock for a ring (`enomem`: only
//! `io_uring_setup`). The filter stays on the command and on all that it starts. Works for any user: the process
//! gives up gaining privileges first.

use std::{collections::BTreeMap, env, io, os::unix::process::CommandExt, process::Command};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

use crate::Trouble;

const USAGE: &str = "usage: deny-io-uring (eperm|enosys|enomem) -- COMMAND [ARGUMENT]...";

/// Runs the program: returns only if the command could not be started.
pub fn run() -> Result<bool, Trouble> {
    let mut args = env::args_os().skip(1);
    let errno = match args.next().as_ref().and_then(|name| name.to_str()) {
        Some("eperm") => libc::EPERM,
        Some("enosys") => libc::ENOSYS,
        Some("enomem") => libc::ENOMEM,
        _ => return Err(Trouble::new(USAGE)),
    };
    if args.next().as_ref().and_then(|dashes| dashes.to_str()) != Some("--") {
        return Err(Trouble::new(USAGE));
    }
    let command = args.next().ok_or_else(|| Trouble::new(USAGE))?;
    deny(errno)?;
    let error = Command::new(&command).args(args).exec();
    Err(Trouble::new(format!("{}: {error}", command.display())))
}

fn deny(errno: i32) -> Result<(), Trouble> {
    let mut denied = BTreeMap::from([(libc::SYS_io_uring_setup, vec![])]);
    if errno != libc::ENOMEM {
        denied.insert(libc::SYS_io_uring_enter, vec![]);
        denied.insert(libc::SYS_io_uring_register, vec![]);
    }
    let arch = env::consts::ARCH.try_into().map_err(Trouble::at(env::consts::ARCH))?;
    let filter =
        SeccompFilter::new(denied, SeccompAction::Allow, SeccompAction::Errno(errno as u32), arch);
    let filter: BpfProgram =
        filter.and_then(TryInto::try_into).map_err(Trouble::at("making the filter"))?;
    apply_filter(&filter).map_err(Trouble::at("installing the filter"))?;

    // SAFETY: a ring of 0 entries and no parameters is refused by every kernel (EINVAL or EFAULT) before anything is
    // made or written, and the filter above answers before the kernel even looks.
    let answer = unsafe { libc::syscall(libc::SYS_io_uring_setup, 0, std::ptr::null_mut::<u8>()) };
    let error = io::Error::last_os_error();
    if answer != -1 || error.raw_os_error() != Some(errno) {
        return Err(Trouble::new(format!("the filter does not hold: {answer}, {error}")));
    }
    Ok(())
}
