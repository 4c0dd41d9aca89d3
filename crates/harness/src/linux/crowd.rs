//! `crowd ADDR --server-pid PID [OPTION]...`: what very many connections cost an echo server and the kernel, and whether those
//! that are idle cost those that speak anything.
//!
//! Half of the connections are opened. Each echoes 4 KiB, as does every connection here, so that what a server keeps for one
//! is there. Then they echo 64 bytes, wave after wave, for some seconds: *alone*. The other half is opened and says nothing
//! more. All are left alone for a while: memory, and what the server's threads do when nobody speaks. Then the first half
//! echoes again as before: *beside* the others. What differs is what the idle ones cost.
//!
//! | option | meaning |
//! | --- | --- |
//! | `--connections 100000` | how many; fewer if the descriptor limit says so, which is printed |
//! | `--seconds 2` | of echoes, each time |
//! | `--watch 3` | seconds when nobody speaks |
//!
//! Nothing here is good or bad: it is measured. The figures, bytes where nothing else is said:
//!
//! | figure | meaning |
//! | --- | --- |
//! | `rss` | the server's resident memory for each connection, all open, after minus before the first |
//! | `rss_more` | the same for the second half only: what is there once for all is not in it |
//! | `slab` | the kernel's slab memory for each, likewise: both its ends, and what the server has the kernel keep |
//! | `idle_switches`, `idle_ticks` | of all threads of the server during the watch |
//! | `alone_switches`, `beside_switches` | of the server for 1,000 echoes |
//! | `alone_cpu_us`, `beside_cpu_us` | the server's processor time for an echo |
//! | `grown_kib` | resident memory of the server after the echoes beside the others, minus before |

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    thread::sleep,
    time::{Duration, Instant},
};

use super::{
    clients::{MESSAGE, WAVE, connect, echo, echo_in_waves, warm_up},
    limits,
    process::{Cost, Process, field},
};
use crate::{
    Trouble,
    args::Args,
    loopback::{Sources, end_by_reset},
};

/// What those that speak say.
const WORD: usize = 64;
/// What has just ended may still be tidied up: memory is measured after this.
const SETTLE: Duration = Duration::from_secs(1);

/// Runs the program.
pub fn run() -> Result<bool, Trouble> {
    let mut args = Args::of_process();
    let wanted = args.option("--connections", 100_000)?;
    let seconds = Duration::from_secs_f64(args.option("--seconds", 2.0)?);
    let watch = Duration::from_secs_f64(args.option("--watch", 3.0)?);
    let server = args.optional("--server-pid")?.map(Process);
    let server = server.ok_or_else(|| Trouble::new("--server-pid is missing"))?;
    let address = args.loopback_address()?;
    args.done()?;
    let half = (limits::scale("crowd", wanted, 64) / 2).max(1);

    let mut sources = Sources::of_process();
    warm_up(&mut sources, address, server)?;
    sleep(SETTLE);
    let (rss_before, slab_before) = (server.resident_kib()?, slab_kib()?);
    let mut speakers = open(&mut sources, address, half, 0)?;
    let alone = speak(&mut speakers, server, seconds)?;
    sleep(SETTLE);
    let rss_of_half = server.resident_kib()?;
    let idle = open(&mut sources, address, half, half)?;
    sleep(SETTLE);
    let (rss, slab) = (server.resident_kib()?, slab_kib()?);
    let quiet = Work::of(server)?;
    sleep(watch);
    let quiet = Work::of(server)?.since(&quiet);
    let beside = speak(&mut speakers, server, seconds)?;
    let grown = server.resident_kib()? as i64 - rss as i64;

    // By reset: an end by FIN would leave something in the kernel for a minute, into the next server's turn.
    for client in speakers.iter().chain(&idle) {
        end_by_reset(client).map_err(Trouble::at("the end of a client"))?;
    }
    let each = |after: u64, before: u64, count: usize| {
        (after as i64 - before as i64) * 1024 / count as i64
    };
    println!(
        "crowd: connections={} rss={} rss_more={} slab={} idle_switches={} idle_ticks={} alone_switches={:.1} beside_switches={:.1} \
         alone_cpu_us={:.2} beside_cpu_us={:.2} grown_kib={grown} ok",
        2 * half,
        each(rss, rss_before, 2 * half),
        each(rss, rss_of_half, half),
        each(slab, slab_before, 2 * half),
        quiet.switches,
        quiet.ticks,
        alone.switches,
        beside.switches,
        alone.cpu_us,
        beside.cpu_us,
    );
    Ok(true)
}

/// Opens so many connections, each of which echoes 4 KiB.
fn open(
    sources: &mut Sources,
    address: SocketAddr,
    count: usize,
    first: usize,
) -> Result<Vec<TcpStream>, Trouble> {
    let mut clients = Vec::with_capacity(count);
    for at in (0..count).step_by(WAVE) {
        for _ in at..count.min(at + WAVE) {
            clients.push(connect(sources, address)?);
        }
        echo(&mut clients[at..], first + at, MESSAGE).map_err(Trouble::at("an echo of 4 KiB"))?;
    }
    eprintln!("crowd: {} connections are open", first + count);
    Ok(clients)
}

/// What the server spent on an echo.
struct Spent {
    /// For 1,000 of them.
    switches: f64,
    cpu_us: f64,
}

/// All of these echo, wave after wave, again and again until the time is over.
fn speak(clients: &mut [TcpStream], server: Process, time: Duration) -> Result<Spent, Trouble> {
    let (before, cpu) = (Work::of(server)?, server.cpu()?);
    let (end, mut echoes) = (Instant::now() + time, 0);
    while echoes == 0 || Instant::now() < end {
        echo_in_waves(clients, 0, WORD).map_err(Trouble::at("an echo"))?;
        echoes += clients.len();
    }
    let (used, switches) =
        (server.cpu()?.saturating_sub(cpu), Work::of(server)?.since(&before).switches);
    let echoes = echoes as f64;
    Ok(Spent {
        switches: switches as f64 * 1000.0 / echoes,
        cpu_us: used.as_secs_f64() * 1e6 / echoes,
    })
}

/// What all threads of the server together have done.
struct Work {
    switches: u64,
    ticks: u64,
}

impl Work {
    fn of(server: Process) -> Result<Work, Trouble> {
        let threads = server.threads()?;
        let sum = |which: fn(&Cost) -> u64| threads.values().map(which).sum();
        Ok(Work { switches: sum(|cost| cost.switches), ticks: sum(|cost| cost.ticks) })
    }

    /// A thread that has ended takes its work with it, so this is never less than nothing.
    fn since(&self, before: &Work) -> Work {
        Work {
            switches: self.switches.saturating_sub(before.switches),
            ticks: self.ticks.saturating_sub(before.ticks),
        }
    }
}

/// The kernel's slab memory, of the whole machine.
fn slab_kib() -> Result<u64, Trouble> {
    let text = fs::read_to_string("/proc/meminfo").map_err(Trouble::at("/proc/meminfo"))?;
    field(&text, "Slab:").ok_or_else(|| Trouble::new("no slab memory in /proc/meminfo"))
}
