//! What a run has shown: what `--json` prints, and what `--compare` reads again.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::{errors::Errors, meter::Measured, options::Bench, plan::Plan};
use crate::{
    error::{Failure, plain},
    sys::{machine, process::Usage},
};

/// The form of the JSON. A later form that a reader of this one would misread gets another number.
const FORMAT: &str = "cport-bench-1";
/// Points of the curve for each decade of 1 / (1 - quantile).
const POINTS: f64 = 20.0;

/// The whole of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// Always the same.
    pub format: String,
    /// The version of cport that measured.
    pub version: String,
    /// What the run is called.
    pub label: String,
    /// When it began, in seconds since 1970 (UTC).
    pub started_unix: u64,
    /// What was asked for.
    pub setup: Setup,
    /// It was ended before its time by a signal.
    pub interrupted: bool,
    /// Seconds that were measured.
    pub measured_s: f64,
    /// Messages that came back in that time.
    pub messages: u64,
    /// The same for each second.
    pub messages_per_second: f64,
    /// Bytes of those messages, counted once.
    pub bytes: u64,
    /// The same for each second.
    pub bytes_per_second: f64,
    /// Open loop: messages that were due and could not be sent. They are in the latencies with what they had waited at the end.
    pub unsent: u64,
    /// How long messages took that were due in that time.
    pub latency_us: Latency,
    /// The same as a curve.
    pub percentiles: Vec<Point>,
    /// How many came back in each interval.
    pub timeline: Vec<Interval>,
    /// What went wrong in the whole run, also while connecting and warming up.
    pub errors: Errors,
    /// What the server took, if its process was named.
    pub server: Option<Cost>,
    /// What the load itself took, where the system tells.
    pub load: Option<Cost>,
}

/// What was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Setup {
    /// The server.
    pub address: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// `closed` or `open`.
    pub r#loop: String,
    /// Messages a second that were asked for, in an open loop.
    pub rate: Option<f64>,
    /// Connections.
    pub connections: usize,
    /// Bytes of a message.
    pub size: usize,
    /// Messages on their way on each connection.
    pub pipeline: usize,
    /// A new connection for each message.
    pub churn: bool,
    /// Threads of the load.
    pub threads: usize,
    /// Seconds before anything was measured.
    pub warm_up_s: f64,
    /// Seconds that were to be measured.
    pub duration_s: f64,
    /// Seconds after which something was given up.
    pub timeout_s: f64,
    /// What the load ran on.
    pub driver: String,
    /// The system of the load.
    pub system: String,
    /// Its processors, as far as the load might use them.
    pub cpus: usize,
}

/// How long messages took, in microseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[allow(missing_docs, clippy::missing_docs_in_private_items, reason = "the names say it")]
pub struct Latency {
    pub count: u64,
    pub min: f64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub max: f64,
}

/// A point of the latency curve.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Point {
    /// So many of a hundred messages took no longer. The last point is the longest.
    pub percentile: f64,
    /// In microseconds.
    pub us: f64,
}

/// A piece of the measured time.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Interval {
    /// Its end, in seconds since the measuring began.
    pub at_s: f64,
    /// Messages that came back in it, for each second.
    pub messages_per_second: f64,
    /// Errors in it.
    pub errors: u64,
}

/// What a process took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Cost {
    /// Which.
    pub pid: usize,
    /// Processor time, user and system, in the measured time.
    pub cpu_s: f64,
    /// The same for each message, in microseconds, if there were any.
    pub cpu_us_per_message: Option<f64>,
    /// Resident memory at the beginning of the measured time, and at its end.
    pub rss_kib_before: u64,
    /// At its end.
    pub rss_kib: u64,
}

/// What the main thread saw of the run.
#[derive(Debug)]
pub struct Seen {
    /// How long it measured.
    pub measured: Duration,
    /// Messages that came back meanwhile.
    pub messages: u64,
    /// The same by intervals.
    pub timeline: Vec<Interval>,
    /// It was interrupted.
    pub interrupted: bool,
    /// What the load ran on.
    pub driver: String,
    /// What the server had taken before and after.
    pub server: Option<(usize, Usage, Usage)>,
    /// What this process had.
    pub load: Option<(usize, Usage, Usage)>,
}

