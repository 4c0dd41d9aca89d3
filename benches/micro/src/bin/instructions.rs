//! The work whose instructions are counted; for `ci/instructions`, which runs it under callgrind.
//!
//! `instructions` alone prints the names of all benchmarks. `instructions NAME` does that work [`TIMES`] times in the function
//! `counted`, and all else before: callgrind counts what runs in that function, and the kernel's part it never sees.

use std::{
    env,
    hint::black_box,
    process::{self, ExitCode},
};

use completion_port::{Completion, DriverKind, Rung, probe};
use completion_port_micro::{
    Outcome,
    io::{Echoes, Pair},
    queue::{Crossbeam, Posts, Queue},
};

/// Enough for what happens now and then to be in the mean.
const TIMES: u64 = 6400;
/// Packets in one batch.
const BATCH: usize = 32;
/// For posts, which have next to nothing to do with it: it is always there.
const DRIVER: DriverKind = DriverKind::Readiness;
const IO_URING: DriverKind = DriverKind::IoUring(Rung::BufferRing);

/// Connections that a server of echoes has.
const CONNECTIONS: usize = 64;

/// Makes its work ready and does it in [`counted`]; says how many times.
type Benchmark = fn() -> Outcome<u64>;

const BENCHMARKS: [(&str, Benchmark); 9] = [
    ("post", post),
    ("get", get),
    ("post-to-get", || post_to_get(Posts::new(DRIVER)?)),
    ("get-many-32", get_many),
    ("crossbeam-send-to-receive", || post_to_get(Crossbeam::default())),
    ("send-and-receive-readiness", || send_and_receive(DriverKind::Readiness)),
    ("send-and-receive-io_uring", || send_and_receive(IO_URING)),
    ("echoes-64-readiness", || echoes(DriverKind::Readiness)),
    ("echoes-64-io_uring", || echoes(IO_URING)),
];

fn post() -> Outcome<u64> {
    let posts = Posts::new(DRIVER)?;
    // The queue has its room, and what is in it is not dropped in what is counted.
    fill(&posts)?;
    for _ in 0..TIMES {
        posts.take()?;
    }
    counted(TIMES, &mut || posts.put(black_box(1)))
}

fn get() -> Outcome<u64> {
    let posts = Posts::new(DRIVER)?;
    fill(&posts)?;
    counted(TIMES, &mut || {
        black_box(posts.take()?);
        Ok(())
    })
}

fn fill(posts: &Posts) -> Outcome<()> {
    (0..TIMES).try_for_each(|number| posts.put(number))
}

fn post_to_get(queue: impl Queue + 'static) -> Outcome<u64> {
    queue.put(0)?;
    queue.take()?;
    counted(TIMES, &mut || {
        queue.put(black_box(1))?;
        black_box(queue.take()?);
        Ok(())
    })
}

/// One batch of [`BATCH`] packets for each that is counted, posts and all.
fn get_many() -> Outcome<u64> {
    let posts = Posts::new(DRIVER)?;
    let mut batch: Vec<Completion<(), u64>> = Vec::with_capacity(BATCH);
    counted(TIMES, &mut || {
        for number in 0..BATCH as u64 {
            posts.put(black_box(number))?;
        }
        let taken = posts.take_many(&mut batch, BATCH)?;
        batch.clear();
        if taken == BATCH {
            Ok(())
        } else {
            Err(format!("{taken} of {BATCH} packets came at once").into())
        }
    })
}

fn send_and_receive(driver: DriverKind) -> Outcome<u64> {
    only_if_available(driver);
    let mut pair = Pair::new(driver)?;
    pair.send_and_receive()?;
    counted(TIMES, &mut || pair.send_and_receive())
}

/// For each echo, and without what the clients do: they run in this thread, too, where nothing is counted.
fn echoes(driver: DriverKind) -> Outcome<u64> {
    only_if_available(driver);
    let mut echoes = Echoes::new(driver, CONNECTIONS)?;
    let mut done = 0;
    while done < TIMES {
        echoes.ask()?;
        counted(1, &mut || echoes.serve())?;
        echoes.hear()?;
        done += CONNECTIONS as u64;
    }
    Ok(done)
}

/// Ends the process, with a line by which `ci/instructions` leaves the benchmark out, if the driver is not to be had here.
fn only_if_available(driver: DriverKind) {
    let probed = probe();
    if let Some(reason) =
        probed.iter().find(|one| one.kind() == driver).and_then(|one| one.available().err())
    {
        eprintln!("unavailable: {driver} is not to be had here: {reason}");
        process::exit(3);
    }
}

/// callgrind knows it by its name.
#[inline(never)]
#[unsafe(no_mangle)]
fn counted(times: u64, work: &mut dyn FnMut() -> Outcome<()>) -> Outcome<u64> {
    for _ in 0..times {
        work()?;
    }
    Ok(times)
}

fn run(name: &str) -> Outcome<()> {
    let (_, benchmark) = BENCHMARKS
        .iter()
        .find(|(one, _)| *one == name)
        .ok_or_else(|| format!("no benchmark {name}"))?;
    println!("{}", benchmark()?);
    Ok(())
}

fn main() -> ExitCode {
    let Some(name) = env::args().nth(1) else {
        BENCHMARKS.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    };
    match run(&name) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("instructions: {name}: {e}");
            ExitCode::FAILURE
        }
    }
}
