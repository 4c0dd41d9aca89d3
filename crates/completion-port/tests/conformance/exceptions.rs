//! What Wine is known not to do, test by test. On Windows itself there are no exceptions.
//!
//! Wine 8 makes a socket of the system below it, and some of that shows.

/// A test that is skipped on a driver under Wine.
#[derive(Debug)]
pub struct Exception {
    /// The driver, by its name.
    pub driver: &'static str,
    /// The test, as `chapter::test`.
    pub test: &'static str,
    /// What Wine does instead.
    pub reason: &'static str,
}

const fn wine(test: &'static str, reason: &'static str) -> Exception {
    Exception { driver: "windows", test, reason }
}

/// All of them.
pub const EXCEPTIONS: &[Exception] = &[
    wine(
        "connect::a_refused_socket_may_try_again",
        "after a refusal, the first connect in Wine's socket fails as aborted (10053)",
    ),
    wine(
        "connect::a_socket_is_used_again",
        "Wine's DisconnectEx does not know TF_REUSE_SOCKET: the next connect finds it connected (10056)",
    ),
];
