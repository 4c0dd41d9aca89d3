//! Promise 10: drivers are equal, one is chosen with a reason, and the suite passes where io_uring is denied.

use std::env;

use completion_port::{DRIVER_VARIABLE, DriverKind};

use crate::util::{
    child::{itself, printed, without_io_uring},
    drivers::{available, say_once},
    open,
};

crate::on_each_driver!(says_which_it_is_and_why);

fn says_which_it_is_and_why(driver: DriverKind) {
    let port = open::<(), ()>(driver);
    assert_eq!((port.driver().kind(), port.driver().reason()), (driver, "forced by the builder"));
    assert_eq!(port.driver().to_string(), format!("{driver} (forced by the builder)"));
}

/// Set in the child, where the suite must not run itself again.
const DENIED: &str = "COMPLETION_PORT_TEST_DENIED";

/// Runs the suite under a filter, in which the readiness driver alone is left.
fn suite_without_io_uring(errno: i32) {
    if env::var_os(DENIED).is_some() {
        assert_eq!(available(), [DriverKind::Readiness], "the filter works");
        return;
    }
    if env::var(DRIVER_VARIABLE).is_ok_and(|name| name.starts_with("io_uring")) {
        say_once(&format!("skipped without io_uring: {DRIVER_VARIABLE} forces it"));
        return;
    }
    let mut suite = itself(["--quiet"]);
    suite.env(DENIED, errno.to_string()).env_remove(DRIVER_VARIABLE);
    let output = without_io_uring(errno, &mut suite).expect("the test binary runs");
    let said = printed(&output);
    assert!(output.status.success(), "{}\n{said}", output.status);
    for skipped in ["io_uring:buffer-ring", "io_uring:coop", "io_uring:basic"] {
        assert!(said.contains(&format!("skipped on {skipped}: io_uring failed")), "{said}");
    }
}

/// What a container's default profile answers.
#[test]
fn the_suite_passes_where_io_uring_is_forbidden() {
    suite_without_io_uring(libc::EPERM);
}

/// What an old kernel, or a filter that pretends to be one, answers.
#[test]
fn the_suite_passes_where_there_is_no_io_uring() {
    suite_without_io_uring(libc::ENOSYS);
}
