//! `idle ADDR --server-pid PID [OPTION]...`: what connections cost an echo server that have echoed once and are idle.
//!
//! Opens the connections, has each of them echo 4 KiB, leaves them alone for some seconds, and then watches every
//! thread of the server for a while: none may get a clock tick of a processor, none may be switched to. The resident
//! memory per connection is measured against the server before the first of them, but after one that warmed it up.
//! In the end every connection must still answer.
//!
//! | option | meaning |
//! | --- | --- |
//! | `--connections 1000` | how many; fewer if the descriptor limit says so, which is printed |
//! | `--seconds 5` | idle before the watch |
//! | `--watch 10` | seconds of the watch |
//! | `--max-rss-per-connection 1024` | bytes |
//! | `--max-ticks 0`, `--max-switches 0` | during the watch, of all threads together |

use std::{slice, thread::sleep, time::Duration};

use super::{
    clients::{MESSAGE, connect, echo, echo_in_waves, warm_up},
    limits,
    process::Process,
};
use crate::{Trouble, args::Args, loopback::Sources};

/// Runs the program.
pub fn run() -> Result<bool, Trouble> {
    let mut args = Args::of_process();
    let wanted = args.option("--connections", 1000)?;
    let seconds = args.option("--seconds", 5)?;
    let watch = args.option("--watch", 10)?;
    let max_rss: i64 = args.option("--max-rss-per-connection", 1024)?;
    let max_ticks: u64 = args.option("--max-ticks", 0)?;
    let max_switches: u64 = args.option("--max-switches", 0)?;
    let server = args.optional("--server-pid")?.map(Process);
    let server = server.ok_or_else(|| Trouble::new("--server-pid is missing"))?;
    let address = args.loopback_address()?;
    args.done()?;
    let connections = limits::scale("idle", wanted, 64);

    let mut sources = Sources::of_process();
    warm_up(&mut sources, address, server)?;
    let before = server.resident_kib()?;
    let mut clients = Vec::with_capacity(connections);
    for _ in 0..connections {
        clients.push(connect(&mut sources, address)?);
    }
    echo_in_waves(&mut clients, 0, MESSAGE).map_err(Trouble::at("an echo of 4 KiB"))?;
    let after = server.resident_kib()?;
    let per_connection = (after as i64 - before as i64) * 1024 / connections as i64;

    sleep(Duration::from_secs(seconds));
    let first = server.threads()?;
    sleep(Duration::from_secs(watch));
    let last = server.threads()?;
    let idle_rss = (server.resident_kib()? as i64 - before as i64) * 1024 / connections as i64;

    let (mut ticks, mut switches) = (0, 0);
    for (thread, cost) in &last {
        // A new thread has done all its work during the watch, and has been switched to at least once.
        let (t, s) = first.get(thread).map_or((cost.ticks, cost.switches.max(1)), |before| {
            (cost.ticks - before.ticks, cost.switches - before.switches)
        });
        if t > 0 || s > 0 {
            eprintln!("idle: thread {thread} ({}): {t} ticks, {s} switches", cost.name);
        }
        (ticks, switches) = (ticks + t, switches + s);
    }
    let ended = first.keys().filter(|thread| !last.contains_key(thread)).count();

    let mut alive = 0;
    for (index, client) in clients.iter_mut().enumerate() {
        alive += usize::from(echo(slice::from_mut(client), index, 1).is_ok());
    }
    let good = ticks <= max_ticks
        && switches <= max_switches
        && ended == 0
        && per_connection <= max_rss
        && idle_rss <= max_rss
        && alive == connections;
    println!(
        "idle: connections={connections} threads={} ticks={ticks} switches={switches} ended={ended} watched={watch}s \
         rss_before_kib={before} rss_kib={after} rss_per_connection={per_connection} \
         rss_per_connection_idle={idle_rss} alive={alive} {}",
        last.len(),
        if good { "ok" } else { "FAILED" }
    );
    Ok(good)
}
