//! `cargo bench`: what a post, a get, a wake-up and a small operation cost, beside others that do the same work.

use std::{hint::black_box, time::Duration};

use completion_port::Completion;
use completion_port_micro::{
    Outcome, drivers,
    io::Pair,
    queue::{Crossbeam, Flume, Posts, Queue},
    transfer::Threads,
    wake::{Cores, Futex, in_turn, in_turn_in_drivers, in_turn_parked},
};
use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};

/// Packets in one batch.
const BATCH: usize = 32;

type Group<'a> = BenchmarkGroup<'a, WallTime>;

/// A benchmark that times itself: criterion says how often, and is told how long that took. A failure ends the run.
fn time(group: &mut Group<'_>, name: &str, mut run: impl FnMut(u64) -> Outcome<Duration>) {
    group.bench_function(name, |b| {
        b.iter_custom(|count| run(count).unwrap_or_else(|e| panic!("{name}: {e}")));
    });
}

/// Each queue in turn, the same way.
fn queues(group: &mut Group<'_>, threads: Threads) {
    for driver in drivers() {
        time(group, &format!("port, {driver}"), |count| threads.run(&Posts::new(driver)?, count));
    }
    time(group, "crossbeam-channel", |count| threads.run(&Crossbeam::default(), count));
    time(group, "flume", |count| threads.run(&Flume::default(), count));
}

fn one_thread(c: &mut Criterion) {
    let mut group = c.benchmark_group("post to get, one thread");
    queues(&mut group, Threads::One);
}

fn threads(c: &mut Criterion) {
    for (producers, consumers) in [(1, 1), (2, 2), (1, 16)] {
        let name = format!("post to get, {producers} producers and {consumers} consumers");
        let mut group = c.benchmark_group(name);
        group.sample_size(20);
        queues(&mut group, Threads::Across { producers, consumers });
    }
}

/// A batch is put in, and taken out at once.
fn batches(c: &mut Criterion) {
    let mut group = c.benchmark_group(format!("batches of {BATCH}"));
    group.throughput(Throughput::Elements(BATCH as u64));
    let put =
        |queue: &dyn Queue| (0..BATCH as u64).try_for_each(|number| queue.put(black_box(number)));
    let mut numbers: Vec<u64> = Vec::with_capacity(BATCH);
    for driver in drivers() {
        let mut batch: Vec<Completion<(), u64>> = Vec::with_capacity(BATCH);
        let name = format!("port, {driver}, get_many");
        match Posts::new(driver) {
            Ok(posts) => group.bench_function(&name, |b| {
                b.iter(|| {
                    let taken = put(&posts).and_then(|()| posts.take_many(&mut batch, BATCH));
                    assert!(matches!(taken, Ok(BATCH)), "{name}: {taken:?}");
                    batch.clear();
                });
            }),
            Err(e) => panic!("{name}: {e}"),
        };
    }
    let crossbeam = Crossbeam::default();
    group.bench_function("crossbeam-channel, try_iter", |b| {
        b.iter(|| {
            assert!(put(&crossbeam).is_ok(), "closed");
            numbers.extend(crossbeam.1.try_iter());
            assert_eq!(black_box(&numbers).len(), BATCH);
            numbers.clear();
        });
    });
    let flume = Flume::default();
    group.bench_function("flume, drain", |b| {
        b.iter(|| {
            assert!(put(&flume).is_ok(), "closed");
            numbers.extend(flume.1.drain());
            assert_eq!(black_box(&numbers).len(), BATCH);
            numbers.clear();
        });
    });
}

/// Times are of two wake-ups, there and back.
fn wakes(c: &mut Criterion) {
    for (cores, name) in
        [(Cores::One, "wake and be woken, one core"), (Cores::Two, "wake and be woken, two cores")]
    {
        let mut group = c.benchmark_group(name);
        group.sample_size(20);
        time(&mut group, "bare futex", |count| {
            in_turn(&[Futex::default(), Futex::default()], cores, count)
        });
        for driver in drivers() {
            time(&mut group, &format!("port, {driver}, asleep in the driver"), |count| {
                in_turn_in_drivers(driver, cores, count)
            });
            time(&mut group, &format!("port, {driver}, parked"), |count| {
                in_turn_parked(driver, cores, count)
            });
        }
        time(&mut group, "crossbeam-channel", |count| {
            in_turn(&[Crossbeam::default(), Crossbeam::default()], cores, count)
        });
        time(&mut group, "flume", |count| {
            in_turn(&[Flume::default(), Flume::default()], cores, count)
        });
    }
}

fn operations(c: &mut Criterion) {
    let mut group = c.benchmark_group("send and receive of a byte");
    for driver in drivers() {
        let mut pair = Pair::new(driver).unwrap_or_else(|e| panic!("{driver}: {e}"));
        group.bench_function(driver.to_string(), |b| {
            b.iter(|| pair.send_and_receive().unwrap_or_else(|e| panic!("{driver}: {e}")));
        });
    }
}

criterion_group! {
    name = micro;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = one_thread, batches, threads, wakes, operations
}
criterion_main!(micro);
