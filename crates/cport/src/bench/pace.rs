//! What a thread of the load does by the clock, on streams and on datagrams alike.

use std::{
    io,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use super::{
    meter::Meter,
    plan::Plan,
    schedule::{Clock, Cursor, Schedule},
};

/// How far a connection is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Its number in the run.
    pub number: usize,
    /// How many messages have been started on it.
    pub started: u64,
    /// Something has not come back.
    pub waits: bool,
}

/// One thread's share of the load.
pub trait Share<'a> {
    /// What all threads do.
    fn plan(&self) -> &'a Plan;
    /// What it measures.
    fn meter(&mut self) -> &mut Meter<'a>;
    /// From now on messages are due by that. `None`: none leaves.
    fn set_schedule(&mut self, schedule: Option<Schedule>);
    /// Its connections, by their places.
    fn connections(&self) -> impl Iterator<Item = Progress>;
    /// Sends what there is room for on one of them, and what is due.
    fn pump(&mut self, place: usize, now: Instant);
    /// Takes what has come, waiting for it as long as that at most; and now and then looks after the connections.
    fn turn(&mut self, wait: Duration) -> io::Result<()>;
    /// What has not come back by now is lost: the run is over.
    fn end(&mut self, place: usize, now: Instant);
}

/// Sends and receives by the clock.
pub fn run<'a>(share: &mut impl Share<'a>, mut clock: Clock) -> io::Result<()> {
    let plan = share.plan();
    let schedule = Schedule { rate: plan.rate, total: plan.connections, start: clock.start };
    let numbers: Vec<_> = share.connections().map(|connection| connection.number).collect();
    let count = numbers.len();
    let mut cursor = Cursor::new(schedule, numbers);
    share.set_schedule(Some(schedule));
    share.meter().clock = Some(clock);
    if plan.rate.is_none() {
        (0..count).for_each(|place| share.pump(place, Instant::now()));
    }
    while !plan.stop.load(Relaxed) {
        let now = Instant::now();
        while let Some(place) = cursor.pass(now.min(clock.last())) {
            share.pump(place, now);
        }
        if now >= clock.until {
            break;
        }
        let wake = cursor.next().map_or(clock.until, |due| due.min(clock.until));
        share.turn(wake.saturating_duration_since(now))?;
    }
    clock.until = clock.until.min(Instant::now());
    share.meter().clock = Some(clock);
    finish(share, clock, schedule)
}

/// Nothing new is due. What is on its way comes back or is lost; what is overdue leaves, but not for long.
fn finish<'a>(share: &mut impl Share<'a>, clock: Clock, schedule: Schedule) -> io::Result<()> {
    let [overtime, end] = share.plan().overtime();
    loop {
        let now = Instant::now();
        let still = Some(schedule).filter(|schedule| schedule.rate.is_some() && now < overtime);
        share.set_schedule(still);
        let overdue = |one: &Progress| {
            still.is_some_and(|still| still.due(one.number, one.started, clock.last()).is_some())
        };
        let busy = share.connections().any(|one| one.waits || overdue(&one));
        if !busy || now >= end {
            break;
        }
        share.turn(end - now)?;
    }
    share.set_schedule(None);
    let now = Instant::now();
    let all: Vec<_> = share.connections().collect();
    for (place, Progress { number, started, .. }) in all.into_iter().enumerate() {
        share.end(place, now);
        share.meter().overdue(schedule, number, started, now);
    }
    Ok(())
}
