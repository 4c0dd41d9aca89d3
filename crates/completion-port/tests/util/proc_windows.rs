//! What the system says about this process (Windows).

use std::time::Duration;

use windows_sys::Win32::{
    Foundation::FILETIME,
    System::ProcessStatus::{K32GetProcessMemoryInfo, PROCESS_MEMORY_COUNTERS},
    System::Threading::{
        GetCurrentProcess, GetCurrentThread, GetProcessHandleCount, GetThreadTimes,
    },
};

/// Open handles of the process.
pub fn open_descriptors() -> usize {
    let mut count = 0;
    // SAFETY: the pseudo handle of the process is always valid, and there is room for a number.
    let told = unsafe { GetProcessHandleCount(GetCurrentProcess(), &raw mut count) };
    assert_ne!(told, 0, "a process can be asked for its handles");
    count as usize
}

/// How many handles the process may have: there is no limit that a test comes near, but what is emulated is slow.
pub fn descriptor_limit() -> usize {
    2048
}

/// Memory of the process that is its own, in bytes.
pub fn resident() -> usize {
    // SAFETY: numbers only, for which zeros are valid.
    let mut memory: PROCESS_MEMORY_COUNTERS = unsafe { std::mem::zeroed() };
    let size = size_of_val(&memory) as u32;
    // SAFETY: the pseudo handle of the process is always valid, and there is room for the numbers.
    let told = unsafe { K32GetProcessMemoryInfo(GetCurrentProcess(), &raw mut memory, size) };
    assert_ne!(told, 0, "a process can be asked for its memory");
    memory.PagefileUsage
}

/// What a thread has cost so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    pub cpu: Duration,
}

impl Cost {
    /// How often the thread was switched, the system does not tell.
    pub fn switches_since(&self, _: &Cost) -> Option<u64> {
        None
    }
}

/// What this thread has cost.
pub fn own_thread() -> Cost {
    let [mut created, mut exited, mut kernel, mut user] =
        [FILETIME { dwLowDateTime: 0, dwHighDateTime: 0 }; 4];
    // SAFETY: the pseudo handle of the thread is always valid, and there is room for four times.
    let told = unsafe {
        GetThreadTimes(
            GetCurrentThread(),
            &raw mut created,
            &raw mut exited,
            &raw mut kernel,
            &raw mut user,
        )
    };
    assert_ne!(told, 0, "a thread can be asked for its times");
    let time = |of: FILETIME| {
        Duration::from_nanos(
            100 * (u64::from(of.dwHighDateTime) << 32 | u64::from(of.dwLowDateTime)),
        )
    };
    Cost { cpu: time(kernel) + time(user) }
}
