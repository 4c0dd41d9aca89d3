//! A test is run on a driver, or skipped for a reason, and the outcome is kept for who asked for it.

use std::{env, fs, path::Path};

use completion_port::DriverKind;

use crate::{
    exceptions::{EXCEPTIONS, Exception},
    sys,
    table::Test,
    util::drivers::{end_in_time, say_once, why_not},
};

/// Names the directory that outcomes go to, a small file for each test and driver: lines, test, driver, outcome, reason, sentence.
const OUTCOMES: &str = "COMPLETION_PORT_CONFORMANCE";

/// Runs a test on a driver, or says why not.
pub fn run(driver: &str, test: &Test, body: fn(DriverKind)) {
    let skipped = |what: &str, why: &str| {
        say_once(&format!("{what} is skipped on {driver}: {why}"));
        keep(driver, test, "skipped", why);
    };
    let kind: DriverKind = driver.parse().expect("a driver's name");
    if let Some(why) = why_not(kind) {
        return skipped("everything", &why);
    }
    if let Some(exception) = exception(driver, test) {
        return skipped(test.name(), exception.reason);
    }
    // Until it is known better: it may end the process.
    keep(driver, test, "failed", "");
    let _in_time = end_in_time(&format!("{} on {driver}", test.name()));
    body(kind);
    keep(driver, test, "ok", "");
}

/// The one that applies to a test here.
fn exception(driver: &str, test: &Test) -> Option<&'static Exception> {
    let applies = |e: &&Exception| e.test == test.name() && e.drivers.contains(&driver);
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
