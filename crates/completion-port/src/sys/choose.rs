//! Which drivers there are, and which one a port gets, with the reason in words.

use std::{env, fmt, io, str::FromStr, sync::Arc};

#[cfg(any(target_os = "linux", windows))]
use super::Driver;
use super::{Drivers, os};
use crate::buffer::{Pool, PoolOptions};

/// The environment variable that forces a driver, by the name that [`DriverKind`] prints.
pub const DRIVER_VARIABLE: &str = "COMPLETION_PORT_DRIVER";

/// How much of io_uring is used: the rungs of the probe ladder, from the top.
///
/// ```
/// use completion_port::{DriverKind, Rung};
///
/// assert_eq!(DriverKind::IoUring(Rung::Basic).to_string(), "io_uring:basic");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rung {
    /// Linux 5.19: buffers lie with the kernel, which takes one when data arrives (provided-buffer ring), and the two below.
    BufferRing,
    /// Linux 5.19: completion work does not interrupt a running thread (`COOP_TASKRUN`), and one accept brings many connections.
    Coop,
    /// Linux 5.15: one request an operation; a lent receive first waits for readiness.
    Basic,
}

#[cfg_attr(not(target_os = "linux"), allow(dead_code))] // asked by the io_uring driver
impl Rung {
    pub(crate) fn coop_taskrun(self) -> bool {
        !matches!(self, Rung::Basic)
    }

    pub(crate) fn multishot_accept(self) -> bool {
        !matches!(self, Rung::Basic)
    }
}

/// A driver: what carries operations to the system and back. It prints, and is parsed from, the name that
/// `COMPLETION_PORT_DRIVER` takes.
///
/// ```
/// use completion_port::{DriverKind, Rung};
///
/// let kind: DriverKind = "io_uring:coop".parse()?;
/// assert_eq!(kind, DriverKind::IoUring(Rung::Coop));
/// assert_eq!(DriverKind::Readiness.to_string(), "readiness");
/// assert!("epol".parse::<DriverKind>().is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DriverKind {
    /// `io_uring:buffer-ring`, `io_uring:coop`, `io_uring:basic`: Linux's own completions. `io_uring` alone parses as the top rung.
    IoUring(Rung),
    /// `readiness`: epoll or kqueue says when, the port does the I/O.
    Readiness,
    /// `windows`: the completion ports of Windows itself, which decide which threads run, too.
    Windows,
    /// `windows:unlimited`: the same without a limit of their own: this library decides which threads run, as it does on other systems. For
    /// Wine, whose ports keep no limit.
    WindowsUnlimited,
    /// `simulated:SEED`: a network in memory with a virtual clock and seeded faults; only by [`Builder::simulated`](crate::Builder::simulated).
    #[cfg(feature = "simulated")]
    Simulated(u64),
}

/// All that have a name.
const NAMED: [DriverKind; 6] = [
    DriverKind::IoUring(Rung::BufferRing),
    DriverKind::IoUring(Rung::Coop),
    DriverKind::IoUring(Rung::Basic),
    DriverKind::Readiness,
    DriverKind::Windows,
    DriverKind::WindowsUnlimited,
];

/// Who a driver is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    /// A completion port.
    Port {
        /// So many threads can run at once: what drivers beyond that would be for, there is not.
        #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
        // asked where a port has several
        places: usize,
        /// So many may, as the system is told where it decides.
        #[cfg_attr(not(windows), allow(dead_code))] // asked by the system's own port
        limit: usize,
    },
    /// The routines of one thread.
    Routines,
}

impl fmt::Display for DriverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DriverKind::IoUring(Rung::BufferRing) => f.pad("io_uring:buffer-ring"),
            DriverKind::IoUring(Rung::Coop) => f.pad("io_uring:coop"),
            DriverKind::IoUring(Rung::Basic) => f.pad("io_uring:basic"),
            DriverKind::Readiness => f.pad("readiness"),
            DriverKind::Windows => f.pad("windows"),
            DriverKind::WindowsUnlimited => f.pad("windows:unlimited"),
            #[cfg(feature = "simulated")]
            DriverKind::Simulated(seed) => write!(f, "simulated:{seed}"),
        }
    }
}

impl FromStr for DriverKind {
    type Err = io::Error;

    fn from_str(name: &str) -> io::Result<Self> {
        if name == "io_uring" {
            return Ok(NAMED[0]);
        }
        NAMED.into_iter().find(|kind| kind.to_string() == name).ok_or_else(|| {
            let names = NAMED.map(|kind| kind.to_string()).join(", ");
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("there is no driver named {name:?}; the drivers are {names}"),
            )
        })
    }
}

