//! `cport doctor`: which driver a program on this machine gets, why, and which limits matter.

use std::{fmt::Write, io, num::NonZeroUsize, thread};

use completion_port::{CompletionPort, Observation};
use serde_json::{Value, json};

use crate::{
    args::Doctor,
    error::{Failure, plain},
    output,
    sys::{Limit, limits, machine},
};

/// Fewer descriptors than this, and a server that does not raise its own limit will meet it.
const FEW_DESCRIPTORS: u64 = 4096;
/// Less locked memory than this, and a kernel that charges rings to it refuses them.
const LITTLE_LOCKED: u64 = 8 << 20;
/// A shorter backlog than this loses connections when many come at once.
const SHORT_BACKLOG: u64 = 1024;

/// Everything that was found out.
struct Findings {
    /// Name and release of the system, and the machine.
    system: String,
    /// Processors that this process may use.
    cpus: usize,
    /// The driver that a new port gets and the reason, or why none can be had.
    chosen: Result<(String, String), String>,
    /// Every driver and rung: its name, and why it cannot be had.
    drivers: Vec<(String, Result<(), String>)>,
    /// By what a worker is seen to be blocked.
    observation: String,
    /// How many descriptors a process may have.
    descriptors: Option<Limit>,
    /// How much memory it may lock.
    locked: Option<Limit>,
    /// `kernel.io_uring_disabled`: 0 allowed, 1 for a group, 2 for nobody.
    io_uring_disabled: Option<u64>,
    /// `net.core.somaxconn`: the longest backlog.
    backlog: Option<u64>,
}

/// Looks, and says what it found. It fails if no driver works at all.
pub fn run(options: &Doctor) -> Result<(), Failure> {
    let findings = Findings::look();
    let text = if options.json { findings.json().to_string() } else { findings.words() };
    match output::try_line(&text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::runtime(format!("cannot write to standard output: {}", plain(&error))))
        }
        _ => match findings.chosen {
            Ok(_) => Ok(()),
            Err(why) => Err(Failure::runtime(format!("no completion port can be opened: {why}"))),
        },
    }
}

impl Findings {
    /// Asks the library, the kernel and the limits.
    fn look() -> Self {
        let chosen = CompletionPort::<(), ()>::new();
        Self {
            system: machine::name(),
            cpus: thread::available_parallelism().map_or(1, NonZeroUsize::get),
            chosen: chosen
                .map(|port| (port.driver().kind().to_string(), port.driver().reason().to_string()))
                .map_err(|error| plain(&error)),
            drivers: completion_port::probe()
                .iter()
                .map(|probed| {
                    (probed.kind().to_string(), probed.available().map_err(ToString::to_string))
                })
                .collect(),
            observation: Observation::here().to_string(),
            descriptors: limits::descriptors(),
            locked: limits::locked_memory(),
            io_uring_disabled: machine::io_uring_disabled(),
            backlog: machine::backlog(),
        }
    }

    /// What to do about what was found, each in a sentence. Nothing to do: empty.
    fn advice(&self) -> Vec<String> {
        let mut advice = Vec::new();
        let ring_works =
            self.drivers.iter().any(|(name, found)| name.starts_with("io_uring") && found.is_ok());
        if machine::IO_URING && !ring_works {
            advice.push(match self.io_uring_disabled {
                Some(2) => "io_uring is switched off for everybody: `sysctl kernel.io_uring_disabled=0` allows it".to_string(),
                Some(1) => "io_uring is for one group only: see `sysctl kernel.io_uring_group`, or set kernel.io_uring_disabled=0".to_string(),
                _ => "io_uring cannot be had, for the reason above; the readiness driver does the same work with more system calls".to_string(),
            });
        }
        if let Ok((driver, _)) = &self.chosen
            && driver.starts_with("io_uring")
        {
            advice.push("with io_uring, `epoll_wait`, `sigtimedwait`, a `recv` with a time-out and a large blocking `send` of a thread that has operations in flight may end early, as after a signal; where that matters, force the readiness driver".to_string());
        }
        if let Some(Limit { now: Some(now), most }) = self.descriptors
            && now < FEW_DESCRIPTORS
        {
            advice.push(match most {
                Some(most) if most < FEW_DESCRIPTORS => {
                    format!("a process may have {most} descriptors at most: raise the hard limit (`ulimit -Hn`, LimitNOFILE=) to hold more connections")
                }
                _ => format!("{now} descriptors are few: `cport serve` raises its own limit, your program should too (or `ulimit -n`)"),
            });
        }
        if let Some(Limit { now: Some(now), .. }) = self.locked
            && now < LITTLE_LOCKED
            && !ring_works
        {
            advice.push(format!(
                "{} of locked memory is little for rings: raise `ulimit -l`",
                bytes(now)
            ));
        }
        if let Some(backlog) = self.backlog
            && backlog < SHORT_BACKLOG
        {
            advice.push(format!(
                "the backlog is {backlog} connections: raise net.core.somaxconn if many connect at once"
            ));
        }
        advice
    }

