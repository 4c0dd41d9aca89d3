//! What stands on the command line of `cport bench`, and what of it makes no sense.

use std::{env, num::NonZeroUsize, path::PathBuf, thread, time::Duration};

use clap::Args;
use completion_port::DriverKind;

use crate::{
    args::{ADDRESS, Address, Driver, seconds},
    error::Failure,
    sys::{limits, machine::LOAD_DRIVER},
};

/// The longest message of a stream.
const LONGEST: usize = 64 << 20;
/// The longest datagram that IPv4 carries.
const LONGEST_DATAGRAM: usize = 65_507;
/// The shortest that can tell which one it is.
const SHORTEST_DATAGRAM: usize = 8;
/// Messages on their way on one connection at most.
const DEEPEST: usize = 1 << 16;
/// Bytes on their way on all connections at most: they are in memory.
const MOST_BYTES: u64 = 4 << 30;
/// Messages a second at most: more than a machine can.
const FASTEST: f64 = 1e8;
/// Descriptors for other things than connections: the ports, the standard streams, the report.
const OTHER_DESCRIPTORS: u64 = 64;

/// `cport bench`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = super::HELP)]
pub struct Bench {
    /// The echo server [default: 127.0.0.1:9190; none, if --compare alone is to make a page]
    #[arg(value_name = "ADDRESS")]
    address: Option<Address>,
    /// Connections at a time
    #[arg(long, short, value_name = "N", default_value = "64", value_parser = from_one)]
    pub connections: NonZeroUsize,
    /// Bytes of a message
    #[arg(long, short, value_name = "BYTES", default_value = "64", value_parser = from_one)]
    pub size: NonZeroUsize,
    /// Messages on their way on each connection
    #[arg(long, short, value_name = "DEPTH", default_value = "1", value_parser = from_one)]
    pub pipeline: NonZeroUsize,
    /// Open loop: so many messages a second in all, and latency counts from when each was due [default: closed loop]
    #[arg(long, short, value_name = "PER_SECOND", value_parser = rate)]
    pub rate: Option<f64>,
    /// Datagrams instead of streams
    #[arg(long, conflicts_with = "churn")]
    pub udp: bool,
    /// A new connection for each message: connect, one echo, close
    #[arg(long, conflicts_with = "pipeline")]
    pub churn: bool,
    /// Threads, each with a completion port of its own and its share of the connections [default: half of the CPUs]
    #[arg(long, short, value_name = "N", value_parser = from_one)]
    threads: Option<NonZeroUsize>,
    /// What the load itself runs on: auto, io-uring, readiness, or a name that `cport doctor` lists
    #[arg(long, value_name = "NAME", default_value = "auto")]
    driver: Driver,
    /// Seconds before anything is measured
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub warm_up: Duration,
    /// Seconds to measure
    #[arg(long, short, value_name = "SECONDS", default_value = "10", value_parser = some_seconds)]
    pub duration: Duration,
    /// Seconds after which a connection on which nothing comes back is given up, and a datagram is lost [default: 10, with --udp 1]
    #[arg(long, value_name = "SECONDS", value_parser = some_seconds)]
    timeout: Option<Duration>,
    /// Also tell what this process, the server, takes: processor time for each message, and memory (Linux, Windows)
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<NonZeroUsize>,
    /// What this run is called in the report [default: the address]
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Say nothing while it runs
    #[arg(long, short)]
    pub quiet: bool,
    /// Print one JSON object instead of the table
    #[arg(long)]
    pub json: bool,
    /// Write a page with the curves and the figures, of this run and of those of --compare
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Earlier runs for the report: what --json printed
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "report")]
    pub compare: Vec<PathBuf>,
}

impl Bench {
    /// Whether there is something to measure, and not only a page to make of earlier runs.
    pub fn measures(&self) -> bool {
        self.address.is_some() || self.compare.is_empty()
    }

    /// The server.
    pub fn address(&self) -> Result<Address, Failure> {
        match &self.address {
            Some(address) => Ok(address.clone()),
            None => ADDRESS.parse().map_err(Failure::usage),
        }
    }

    /// What the run is called.
    pub fn label(&self, address: &Address) -> String {
        self.label.clone().unwrap_or_else(|| address.to_string())
    }

    /// How many threads: no more than there are connections.
    pub fn threads(&self) -> usize {
        let cpus = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let wanted = self.threads.map_or((cpus / 2).max(1), NonZeroUsize::get);
        wanted.min(self.connections.get())
    }

    /// Which driver the load runs on. `None`: the one that `COMPLETION_PORT_DRIVER` names.
    ///
    /// Left to itself, the load takes the one that costs it least.
    pub fn driver(&self) -> Option<DriverKind> {
        let left_to_us = env::var_os("COMPLETION_PORT_DRIVER").is_none();
        self.driver.0.or(LOAD_DRIVER.filter(|_| left_to_us))
    }

    /// How long to wait for what does not come.
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(Duration::from_secs(if self.udp { 1 } else { 10 }))
    }

    /// Refuses what cannot be.
    pub fn check(&self) -> Result<(), Failure> {
        let refuse =
            |what: String| Err(Failure::usage(format!("{what}; see `cport bench --help`")));
        if !self.measures() {
            if self.json {
                return refuse(
                    "--json prints what was measured: give the address of a server".into(),
                );
            }
            return Ok(());
        }
        let (size, pipeline) = (self.size.get(), self.pipeline.get());
        if self.udp && !(SHORTEST_DATAGRAM..=LONGEST_DATAGRAM).contains(&size) {
            return refuse(format!(
                "--size {size}: a datagram has {SHORTEST_DATAGRAM} to {LONGEST_DATAGRAM} bytes"
            ));
        }
        if size > LONGEST {
            return refuse(format!("--size {size}: a message has at most {LONGEST} bytes"));
        }
        if pipeline > DEEPEST {
            return refuse(format!("--pipeline {pipeline}: at most {DEEPEST}"));
        }
        self.check_descriptors()?;
        let all = [pipeline, self.connections.get()]
            .iter()
            .fold(size as u64, |all, n| all.saturating_mul(*n as u64));
        if all > MOST_BYTES {
            return refuse(format!(
                "--connections, --size and --pipeline put {all} bytes on their way: at most {MOST_BYTES}"
            ));
        }
        Ok(())
    }

    /// Refuses more connections than this process may have descriptors. Each of a churn has its successor open before it is closed.
    fn check_descriptors(&self) -> Result<(), Failure> {
        limits::raise_descriptors();
        let wanted = self.connections.get() as u64 * if self.churn { 2 } else { 1 };
        let Some(most) = limits::descriptors().and_then(|limit| limit.now) else { return Ok(()) };
        if wanted.saturating_add(OTHER_DESCRIPTORS) > most {
            return Err(Failure::usage(format!(
                "--connections {}: this process may have {most} descriptors, and needs {wanted} and {OTHER_DESCRIPTORS} more; \
                 raise the limit (`ulimit -n`), or take fewer connections",
                self.connections
            )));
        }
        Ok(())
    }
}

/// A number of things: at least one.
fn from_one(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "give a whole number from 1 up".to_string())
}

/// A number of messages a second.
fn rate(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate| *rate > 0.0 && *rate <= FASTEST)
        .ok_or_else(|| format!("give messages a second, above 0 and up to {FASTEST}"))
}

/// A number of seconds, and not none.
fn some_seconds(text: &str) -> Result<Duration, String> {
    seconds(text)
        .ok()
        .filter(|time| *time >= Duration::from_millis(1))
        .ok_or_else(|| "give seconds from 0.001 to 86400".to_string())
}
