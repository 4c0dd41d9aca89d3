//! The command line.

use std::{
    ffi::OsString,
    fmt,
    net::{SocketAddr, ToSocketAddrs},
    num::NonZeroUsize,
    str::FromStr,
    time::Duration,
};

use clap::{Args, Parser, Subcommand, ValueEnum, error::ErrorKind};
use completion_port::DriverKind;

use crate::{
    bench::Bench,
    error::{Failure, plain},
    output,
};

/// Where the echo server listens and the client connects when nothing is said: the port of the notes.
pub const ADDRESS: &str = "127.0.0.1:9190";

/// What stands on the command line.
#[derive(Debug, Parser)]
#[command(
    name = "cport",
    version,
    about = "I/O completion ports: an echo server, its client, a load generator, and a doctor for the drivers of this machine",
    after_help = "Environment:\n  COMPLETION_PORT_DRIVER  force a driver (see `cport doctor` for the names)\n  COMPLETION_PORT_LOG     how much is said on standard error: off, error, warn, info, debug or trace\n\nExit codes: 0 done, 1 failed, 2 wrong arguments."
)]
struct Line {
    /// Which of the commands.
    #[command(subcommand)]
    command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Echo what comes, on a completion port
    Serve(Serve),
    /// Send lines or a file to an echo server and read them back
    Client(Client),
    /// Measure an echo server: throughput, latency, errors, and what they cost it
    Bench(Bench),
    /// Say which driver runs on this machine, and why, and which limits matter
    Doctor(Doctor),
}

/// `cport serve`.
#[derive(Debug, Args)]
#[command(after_long_help = crate::serve::HELP)]
pub struct Serve {
    /// Where to listen: ADDRESS:PORT, several if you like; port 0 takes a free one
    #[arg(value_name = "ADDR", default_value = ADDRESS, default_value_if("listen", clap::builder::ArgPredicate::IsPresent, None))]
    addresses: Vec<Address>,
    /// The same, as an option; may be given several times
    #[arg(long, value_name = "ADDR")]
    listen: Vec<Address>,
    /// How clients are served
    #[arg(long, value_name = "MODEL", value_enum, default_value_t = Model::Port)]
    pub model: Model,
    /// Datagrams instead of streams: RFC 862 over UDP
    #[arg(long, conflicts_with = "max_connections")]
    pub udp: bool,
    /// Threads that take completions [default: 30 more than may run at once, to step in for those that block]
    #[arg(long, value_name = "N", value_parser = workers)]
    pub workers: Option<NonZeroUsize>,
    /// How many of them run at once; 0 is one for each CPU
    #[arg(long, visible_alias = "concurrency", value_name = "N", default_value_t = 0)]
    pub limit: usize,
    /// auto, io-uring, readiness, or a name that `cport doctor` lists
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub driver: Driver,
    /// Connections served at a time; more wait in the backlog [default: as many as there are descriptors]
    #[arg(long, value_name = "N")]
    pub max_connections: Option<NonZeroUsize>,
    /// Seconds that open connections get to finish after SIGTERM or SIGINT (Ctrl-C)
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub grace: Duration,
    /// Seconds after which a connection is closed that says nothing, or does not take its echo
    #[arg(long, value_name = "SECONDS", value_parser = some_seconds)]
    pub idle_timeout: Option<Duration>,
    /// Print no first and no last line
    #[arg(long, short)]
    pub quiet: bool,
}

/// The servers of the notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Model {
    /// A completion port, and threads that take completions from it
    Port,
    /// Completion routines on one thread, which accepts in turn with an alertable sleep: the notes' first server, to compare
    Routine,
}

impl Serve {
    /// What the model has no use for is refused.
    fn check(self) -> Result<Self, Failure> {
        if self.model == Model::Routine && (self.workers.is_some() || self.limit != 0) {
            return Err(Failure::usage(
                "--model routine has one thread: leave out --workers and --limit; see `cport --help`",
            ));
        }
        if self.model == Model::Routine && self.udp {
            return Err(Failure::usage(
                "--model routine serves streams only: leave out --udp or --model; see `cport --help`",
            ));
        }
        Ok(self)
    }

    /// Everything to listen on, in the order given.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.addresses.iter().chain(&self.listen)
    }
}

/// `cport client`.
#[derive(Debug, Args)]
#[command(after_long_help = crate::client::HELP)]
pub struct Client {
    /// The server
    #[arg(value_name = "ADDR", default_value = ADDRESS)]
    pub address: Address,
}

/// `cport doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Print one JSON object instead of words
    #[arg(long)]
    pub json: bool,
}

/// Reads the command line. `None`: help or the version was asked for and has been printed.
pub fn parse() -> Result<Option<Command>, Failure> {
    parse_from(std::env::args_os())
}

/// Reads a command line.
fn parse_from(words: impl IntoIterator<Item = OsString>) -> Result<Option<Command>, Failure> {
    match Line::try_parse_from(words) {
        Ok(Line { command: Command::Serve(serve) }) => Ok(Some(Command::Serve(serve.check()?))),
        Ok(line) => Ok(Some(line.command)),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                output::line(error.render().to_string().trim_end());
                Ok(None)
            }
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Err(Failure::usage(
                "say which command: serve, client, bench or doctor; see `cport --help`",
            )),
            _ => Err(Failure::usage(first_paragraph(&error.render().to_string()))),
        },
    }
}

