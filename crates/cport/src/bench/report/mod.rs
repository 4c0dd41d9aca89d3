//! The report: one page that needs nothing else, with the curves, the figures and the set-up of one run or of several.
//!
//! The curves are drawn here, as SVG, so that the page has no script. Runs differ by colour and by dashes. Whatever the curves show
//! stands in tables too. All text that comes from outside is escaped.

mod chart;
mod date;
mod scale;

use std::fmt::Write;

use self::{
    chart::{Axis, Chart, Line},
    scale::Scale,
};
use super::{
    figures::{count, rate, time},
    outcome::{Outcome, Point},
    table,
};

/// How it looks.
const STYLE: &str = include_str!("style.css");
/// The percentiles of the table of the curve.
const PERCENTILES: [f64; 8] = [50.0, 75.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999];
/// The shortest latency that the curve shows, in microseconds.
const SHORTEST: f64 = 0.1;

/// The page of these runs.
pub fn page(outcomes: &[Outcome]) -> String {
    let labels = outcomes.iter().map(|outcome| escape(&outcome.label)).collect::<Vec<_>>();
    let title = format!("cport bench: {}", labels.join(", "));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<main>\n<h1>{title}</h1>\n{legend}{notes}<div class=\"charts\">\n{latency}{throughput}</div>\n\
         <h2>Figures</h2>\n{figures}<h2>Set-up</h2>\n{setups}<h2>The curves as tables</h2>\n{percentiles}{timelines}\
         </main>\n</body>\n</html>\n",
        legend = legend(&labels),
        notes = notes(outcomes, &labels),
        latency = latency(outcomes).svg(),
        throughput = throughput(outcomes).svg(),
        figures = figures(outcomes, &labels),
        setups = setups(outcomes, &labels),
        percentiles = percentiles(outcomes, &labels),
        timelines = timelines(outcomes, &labels),
    )
}

/// Text as HTML.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c => out.push(c),
        }
    }
    out
}

/// Which line is whose.
fn legend(labels: &[String]) -> String {
    let mut out = String::from("<ul class=\"legend\">\n");
    for (n, label) in labels.iter().enumerate() {
        let class = chart::class(n);
        let _ = writeln!(
            out,
            "<li><svg viewBox=\"0 0 40 10\" width=\"40\" height=\"10\" aria-hidden=\"true\"><path class=\"{class}\" d=\"M0 5H40\"/></svg> {label}</li>"
        );
    }
    out + "</ul>\n"
}

/// What a reader must know before comparing.
fn notes(outcomes: &[Outcome], labels: &[String]) -> String {
    let mut out = String::new();
    for (outcome, label) in outcomes.iter().zip(labels) {
        let mut note = |text: String| {
            let _ = writeln!(out, "<p class=\"note\"><strong>{label}</strong>: {text}</p>");
        };
        if outcome.interrupted {
            note(format!(
                "interrupted after {:.1} s of {} s.",
                outcome.measured_s, outcome.setup.duration_s
            ));
        }
        if outcome.errors.total > 0 {
            let first = outcome.errors.first.as_deref().map(escape).unwrap_or_default();
            note(format!("{} errors, the first: {first}.", count(outcome.errors.total)));
        }
        if outcome.unsent > 0 {
            note(format!(
                "{} messages were due and could not be sent; the latencies hold what they had waited at the end.",
                count(outcome.unsent)
            ));
        }
    }
    out
}

/// The latency curve.
fn latency(outcomes: &[Outcome]) -> Chart {
    let lines = outcomes.iter().map(|outcome| {
        // The longest of n messages stands where one in n is as long.
        let last = outcome.latency_us.count.max(1) as f64;
        let beyond = |percentile: f64| (100.0 / (100.0 - percentile)).clamp(1.0, last);
        let point = |point: &Point| (beyond(point.percentile), point.us.max(SHORTEST));
        Line {
            label: escape(&outcome.label),
            points: outcome.percentiles.iter().map(point).collect(),
        }
    });
    let lines: Vec<_> = lines.collect();
    let x = Scale::logarithmic(lines.iter().flat_map(Line::xs).chain([1.0, 100.0])).at_decades();
    let y = Scale::logarithmic(lines.iter().flat_map(Line::ys));
    Chart {
        id: "latency",
        title: "Latency by percentile",
        x: Axis { name: "messages that took no longer (%)", scale: x, label: percent },
        y: Axis { name: "latency", scale: y, label: brief_time },
        lines,
    }
}

/// Throughput over time.
fn throughput(outcomes: &[Outcome]) -> Chart {
    let line = |outcome: &Outcome| {
        let points =
            outcome.timeline.iter().map(|interval| (interval.at_s, interval.messages_per_second));
        Line { label: escape(&outcome.label), points: points.collect() }
    };
    let lines: Vec<_> = outcomes.iter().map(line).collect();
    let x = Scale::linear(lines.iter().flat_map(Line::xs));
    let y = Scale::linear(lines.iter().flat_map(Line::ys));
    Chart {
        id: "throughput",
        title: "Throughput over time",
        x: Axis { name: "time (s)", scale: x, label: brief },
        y: Axis { name: "messages/s", scale: y, label: brief },
        lines,
    }
}

