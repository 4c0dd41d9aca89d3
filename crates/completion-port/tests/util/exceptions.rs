//! What a system cannot do, by the test that shows it, with the reason: such a test is skipped there, and only there.

use completion_port::DriverKind;

use super::sys;

/// Who cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// Wine 8, which stands for Windows where there is none.
    Wine,
    /// Windows itself, and so Wine too.
    Windows,
    /// Wine, on the driver `windows`, where the kernel's port decides who runs: Wine's keeps no limit.
    WineScheduled,
    /// The driver `windows`, on Windows too.
    Scheduled,
}

/// The tests, or whole modules of them, as the harness knows them without the driver.
pub const EXCEPTIONS: &[(&str, Where, &str)] = &[
    (
        "associate::ends_with_the_last_handle",
        Where::Windows,
        "an association is the file object's, and lasts as long as any duplicate (S13)",
    ),
    (
        "association::of_a_duplicate_is_one_of_the_socket",
        Where::Windows,
        "whether a duplicate has a port, the system does not tell",
    ),
    (
        "association::that_is_over_leaves_a_socket_for_routines",
        Where::Windows,
        "an association is the file object's, and lasts as long as any duplicate (S13)",
    ),
    (
        "datagrams::a_receiver_that_is_not_there_is_told_of",
        Where::Wine,
        "a look of no bytes (MSG_PEEK) is not told of it",
    ),
    (
        "socket::a_connect_that_is_refused_says_so",
        Where::Wine,
        "a second ConnectEx, or connect, fails with WSAECONNABORTED",
    ),
    (
        "socket::a_plain_call_hears_what_the_system_says",
        Where::Wine,
        "a reset by an abortive close arrives as an orderly end",
    ),
    (
        "socket::accepted_sockets_inherit_the_mode",
        Where::Windows,
        "the mode that a socket from elsewhere has, the system does not tell",
    ),
    (
        "socket::once_closed_refuses_every_call",
        Where::Windows,
        "a listener cannot be shut down: it takes connections until its last handle is dropped",
    ),
    ("extensions::a_socket_is_used_again", Where::Wine, "TF_REUSE_SOCKET does nothing"),
    (
        "association::leaves_routines_that_were_started_before",
        Where::Wine,
        "a routine's operation ends with a packet at the port that its socket was associated with since",
    ),
    (
        "transmit_file::survive_the_thread_that_started_them",
        Where::Wine,
        "what a thread has started is not carried out when it has exited",
    ),
    (
        "overlapped::of_a_thread_that_has_ended",
        Where::Windows,
        "it takes a thread's locals to be dropped newest first, which they are not there",
    ),
    (
        "order::sends_from_many_threads_leave_in_their_order",
        Where::Wine,
        "what a thread has started is not carried out when it has exited, or told of twice",
    ),
    (
        "transmit_file::leave_no_descriptor",
        Where::Wine,
        "a TransmitFile that is under way does not always hear that the peer has gone",
    ),
    (
        "transmit_file::that_are_cancelled_are_followed_by_the_next",
        Where::Wine,
        "a TransmitFile that is under way does not always hear of a cancel",
    ),
    (
        "transmit_file::that_are_cancelled_at_random",
        Where::Wine,
        "a TransmitFile that is under way does not always hear of a cancel",
    ),
    (
        "transmit_file::end_when_their_handle_closes",
        Where::Wine,
        "a TransmitFile that is under way does not always hear of a cancel",
    ),
    (
        "extensions::a_file_that_is_cancelled",
        Where::Wine,
        "a TransmitFile that is under way does not always hear of a cancel",
    ),
    (
        "close::of_a_listener_ends_its_accepts",
        Where::Windows,
        "a listener cannot be shut down: it takes connections until its last handle is dropped",
    ),
    (
        "cancel::a_connect_on_its_way",
        Where::Wine,
        "the host's socket goes on connecting after the cancel",
    ),
    (
        "connect::can_be_tried_again_after_a_refusal",
        Where::Wine,
        "a second ConnectEx fails with WSAECONNABORTED",
    ),
    (
        "connect_with::can_be_tried_again_after_a_refusal",
        Where::Wine,
        "a second ConnectEx fails with WSAECONNABORTED",
    ),
    ("disconnect::and_again_and_again", Where::Wine, "TF_REUSE_SOCKET does nothing"),
    (
        "disconnect::leaves_a_socket_that_connects_again",
        Where::Wine,
        "TF_REUSE_SOCKET does nothing",
    ),
    (
        "disconnect::of_an_accepted_socket_leaves_one_that_connects",
        Where::Wine,
        "TF_REUSE_SOCKET does nothing",
    ),
    (
        "streams::data_before_a_reset_is_no_end",
        Where::Wine,
        "a reset is told once, and reads as an end afterwards",
    ),
    // Of the schedule.
    ("late", Where::Scheduled, "the kernel wakes a waiter as soon as its limit allows it"),
    (
        "drivers::one_that_blocks_leaves_its_driver_to_others",
        Where::Scheduled,
        "there is one port of the kernel's, and it is nobody's home",
    ),
    (
        "drivers::one_that_burns_leaves_its_driver_to_others",
        Where::Scheduled,
        "there is one port of the kernel's, and it is nobody's home",
    ),
    ("blocked", Where::Scheduled, OF_THE_LIBRARY),
    ("limit", Where::Scheduled, OF_THE_LIBRARY),
    ("lifo", Where::Scheduled, OF_THE_LIBRARY),
    ("burning::so_it_does_with_all_that_may_run_burning", Where::Scheduled, OF_THE_LIBRARY),
    ("workers::a_panic_of_a_key_or_a_context", Where::WineScheduled, NO_LIMIT),
    (
        "workers::a_thread_local_that_takes_packets_when_its_thread_ends",
        Where::WineScheduled,
        NO_LIMIT,
    ),
];

const NO_LIMIT: &str = "Wine's ports keep no limit";
/// What the kernel does by itself, `conformance/threads.rs` shows, with threads that never wait for anything else.
const OF_THE_LIBRARY: &str =
    "it asks the library's counters, and its threads wait for each other, which the kernel sees";

/// Why a test is not for this system, if so.
pub fn why_not(test: &str, kind: DriverKind) -> Option<&'static str> {
    let scheduled = match kind {
        DriverKind::Windows => true,
        DriverKind::WindowsUnlimited => false,
        _ => return None,
    };
    let applies = |place| match place {
        Where::Wine => sys::is_wine(),
        Where::Windows => true,
        Where::WineScheduled => scheduled && sys::is_wine(),
        Where::Scheduled => scheduled,
    };
    let is_meant = |name: &str| test.strip_prefix(name).is_some_and(|rest| rest.starts_with("::"));
    let mut all = EXCEPTIONS.iter().filter(|(name, ..)| is_meant(name));
    all.find(|(_, place, _)| applies(*place)).map(|(.., reason)| *reason)
}
