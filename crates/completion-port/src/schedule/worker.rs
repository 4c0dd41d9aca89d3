//! A thread as a worker of a port: it belongs to the port of its last wait, until it waits at another or exits (S46).

use std::{
    cell::RefCell,
    sync::{
        Arc as StdArc, Weak,
        atomic::{AtomicU64, Ordering as StdOrdering},
    },
};

use super::sync::{Arc, AtomicUsize, Ordering};

/// A port, as its workers know it, by the number of the worker.
pub(crate) trait Workplace: Send + Sync {
    /// The worker is of this port no more (S53, S54).
    fn leave(&self, worker: usize);
    /// The worker gives up its place among the running (S49). False if it has none.
    fn block(&self, worker: usize) -> bool;
    /// It runs again (S51).
    fn unblock(&self, worker: usize);
}

/// What a worker reads without the scheduler's lock, and others write behind it: its home, the driver that it starts operations in and
/// looks at when it comes back.
pub(super) struct Desk(AtomicUsize);

impl Desk {
    pub(super) fn new() -> Self {
        Self(AtomicUsize::new(usize::MAX))
    }

    pub(super) fn home(&self) -> Option<usize> {
        Some(self.0.load(Ordering::Acquire)).filter(|home| *home != usize::MAX)
    }

    pub(super) fn set_home(&self, driver: Option<usize>) {
        self.0.store(driver.unwrap_or(usize::MAX), Ordering::Release);
    }
}

/// Numbers for ports, never used twice.
pub(super) fn number() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, StdOrdering::Relaxed) + 1
}

struct Member {
    port: u64,
    worker: usize,
    desk: Arc<Desk>,
    workplace: Weak<dyn Workplace>,
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(workplace) = self.workplace.upgrade() {
            workplace.leave(self.worker);
            // Who has it last ends the port.
            crate::pause::here();
        }
    }
}

thread_local! {
    static MEMBER: RefCell<Option<Member>> = const { RefCell::new(None) };
}

/// What the calling thread is at this port, if it is one of its workers.
fn member<R>(port: u64, what: impl FnOnce(&Member) -> R) -> Option<R> {
    let here = |member: &RefCell<Option<Member>>| {
        member.borrow().as_ref().filter(|member| member.port == port).map(what)
    };
    MEMBER.try_with(here).ok().flatten()
}

/// The calling thread's number at this port, if it is one of its workers.
pub(super) fn at(port: u64) -> Option<usize> {
    member(port, |member| member.worker)
}

/// The calling thread's home at this port, if it has one.
pub(super) fn home(port: u64) -> Option<usize> {
    member(port, |member| member.desk.home()).flatten()
}

/// Makes the calling thread a worker of a port, and of no other. A thread that is ending stays what it is.
pub(super) fn join(
    port: u64,
    workplace: Weak<dyn Workplace>,
    enrol: impl FnOnce() -> (usize, Arc<Desk>),
) {
    let _ending = MEMBER.try_with(|member| {
        // The old one is left before the new one is joined, and without a borrow: it takes that port's lock.
        drop(member.take());
        let (worker, desk) = enrol();
        member.replace(Some(Member { port, worker, desk, workplace }));
    });
}

/// Runs `wait`, which may block, without a place among the running threads of the port that this thread takes its packets from: a
/// waiting thread may run meanwhile (S49). When it is back, it counts again, also beyond the limit (S51).
///
/// In a thread that belongs to no port it just runs. The waits of this library do the same by themselves.
///
/// ```
/// use completion_port::{CompletionPort, blocking};
/// use std::{thread, time::Duration};
///
/// let port = CompletionPort::<(), ()>::new()?;
/// port.key(()).post(0, ())?;
/// let packet = port.get()?;
/// blocking(|| thread::sleep(Duration::from_millis(1))); // a query of a database, say
/// # drop(packet);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn blocking<R>(wait: impl FnOnce() -> R) -> R {
    /// The worker is back, also if `wait` panics; unless it has become one of another port meanwhile.
    struct Back(Option<(StdArc<dyn Workplace>, usize, Arc<Desk>)>);

    impl Drop for Back {
        fn drop(&mut self) {
            let Some((workplace, worker, desk)) = &self.0 else { return };
            let is_still = |member: &RefCell<Option<Member>>| {
                member.borrow().as_ref().is_some_and(|member| Arc::ptr_eq(&member.desk, desk))
            };
            if MEMBER.try_with(is_still).unwrap_or(false) {
                workplace.unblock(*worker);
            }
        }
    }

    let member = |member: &RefCell<Option<Member>>| {
        let member = member.borrow();
        let member = member.as_ref()?;
        Some((member.workplace.upgrade()?, member.worker, member.desk.clone()))
    };
    let member = MEMBER.try_with(member).ok().flatten();
    let _back = Back(member.filter(|(workplace, worker, _)| workplace.block(*worker)));
    wait()
}
