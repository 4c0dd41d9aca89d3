//! What Wine is known not to do, test by test. On Windows itself there are no exceptions.
//!
//! Wine 8 has one queue for a port and no scheduler behind it: whoever waits may take a packet, in whatever order and however many run.

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
        "threads::the_newest_waiter_is_handed_the_packet",
        "Wine releases the thread that has waited longest",
    ),
    wine("threads::at_the_limit_a_packet_waits", "Wine has no limit on running threads"),
    wine("threads::who_wakes_counts_again", "Wine has no limit on running threads"),
    wine("threads::who_times_out_counts", "Wine has no limit on running threads"),
    wine(
        "threads::a_thread_belongs_to_the_port_of_its_last_wait",
        "Wine has no limit on running threads",
    ),
];
