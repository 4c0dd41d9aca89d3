//! What the kernel says about another process, in /proc.

use std::{collections::BTreeMap, fs, time::Duration};

use rustix::process::{Pid, Signal, kill_process};

use crate::Trouble;

/// A process that is looked at from outside.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub u32);

/// What a thread has cost so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The name of the thread.
    pub name: String,
    /// Clock ticks on a processor, in user and in kernel mode.
    pub ticks: u64,
    /// Context switches, of its own will and by force.
    pub switches: u64,
}

impl Process {
    fn read(self, file: &str) -> Result<String, Trouble> {
        let path = format!("/proc/{}/{file}", self.0);
        fs::read_to_string(&path).map_err(Trouble::at(path))
    }

    /// Resident memory in KiB. `smaps_rollup` walks the page tables and so is exact, where the counters of `status`
    /// are kept per processor and may be off by some hundred KiB.
    pub fn resident_kib(self) -> Result<u64, Trouble> {
        let text = self.read("smaps_rollup").or_else(|_| self.read("status"))?;
        field(&text, "Rss:")
            .or_else(|| field(&text, "VmRSS:"))
            .ok_or_else(|| Trouble::new("no resident memory in /proc"))
    }

    /// How many descriptors are open.
    pub fn descriptors(self) -> Result<usize, Trouble> {
        let path = format!("/proc/{}/fd", self.0);
        Ok(fs::read_dir(&path).map_err(Trouble::at(path))?.count())
    }

    /// What each thread has cost so far. Kernel threads that work for the process (io_uring's workers) are among them.
    pub fn threads(self) -> Result<BTreeMap<u32, Cost>, Trouble> {
        let path = format!("/proc/{}/task", self.0);
        let mut costs = BTreeMap::new();
        for entry in fs::read_dir(&path).map_err(Trouble::at(&path))? {
            let name = entry.map_err(Trouble::at(&path))?.file_name();
            let Some(thread) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            // A thread that ended between the listing and here is missed by whoever compares two of these.
            let (Ok(stat), Ok(status)) = (
                self.read(&format!("task/{thread}/stat")),
                self.read(&format!("task/{thread}/status")),
            ) else {
                continue;
            };
            costs.insert(thread, cost(&stat, &status)?);
        }
        Ok(costs)
    }

    /// Processor time of all threads that run now, in user and kernel mode.
    pub fn cpu(self) -> Result<Duration, Trouble> {
        let mut sum = 0;
        for thread in self.threads()?.keys() {
            if let Ok(text) = self.read(&format!("task/{thread}/schedstat")) {
                sum += text.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
            }
        }
        Ok(Duration::from_nanos(sum))
    }

    /// Sends a signal.
    pub fn signal(self, signal: Signal) -> Result<(), Trouble> {
        let pid = i32::try_from(self.0).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Trouble::new(format!("{} is no process id", self.0)))?;
        kill_process(pid, signal).map_err(Trouble::at(format!("signal to {}", self.0)))
    }
}

/// The number behind `name`, in a file of such lines.
pub fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn cost(stat: &str, status: &str) -> Result<Cost, Trouble> {
    let odd = || Trouble::new(format!("cannot read a thread's figures: {stat}"));
    // The name is in parentheses and may hold anything, so the rest is counted from the last of them.
    let (head, rest) = stat.rsplit_once(')').ok_or_else(odd)?;
    let name = head.split_once('(').ok_or_else(odd)?.1.to_owned();
    let figure = |index: usize| rest.split_whitespace().nth(index)?.parse::<u64>().ok();
    // Fields 14 and 15 of the line; the name is the second.
    let ticks = figure(11).zip(figure(12)).ok_or_else(odd)?;
    let switches = field(status, "voluntary_ctxt_switches:")
        .zip(field(status, "nonvoluntary_ctxt_switches:"))
        .ok_or_else(odd)?;
    Ok(Cost { name, ticks: ticks.0 + ticks.1, switches: switches.0 + switches.1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen_to_work() {
        let me = Process(std::process::id());
        assert!(me.resident_kib().unwrap() > 100);
        assert!(me.descriptors().unwrap() >= 3);
        let ticks = || me.threads().unwrap().values().map(|cost| cost.ticks).sum::<u64>();
        let before = ticks();
        while ticks() < before + 3 {}
        assert!(me.threads().unwrap().values().map(|cost| cost.switches).sum::<u64>() > 0);
    }

    #[test]
    fn a_strange_name_does_not_move_the_fields() {
        let stat = "7 (a) b (c) S 1 1 1 0 -1 4194560 100 0 0 0 11 22 0 0 20 0 3 0 5 1 1";
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t2\n";
        let cost = cost(stat, status).unwrap();
        assert_eq!(cost, Cost { name: "a) b (c".to_owned(), ticks: 33, switches: 7 });
    }
}
