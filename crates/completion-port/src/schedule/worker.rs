//! A thread as a worker of a port: it belongs to the port of its last wait, until it waits at another or exits (S46).

use std::{
    cell::RefCell,
    sync::{
        Weak,
        atomic::{AtomicU64, Ordering},
    },
};

/// A port, as its workers know it, by the number of the worker.
pub(crate) trait Workplace: Send + Sync {
    /// The worker is of this port no more (S53, S54).
    fn leave(&self, worker: usize);
    /// The worker gives up its place among the running (S49). False if it has none.
    fn block(&self, worker: usize) -> bool;
    /// It runs again (S51).
    fn unblock(&self, worker: usize);
}

/// Numbers for ports, never used twice.
pub(super) fn number() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

struct Member {
    port: u64,
    worker: usize,
    workplace: Weak<dyn Workplace>,
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(workplace) = self.workplace.upgrade() {
            workplace.leave(self.worker);
        }
    }
}

thread_local! {
    static MEMBER: RefCell<Option<Member>> = const { RefCell::new(None) };
}

/// The calling thread's number at this port, if it is one of its workers.
pub(super) fn at(port: u64) -> Option<usize> {
    let worker = |member: &Option<Member>| {
        member.as_ref().filter(|member| member.port == port).map(|member| member.worker)
    };
    MEMBER.try_with(|member| worker(&member.borrow())).ok().flatten()
}

/// Makes the calling thread a worker of a port, and of no other. A thread that is ending stays what it is.
pub(super) fn join(port: u64, workplace: Weak<dyn Workplace>, enrol: impl FnOnce() -> usize) {
    let _ending = MEMBER.try_with(|member| {
        // The old one is left before the new one is joined, and without a borrow: it takes that port's lock.
        drop(member.take());
        let worker = enrol();
        member.replace(Some(Member { port, worker, workplace }));
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
    /// The worker is back, also if `wait` panics.
    struct Back(Option<(std::sync::Arc<dyn Workplace>, usize)>);

    impl Drop for Back {
        fn drop(&mut self) {
            if let Some((workplace, worker)) = &self.0 {
                workplace.unblock(*worker);
            }
        }
    }

    let member = |member: &RefCell<Option<Member>>| {
        let member = member.borrow();
        let member = member.as_ref()?;
        Some((member.workplace.upgrade()?, member.worker))
    };
    let member = MEMBER.try_with(member).ok().flatten();
    let _back = Back(member.filter(|(workplace, worker)| workplace.block(*worker)));
    wait()
}
