//! epoll, edge-triggered, with an eventfd to wake its sleeper.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    ptr, slice,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};

/// A socket that has become ready, possibly more than it was.
pub(super) struct Edge {
    pub token: u64,
    pub readable: bool,
    pub writable: bool,
    /// An end or an error is there to be read, behind whatever data.
    pub closed: bool,
}

pub(super) struct Poller {
    epoll: OwnedFd,
    wake: OwnedFd,
    /// Not yet refused: the call whose timeout is no number of milliseconds.
    to_the_nanosecond: AtomicBool,
}

const WAKE: u64 = u64::MAX;
const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);
/// Edges taken in one call; more wait for the next.
const BATCH: usize = 256;
type Batch = [MaybeUninit<epoll::Event>; BATCH];

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(
            &epoll,
            &wake,
            epoll::EventData::new_u64(WAKE),
            epoll::EventFlags::IN | epoll::EventFlags::ET,
        )?;
        Ok(Self { epoll, wake, to_the_nanosecond: AtomicBool::new(true) })
    }

    pub(super) fn add(&self, fd: &OwnedFd, token: u64) -> io::Result<()> {
        use epoll::EventFlags as E;
        Ok(epoll::add(
            &self.epoll,
            fd,
            epoll::EventData::new_u64(token),
            E::IN | E::OUT | E::RDHUP | E::ET,
        )?)
    }

    /// How many events there are now, written to the beginning of `batch`.
    fn ask(&self, batch: &mut Batch, timeout: Option<Duration>) -> io::Result<usize> {
        // Longer than a plain epoll_wait can: that one is everywhere, and whoever waits for longer comes back.
        let timeout = timeout.map(|time| time.min(LONGEST));
        if let Some(time) = timeout.filter(|time| !is_in_milliseconds(*time))
            && self.to_the_nanosecond.load(Ordering::Relaxed)
        {
            match epoll_pwait2(&self.epoll, batch, timespec(time)) {
                // Linux before 5.11, or a filter (seccomp) that does not know it.
                Err(e) if matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                    self.to_the_nanosecond.store(false, Ordering::Relaxed);
                }
                told => return told,
            }
        }
        // It rounds up to the millisecond.
        let (told, _) = epoll::wait(&self.epoll, batch, timeout.map(timespec).as_ref())?;
        Ok(told.len())
    }

    /// Not only on close: a duplicate of the descriptor would keep the registration alive.
    pub(super) fn delete(&self, fd: &OwnedFd) {
        let _ = epoll::delete(&self.epoll, fd);
    }

    pub(super) fn wait(&self, timeout: Option<Duration>, edges: &mut Vec<Edge>) -> io::Result<()> {
        // Left as it is until the kernel writes to it: most calls tell of a few edges only.
        let mut batch = [const { MaybeUninit::uninit() }; BATCH];
        let count = match self.ask(&mut batch, timeout) {
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => 0,
            Err(e) => return Err(e),
        };
        // SAFETY: the kernel has written so many of them, one after the other from the first.
        let told = unsafe { slice::from_raw_parts(batch.as_ptr().cast::<epoll::Event>(), count) };
        for event in told {
            use epoll::EventFlags as E;
            let (flags, token) = (event.flags, event.data.u64());
            if token == WAKE {
                // Edge-triggered: the count need not be read, it only must not overflow, which takes 2^64 wake-ups.
                continue;
            }
            let closed = flags.intersects(E::RDHUP | E::HUP | E::ERR);
            edges.push(Edge {
                token,
                readable: closed || flags.contains(E::IN),
                writable: flags.intersects(E::OUT | E::HUP | E::ERR),
                closed,
            });
        }
        Ok(())
    }

    /// Readable while an edge waits to be told (epoll(7)).
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.epoll.as_fd())
    }

    pub(super) fn notify(&self) {
        // It fails only when the counter is full, and then a wake-up is under way.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

/// Whether epoll_pwait can say it; then it does, and every kernel has that one.
fn is_in_milliseconds(time: Duration) -> bool {
    time.subsec_nanos().is_multiple_of(1_000_000)
}

fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
        // Not `into`: it is this that makes the type the kernel's own, two numbers of 64 bits, on every machine.
        tv_nsec: i64::from(time.subsec_nanos()),
    }
}

/// rustix has it only for programs that no older kernel is to run.
fn epoll_pwait2(epoll: &OwnedFd, batch: &mut Batch, time: Timespec) -> io::Result<usize> {
    // SAFETY: it writes no more than BATCH events to `batch`, whose layout is the kernel's (rustix's own call takes it as it is), and
    // reads `time`, a `struct __kernel_timespec` (see `timespec`). There is no signal mask, so its size does not matter.
    let count = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            epoll.as_raw_fd(),
            batch.as_mut_ptr(),
            BATCH as libc::c_int,
            &raw const time,
            ptr::null::<libc::sigset_t>(),
            0usize,
        )
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

#[cfg(all(test, not(completion_port_loom)))]
#[path = "epoll_tests.rs"]
mod tests;
