//! Sleeping in a driver and on something else at once: another driver, or the socket of a blocking call. All of it is alertable, which is
//! how a thread's own operations come in.

use std::{
    io,
    os::windows::io::{AsRawHandle, OwnedHandle},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use windows_sys::Win32::{
    Foundation::{FALSE, HANDLE},
    Networking::WinSock::{
        FD_ACCEPT, FD_CLOSE, FD_CONNECT, FD_READ, FD_WRITE, POLLRDNORM, POLLWRNORM, SOCKET,
        SOCKET_ERROR, WSAEVENT, WSAEventSelect, WSAPOLLFD, WSAPoll,
    },
    System::Threading::{ResetEvent, SetEvent, SleepEx, WaitForMultipleObjectsEx},
};

use super::{Apc, Descriptor, Port, guest::event, milliseconds, raw, status};

/// What a thread sleeps on beside a driver.
#[derive(Clone, Copy)]
pub(crate) enum Beside<'a> {
    /// A port.
    Port(&'a Port),
    /// The calling thread's routines.
    Routines(&'a Apc),
    /// A socket, until it can be read, accepted from, or (true) written or is connected.
    Socket(&'a Descriptor, bool),
}

impl<'a> Beside<'a> {
    /// Until it can be read, or accepted from.
    pub(crate) fn readable(socket: &'a Descriptor) -> Self {
        Self::Socket(socket, false)
    }

    /// Until it can be written, or is connected.
    pub(crate) fn writable(socket: &'a Descriptor) -> Self {
        Self::Socket(socket, true)
    }

    /// Sleeps on this alone, and tells whether there is something. May return for no reason.
    pub(crate) fn wait(self, timeout: Option<Duration>) -> io::Result<bool> {
        sleep(&[self], timeout).map(|told| told[0])
    }

    /// Whether there is something now.
    fn is_there(&self) -> io::Result<bool> {
        match self {
            Beside::Port(port) => port.nap(Some(Duration::ZERO)),
            Beside::Routines(apc) => Ok(apc.has_news()),
            Beside::Socket(socket, _) if socket.is_closed() => Ok(true),
            Beside::Socket(socket, writable) => {
                let events = if *writable { POLLWRNORM } else { POLLRDNORM };
                let mut asked = WSAPOLLFD { fd: raw(socket) as SOCKET, events, revents: 0 };
                // SAFETY: one entry, which is written to.
                match unsafe { WSAPoll(&raw mut asked, 1, 0) } {
                    SOCKET_ERROR => Err(status::last_of_socket()),
                    told => Ok(told > 0),
                }
            }
        }
    }
}

/// Sleeps until there is something of any of them or the time is up, and tells of each whether there is. May return for no reason.
pub(in crate::sys) fn sleep(
    all: &[Beside<'_>],
    timeout: Option<Duration>,
) -> io::Result<Vec<bool>> {
    let told = all.iter().map(Beside::is_there).collect::<io::Result<Vec<_>>>()?;
    if told.contains(&true) || timeout == Some(Duration::ZERO) {
        return Ok(told);
    }
    let mut sockets = Vec::new();
    let mut port = None;
    for one in all {
        match one {
            Beside::Port(there) => port = Some(*there),
            Beside::Routines(_) => {}
            Beside::Socket(socket, writable) => sockets.push(Selected::new(socket, *writable)?),
        }
    }
    // A close that came before they were listed has woken nobody.
    let timeout =
        if all.iter().any(|one| matches!(one, Beside::Socket(socket, _) if socket.is_closed())) {
            Some(Duration::ZERO)
        } else {
            timeout
        };
    match (port, sockets.as_slice()) {
        (Some(port), _) => _ = port.nap(timeout)?,
        (None, []) => {
            // SAFETY: it has no conditions.
            unsafe { SleepEx(milliseconds(timeout), 1) };
        }
        (None, sockets) => {
            let events: Vec<HANDLE> = sockets.iter().map(|one| one.event.as_raw_handle()).collect();
            // SAFETY: so many handles, which are open.
            unsafe {
                WaitForMultipleObjectsEx(
                    events.len() as u32,
                    events.as_ptr(),
                    FALSE,
                    milliseconds(timeout),
                    1,
                )
            };
        }
    }
    drop(sockets);
    all.iter().map(Beside::is_there).collect()
}

/// The sockets that threads sleep on now.
static SLEPT_ON: Mutex<Vec<SleptOn>> = Mutex::new(Vec::new());

/// One of them. A socket signals one event only, so all who sleep on it share that.
struct SleptOn {
    socket: usize,
    event: Arc<OwnedHandle>,
    /// What each of them sleeps for.
    what: Vec<u32>,
}

impl SleptOn {
    /// Has the socket signal what somebody sleeps for; what is there already, at once.
    fn select(&self) -> io::Result<()> {
        let what = self.what.iter().fold(0, |all, what| all | what);
        let event = if what == 0 { 0 } else { self.event.as_raw_handle() as WSAEVENT };
        // SAFETY: the socket is borrowed by who sleeps on it; the event is open.
        match unsafe { WSAEventSelect(self.socket as SOCKET, event, what as i32) } {
            SOCKET_ERROR => Err(status::last_of_socket()),
            _ => Ok(()),
        }
    }
}

fn slept_on() -> MutexGuard<'static, Vec<SleptOn>> {
    SLEPT_ON.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes who sleeps on this socket, which was closed: elsewhere it is told by being shut down.
pub(crate) fn closed(descriptor: &Descriptor) {
    descriptor.mark_closed();
    let socket = raw(descriptor);
    for one in slept_on().iter().filter(|one| one.socket == socket) {
        // SAFETY: an open event.
        unsafe { SetEvent(one.event.as_raw_handle()) };
    }
}

/// A thread's sleep on a socket, until this is dropped.
struct Selected {
    socket: usize,
    what: u32,
    event: Arc<OwnedHandle>,
}

impl Selected {
    fn new(socket: &Descriptor, writable: bool) -> io::Result<Self> {
        let what = FD_CLOSE | if writable { FD_WRITE | FD_CONNECT } else { FD_READ | FD_ACCEPT };
        let socket = raw(socket);
        let mut all = slept_on();
        let at = match all.iter().position(|one| one.socket == socket) {
            Some(at) => at,
            None => {
                all.push(SleptOn { socket, event: Arc::new(event()?), what: Vec::new() });
                all.len() - 1
            }
        };
        // What it was signaled for before is looked at anew; who was asleep then has been woken.
        // SAFETY: an open event.
        unsafe { ResetEvent(all[at].event.as_raw_handle()) };
        all[at].what.push(what);
        let selected = Self { socket, what, event: all[at].event.clone() };
        let result = all[at].select();
        drop(all);
        result.map(|()| selected)
    }
}

impl Drop for Selected {
    fn drop(&mut self) {
        let mut all = slept_on();
        let Some(at) = all.iter().position(|one| one.socket == self.socket) else { return };
        let one = &mut all[at];
        if let Some(own) = one.what.iter().position(|what| *what == self.what) {
            one.what.swap_remove(own);
        }
        if one.what.is_empty() {
            // Should it fail, the socket signals an event that nobody has any more.
            let _ = one.select();
            all.swap_remove(at);
        }
    }
}
