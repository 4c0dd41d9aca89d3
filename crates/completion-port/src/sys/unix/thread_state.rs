//! Whether another thread of this process is blocked, by the cheapest means that the machine allows; which that is, is found out once.
//!
//! Linux: `/proc/self/task/T/syscall` (proc(5)) says `running` of a thread that runs or could, and anything else of one that is
//! blocked, in a system call (its number) or outside one, in a page fault say (-1). Where that file is refused, `stat` has a letter.
//! To open, read and close it takes some 5 us; nothing is kept open, so that workers cost no descriptors.
//!
//! Where neither can be had (no `/proc`, no descriptor left), the thread's own clock tells: if it has not moved since the last look,
//! the thread was not on a processor. It may have been pre-empted, so this sees blocked threads where there are none, now and then.

use std::sync::atomic::{AtomicU64, Ordering};
#[cfg(target_os = "linux")]
use std::{fs::File, io::Read};

use crate::sys::thread_state::{LITTLE, Observation, Seen};

/// Looks at one thread.
pub(crate) struct Observer {
    /// As the kernel numbers threads.
    #[cfg(target_os = "linux")]
    thread: i32,
    clock: Option<libc::clockid_t>,
    /// What the clock said at the last look, in nanoseconds.
    said: AtomicU64,
}

impl Observer {
    /// Of the calling thread.
    pub(crate) fn of_this_thread() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            thread: rustix::thread::gettid().as_raw_nonzero().get(),
            clock: clock(),
            said: AtomicU64::new(u64::MAX),
        }
    }

    /// A first look: the next one tells what the thread does from now on.
    pub(crate) fn glance(&self) -> Seen {
        self.used();
        Seen::First
    }

    pub(crate) fn look(&self) -> Seen {
        let seen = match Observation::here() {
            #[cfg(target_os = "linux")]
            Observation::Syscall => self.read("syscall", judge_syscall),
            #[cfg(target_os = "linux")]
            Observation::Stat => self.read("stat", judge_stat),
            _ => Seen::Unknown,
        };
        match seen {
            Seen::Running if self.used().is_some_and(|used| used < LITTLE) => Seen::Waiting,
            // No descriptor may be left just now.
            Seen::Unknown => self.ask_clock(),
            seen => seen,
        }
    }

    /// The best that tells something of this thread.
    pub(crate) fn best(&self) -> Observation {
        #[cfg(target_os = "linux")]
        for (read, means) in [
            (self.read("syscall", judge_syscall), Observation::Syscall),
            (self.read("stat", judge_stat), Observation::Stat),
        ] {
            if read == Seen::Running {
                return means;
            }
        }
        match self.clock.and_then(time_of) {
            Some(_) => Observation::Clock,
            None => Observation::Nothing,
        }
    }

    #[cfg(target_os = "linux")]
    fn read(&self, name: &str, judge: fn(&[u8]) -> Seen) -> Seen {
        let mut text = [0; 128];
        let length = File::open(format!("/proc/self/task/{}/{name}", self.thread))
            .and_then(|mut file| file.read(&mut text));
        length.map_or(Seen::Unknown, |length| judge(&text[..length]))
    }

    fn ask_clock(&self) -> Seen {
        match self.used() {
            None => Seen::Unknown,
            Some(0) => Seen::Blocked,
            Some(_) => Seen::Running,
        }
    }

    /// Processor time since this was last asked, in nanoseconds.
    fn used(&self) -> Option<u64> {
        let now = self.clock.and_then(time_of)?;
        let before = self.said.swap(now, Ordering::Relaxed);
        (before != u64::MAX).then(|| now.saturating_sub(before))
    }
}

#[cfg(target_os = "linux")]
fn judge_syscall(text: &[u8]) -> Seen {
    match text {
        [] => Seen::Unknown,
        text if text.starts_with(b"running") => Seen::Running,
        _ => Seen::Blocked,
    }
}

#[cfg(target_os = "linux")]
fn judge_stat(text: &[u8]) -> Seen {
    // The letter stands behind the name, which is in parentheses and may hold anything.
    match text.iter().rposition(|b| *b == b')').and_then(|at| text.get(at + 2)) {
        Some(b'R') => Seen::Running,
        Some(b'S' | b'D' | b'T' | b't') => Seen::Blocked,
        _ => Seen::Unknown,
    }
}

/// The clock of the calling thread's processor time, for other threads to ask.
#[cfg(not(target_vendor = "apple"))]
fn clock() -> Option<libc::clockid_t> {
    let mut clock = 0;
    // SAFETY: the calling thread exists, and the result is written to `clock`.
    let result = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &mut clock) };
    (result == 0).then_some(clock)
}

#[cfg(target_vendor = "apple")]
fn clock() -> Option<libc::clockid_t> {
    None
}

fn time_of(clock: libc::clockid_t) -> Option<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the result is written to `time`. The clock of a thread that has ended is refused.
    let result = unsafe { libc::clock_gettime(clock, &mut time) };
    (result == 0).then(|| time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

#[cfg(all(test, not(completion_port_loom)))]
mod tests {
    use std::{
        sync::{Arc, atomic::AtomicBool, mpsc::channel},
        thread,
        time::{Duration, Instant},
    };

    use super::*;

    /// Waits until a thread that does `what` has been seen so by `look`.
    fn is_seen(seen: Seen, look: fn(&Observer) -> Seen, what: fn(&AtomicBool)) {
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, told) = channel();
        let thread = {
            let stop = stop.clone();
            thread::spawn(move || {
                tell.send(Observer::of_this_thread()).expect("somebody listens");
                what(&stop);
            })
        };
        let observer = told.recv().expect("told");
        let begun = Instant::now();
        while look(&observer) != seen {
            assert!(begun.elapsed() < Duration::from_secs(20), "never seen {seen:?}");
            thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
        thread.thread().unpark();
        thread.join().expect("no panic");
    }

    fn sleep(stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            thread::park();
        }
    }

    fn burn(stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {}
    }

    #[test]
    fn a_thread_is_seen_to_sleep_and_to_burn() {
        is_seen(Seen::Blocked, Observer::look, sleep);
        is_seen(Seen::Running, Observer::look, burn);
    }

    #[test]
    fn by_its_clock_too() {
        is_seen(Seen::Blocked, Observer::ask_clock, sleep);
        is_seen(Seen::Running, Observer::ask_clock, burn);
    }

    #[test]
    fn this_machine_has_a_means() {
        let here = Observer::of_this_thread().best();
        assert_eq!(Observation::here(), here);
        #[cfg(target_os = "linux")]
        assert_ne!(here, Observation::Nothing);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_the_files_say_is_understood() {
        for (text, seen) in [
            (&b"running\n"[..], Seen::Running),
            (b"7 0x1 0x2\n", Seen::Blocked),
            (b"-1 0x7ffc 0x7f01\n", Seen::Blocked),
            (b"", Seen::Unknown),
        ] {
            assert_eq!(judge_syscall(text), seen);
        }
        for (text, seen) in [
            (&b"7 (a) R b) S 1"[..], Seen::Blocked),
            (b"7 (x) R 1", Seen::Running),
            (b"7 (x) D 1", Seen::Blocked),
            (b"7 (x) Z 1", Seen::Unknown),
            (b"", Seen::Unknown),
        ] {
            assert_eq!(judge_stat(text), seen);
        }
    }
}
