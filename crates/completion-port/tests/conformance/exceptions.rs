//! What Wine is known not to do, test by test. On Windows itself there are no exceptions.
//!
//! Wine 8 makes a socket of the system below it, and some of that shows.

/// A test that is skipped on a driver under Wine.
#[derive(Debug)]
pub struct Exception {
    /// The drivers, by their names.
    pub drivers: &'static [&'static str],
    /// The test, as `chapter::test`.
    pub test: &'static str,
    /// What Wine does instead.
    pub reason: &'static str,
}

const fn wine(test: &'static str, reason: &'static str) -> Exception {
    Exception { drivers: &["windows", "windows:unlimited"], test, reason }
}

/// What takes a limit that is kept: where the system's port decides who runs, Wine keeps none.
const fn unlimited(test: &'static str) -> Exception {
    Exception { drivers: &["windows"], test, reason: "Wine's ports keep no limit" }
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
    unlimited("threads::at_the_limit_a_packet_waits"),
    unlimited("threads::the_newest_waiter_is_handed_the_packet"),
    unlimited("threads::who_times_out_counts"),
    unlimited("threads::a_thread_belongs_to_the_port_of_its_last_wait"),
    unlimited("threads::who_blocks_gives_up_its_place"),
    unlimited("threads::who_wakes_counts_again"),
];