impl Outcome {
    /// What the threads have measured and the main thread has seen.
    pub fn new(
        options: &Bench,
        label: String,
        plan: &Plan,
        seen: Seen,
        measured: Measured,
    ) -> Self {
        let seconds = seen.measured.as_secs_f64();
        let each = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        let bytes = seen.messages * plan.size as u64;
        let cost =
            |(pid, before, after): (usize, Usage, Usage)| cost(pid, before, after, seen.messages);
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            format: FORMAT.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            label,
            started_unix: started
                .as_secs()
                .saturating_sub((options.duration + options.warm_up).as_secs()),
            setup: setup(options, plan, seen.driver),
            interrupted: seen.interrupted,
            measured_s: seconds,
            messages: seen.messages,
            messages_per_second: each(seen.messages),
            bytes,
            bytes_per_second: each(bytes),
            unsent: measured.unsent,
            latency_us: latency(&measured.times),
            percentiles: curve(&measured.times),
            timeline: seen.timeline,
            errors: measured.errors,
            server: seen.server.map(cost),
            load: seen.load.map(cost),
        }
    }

    /// As JSON.
    pub fn json(&self) -> Result<String, Failure> {
        serde_json::to_string_pretty(self).map_err(|error| {
            Failure::runtime(format!("the figures cannot be written as JSON: {error}"))
        })
    }

    /// An earlier one.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let refuse = |why: String| Failure::usage(format!("--compare {}: {why}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| refuse(plain(&error)))?;
        let outcome: Self = serde_json::from_str(&text)
            .map_err(|error| refuse(format!("not what `cport bench --json` prints: {error}")))?;
        if outcome.format != FORMAT {
            return Err(refuse(format!("its format is {:?}, and not {FORMAT}", outcome.format)));
        }
        Ok(outcome)
    }
}

/// What was asked for.
fn setup(options: &Bench, plan: &Plan, driver: String) -> Setup {
    Setup {
        address: plan.address.to_string(),
        protocol: if options.udp { "udp" } else { "tcp" }.into(),
        r#loop: if plan.rate.is_some() { "open" } else { "closed" }.into(),
        rate: plan.rate,
        connections: plan.connections,
        size: plan.size,
        pipeline: plan.depth,
        churn: plan.churn,
        threads: plan.threads,
        warm_up_s: options.warm_up.as_secs_f64(),
        duration_s: options.duration.as_secs_f64(),
        timeout_s: plan.timeout.as_secs_f64(),
        driver,
        system: machine::name(),
        cpus: std::thread::available_parallelism().map_or(1, Into::into),
    }
}

/// What a process took between two looks.
fn cost(pid: usize, before: Usage, after: Usage, messages: u64) -> Cost {
    let cpu = after.cpu_since(&before).as_secs_f64();
    Cost {
        pid,
        cpu_s: cpu,
        cpu_us_per_message: (messages > 0).then(|| cpu * 1e6 / messages as f64),
        rss_kib_before: before.resident_kib,
        rss_kib: after.resident_kib,
    }
}

/// Nanoseconds as microseconds.
fn us(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1000.0
}

/// The usual figures.
fn latency(times: &Histogram<u64>) -> Latency {
    if times.is_empty() {
        return Latency::default();
    }
    let at = |quantile| us(times.value_at_quantile(quantile));
    Latency {
        count: times.len(),
        min: us(times.min()),
        mean: times.mean() / 1000.0,
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p99_9: at(0.999),
        max: us(times.max()),
    }
}

/// The curve, at the same places for every run: as far as there are messages beyond, and then the longest. The median and the
/// upper quarter are among them.
fn curve(times: &Histogram<u64>) -> Vec<Point> {
    let count = times.len() as f64;
    let steps = (0..).map(|step| 10f64.powf(f64::from(step) / POINTS));
    let mut beyond: Vec<_> = steps.take_while(|beyond| *beyond < count).collect();
    beyond.extend([2.0, 4.0].into_iter().filter(|beyond| *beyond < count));
    beyond.sort_by(f64::total_cmp);
    let point = |beyond: f64| {
        let quantile = 1.0 - 1.0 / beyond;
        Point { percentile: quantile * 100.0, us: us(times.value_at_quantile(quantile)) }
    };
    let mut points: Vec<_> = beyond.into_iter().map(point).collect();
    if !times.is_empty() {
        points.push(Point { percentile: 100.0, us: us(times.max()) });
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(values: impl Iterator<Item = u64>) -> Histogram<u64> {
        let mut times = Measured::default().times;
        values.for_each(|value| times.saturating_record(value));
        times
    }

    #[test]
    fn the_curve_rises_to_the_longest() {
        let curve = curve(&times((1..=100_000).map(|n| n * 1000)));
        assert!(
            curve
                .windows(2)
                .all(|pair| pair[0].percentile < pair[1].percentile && pair[0].us <= pair[1].us)
        );
        let last = curve.last().expect("points");
        assert!(last.percentile == 100.0 && last.us >= 100_000.0, "{last:?}");
        let p50 = curve.iter().find(|point| point.percentile == 50.0).expect("a point at p50");
        assert!((49_900.0..50_200.0).contains(&p50.us), "{p50:?}");
        let p99 = curve
            .iter()
            .find(|point| (point.percentile - 99.0).abs() < 1e-9)
            .expect("a point at p99");
        assert!((98_900.0..99_200.0).contains(&p99.us), "{p99:?}");
    }

    #[test]
    fn nothing_measured_has_no_curve() {
        let none = times(std::iter::empty());
        assert!(curve(&none).is_empty() && latency(&none).count == 0);
        assert_eq!(curve(&times(std::iter::once(5000))).len(), 1);
    }
}
