//! By events of the console, and handles.

use std::{
    io,
    os::windows::{
        io::{AsRawHandle, FromRawHandle, OwnedHandle},
        process::CommandExt,
    },
    process::{Child, Command},
    ptr,
};

use windows_sys::{
    Win32::System::{
        Console::{CTRL_BREAK_EVENT, CTRL_C_EVENT},
        LibraryLoader::{GetModuleHandleW, GetProcAddress},
        Threading::{
            CREATE_NO_WINDOW, CreateRemoteThread, GetProcessHandleCount, LPTHREAD_START_ROUTINE,
        },
    },
    s, w,
};

use super::Signal;

/// The driver that every machine has.
pub const DRIVER: &str = "windows";
/// What is said about more connections than any process can have: they would bring too much.
pub const TOO_MANY: &[&str] = &["--connections", "on their way"];

/// Tells a process.
///
/// `GenerateConsoleCtrlEvent` tells all that share a console, this process among them, and Wine has only Ctrl-C for it. What it does in
/// the end is to call this function of the system's in a new thread of each: so does this, in the one that is meant. (The system's
/// libraries are at the same place in every process.)
pub fn signal(child: &Child, signal: Signal) {
    let event = match signal {
        Signal::Stop | Signal::Interrupt => CTRL_C_EVENT,
        Signal::Report => CTRL_BREAK_EVENT,
    };
    // SAFETY: the names are constant strings with their ends, and the library stays loaded.
    let routine =
        unsafe { GetProcAddress(GetModuleHandleW(w!("kernelbase.dll")), s!("CtrlRoutine")) };
    let routine = routine.expect("the system has it");
    // SAFETY: the function takes one argument, which it uses as a number, as a thread's first function does.
    let routine: LPTHREAD_START_ROUTINE = unsafe { std::mem::transmute(routine) };
    // SAFETY: the handle of the process is open with all rights, since this process has started it; the function exists there too.
    let thread = unsafe {
        let event = ptr::without_provenance(event as usize);
        CreateRemoteThread(
            child.as_raw_handle(),
            ptr::null(),
            0,
            routine,
            event,
            0,
            ptr::null_mut(),
        )
    };
    assert!(!thread.is_null(), "it lives: {}", io::Error::last_os_error());
    // SAFETY: the handle is new, and nobody else has it.
    drop(unsafe { OwnedHandle::from_raw_handle(thread) });
}

/// Whether a client that resets its connection is seen to: Wine shuts a socket down before it closes it, so it never is there.
pub fn has_resets() -> bool {
    // SAFETY: the names are constant strings with their ends, and the library stays loaded.
    let wine = unsafe { GetProcAddress(GetModuleHandleW(w!("ntdll.dll")), s!("wine_get_version")) };
    wine.is_none()
}

/// Gives the process a console of its own: what is told to it is told to nobody else, and the other way round.
pub fn prepare(command: &mut Command) -> &mut Command {
    command.creation_flags(CREATE_NO_WINDOW)
}

/// There is no such limit.
pub fn descriptor_limit() -> Option<u64> {
    None
}

/// Handles that a process has open.
pub fn descriptors(child: &Child) -> Option<usize> {
    let mut count = 0;
    // SAFETY: the handle is open, and the count is written only during the call.
    let done = unsafe { GetProcessHandleCount(child.as_raw_handle(), &mut count) };
    (done != 0).then_some(count as usize)
}
