//! What a timer costs: to arm, to cancel, in memory, in wake-ups, and how late it is beside a bare timerfd; for `benches/timers`.
//!
//! Prints a Markdown table with a row for each driver and figure, and the bar where there is one.
//!
//! | option | meaning |
//! | --- | --- |
//! | `--count 1000000` | timers that are armed at once |
//! | `--waits 500` | how often is waited, for the lateness; half a second each hundred |
//! | `--window 2` | seconds in which wake-ups are counted |

use std::{
    env, fs,
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

use completion_port::DriverKind;
use completion_port_micro::{Outcome, drivers, port};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// Longer than this runs.
const FAR: Duration = Duration::from_secs(3600);
/// So many are cancelled before their packets are taken, which is not measured.
const BATCH: usize = 1000;

struct Options {
    count: usize,
    waits: usize,
    window: Duration,
}

fn options() -> Outcome<Options> {
    let mut options = Options { count: 1_000_000, waits: 500, window: Duration::from_secs(2) };
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args.next().ok_or_else(|| format!("{arg} wants a value"))?;
        let number: usize = value.parse().map_err(|e| format!("{arg} {value}: {e}"))?;
        match arg.as_str() {
            "--count" => options.count = number.max(BATCH),
            "--waits" => options.waits = number.max(100),
            "--window" => options.window = Duration::from_secs(number as u64),
            _ => return Err(format!("unexpected argument {arg}").into()),
        }
    }
    Ok(options)
}

/// Numbers that are nowhere alike.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

/// Bytes that are resident.
fn resident() -> Outcome<usize> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages: usize = statm.split_whitespace().nth(1).ok_or("no second field")?.parse()?;
    Ok(pages * rustix::param::page_size())
}

/// How often the other threads of this process were switched to.
fn switches() -> Outcome<u64> {
    let own = rustix::thread::gettid().as_raw_nonzero().to_string();
    let mut sum = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?;
        if task.file_name().to_string_lossy() == own {
            continue;
        }
        let status = fs::read_to_string(task.path().join("status"))?;
        for line in status.lines().filter(|line| line.contains("ctxt_switches")) {
            sum += line.split_whitespace().nth(1).ok_or("no number")?.parse::<u64>()?;
        }
    }
    Ok(sum)
}

/// The median and the 99th percentile, in microseconds.
fn percentiles(mut late: Vec<Duration>) -> [f64; 2] {
    late.sort_unstable();
    [late.len() / 2, late.len() * 99 / 100].map(|at| late[at].as_secs_f64() * 1e6)
}

/// How late each of them is: a timer of the port, and a bare timerfd, in turn, for the same times.
fn lateness(
    key: &completion_port::Handle<(), u64>,
    port: &completion_port_micro::Port,
    waits: usize,
) -> Outcome<[[f64; 2]; 2]> {
    let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..waits {
        let time = Duration::from_nanos(100_000 + random.below(9_800_000));
        let due = Instant::now() + time;
        key.timer(time, 0)?;
        port.get()?;
        ours.push(due.elapsed());

        let it_value = Timespec { tv_sec: 0, tv_nsec: i64::from(time.subsec_nanos()) };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let due = Instant::now() + time;
        let flags = TimerfdTimerFlags::empty();
        timerfd_settime(&fd, flags, &Itimerspec { it_interval, it_value })?;
        rustix::io::read(&fd, &mut [0_u8; 8])?;
        bare.push(due.elapsed());
    }
    Ok([percentiles(ours), percentiles(bare)])
}

fn measure(driver: DriverKind, first: bool, options: &Options) -> Outcome<()> {
    let Options { count, waits, window } = *options;
    let port = port(driver)?;
    let key = port.key(());
    let mut random = Random(42);
    let times: Vec<_> = (0..count)
        .map(|_| FAR + Duration::from_nanos(random.below(FAR.as_nanos() as u64)))
        .collect();
    // Written, so that it is resident before.
    let mut ids = vec![None; count];
    black_box(&mut ids).fill(Some(key.timer(FAR, 0)?));
    let before = resident()?;
    let start = Instant::now();
    for (number, (id, time)) in ids.iter_mut().zip(&times).enumerate() {
        *id = Some(key.timer(*time, number as u64)?);
    }
    let arm = start.elapsed().as_secs_f64() * 1e9 / count as f64;
    let bytes = resident()?.saturating_sub(before) as f64 / count as f64;

    let woken = thread::scope(|s| -> Outcome<u64> {
        let waiter = s.spawn(|| port.get().map(|done| done.context));
        while port.snapshot().waiting_threads == 0 {
            thread::yield_now();
        }
        // On its way to sleep, it is switched away from once more.
        thread::sleep(Duration::from_millis(100));
        let before = switches()?;
        thread::sleep(window);
        let woken = switches()? - before;
        key.post(0, 0)?;
        waiter.join().map_err(|_| "the waiter panicked")??;
        Ok(woken)
    })?;
    let [ours, bare] = lateness(&key, &port, waits)?;

    // In no order.
    for at in (1..count).rev() {
        ids.swap(at, random.below(at as u64 + 1) as usize);
    }
    let (mut cancel, mut taken) = (Duration::ZERO, Vec::with_capacity(BATCH));
    for batch in ids.chunks(BATCH) {
        let start = Instant::now();
        for id in batch.iter().flatten() {
            assert!(key.cancel_timer(*id), "it was armed");
        }
        cancel += start.elapsed();
        while taken.len() < batch.len() {
            port.get_many(&mut taken, BATCH, None)?;
        }
        taken.clear();
    }
    let cancel = cancel.as_secs_f64() * 1e9 / count as f64;

    let row = |what: &str, figure: String, bar: &str, met: bool| {
        let verdict = match (bar, met) {
            ("", _) => "",
            (_, true) => "met",
            (_, false) => "missed",
        };
        println!("| {driver} | {what} | {figure} | {bar} | {verdict} |");
    };
    row("arm", format!("{arm:.0} ns"), "1000 ns", arm < 1000.0);
    row("cancel, its packet included", format!("{cancel:.0} ns"), "1000 ns", cancel < 1000.0);
    // What the first has given back would be used again, and not be seen; it is the same on every driver.
    if first {
        row("memory of one", format!("{bytes:.1} bytes"), "64 bytes", bytes <= 64.0);
    }
    row(
        &format!("thread switches in {} s, all armed, one thread in get", window.as_secs()),
        woken.to_string(),
        "0",
        woken == 0,
    );
    let late = |[p50, p99]: [f64; 2]| format!("p50 {p50:.0} us, p99 {p99:.0} us");
    row("late, all armed", late(ours), "p99 of 2 timerfds", ours[1] <= 2.0 * bare[1]);
    row("late, a bare timerfd", late(bare), "", true);
    Ok(())
}

fn main() -> Outcome<()> {
    let options = options()?;
    println!("| driver | | figure | bar | |");
    println!("| --- | --- | ---: | ---: | --- |");
    for (at, driver) in drivers().into_iter().enumerate() {
        measure(driver, at == 0, &options).map_err(|e| format!("{driver}: {e}"))?;
    }
    Ok(())
}
