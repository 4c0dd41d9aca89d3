//! One promise, every driver.

use std::{
    cell::RefCell,
    collections::HashSet,
    env,
    sync::{
        LazyLock, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use completion_port::{DRIVER_VARIABLE, DriverKind, Probed, probe};

static PROBED: LazyLock<Vec<Probed>> = LazyLock::new(probe);

/// What has been said once already.
static SAID: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);

thread_local! {
    /// The name of the test that this thread runs, as the harness knows it.
    static TEST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Says something, the first time that it is to be said.
pub fn say_once(line: &str) {
    if SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(line.to_owned()) {
        super::say(line);
    }
}

/// The drivers that can be had here, or the one that the environment forces.
pub fn available() -> Vec<DriverKind> {
    PROBED.iter().map(Probed::kind).filter(|kind| why_not(*kind).is_none()).collect()
}

/// Why a promise is not tested on this driver, if so.
pub fn why_not(kind: DriverKind) -> Option<String> {
    let forced = env::var(DRIVER_VARIABLE).ok().filter(|name| !name.is_empty());
    if let Some(name) = forced {
        let forced: DriverKind = name.parse().unwrap_or_else(|e| panic!("{DRIVER_VARIABLE}: {e}"));
        return (forced != kind).then(|| format!("{DRIVER_VARIABLE} forces {forced}"));
    }
    let probed = PROBED.iter().find(|one| one.kind() == kind).expect("every driver is probed");
    probed.available().err().map(str::to_owned)
}

/// Runs a promise on a driver, or says why not.
pub fn on(driver: &str, test: &str, promise: fn(DriverKind)) {
    let kind: DriverKind = driver.parse().expect("a driver's name");
    if let Some(why) = why_not(kind) {
        say_once(&format!("skipped on {driver}: {why}"));
        return;
    }
    // The harness does not know the crate's name.
    let test = test.split_once("::").map_or(test, |(_, path)| path);
    if let Some(why) = super::exceptions::why_not(test, kind) {
        say_once(&format!("{test} is skipped: {why}"));
        return;
    }
    TEST.set(test.to_owned());
    let _in_time = end_in_time(test);
    promise(kind);
}

/// Longer than any test takes; shorter than people wait for a hang.
const LONGEST: Duration = Duration::from_secs(100);

/// Ends the process, with a message, if what is returned is not dropped in time: a hang becomes a failure with a name.
pub fn end_in_time(test: &str) -> mpsc::Sender<()> {
    let (guard, over) = mpsc::channel();
    let test = test.to_owned();
    // A million cancels are not one test's worth.
    let longest = LONGEST * (1 + super::cancels::asked() / 50_000) as u32;
    thread::spawn(move || {
        if over.recv_timeout(longest) == Err(RecvTimeoutError::Timeout) {
            super::say(&format!("{test} hangs"));
            std::process::abort();
        }
    });
    guard
}

/// The name of the running test, for a child that runs it alone.
pub fn running_test() -> String {
    TEST.with_borrow(Clone::clone)
}

/// Makes each promise a test on each driver: `order::receives_fill_in_call_order::readiness`.
#[macro_export]
macro_rules! on_each_driver {
    ($($promise:ident),* $(,)?) => {$(
        mod $promise {
            #[cfg(target_os = "linux")]
            $crate::on_each_driver!(@ $promise io_uring_buffer_ring "io_uring:buffer-ring");
            #[cfg(target_os = "linux")]
            $crate::on_each_driver!(@ $promise io_uring_coop "io_uring:coop");
            #[cfg(target_os = "linux")]
            $crate::on_each_driver!(@ $promise io_uring_basic "io_uring:basic");
            #[cfg(unix)]
            $crate::on_each_driver!(@ $promise readiness "readiness");
            #[cfg(windows)]
            $crate::on_each_driver!(@ $promise windows "windows");
            #[cfg(windows)]
            $crate::on_each_driver!(@ $promise windows_unlimited "windows:unlimited");
        }
    )*};
    (@ $promise:ident $name:ident $driver:literal) => {
        #[test]
        fn $name() {
            $crate::util::drivers::on($driver, concat!(module_path!(), "::", stringify!($name)), super::$promise);
        }
    };
}