/// The part of clap's message that says what is wrong; the usage that follows is a `--help` away.
fn first_paragraph(message: &str) -> String {
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let what = message.split("\n\n").next().unwrap_or(message);
    format!("{what}; see `cport --help`")
}

/// An address as it was written: numbers, or a name and a port.
#[derive(Debug, Clone)]
pub struct Address(String);

impl Address {
    /// The addresses that it stands for, at least one.
    pub fn resolve(&self) -> Result<Vec<SocketAddr>, Failure> {
        let found = self.0.to_socket_addrs().map_err(|error| {
            Failure::runtime(format!(
                "cannot look up {self}: {}; check the name, or give numbers",
                plain(&error)
            ))
        })?;
        let found: Vec<_> = found.collect();
        if found.is_empty() {
            return Err(Failure::runtime(format!(
                "{self} has no address; check the name, or give numbers"
            )));
        }
        Ok(found)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_name = |name: &str| {
            !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))
        };
        // A name of digits and dots is a mistyped number: nobody should wait for a resolver to say so.
        let is_number = |name: &str| name.chars().all(|c| c.is_ascii_digit() || c == '.');
        let named = text.rsplit_once(':').is_some_and(|(name, port)| {
            is_name(name) && !is_number(name) && port.parse::<u16>().is_ok()
        });
        if named || text.parse::<SocketAddr>().is_ok() {
            Ok(Self(text.to_string()))
        } else {
            Err(format!(
                "not an address with a port; write it like {ADDRESS}, [::1]:9190 or localhost:9190"
            ))
        }
    }
}

/// Which driver was asked for; `None` is auto.
#[derive(Debug, Clone, Copy)]
pub struct Driver(pub Option<DriverKind>);

impl FromStr for Driver {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self(None));
        }
        // The library writes io_uring as the kernel does; a dash is easier to type and means the same.
        text.replace("io-uring", "io_uring")
            .parse()
            .map(|kind| Self(Some(kind)))
            .map_err(|error: std::io::Error| format!("{error}; auto takes the best of them"))
    }
}

/// A number of threads: at least one.
fn workers(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| {
        "give a number from 1 up, or leave it out for 30 more than may run at once".to_string()
    })
}

/// A number of seconds, also a broken one.
pub fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|time| *time <= Duration::from_secs(86_400))
        .ok_or_else(|| "give seconds from 0 to 86400".to_string())
}

/// The same, and more than none.
fn some_seconds(text: &str) -> Result<Duration, String> {
    seconds(text).ok().filter(|time| !time.is_zero()).ok_or_else(|| {
        "give seconds above 0 and up to 86400, or leave it out for no limit".to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &str) -> Result<Option<Command>, Failure> {
        parse_from(std::iter::once("cport").chain(words.split_whitespace()).map(OsString::from))
    }

    fn serve(words: &str) -> Serve {
        match line(words) {
            Ok(Some(Command::Serve(serve))) => serve,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_notes() {
        let serve = serve("serve");
        assert_eq!(serve.addresses().map(ToString::to_string).collect::<Vec<_>>(), [ADDRESS]);
        assert_eq!((serve.limit, serve.grace, serve.quiet), (0, Duration::from_secs(10), false));
        assert_eq!(serve.model, Model::Port);
        assert!(
            serve.idle_timeout.is_none()
                && serve.workers.is_none()
                && serve.driver.0.is_none()
                && serve.max_connections.is_none()
        );
    }

    #[test]
    fn addresses_may_be_words_or_options() {
        let all = |words| serve(words).addresses().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(all("serve --listen [::1]:1 --listen localhost:2"), ["[::1]:1", "localhost:2"]);
        assert_eq!(all("serve 127.0.0.1:0 --listen [::1]:0"), ["127.0.0.1:0", "[::1]:0"]);
    }

    #[test]
    fn nonsense_is_refused_in_one_line() {
        for words in [
            "",
            "dance",
            "serve nonsense",
            "serve 127.0.0.1",
            "serve 127.0.0.1:99999",
            "serve 300.0.0.1:80",
            "serve :80",
            "serve --workers 0",
            "serve --workers many",
            "serve --limit -1",
            "serve --model both",
            "serve --model routine --workers 2",
            "serve --model routine --limit 2",
            "serve --grace never",
            "serve --grace -1",
            "serve --idle-timeout 0",
            "serve --idle-timeout soon",
            "serve --idle-timeout 1e9",
            "serve --max-connections 0",
            "serve --surprise",
            "client a b",
            "bench a",
            "bench --rate 0",
            "bench --rate inf",
            "bench --size 0",
            "bench --connections 0",
            "bench --duration 0",
            "bench --churn --udp",
            "bench --churn --pipeline 2",
            "bench --compare a.json",
        ] {
            match line(words) {
                Err(failure) => {
                    let said = failure.to_string();
                    assert!(said.len() > 20 && !said.contains('\n'), "{words}: {said}");
                }
                other => panic!("{words}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Line::command().debug_assert();
    }
}