    /// The findings for a person.
    fn words(&self) -> String {
        let mut text = format!("cport {}\n", env!("CARGO_PKG_VERSION"));
        let mut entry = |name: &str, value: &str| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name:<15} {value}");
        };
        entry("system", &self.system);
        entry("CPUs", &self.cpus.to_string());
        match &self.chosen {
            Ok((kind, reason)) => entry("driver", &format!("{kind} ({reason})")),
            Err(why) => entry("driver", &format!("none: {why}")),
        }
        let width = self.drivers.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut before = None;
        for (name, found) in &self.drivers {
            let told = match found {
                Ok(()) => "available".to_string(),
                Err(why) if before == Some(why) => "not available, for the same reason".to_string(),
                Err(why) => format!("not available: {why}"),
            };
            before = found.as_ref().err();
            entry("", &format!("{name:<width$}  {told}"));
        }
        entry("blocked worker", &format!("seen by {}", self.observation));
        if let Some(limit) = self.descriptors {
            entry(
                "descriptors",
                &format!("{} now, {} at most", count(limit.now), count(limit.most)),
            );
        }
        if let Some(limit) = self.locked {
            let show = |value: Option<u64>| value.map_or("unlimited".to_string(), bytes);
            entry(
                "locked memory",
                &format!("{} now, {} at most", show(limit.now), show(limit.most)),
            );
        }
        if let Some(value) = self.io_uring_disabled {
            let meaning = match value {
                0 => "allowed",
                1 => "for one group only",
                _ => "switched off",
            };
            entry("io_uring", &format!("{meaning} (kernel.io_uring_disabled = {value})"));
        }
        if let Some(value) = self.backlog {
            entry("backlog", &format!("{value} connections at most (net.core.somaxconn)"));
        }
        let advice = self.advice();
        for (n, sentence) in advice.iter().enumerate() {
            entry(if n == 0 { "what to do" } else { "" }, sentence);
        }
        if advice.is_empty() {
            entry("what to do", "nothing");
        }
        text.trim_end().to_string()
    }

    /// The findings for a program.
    fn json(&self) -> Value {
        let limit = |limit: Option<Limit>| {
            limit.map(|limit| json!({ "now": limit.now, "most": limit.most }))
        };
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "system": self.system,
            "cpus": self.cpus,
            "driver": match &self.chosen {
                Ok((kind, reason)) => json!({ "name": kind, "reason": reason }),
                Err(why) => json!({ "name": null, "reason": why }),
            },
            "drivers": self.drivers.iter().map(|(name, found)| {
                json!({ "name": name, "available": found.is_ok(), "reason": found.as_ref().err() })
            }).collect::<Vec<_>>(),
            "blocked_worker_seen_by": self.observation,
            "descriptors": limit(self.descriptors),
            "locked_memory_bytes": limit(self.locked),
            "io_uring_disabled": self.io_uring_disabled,
            "somaxconn": self.backlog,
            "advice": self.advice(),
        })
    }
}

/// A number, or that there is no limit.
fn count(value: Option<u64>) -> String {
    value.map_or("unlimited".to_string(), |value| value.to_string())
}

/// Bytes in the unit that a person would choose.
fn bytes(value: u64) -> String {
    match value {
        0..1024 => format!("{value} B"),
        1024..0x10_0000 => format!("{} KiB", value >> 10),
        _ => format!("{} MiB", value >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine on which little works.
    fn poor() -> Findings {
        Findings {
            system: "Linux 5.15".into(),
            cpus: 1,
            chosen: Ok(("readiness".into(), "io_uring is denied".into())),
            drivers: vec![
                ("io_uring:coop".into(), Err("EPERM".into())),
                ("io_uring:basic".into(), Err("EPERM".into())),
                ("readiness".into(), Ok(())),
            ],
            observation: Observation::Syscall.to_string(),
            descriptors: Some(Limit { now: Some(1024), most: Some(1024) }),
            locked: Some(Limit { now: Some(65536), most: None }),
            io_uring_disabled: Some(2),
            backlog: Some(128),
        }
    }

    #[test]
    fn each_problem_has_its_advice() {
        let advice = poor().advice();
        if machine::IO_URING {
            assert_eq!(advice.len(), 4, "{advice:#?}");
            assert!(advice[0].contains("kernel.io_uring_disabled=0"));
        }
        let words = poor().words();
        assert!(words.contains("io_uring:coop   not available: EPERM"), "{words}");
        assert!(words.contains("io_uring:basic  not available, for the same reason"), "{words}");
    }

    #[test]
    fn both_forms_tell_the_same() {
        let json = poor().json();
        assert_eq!(json["driver"]["name"], "readiness");
        assert_eq!(json["drivers"][0]["reason"], "EPERM");
        assert_eq!(json["descriptors"]["now"], 1024);
        assert_eq!(json["locked_memory_bytes"]["most"], Value::Null);
    }
}