/// The driver that a port uses, and why that one.
///
/// ```
/// let port = completion_port::CompletionPort::<(), ()>::new()?;
/// let choice = port.driver();
/// assert!(!choice.reason().is_empty());
/// println!("{choice}"); // io_uring:buffer-ring (the first of the ladder that this machine offers)
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct DriverChoice {
    kind: DriverKind,
    reason: String,
}

impl DriverChoice {
    /// The driver.
    #[must_use]
    pub fn kind(&self) -> DriverKind {
        self.kind
    }

    /// Why it was chosen: forced, the best there is, or what was refused above it.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for DriverChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.kind, self.reason)
    }
}

/// One driver, and whether this machine offers it. From [`probe`].
///
/// ```
/// for probed in completion_port::probe() {
///     match probed.available() {
///         Ok(()) => println!("{}", probed.kind()),
///         Err(why) => println!("not {}: {why}", probed.kind()),
///     }
///     assert_ne!(probed.available(), Err(""));
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Probed {
    kind: DriverKind,
    refusal: Option<String>,
}

impl Probed {
    /// The driver.
    #[must_use]
    pub fn kind(&self) -> DriverKind {
        self.kind
    }

    /// Whether a port could use it here and now; if not, what stands in the way.
    ///
    /// # Errors
    ///
    /// The reason, with the system's own answer and what can be done about it.
    pub fn available(&self) -> Result<(), &str> {
        self.refusal.as_deref().map_or(Ok(()), Err)
    }
}

/// Tries every driver, the best first, and tells which of them a port could use here and now.
///
/// ```
/// use completion_port::{DriverKind, probe};
///
/// let probed = probe();
/// // What asks for nothing special comes last: `readiness` on Unix.
/// let last = probed.last().unwrap();
/// assert!(cfg!(windows) || last.kind() == DriverKind::Readiness);
/// assert!(last.available().is_ok());
/// ```
#[must_use]
pub fn probe() -> Vec<Probed> {
    let pool = Pool::new(PoolOptions::new());
    os::ladder()
        .iter()
        .map(|&kind| {
            let made = pool
                .as_ref()
                .map_err(|e| e.to_string())
                .and_then(|pool| open(kind, pool, User::Port { places: 1, limit: 1 }).map(drop));
            Probed { kind, refusal: made.err() }
        })
        .collect()
}

/// The drivers for a new port: of the forced kind, or of the best that this machine offers.
pub(crate) fn choose(
    forced: Option<DriverKind>,
    pool: &Arc<Pool>,
    user: User,
) -> io::Result<(Drivers, DriverChoice)> {
    let forced = match (forced, env::var(DRIVER_VARIABLE)) {
        (Some(kind), _) => Some((kind, "forced by the builder".to_owned())),
        (None, Ok(name)) if !name.is_empty() => {
            let kind = name.parse().map_err(|e: io::Error| {
                io::Error::new(e.kind(), format!("{DRIVER_VARIABLE}: {e}"))
            })?;
            Some((kind, format!("forced by {DRIVER_VARIABLE}")))
        }
        (None, Err(env::VarError::NotUnicode(_))) => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{DRIVER_VARIABLE} is not valid Unicode"),
            ));
        }
        (None, _) => None,
    };
    if let Some((kind, reason)) = forced {
        let drivers = open(kind, pool, user).map_err(|why| {
            io::Error::new(
                io::ErrorKind::Unsupported,
                format!("the driver {kind} was {reason}, but {why}"),
            )
        })?;
        return Ok((drivers, DriverChoice { kind, reason }));
    }

    let mut refusals: Vec<String> = Vec::new();
    for &kind in os::ladder() {
        match open(kind, pool, user) {
            Ok(drivers) => {
                let reason = match refusals.as_slice() {
                    [] => "the first of the ladder that this machine offers".to_owned(),
                    [.., last] => format!("because {last}"),
                };
                if kind == DriverKind::Readiness && !refusals.is_empty() {
                    tracing::warn!(driver = %kind, reason, "io_uring cannot be used; falling back");
                }
                return Ok((drivers, DriverChoice { kind, reason }));
            }
            Err(why) => refusals.push(why),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        format!("no driver can be used: {}", refusals.join("; ")),
    ))
}

