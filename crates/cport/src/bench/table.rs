//! The table at the end.

use super::{
    figures::{bytes, count, of, rate, time},
    outcome::{Cost, Outcome, Setup},
};

/// What a run has shown, a line each: what it is, and how much.
pub fn rows(outcome: &Outcome) -> Vec<(String, String)> {
    let row = |name: &str, value: String| (name.to_string(), value);
    let latency = &outcome.latency_us;
    let time = |us| if latency.count > 0 { time(us) } else { "none".into() };
    let mut rows = vec![
        row("messages", count(outcome.messages)),
        row("messages/s", rate(outcome.messages_per_second)),
        row("bytes/s", bytes(outcome.bytes_per_second)),
        row("latency p50", time(latency.p50)),
        row("latency p90", time(latency.p90)),
        row("latency p99", time(latency.p99)),
        row("latency p99.9", time(latency.p99_9)),
        row("latency max", time(latency.max)),
    ];
    if outcome.setup.r#loop == "open" {
        rows.push(row("due and not sent", count(outcome.unsent)));
    }
    rows.push(row("errors", count(outcome.errors.total)));
    let kinds = outcome.errors.kinds().into_iter().filter(|(_, count)| *count > 0);
    rows.extend(kinds.map(|(kind, number)| row(&format!("  {kind}"), count(number))));
    if let Some(server) = &outcome.server {
        rows.push(row("server CPU", cost(server)));
        let resident = |kib: u64| bytes(kib as f64 * 1024.0);
        rows.push(row(
            "server memory",
            format!("{} (before: {})", resident(server.rss_kib), resident(server.rss_kib_before)),
        ));
    }
    if let Some(load) = &outcome.load {
        rows.push(row("load CPU", cost(load)));
    }
    rows
}

/// What was asked for, in a line.
pub fn setup(setup: &Setup) -> String {
    let rate = match setup.rate {
        Some(asked) => format!("open loop, {} messages/s", rate(asked)),
        None => "closed loop".into(),
    };
    let kind = if setup.churn { "a connection for each message" } else { "connections kept" };
    format!(
        "{} {}, {rate}, {}, {}, {} deep, {kind}, {}, {} s after {} s",
        setup.protocol.to_uppercase(),
        setup.address,
        of(setup.connections, "connection"),
        of(setup.size, "byte"),
        setup.pipeline,
        of(setup.threads, "thread"),
        setup.duration_s,
        setup.warm_up_s,
    )
}

/// Processor time.
fn cost(cost: &Cost) -> String {
    match cost.cpu_us_per_message {
        Some(us) => format!("{us:.2} us a message ({:.2} s)", cost.cpu_s),
        None => format!("{:.2} s", cost.cpu_s),
    }
}

/// The whole of it.
pub fn table(outcome: &Outcome) -> String {
    let rows = rows(outcome);
    let width = |of: fn(&(String, String)) -> &String| {
        rows.iter().map(|row| of(row).chars().count()).max().unwrap_or(0)
    };
    let (names, values) = (width(|row| &row.0), width(|row| &row.1));
    let mut text = setup(&outcome.setup);
    for (name, value) in &rows {
        text += &format!("\n{name:names$}  {value:>values$}");
    }
    if let Some(first) = &outcome.errors.first {
        text += &format!("\nfirst error: {first}");
    }
    if outcome.interrupted {
        text += &format!(
            "\ninterrupted after {:.1} s of {} s",
            outcome.measured_s, outcome.setup.duration_s
        );
    }
    text
}
