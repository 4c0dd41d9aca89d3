//! A test is run on a driver, or skipped for a reason, and the outcome is kept for who asked for it.

use std::{
    collections::HashSet,
    env, fs,
    path::Path,
    sync::{
        LazyLock, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use completion_port::{DRIVER_VARIABLE, DriverKind, Probed, probe};

use crate::{
    exceptions::{EXCEPTIONS, Exception},
    sys,
    table::Test,
};

/// Names the directory that outcomes go to, a small file for each test and driver: lines, test, driver, outcome, reason, sentence.
const OUTCOMES: &str = "COMPLETION_PORT_CONFORMANCE";

/// Longer than any test takes; shorter than people wait for a hang.
const LONGEST: Duration = Duration::from_secs(100);

static PROBED: LazyLock<Vec<Probed>> = LazyLock::new(probe);

/// Runs a test on a driver, or says why not.
pub fn run(driver: &str, test: &Test, body: fn(DriverKind)) {
    let skipped = |what: &str, why: &str| {
        say_once(&format!("{what} is skipped on {driver}: {why}"));
        keep(driver, test, "skipped", why);
    };
    let kind = match available(driver) {
        Ok(kind) => kind,
        Err(why) => return skipped("everything", &why),
    };
    if let Some(exception) = exception(driver, test) {
        return skipped(test.name(), exception.reason);
    }
    // Until it is known better: it may end the process.
    keep(driver, test, "failed", "");
    let _in_time = end_in_time(test, driver);
    body(kind);
    keep(driver, test, "ok", "");
}

/// The driver, or why it cannot be had.
fn available(driver: &str) -> Result<DriverKind, String> {
    if let Some(forced) =
        env::var(DRIVER_VARIABLE).ok().filter(|forced| !forced.is_empty() && forced != driver)
    {
        return Err(format!("{DRIVER_VARIABLE} forces {forced}"));
    }
    let kind: DriverKind = driver.parse().map_err(|e| format!("{e}"))?;
    let probed = PROBED.iter().find(|one| one.kind() == kind).ok_or("it is not of this system")?;
    probed.available().map(|_| kind).map_err(str::to_owned)
}

/// The one that applies to a test here.
fn exception(driver: &str, test: &Test) -> Option<&'static Exception> {
    let applies = |e: &&Exception| (e.driver, e.test) == (driver, test.name());
    EXCEPTIONS.iter().find(applies).filter(|_| sys::is_wine())
}

fn keep(driver: &str, test: &Test, outcome: &str, reason: &str) {
    let Some(directory) = env::var_os(OUTCOMES).filter(|directory| !directory.is_empty()) else {
        return;
    };
    let file = format!("{}@{driver}", test.name()).replace(':', "-");
    let lines = test.lines.join(" ");
    let text = [&lines, test.name(), driver, outcome, reason, test.says].join("\t");
    fs::create_dir_all(&directory).expect("the directory for outcomes can be made");
    fs::write(Path::new(&directory).join(file), text + "\n").expect("an outcome can be written");
}

/// Says something past the harness, which captures what is printed; the first time that it is to be said.
fn say_once(line: &str) {
    static SAID: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);
    if SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(line.to_owned()) {
        say(line);
    }
}

fn say(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Ends the process, with a message, if what is returned is not dropped in time: a hang becomes a failure with a name.
fn end_in_time(test: &Test, driver: &str) -> mpsc::Sender<()> {
    let (guard, over) = mpsc::channel();
    let name = format!("{} on {driver}", test.name());
    thread::spawn(move || {
        if over.recv_timeout(LONGEST) == Err(RecvTimeoutError::Timeout) {
            say(&format!("{name} hangs"));
            std::process::abort();
        }
    });
    guard
}
