//! Numbers through a queue, on one thread and across several.

use std::{
    hint::black_box,
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering::AcqRel},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{Outcome, queue::Queue};

/// A consumer that takes this one goes.
const STOP: u64 = u64::MAX;

/// On which threads.
#[derive(Debug, Clone, Copy)]
pub enum Threads {
    One,
    Across { producers: usize, consumers: usize },
}

impl Threads {
    /// Takes `count` numbers through a queue. Known to the compiler by its type: a call by table would be a good part of what is measured.
    ///
    /// # Errors
    ///
    /// The queue is closed, or a number was lost.
    pub fn run(self, queue: &impl Queue, count: u64) -> Outcome<Duration> {
        match self {
            Threads::One => on_one_thread(queue, count),
            Threads::Across { producers, consumers } => across(queue, producers, consumers, count),
        }
    }
}

/// One thread puts a number in and takes it out, `count` times.
fn on_one_thread(queue: &impl Queue, count: u64) -> Outcome<Duration> {
    let begun = Instant::now();
    for number in 0..count {
        queue.put(black_box(number))?;
        black_box(queue.take()?);
    }
    Ok(begun.elapsed())
}

/// `producers` threads put `count` numbers in between them, `consumers` take them out. From when the first producer begins until the last
/// number was taken: what is in the queue behind them all has come out.
fn across(queue: &impl Queue, producers: usize, consumers: usize, count: u64) -> Outcome<Duration> {
    let start = Barrier::new(producers + consumers);
    let still_producing = AtomicUsize::new(producers);
    let share = count.div_ceil(producers as u64);
    thread::scope(|s| {
        let produce = || -> Outcome<Instant> {
            start.wait();
            let begun = Instant::now();
            for number in 0..share {
                queue.put(black_box(number))?;
            }
            if still_producing.fetch_sub(1, AcqRel) == 1 {
                (0..consumers).try_for_each(|_| queue.put(STOP))?;
            }
            Ok(begun)
        };
        let consume = || -> Outcome<(u64, Instant)> {
            start.wait();
            let mut taken = 0;
            while black_box(queue.take()?) != STOP {
                taken += 1;
            }
            Ok((taken, Instant::now()))
        };
        let consumers: Vec<_> = (0..consumers).map(|_| s.spawn(consume)).collect();
        let producers: Vec<_> = (0..producers).map(|_| s.spawn(produce)).collect();
        let mut begun = Vec::new();
        for one in producers {
            begun.push(one.join().map_err(|_| "a producer panicked")??);
        }
        let (mut taken, mut ended) = (0, Vec::new());
        for one in consumers {
            let (some, at) = one.join().map_err(|_| "a consumer panicked")??;
            taken += some;
            ended.push(at);
        }
        if taken != share * begun.len() as u64 {
            return Err("a number was lost".into());
        }
        // The first who found the end: all numbers were taken before.
        let (Some(begun), Some(ended)) = (begun.iter().min(), ended.iter().min()) else {
            return Err("there is nobody to measure".into());
        };
        Ok(ended.duration_since(*begun))
    })
}
