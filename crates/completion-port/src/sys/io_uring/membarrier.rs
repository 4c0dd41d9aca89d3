//! `membarrier(2)`, for its side effect: every processor that runs a thread of this process is interrupted, and on the way back to user
//! space the kernel does the completion work that waits for that thread. So a thread that burns the processor gives up what its
//! operations have brought, within some 30 us and unharmed.

use std::sync::LazyLock;

const PRIVATE_EXPEDITED: libc::c_int = 1 << 3;
const REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;

/// Whether the kernel allows it to this process; asked once.
static ALLOWED: LazyLock<bool> = LazyLock::new(|| call(REGISTER_PRIVATE_EXPEDITED));

pub(super) fn allowed() -> bool {
    *ALLOWED
}

pub(super) fn interrupt_all() {
    call(PRIVATE_EXPEDITED);
}

fn call(command: libc::c_int) -> bool {
    // SAFETY: numbers only; these commands touch no memory of ours.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}
