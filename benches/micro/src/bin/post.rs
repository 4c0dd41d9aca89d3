//! What a post and a get cost over a channel's send and receive, and a wake-up over a bare futex's; for `benches/post`.
//!
//! A round measures everything once, one after the other; a ratio is of two measurements of the same round, so a slow minute of the
//! machine is in both. Prints a Markdown table of the ratios' medians, with the least and the greatest, the bar, and the median time.
//!
//! | option | meaning |
//! | --- | --- |
//! | `--rounds 5` | how often |
//! | `--count 200000` | numbers through a queue in one measurement; wake-ups are a hundredth of that |

use std::{
    env,
    io::{self, Write},
    time::Duration,
};

use completion_port_micro::{
    Outcome, drivers,
    queue::{Crossbeam, Flume, Posts},
    transfer::Threads,
    wake::{Cores, Futex, in_turn, in_turn_beside, in_turn_in_drivers, in_turn_parked},
};

/// Fewer would be all noise.
const FEWEST: u64 = 1000;

struct Options {
    rounds: usize,
    count: u64,
}

fn options() -> Outcome<Options> {
    let mut options = Options { rounds: 5, count: 200_000 };
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args.next().ok_or_else(|| format!("{arg} wants a value"))?;
        let number: u64 = value.parse().map_err(|e| format!("{arg} {value}: {e}"))?;
        match arg.as_str() {
            "--rounds" => options.rounds = usize::try_from(number)?.max(1),
            "--count" => options.count = number.max(FEWEST),
            _ => return Err(format!("unexpected argument {arg}").into()),
        }
    }
    Ok(options)
}

/// One measurement: the time that it took.
type Measure = Box<dyn Fn() -> Outcome<Duration>>;

/// Those who do the same work, ours and others.
struct Contest {
    work: &'static str,
    /// The most that ours may take of the time of the first.
    bar: f64,
    /// In how many parts a measured time is to be divided.
    steps: u64,
    /// The first is what the others are compared with.
    entrants: Vec<(String, Measure)>,
}

/// Numbers through each queue.
fn queues(work: &'static str, bar: f64, threads: Threads, count: u64) -> Contest {
    let mut entrants: Vec<(String, Measure)> = vec![
        ("crossbeam-channel".into(), Box::new(move || threads.run(&Crossbeam::default(), count))),
        ("flume".into(), Box::new(move || threads.run(&Flume::default(), count))),
    ];
    for driver in drivers() {
        let measure = move || threads.run(&Posts::new(driver)?, count);
        entrants.push((format!("port, {driver}"), Box::new(measure)));
    }
    Contest { work, bar, steps: count, entrants }
}

/// Two threads that wake each other.
fn wakes(work: &'static str, cores: Cores, count: u64) -> Contest {
    let pair = |make: fn(Cores, u64) -> Outcome<Duration>| -> Measure {
        Box::new(move || make(cores, count))
    };
    let mut entrants: Vec<(String, Measure)> = vec![
        ("bare futex".into(), pair(|c, n| in_turn(&[Futex::default(), Futex::default()], c, n))),
        (
            "crossbeam-channel".into(),
            pair(|c, n| in_turn(&[Crossbeam::default(), Crossbeam::default()], c, n)),
        ),
        ("flume".into(), pair(|c, n| in_turn(&[Flume::default(), Flume::default()], c, n))),
    ];
    for driver in drivers() {
        entrants.push((
            format!("port, {driver}, parked"),
            Box::new(move || in_turn_parked(driver, cores, count)),
        ));
        entrants.push((
            format!("port, {driver}, asleep in the driver"),
            Box::new(move || in_turn_in_drivers(driver, cores, count)),
        ));
        entrants.push((
            format!("port, {driver}, beside another waiter"),
            Box::new(move || in_turn_beside(driver, cores, count)),
        ));
    }
    // A round trip is two of them.
    Contest { work, bar: 1.2, steps: 2 * count, entrants }
}

fn contests(count: u64) -> Vec<Contest> {
    let wake_ups = count / 100;
    let two = Threads::Across { producers: 1, consumers: 1 };
    let four = Threads::Across { producers: 2, consumers: 2 };
    vec![
        queues("post to get, one thread", 1.25, Threads::One, count),
        queues("post to get, two threads", 1.0, two, count),
        queues("post to get, four threads", 1.0, four, count),
        wakes("wake-up, both on one core", Cores::One, wake_ups),
        wakes("wake-up, a core each", Cores::Two, wake_ups),
    ]
}

/// The least, the median and the greatest.
fn summary(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
    [values[0], (low + high) / 2.0, values[values.len() - 1]]
}

fn main() -> Outcome<()> {
    let Options { rounds, count } = options()?;
    let contests = contests(count);
    // Nanoseconds, by contest, entrant and round.
    let mut times: Vec<Vec<Vec<f64>>> =
        contests.iter().map(|one| vec![Vec::new(); one.entrants.len()]).collect();
    for round in 0..=rounds {
        for (contest, times) in contests.iter().zip(&mut times) {
            // Each round begins with another.
            for turn in 0..contest.entrants.len() {
                let at = (round + turn) % contest.entrants.len();
                let (name, measure) = &contest.entrants[at];
                let took = measure().map_err(|e| format!("{}, {name}: {e}", contest.work))?;
                // The first round warms up.
                if round > 0 {
                    times[at].push(took.as_secs_f64() * 1e9 / contest.steps as f64);
                }
            }
        }
        eprintln!("post: {round} of {rounds} rounds");
    }
    print(&contests, &times)?;
    Ok(())
}

fn print(contests: &[Contest], times: &[Vec<Vec<f64>>]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "| work | with | over | ratio (least to greatest) | bar | | ns each |")?;
    writeln!(out, "| --- | --- | --- | ---: | ---: | --- | ---: |")?;
    for (contest, times) in contests.iter().zip(times) {
        let (first, _) = &contest.entrants[0];
        for (at, (name, _)) in contest.entrants.iter().enumerate() {
            let [_, each, _] = summary(times[at].clone());
            write!(out, "| {} | {name} |", contest.work)?;
            if at == 0 {
                writeln!(out, " | | | | {each:.0} |")?;
                continue;
            }
            let ratios =
                times[at].iter().zip(&times[0]).map(|(mine, other)| mine / other).collect();
            let [least, median, greatest] = summary(ratios);
            write!(out, " {first} | {median:.2} ({least:.2} to {greatest:.2}) |")?;
            // The bars are ours; the others are there to be seen.
            if name.starts_with("port") {
                let word = if median <= contest.bar { "met" } else { "missed" };
                writeln!(out, " {:.2} | {word} | {each:.0} |", contest.bar)?;
            } else {
                writeln!(out, " | | {each:.0} |")?;
            }
        }
    }
    Ok(())
}
