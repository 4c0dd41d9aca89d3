//! What the console tells, as calls of a closure.

use std::{
    io,
    sync::{Mutex, OnceLock, PoisonError},
    thread,
};

use windows_sys::{
    Win32::System::Console::{
        CTRL_BREAK_EVENT, CTRL_C_EVENT, CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT,
        SetConsoleCtrlHandler,
    },
    core::BOOL,
};

use crate::sys::Signal;

/// Who is told.
struct Listener {
    /// Ctrl-Break is to report; otherwise it is to stop, as Ctrl-C is.
    reports: bool,
    /// What to call. It says whether anybody still wants to know.
    tell: Mutex<Box<dyn FnMut(Signal) -> bool + Send>>,
}

/// The system calls a function, which has nothing but this to go by.
static LISTENER: OnceLock<Listener> = OnceLock::new();

/// From now on `tell` hears of those that are wanted, until it says that nobody wants to know any more.
///
/// The system makes a thread for each; until then there is none.
pub fn listen(
    wanted: &[Signal],
    tell: impl FnMut(Signal) -> bool + Send + 'static,
) -> io::Result<()> {
    let reports = wanted.contains(&Signal::Report);
    let listener = Listener { reports, tell: Mutex::new(Box::new(tell)) };
    LISTENER
        .set(listener)
        .map_err(|_| io::Error::new(io::ErrorKind::AlreadyExists, "somebody listens already"))?;
    // SAFETY: the function has the form that is asked for, and lives as long as the process.
    let done = unsafe { SetConsoleCtrlHandler(Some(handle), 1) };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Called by the system, on a thread of its own. 0: what happens is the next one's affair, and in the end the process is ended.
extern "system" fn handle(event: u32) -> BOOL {
    let Some(listener) = LISTENER.get() else { return 0 };
    let Some(signal) = meaning(event, listener.reports) else { return 0 };
    let heard = (listener.tell.lock().unwrap_or_else(PoisonError::into_inner))(signal);
    if heard && event != CTRL_C_EVENT && event != CTRL_BREAK_EVENT {
        // The console closes, the user leaves, or the machine goes down. The process is ended when this function returns, or in a few
        // seconds: an orderly end has as long as that, and ends this thread too.
        loop {
            thread::park();
        }
    }
    BOOL::from(heard)
}

/// What an event of the console is to the command.
fn meaning(event: u32, reports: bool) -> Option<Signal> {
    match event {
        CTRL_BREAK_EVENT if reports => Some(Signal::Report),
        CTRL_C_EVENT | CTRL_BREAK_EVENT => Some(Signal::Stop),
        CTRL_CLOSE_EVENT | CTRL_LOGOFF_EVENT | CTRL_SHUTDOWN_EVENT => Some(Signal::Stop),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ctrl_break_is_ever_a_report() {
        assert_eq!(meaning(CTRL_BREAK_EVENT, true), Some(Signal::Report));
        assert_eq!(meaning(CTRL_BREAK_EVENT, false), Some(Signal::Stop));
        for event in [CTRL_C_EVENT, CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT] {
            assert_eq!(meaning(event, true), Some(Signal::Stop));
        }
        assert_eq!(meaning(7, true), None);
    }
}
