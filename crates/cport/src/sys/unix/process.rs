//! What a process takes: processor time and memory, from Linux' /proc.

use std::{fs, io, time::Duration};

/// A process, looked at from outside.
#[derive(Debug, Clone, Copy)]
pub struct Process(pub usize);

/// What it has taken so far.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Processor time of the threads that live, in user and in kernel mode, to the nanosecond.
    threads: Duration,
    /// The same of all that ever lived, to two ticks of the kernel's.
    process: Duration,
    /// Resident memory, in KiB.
    pub resident_kib: u64,
}

impl Usage {
    /// Processor time since an earlier look: that of the threads, unless some have ended and the process has taken more.
    pub fn cpu_since(&self, before: &Usage) -> Duration {
        let process = self.process.saturating_sub(before.process);
        let threads = self.threads.saturating_sub(before.threads);
        if process > threads + Duration::from_secs_f64(2.0 / ticks_per_second()) {
            process
        } else {
            threads
        }
    }
}

impl Process {
    /// What it has taken so far.
    pub fn usage(self) -> io::Result<Usage> {
        Ok(Usage {
            threads: self.cpu_of_threads()?,
            process: self.cpu_of_process()?,
            resident_kib: self.resident_kib()?,
        })
    }

    /// Reads one of its files.
    fn read(self, file: &str) -> io::Result<String> {
        fs::read_to_string(format!("/proc/{}/{file}", self.0))
    }

    /// The sum over its threads, the kernel's for it (io_uring's workers) among them.
    fn cpu_of_threads(self) -> io::Result<Duration> {
        let mut sum = 0;
        for entry in fs::read_dir(format!("/proc/{}/task", self.0))? {
            // It may have ended meanwhile, or the kernel does not count so exactly: then there is the figure of the process.
            let Ok(text) = fs::read_to_string(entry?.path().join("schedstat")) else { continue };
            let first = text.split_whitespace().next().and_then(|first| first.parse::<u64>().ok());
            sum += first.ok_or_else(odd)?;
        }
        Ok(Duration::from_nanos(sum))
    }

    /// What the process as a whole is charged with.
    fn cpu_of_process(self) -> io::Result<Duration> {
        ticks(&self.read("stat")?)
            .map(|ticks| Duration::from_secs_f64(ticks as f64 / ticks_per_second()))
    }

    /// Resident memory. The sum over the page tables is exact; the counters of the other file are kept for each processor.
    fn resident_kib(self) -> io::Result<u64> {
        let text = self.read("smaps_rollup").or_else(|_| self.read("status"))?;
        let rss = |line: &str| {
            let value = line.strip_prefix("Rss:").or_else(|| line.strip_prefix("VmRSS:"))?;
            value.split_whitespace().next()?.parse().ok()
        };
        text.lines().find_map(rss).ok_or_else(odd)
    }
}

/// User and system time in a line of /proc/PID/stat. The name is in parentheses and may hold anything.
fn ticks(stat: &str) -> io::Result<u64> {
    let (_, rest) = stat.rsplit_once(')').ok_or_else(odd)?;
    let figure = |index: usize| rest.split_whitespace().nth(index)?.parse::<u64>().ok();
    // Fields 14 and 15 of the line; the name is the second.
    figure(11).zip(figure(12)).map(|(user, system)| user + system).ok_or_else(odd)
}

/// The unit of those figures.
fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

/// The kernel tells something else than expected.
fn odd() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the figures in /proc are not as expected")
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
    }

    #[test]
    fn threads_that_have_ended_count_too() {
        let usage = |threads, process| Usage {
            threads: Duration::from_millis(threads),
            process: Duration::from_millis(process),
            resident_kib: 0,
        };
        assert_eq!(
            usage(150, 160).cpu_since(&usage(100, 100)),
            Duration::from_millis(50),
            "within two ticks"
        );
        assert_eq!(usage(90, 500).cpu_since(&usage(100, 100)), Duration::from_millis(400));
    }

    #[test]
    fn a_strange_name_does_not_move_the_fields() {
        let stat = "7 (a) b (c) S 1 1 1 0 -1 4194560 100 0 0 0 11 22 0 0 20 0 3 0 5 1 1";
        assert_eq!(ticks(stat).ok(), Some(33));
        assert!(ticks("nonsense").is_err());
    }
}
