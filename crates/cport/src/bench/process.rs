//! What a process takes: processor time and memory, from Linux' /proc.

use std::{fs, io, time::Duration};

/// A process, looked at from outside.
#[derive(Debug, Clone, Copy)]
pub struct Process(pub usize);

/// What it has taken so far.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Processor time of all its threads, in user and in kernel mode.
    pub cpu: Duration,
    /// Resident memory, in KiB.
    pub resident_kib: u64,
}

impl Process {
    /// What it has taken so far.
    pub fn usage(self) -> io::Result<Usage> {
        // Threads tell nanoseconds, but only those that live; the process tells hundredths of a second.
        let cpu = self.cpu_of_threads().or_else(|_| self.cpu_of_process())?;
        Ok(Usage { cpu, resident_kib: self.resident_kib()? })
    }

    /// Reads one of its files.
    fn read(self, file: &str) -> io::Result<String> {
        fs::read_to_string(format!("/proc/{}/{file}", self.0))
    }

    /// The sum over its threads, the kernel's for it (io_uring's workers) among them.
    fn cpu_of_threads(self) -> io::Result<Duration> {
        let mut sum = 0;
        for entry in fs::read_dir(format!("/proc/{}/task", self.0))? {
            let text = match fs::read_to_string(entry?.path().join("schedstat")) {
                Ok(text) => text,
                // A thread that has ended meanwhile.
                Err(error)
                    if self.read("schedstat").is_ok()
                        && error.kind() == io::ErrorKind::NotFound =>
                {
                    continue;
                }
                Err(error) => return Err(error),
            };
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
#[cfg(target_os = "linux")]
fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

/// There is no /proc.
#[cfg(not(target_os = "linux"))]
fn ticks_per_second() -> f64 {
    100.0
}

/// The kernel tells something else than expected.
fn odd() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the figures in /proc are not as expected")
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen_to_work() {
        let me = Process(std::process::id() as usize);
        let before = me.usage().expect("it lives");
        assert!(before.resident_kib > 100);
        while me.usage().expect("it lives").cpu == before.cpu {}
        assert!(me.cpu_of_process().is_ok());
        assert!(Process(usize::MAX).usage().is_err());
    }

    #[test]
    fn a_strange_name_does_not_move_the_fields() {
        let stat = "7 (a) b (c) S 1 1 1 0 -1 4194560 100 0 0 0 11 22 0 0 20 0 3 0 5 1 1";
        assert_eq!(ticks(stat).ok(), Some(33));
        assert!(ticks("nonsense").is_err());
    }
}
