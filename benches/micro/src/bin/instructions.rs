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
    io::Pair,
    queue::{Crossbeam, Posts, Queue},
};

/// Enough for what happens now and then to be in the mean.
const TIMES: u64 = 6400;
/// Packets in one batch.
const BATCH: usize = 32;
/// For posts, which have next to nothing to do with it: it is always there.
const DRIVER: DriverKind = DriverKind::Readiness;
const IO_URING: DriverKind = DriverKind::IoUring(Rung::BufferRing);

type Work = Box<dyn FnMut() -> Outcome<()>>;
type Ready = fn() -> Outcome<Work>;

/// What is counted, by name, and how to make it ready.
const BENCHMARKS: [(&str, Ready); 7] = [
    ("post", post),
    ("get", get),
    ("post-to-get", || post_to_get(Posts::new(DRIVER)?)),
    ("get-many-32", get_many),
    ("crossbeam-send-to-receive", || post_to_get(Crossbeam::default())),
    ("send-and-receive-readiness", || send_and_receive(DriverKind::Readiness)),
    ("send-and-receive-io_uring", || send_and_receive(IO_URING)),
];

fn post() -> Outcome<Work> {
    let posts = Posts::new(DRIVER)?;
    // The queue has its room, and what is in it is not dropped in what is counted.
    fill(&posts)?;
    for _ in 0..TIMES {
        posts.take()?;
    }
    Ok(Box::new(move || posts.put(black_box(1))))
}

fn get() -> Outcome<Work> {
    let posts = Posts::new(DRIVER)?;
    fill(&posts)?;
    Ok(Box::new(move || {
        black_box(posts.take()?);
        Ok(())
    }))
}

fn fill(posts: &Posts) -> Outcome<()> {
    (0..TIMES).try_for_each(|number| posts.put(number))
}

fn post_to_get(queue: impl Queue + 'static) -> Outcome<Work> {
    queue.put(0)?;
    queue.take()?;
    Ok(Box::new(move || {
        queue.put(black_box(1))?;
        black_box(queue.take()?);
        Ok(())
    }))
}

/// One batch of [`BATCH`] packets for each that is counted, posts and all.
fn get_many() -> Outcome<Work> {
    let posts = Posts::new(DRIVER)?;
    let mut batch: Vec<Completion<(), u64>> = Vec::with_capacity(BATCH);
    Ok(Box::new(move || {
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
    }))
}

fn send_and_receive(driver: DriverKind) -> Outcome<Work> {
    let probed = probe();
    if let Some(reason) =
        probed.iter().find(|one| one.kind() == driver).and_then(|one| one.available().err())
    {
        // `ci/instructions` leaves it out by this line.
        eprintln!("unavailable: {driver} is not to be had here: {reason}");
        process::exit(3);
    }
    let mut pair = Pair::new(driver)?;
    pair.send_and_receive()?;
    Ok(Box::new(move || pair.send_and_receive()))
}

/// callgrind knows it by its name.
#[inline(never)]
#[unsafe(no_mangle)]
fn counted(work: &mut dyn FnMut() -> Outcome<()>) -> Outcome<()> {
    (0..TIMES).try_for_each(|_| work())
}

fn run(name: &str) -> Outcome<()> {
    let (_, ready) = BENCHMARKS
        .iter()
        .find(|(one, _)| *one == name)
        .ok_or_else(|| format!("no benchmark {name}"))?;
    let mut work = ready()?;
    counted(&mut *work)?;
    println!("{TIMES}");
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
