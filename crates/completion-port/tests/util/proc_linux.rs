//! What the system says about this process and its threads (Linux's /proc).

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Open descriptors of the process.
pub fn open_descriptors() -> usize {
    // The listing itself has one open.
    fs::read_dir("/proc/self/fd").expect("/proc is there").count() - 1
}

/// How many descriptors the process may have.
pub fn descriptor_limit() -> usize {
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| limit as usize)
}

/// From now on the process may have so many descriptors.
pub fn limit_descriptors(limit: usize) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(limit as u64), maximum })
        .expect("a limit may be lowered");
}

/// Memory of the process that is resident, in bytes. Its program's pages are not: the system maps those as it sees fit.
pub fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("/proc is there");
    let mut pages = statm.split_whitespace().skip(1).map(|pages| pages.parse::<usize>());
    let [all, of_files] = [(); 2].map(|()| pages.next().and_then(Result::ok).expect("pages"));
    all.saturating_sub(of_files) * rustix::param::page_size()
}

/// What a thread has cost so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    pub switches: u64,
    pub cpu: Duration,
    pub asleep: bool,
}

impl Cost {
    /// How often the thread was switched since then; `None` where the system does not tell.
    pub fn switches_since(&self, before: &Cost) -> Option<u64> {
        Some(self.switches - before.switches)
    }
}

/// What each thread of the process has cost, but for the one that asks.
pub fn other_threads() -> BTreeMap<u32, Cost> {
    let own = fs::read_link("/proc/thread-self").expect("/proc is there");
    let own = own.file_name().expect("a thread's number").to_owned();
    let tasks = fs::read_dir("/proc/self/task").expect("/proc is there").flatten();
    let costs = tasks.filter(|task| task.file_name() != own).filter_map(|task| {
        let id = task.file_name().to_str()?.parse().ok()?;
        // A thread that ends meanwhile has no files any more.
        Some((id, cost(task.path().to_str()?)?))
    });
    costs.collect()
}

/// What this thread has cost.
pub fn own_thread() -> Cost {
    cost("/proc/thread-self").expect("a running thread has its files")
}

fn cost(folder: &str) -> Option<Cost> {
    let status = fs::read_to_string(format!("{folder}/status")).ok()?;
    let schedstat = fs::read_to_string(format!("{folder}/schedstat")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let switches = |name: &str| field(name).and_then(|count| count.parse::<u64>().ok());
    Some(Cost {
        switches: switches("voluntary_ctxt_switches:")? + switches("nonvoluntary_ctxt_switches:")?,
        cpu: Duration::from_nanos(schedstat.split_whitespace().next()?.parse().ok()?),
        asleep: field("State:")?.starts_with('S'),
    })
}

/// Waits until every other thread sleeps and goes on sleeping, and tells what they have cost up to then.
pub fn when_asleep() -> BTreeMap<u32, Cost> {
    let mut last = BTreeMap::new();
    let mut since = Instant::now();
    super::until("every other thread sleeps", || {
        let now = other_threads();
        if now != last || now.values().any(|cost| !cost.asleep) {
            (last, since) = (now, Instant::now());
        }
        // A thread on its way to sleep may be kept from running, on a busy machine, but not marked as asleep.
        since.elapsed() > Duration::from_millis(100)
    });
    last
}