/// What 1 / (1 - quantile) means as a percentile.
fn percent(beyond: f64) -> String {
    let percent = 100.0 - 100.0 / beyond;
    let nines = beyond.log10().round().max(0.0) as usize;
    format!("{percent:.*}", nines.saturating_sub(2))
}

/// Microseconds, short.
fn brief_time(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{us} µs"),
        us if us < 1e6 => format!("{} ms", us / 1e3),
        us => format!("{} s", us / 1e6),
    }
}

/// A number, short.
fn brief(number: f64) -> String {
    let round = |number: f64| (number * 100.0).round() / 100.0;
    match number {
        number if number < 1e4 => format!("{}", round(number)),
        number if number < 1e6 => format!("{}k", round(number / 1e3)),
        number => format!("{}M", round(number / 1e6)),
    }
}

/// A table: a row for each name, a column for each run.
fn comparison(
    caption: &str,
    labels: &[String],
    rows: impl IntoIterator<Item = (String, Vec<String>)>,
) -> String {
    let mut out =
        format!("<div class=\"wide\"><table>\n<caption>{caption}</caption>\n<thead><tr><td></td>");
    labels.iter().for_each(|label| out += &format!("<th scope=\"col\">{label}</th>"));
    out += "</tr></thead>\n<tbody>\n";
    for (name, cells) in rows {
        out += &format!("<tr><th scope=\"row\">{name}</th>");
        cells.iter().for_each(|cell| out += &format!("<td>{cell}</td>"));
        out += "</tr>\n";
    }
    out + "</tbody>\n</table></div>\n"
}

/// The figures of the table on the command line, those that any run has.
fn figures(outcomes: &[Outcome], labels: &[String]) -> String {
    let all: Vec<_> = outcomes.iter().map(table::rows).collect();
    let mut names: Vec<&String> = Vec::new();
    for (name, _) in all.iter().flatten() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let cell = |rows: &Vec<(String, String)>, name: &String| {
        rows.iter().find(|row| row.0 == *name).map_or("–".to_string(), |row| escape(&row.1))
    };
    let row = |name: &String| (escape(name), all.iter().map(|rows| cell(rows, name)).collect());
    comparison("What was measured", labels, names.iter().map(|name| row(name)))
}

/// What was asked for, and where and when.
fn setups(outcomes: &[Outcome], labels: &[String]) -> String {
    let mut out = String::from("<dl>\n");
    for (outcome, label) in outcomes.iter().zip(labels) {
        let setup = &outcome.setup;
        let _ = writeln!(
            out,
            "<dt>{label}</dt><dd>{}<br>{}, cport {} ({}), {}, {} CPUs</dd>",
            escape(&table::setup(setup)),
            date::utc(outcome.started_unix),
            escape(&outcome.version),
            escape(&setup.driver),
            escape(&setup.system),
            setup.cpus,
        );
    }
    out + "</dl>\n"
}

/// The latency curve for those who do not see it.
fn percentiles(outcomes: &[Outcome], labels: &[String]) -> String {
    // Each is a point of the curve, if there are messages beyond it.
    let at = |outcome: &Outcome, percentile: f64| {
        let here = |point: &&Point| (point.percentile - percentile).abs() < 1e-9;
        outcome.percentiles.iter().find(here).map_or("–".to_string(), |point| time(point.us))
    };
    let row = |percentile: f64| {
        (
            format!("{percentile} %"),
            outcomes.iter().map(|outcome| at(outcome, percentile)).collect(),
        )
    };
    let rows = PERCENTILES.into_iter().map(row).chain([row(100.0)]);
    details("Latency by percentile", &comparison("Messages that took no longer", labels, rows))
}

/// Throughput over time for those who do not see it.
fn timelines(outcomes: &[Outcome], labels: &[String]) -> String {
    let mut out = String::new();
    for (outcome, label) in outcomes.iter().zip(labels) {
        let rows = outcome.timeline.iter().map(|interval| {
            (
                format!("{:.1} s", interval.at_s),
                vec![rate(interval.messages_per_second), count(interval.errors)],
            )
        });
        let columns = ["messages/s".to_string(), "errors".to_string()];
        out +=
            &details(&format!("Throughput over time: {label}"), &comparison(label, &columns, rows));
    }
    out
}

/// Something that is shown when it is asked for.
fn details(summary: &str, content: &str) -> String {
    format!("<details><summary>{summary}</summary>\n{content}</details>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_not_markup() {
        assert_eq!(escape("<b a='1' c=\"2\">&"), "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp;");
    }

    #[test]
    fn labels_of_the_axes_are_short() {
        assert_eq!(
            [1.0, 2.0, 10.0, 100.0, 1000.0, 1e6].map(percent),
            ["0", "50", "90", "99", "99.9", "99.9999"]
        );
        assert_eq!([0.5, 200.0, 5000.0, 2e6].map(brief_time), ["0.5 µs", "200 µs", "5 ms", "2 s"]);
        assert_eq!(
            [0.0, 2.5, 9000.0, 250_000.0, 1_250_000.0].map(brief),
            ["0", "2.5", "9000", "250k", "1.25M"]
        );
    }
}