/// The driver of a simulated network.
#[cfg(feature = "simulated")]
pub(crate) fn simulate(
    network: &super::simulated::api::Network,
    pool: &Arc<Pool>,
) -> io::Result<(Drivers, DriverChoice)> {
    let (world, seed) = network.world();
    let driver = super::simulated::Simulated::new(world.clone(), pool.clone())?;
    let choice = DriverChoice {
        kind: DriverKind::Simulated(seed),
        reason: "a simulated network was given".to_owned(),
    };
    Ok((Drivers::new(vec![Box::new(driver)]), choice))
}

/// Makes the drivers of a port, or says what stands in the way.
fn open(kind: DriverKind, pool: &Arc<Pool>, user: User) -> Result<Drivers, String> {
    // Not every system asks.
    let _ = user;
    match kind {
        #[cfg(target_os = "linux")]
        DriverKind::IoUring(rung) => rings(rung, pool, user),
        #[cfg(not(target_os = "linux"))]
        DriverKind::IoUring(_) => Err("io_uring is a part of Linux".to_owned()),
        // One serves all: the I/O itself is done by whichever thread starts it.
        #[cfg(unix)]
        DriverKind::Readiness => super::readiness::Readiness::new(pool.clone())
            .map(|driver| Drivers::new(vec![Box::new(driver)]))
            .map_err(|e| format!("the system's poller failed: {e}")),
        #[cfg(not(unix))]
        DriverKind::Readiness => Err("readiness is for Unix".to_owned()),
        #[cfg(windows)]
        DriverKind::Windows | DriverKind::WindowsUnlimited => windows(kind, pool, user),
        #[cfg(not(windows))]
        DriverKind::Windows | DriverKind::WindowsUnlimited => {
            Err("it is a part of Windows".to_owned())
        }
        #[cfg(feature = "simulated")]
        DriverKind::Simulated(_) => Err("a simulated driver needs its network".to_owned()),
    }
}

/// The kernel's own port, or that of a thread's routines.
#[cfg(windows)]
fn windows(kind: DriverKind, pool: &Arc<Pool>, user: User) -> Result<Drivers, String> {
    let driver: Box<dyn Driver> = match user {
        User::Port { limit, .. } => {
            let limit = (kind == DriverKind::Windows).then_some(limit);
            let port = os::Port::new(pool.clone(), limit);
            Box::new(port.map_err(|e| format!("the system's port failed: {e}"))?)
        }
        User::Routines => Box::new(os::Apc::new(pool.clone())),
    };
    Ok(Drivers::new(vec![driver]))
}

/// A ring for each place: what is submitted to one is carried out behind its lock, by the thread that submits it.
#[cfg(target_os = "linux")]
fn rings(rung: Rung, pool: &Arc<Pool>, user: User) -> Result<Drivers, String> {
    let places = if let User::Port { places, .. } = user { places } else { 1 };
    let mut rings: Vec<Box<dyn Driver>> = Vec::new();
    for place in 0..places {
        // The buffers that may lie with the kernel are shared out, the first gets the rest.
        let reserve = (pool.reserve() + places - 1 - place) / places;
        match super::io_uring::IoUring::new(rung, pool.clone(), reserve) {
            Ok(ring) => rings.push(Box::new(ring)),
            Err(e) if rings.is_empty() => return Err(explain(rung, &e)),
            Err(e) => {
                tracing::debug!(error = %e, rings = rings.len(), "fewer rings than places");
                break;
            }
        }
    }
    Ok(Drivers::new(rings))
}

/// What an error of the set-up says about the machine, and what can be done.
#[cfg(target_os = "linux")]
fn explain(rung: Rung, error: &io::Error) -> String {
    let advice = match error.raw_os_error() {
        Some(libc::EPERM) => {
            "it is not permitted: a seccomp filter (Docker's and containerd's default profiles have one) or kernel.io_uring_disabled forbids it"
        }
        Some(libc::ENOSYS) => "this kernel has none, or a filter hides it",
        Some(libc::ENOMEM) => "memory was refused: the memlock limit may be too low (ulimit -l)",
        Some(libc::EINVAL) if rung != Rung::Basic => "this kernel is older than 5.19",
        Some(libc::EINVAL) => "this kernel is too old",
        Some(libc::EMFILE | libc::ENFILE) => "no descriptor is left (ulimit -n)",
        _ => return format!("io_uring failed: {error}"),
    };
    format!("io_uring failed: {advice} ({error})")
}
