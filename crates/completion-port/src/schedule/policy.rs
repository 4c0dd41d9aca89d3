//! What a port's users choose about scheduling, and the figures behind the defaults.

use std::time::Duration;

/// When a second worker is woken while one runs and the limit allows more. On Windows the kernel decides, and it is as with `Eager`.
///
/// ```
/// use completion_port::{CompletionPort, Waking};
///
/// let port = CompletionPort::builder().waking(Waking::Eager).build::<(), ()>()?;
/// # drop(port);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Waking {
    /// When those who run do not keep up: a packet has waited for long, a worker has not come back, or workers have blocked of
    /// late. A packet that finds nobody running wakes the newest waiter at once.
    #[default]
    Late,
    /// At once, while the limit allows it: NT's model.
    Eager,
}

/// How a worker that blocks gives up its place among the running. On Windows the kernel hears of every wait, and only
/// [`Unlimited`](Release::Unlimited) makes a difference.
///
/// ```
/// use completion_port::{CompletionPort, Release};
///
/// let port = CompletionPort::builder().release(Release::Exact).build::<(), ()>()?;
/// # drop(port);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Release {
    /// In the waits of this library and in [`blocking`](crate::blocking), at once; anywhere else within a bounded time, when it is
    /// seen to be blocked ([`Observation`](crate::Observation) says by what). A worker that wakes is not called back, so there may be as many more running as were released so.
    #[default]
    Observed,
    /// Only in the waits of this library and in [`blocking`](crate::blocking): never more than the limit run.
    Exact,
    /// There is no limit: every waiter may run.
    Unlimited,
}

/// The first look at a worker that is out, and every look for a while after one was seen to be blocked. One that has been out for
/// longer with one packet is looked at closely, the second time that a look finds it so.
pub(super) const SOON: Duration = Duration::from_micros(50);
/// While all who are out have been out for less than that, the looks become as rare as this, for [`WARY`] after one was out for longer.
pub(super) const SELDOM: Duration = Duration::from_micros(500);
/// And as rare as this afterwards: a look costs a thread's sleep and waking, some 20 us.
pub(super) const CALM: Duration = Duration::from_millis(2);
/// A packet that has waited for longer shows that those who run do not keep up. Another worker helps them if it would have a processor to
/// itself, as [`SPARE_LOOKS`] looks in a row have found: where all are wanted by others, it would take turns with those it came to help.
pub(super) const KEPT_UP: Duration = Duration::from_millis(2);
pub(super) const SPARE_LOOKS: u32 = 3;
/// A packet that has waited for longer has a waiter in any case.
pub(super) const PATIENCE: Duration = Duration::from_millis(20);
/// After a worker was seen to be blocked, waiters are woken eagerly for so long: there may be more where that came from.
pub(super) const WARY: Duration = Duration::from_millis(20);
/// So many looks in a row that find nothing to watch end the watch.
pub(super) const IDLE_LOOKS: u32 = 3;
/// Who waits for a processor comes back by itself when it gets one, and whoever were sent to help would want one, too. After so long it
/// is helped all the same.
pub(super) const OVERDUE: Duration = Duration::from_millis(10);
/// One that runs is taken to burn the processor when it has been out for longer, if no processor is spare: a single send may take 100 us
/// where the system delivers on its way what others have sent.
pub(super) const BURNING: Duration = Duration::from_millis(1);
/// A worker that has burned the processor for longer is looked at seldom.
pub(super) const LONG: Duration = Duration::from_millis(200);
