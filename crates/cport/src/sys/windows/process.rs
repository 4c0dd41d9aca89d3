//! What a process takes: processor time and memory.

use std::{
    io,
    os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle},
    time::Duration,
};

use windows_sys::Win32::{
    Foundation::FILETIME,
    System::{
        ProcessStatus::{K32GetProcessMemoryInfo, PROCESS_MEMORY_COUNTERS},
        Threading::{GetProcessTimes, OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION},
    },
};

/// A process, looked at from outside.
#[derive(Debug, Clone, Copy)]
pub struct Process(pub usize);

/// What it has taken so far.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Processor time of all threads that ever lived, in user and in kernel mode, to a tick of the clock.
    cpu: Duration,
    /// The working set, in KiB.
    pub resident_kib: u64,
}

impl Usage {
    /// Processor time since an earlier look.
    pub fn cpu_since(&self, before: &Usage) -> Duration {
        self.cpu.saturating_sub(before.cpu)
    }
}

impl Process {
    /// What it has taken so far.
    pub fn usage(self) -> io::Result<Usage> {
        let process = self.open()?;
        Ok(Usage { cpu: cpu(&process)?, resident_kib: resident_kib(&process)? })
    }

    /// A handle that may ask.
    fn open(self) -> io::Result<OwnedHandle> {
        let id = u32::try_from(self.0)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "there is no such process"))?;
        // SAFETY: it takes numbers and gives a handle or null.
        let handle = unsafe { OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, id) };
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the handle is new, and nobody else has it.
        Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
    }
}

/// User and kernel time.
fn cpu(process: &OwnedHandle) -> io::Result<Duration> {
    let [mut created, mut ended, mut kernel, mut user] = [FILETIME::default(); 4];
    // SAFETY: the handle is open, and each of the four is written only during the call.
    let done = unsafe {
        GetProcessTimes(process.as_raw_handle(), &mut created, &mut ended, &mut kernel, &mut user)
    };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(duration(kernel) + duration(user))
}

/// Both halves of a number of tenths of a microsecond.
fn duration(time: FILETIME) -> Duration {
    let tenths = u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime);
    Duration::from_micros(tenths / 10) + Duration::from_nanos(tenths % 10 * 100)
}

/// The working set.
fn resident_kib(process: &OwnedHandle) -> io::Result<u64> {
    let size = size_of::<PROCESS_MEMORY_COUNTERS>() as u32;
    let mut counters = PROCESS_MEMORY_COUNTERS { cb: size, ..Default::default() };
    // SAFETY: the handle is open, and what is written has the size that is told.
    let done = unsafe { K32GetProcessMemoryInfo(process.as_raw_handle(), &mut counters, size) };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(counters.WorkingSetSize as u64 / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen_to_work() {
        let me = Process(std::process::id() as usize);
        let before = me.usage().expect("it lives");
        assert!(before.resident_kib > 100);
        while me.usage().expect("it lives").cpu_since(&before).is_zero() {}
        assert!(Process(usize::MAX).usage().is_err());
        // Numbers of processes are multiples of four.
        assert!(Process(u32::MAX as usize).usage().is_err());
    }

    #[test]
    fn both_halves_of_a_time_count() {
        let time = FILETIME { dwLowDateTime: 15, dwHighDateTime: 1 };
        assert_eq!(duration(time), Duration::from_nanos(((1 << 32) + 15) * 100));
    }
}
