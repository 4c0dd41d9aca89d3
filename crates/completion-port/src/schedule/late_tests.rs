//! Waking late, on a clock that the test turns: what a packet waits for, and for how long.

use std::{
    sync::{
        Arc as StdArc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    Bed, Next, Release, Scheduler, Seating, Waker, Waking, policy,
    state::Parked,
    sync::{self, Arc},
    watch::{Outlook, Sight, Suspect},
};
use crate::sys::thread_state::{Observation, Observer, Seen};

/// Nobody sleeps on it; its clock moves when it is told to, and processors are spare until they are taken.
struct Clock {
    time: Mutex<Instant>,
    crowded: AtomicBool,
}

impl Clock {
    fn new() -> StdArc<Self> {
        StdArc::new(Self { time: Mutex::new(Instant::now()), crowded: AtomicBool::new(false) })
    }

    fn advance(&self, by: Duration) {
        *self.time.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }

    /// Others want all processors, or not.
    fn crowd(&self, crowded: bool) {
        self.crowded.store(crowded, Ordering::Relaxed);
    }
}

impl Bed for Clock {
    fn wake(&self, _: usize) {}

    fn is_occupied(&self, _: usize) -> bool {
        true
    }

    fn wants_kicks(&self) -> bool {
        false
    }

    fn kick(&self) {}

    fn has_spare_processor(&self) -> bool {
        !self.crowded.load(Ordering::Relaxed)
    }

    fn now(&self) -> Instant {
        *self.time.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread that uses the processor, or blocks, until this is dropped.
struct Busy(StdArc<AtomicBool>);

impl Busy {
    /// The thread takes part as a worker, by the number that is returned.
    fn enrol(scheduler: &StdArc<Scheduler<u32>>, pass_time: fn()) -> (Self, usize) {
        let over = StdArc::new(AtomicBool::new(false));
        let begun = StdArc::new(AtomicBool::new(false));
        let (tell, told) = mpsc::channel();
        thread::spawn({
            let (scheduler, over, begun) = (scheduler.clone(), over.clone(), begun.clone());
            move || {
                tell.send(scheduler.enrol().0).expect("it listens");
                drop(scheduler);
                while !over.load(Ordering::Relaxed) {
                    begun.store(true, Ordering::Relaxed);
                    pass_time();
                }
            }
        });
        let number = told.recv().expect("it tells");
        // To tell may have blocked it, and a look must not find it so.
        while !begun.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        (Self(over), number)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Scene {
    clock: StdArc<Clock>,
    scheduler: StdArc<Scheduler<u32>>,
    parked: Arc<Parked<u32>>,
    _burner: Busy,
}

/// Limit 2. One burns the processor with packet 0; one sleeps in the second driver; one is parked, the newest.
fn scene(waking: Waking) -> Scene {
    scene_of(2, waking)
}

fn scene_of(limit: usize, waking: Waking) -> Scene {
    let clock = Clock::new();
    let scheduler = StdArc::new(Scheduler::new(clock.clone(), 2, limit, waking, Release::Observed));
    scheduler.take_into_use();
    let (burner, runs) = Busy::enrol(&scheduler, std::hint::spin_loop);
    let [sleeps, waits] = [(); 2].map(|()| Some(scheduler.enrol().0));
    let runs = Some(runs);
    let nobody = || Waker::Elsewhere(StdArc::new(|| {}));
    let mut out = Vec::new();
    scheduler.push(0);
    assert!(matches!(scheduler.begin(runs, 1, &mut out, nobody), Ok(Next::Taken)));
    let Ok(Next::Drive(seating)) = scheduler.begin(sleeps, 1, &mut out, nobody) else {
        panic!("the second driver is alone");
    };
    assert!(scheduler.fall_asleep(seating).is_some());
    let Err(parked) = scheduler.begin(waits, 1, &mut out, nobody) else {
        panic!("there is nothing for it");
    };
    assert_eq!(out, [0]);
    Scene { clock, scheduler, parked, _burner: burner }
}

fn given(scheduler: &Scheduler<u32>, parked: &Arc<Parked<u32>>) -> Option<u32> {
    let mut out = Vec::new();
    scheduler.given(parked, 1, &mut out).map(|_| out[0])
}

#[test]
fn a_packet_waits_for_a_worker_that_may_come_back_in_time() {
    let Scene { clock, scheduler, parked, _burner } = scene(Waking::Late);
    scheduler.push(1);
    clock.advance(policy::SOON - Duration::from_nanos(1));
    scheduler.look();
    assert_eq!(given(&scheduler, &parked), None);
}

#[test]
fn it_does_not_wait_for_one_that_a_look_finds_out_for_long() {
    let Scene { clock, scheduler, parked, _burner } = scene(Waking::Late);
    scheduler.push(1);
    clock.advance(policy::SOON);
    assert_eq!(given(&scheduler, &parked), None, "nobody has looked");
    scheduler.look();
    assert_eq!(given(&scheduler, &parked), None, "it may be about to come back");
    look_until(&scheduler, || scheduler.counters().released_by_watch == 1);
    assert_eq!(given(&scheduler, &parked), Some(1));
}

/// A second one runs, with packet 1, and has left two: from then on packets go past the lock, since somebody keeps watch.
fn beside_a_second(scheduler: &StdArc<Scheduler<u32>>) -> (Busy, usize) {
    let (busy, second) = Busy::enrol(scheduler, std::hint::spin_loop);
    let mut out = Vec::new();
    (1..4).for_each(|packet| scheduler.push(packet));
    let nobody = || Waker::Elsewhere(StdArc::new(|| {}));
    assert!(matches!(scheduler.begin(Some(second), 1, &mut out, nobody), Ok(Next::Taken)));
    scheduler.push(4);
    assert_eq!(out, [1]);
    assert_eq!(sync::lock(&scheduler.state).ready.len(), 2, "one has gone past the lock");
    assert_eq!(scheduler.waiting().0, 3, "and is found");
    (busy, second)
}

#[test]
fn what_went_past_the_lock_is_there_for_who_helps() {
    let Scene { clock, scheduler, parked, _burner } = scene(Waking::Late);
    let _second = beside_a_second(&scheduler);
    for packet in 5..7 {
        scheduler.push(packet);
    }
    for _ in 0..2 {
        clock.advance(policy::SOON);
        look_and_see(&scheduler, Seen::Blocked, clock.now());
    }
    // Two places have come free: one for who was parked, and one for who sits in a driver.
    assert_eq!(given(&scheduler, &parked), Some(2));
    assert_eq!(scheduler.waiting().0, 3);
    scheduler.push(7);
    assert_eq!(
        sync::lock(&scheduler.state).ready.len(),
        4,
        "nobody leaves packets to those who run"
    );
}

#[test]
fn and_when_nobody_runs_any_more() {
    let Scene { scheduler, parked, _burner, .. } = scene(Waking::Late);
    let (_busy, second) = beside_a_second(&scheduler);
    scheduler.push(5);
    for worker in [second, 0] {
        assert!(scheduler.block(worker), "it ran");
    }
    assert_eq!(given(&scheduler, &parked), Some(2));
    assert_eq!(scheduler.waiting().0, 3, "the rest is left to that one");
}

/// One that burns has not had the processor to itself between two looks, perhaps: looks until one has seen what it is to see.
fn look_until(scheduler: &Scheduler<u32>, mut seen: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !seen() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it is never seen");
        scheduler.look();
    }
}

/// A look that sees `what` of all whom it sees again. Tells whether it finds somebody burning.
fn look_and_see(scheduler: &Scheduler<u32>, what: Seen, now: Instant) -> bool {
    let mut state = scheduler.state();
    let Outlook { suspects, progress, help_wanted } = state.suspects(now);
    let seen = |one: Suspect| (if one.again { what } else { Seen::First }, one);
    let seen: Vec<_> = suspects.into_iter().map(seen).collect();
    let spare = scheduler.bed.has_spare_processor();
    let (wakes, burning) = state.judge(&Sight { seen: &seen, progress, help_wanted, spare }, now);
    drop(state);
    scheduler.carry_out(wakes);
    burning
}

/// So is one that runs for longer than others do, where no processor is spare: what the system does in its name may take its time.
#[test]
fn one_that_runs_on_is_helped_later_where_all_processors_are_wanted() {
    for crowded in [false, true] {
        let Scene { clock, scheduler, parked, _burner } = scene(Waking::Late);
        clock.crowd(crowded);
        scheduler.push(1);
        let look = |after| {
            clock.advance(after);
            look_and_see(&scheduler, Seen::Running, clock.now())
        };
        assert!(!look(policy::SOON), "it may be about to come back");
        assert_eq!(look(policy::SOON), !crowded);
        assert_eq!(given(&scheduler, &parked), (!crowded).then_some(1));
        if crowded {
            assert!(!look(policy::BURNING - policy::SOON * 2 - Duration::from_nanos(1)));
            assert!(look(Duration::from_nanos(1)), "it burns");
            assert_eq!(given(&scheduler, &parked), Some(1));
        }
    }
}

/// A worker that could run and gets no processor is left alone, and helped all the same when it has been out for long.
#[test]
fn one_that_waits_for_a_processor_is_helped_late() {
    let Scene { clock, scheduler, parked, _burner } = scene(Waking::Late);
    scheduler.push(1);
    // Whether a look that sees that finds somebody burning.
    let look = |after| {
        clock.advance(after);
        look_and_see(&scheduler, Seen::Waiting, clock.now())
    };
    assert!(!look(policy::SOON) && !look(policy::SOON));
    assert_eq!((given(&scheduler, &parked), scheduler.counters().took_over), (None, 0));
    assert!(look(policy::OVERDUE - policy::SOON * 2), "as good as");
    assert_eq!(given(&scheduler, &parked), Some(1));
}

/// The look that tells is soon, and the others are as rare as before.
#[test]
fn a_second_look_follows_soon() {
    let Scene { clock, scheduler, .. } = &scene(Waking::Late);
    let next = || {
        let state = scheduler.state();
        let watch = state.watch.as_ref().expect("somebody keeps watch");
        (watch.due.duration_since(clock.now()), watch.interval)
    };
    while next().1 < policy::CALM {
        // Out for no time yet, by this clock.
        scheduler.look();
    }
    assert_eq!(next(), (policy::CALM, policy::CALM));
    scheduler.state().workers.iter_mut().for_each(|(_, worker)| worker.turns += 1);
    clock.advance(policy::SOON);
    scheduler.look();
    assert_eq!(next(), (policy::SOON, policy::CALM));
}

/// The burner comes back in time, each time: with the same packet no more than a moment.
fn come_back(scheduler: &Scheduler<u32>, now: Instant) {
    scheduler.state().workers.iter_mut().filter(|(_, worker)| worker.counted).for_each(
        |(_, worker)| {
            worker.turns += 1;
            worker.out = Some(now);
        },
    );
}

#[test]
fn nor_for_longer_than_it_takes_to_keep_up_if_a_processor_is_spare() {
    let Scene { clock, scheduler, parked, _burner } = scene(Waking::Late);
    scheduler.push(1);
    let look = || {
        come_back(&scheduler, clock.now());
        scheduler.look();
        given(&scheduler, &parked)
    };
    clock.advance(policy::KEPT_UP);
    assert!((0..=policy::SPARE_LOOKS).all(|_| look().is_none()), "it has waited no longer");
    clock.advance(Duration::from_nanos(1));
    assert!(
        (1..policy::SPARE_LOOKS).all(|_| look().is_none()),
        "a processor may be spare for a moment"
    );
    clock.crowd(true);
    assert_eq!(look(), None);
    clock.crowd(false);
    assert!((1..policy::SPARE_LOOKS).all(|_| look().is_none()), "it was not");
    assert_eq!(look(), Some(1));
    assert_eq!(scheduler.counters().released_by_age, 1);
}

#[test]
fn nor_for_longer_than_its_patience_if_none_is() {
    let Scene { clock, scheduler, parked, _burner } = scene(Waking::Late);
    clock.crowd(true);
    scheduler.push(1);
    let look = |after| {
        clock.advance(after);
        come_back(&scheduler, clock.now());
        scheduler.look();
        given(&scheduler, &parked)
    };
    assert!((0..4).all(|_| look(policy::PATIENCE / 4).is_none()));
    // Whoever touches the queue next, not only a look.
    clock.advance(Duration::from_nanos(1));
    scheduler.push(2);
    assert_eq!(given(&scheduler, &parked), Some(1), "the oldest");
    assert_eq!(scheduler.counters().released_by_age, 1);
}

/// It takes one and leaves the others to the watch: if there is one, and unless waiters are to be woken eagerly, or the next has waited for
/// too long.
#[test]
fn a_worker_that_comes_back_leaves_to_the_watch_what_is_for_the_watch() {
    let comes_back = |change: fn(&Scheduler<u32>, &Clock)| {
        let Scene { clock, scheduler, parked, _burner } = scene(Waking::Late);
        clock.crowd(true);
        scheduler.push(1);
        scheduler.push(2);
        clock.advance(policy::PATIENCE);
        change(&scheduler, &clock);
        let runs = scheduler.state().workers.iter().find(|(_, worker)| worker.counted).unwrap().0;
        let mut out = Vec::new();
        let nobody = || Waker::Elsewhere(StdArc::new(|| {}));
        assert!(matches!(scheduler.begin(Some(runs), 1, &mut out, nobody), Ok(Next::Taken)));
        assert!(scheduler.state().watch.is_some(), "somebody keeps watch");
        (out[0], given(&scheduler, &parked))
    };
    assert_eq!(comes_back(|_, _| {}), (1, None));
    assert_eq!(comes_back(|_, clock| clock.advance(Duration::from_nanos(1))), (1, Some(2)));
    let wary = |scheduler: &Scheduler<u32>, clock: &Clock| {
        scheduler.state().wary = clock.now().checked_add(policy::WARY);
    };
    assert_eq!(comes_back(wary), (1, Some(2)));
    comes_back(|scheduler, _| scheduler.state().watch = None);
}

/// What was ready in a driver, and left there for a while, has waited for as long.
#[test]
fn a_packet_has_waited_since_it_could_have_been_brought_in() {
    let (Pair { clock, scheduler, seating, .. }, mut out) =
        pair(Waking::Late, || thread::park_timeout(Duration::from_secs(1)));
    let since = clock.now();
    clock.advance(policy::KEPT_UP);
    let next = scheduler.next_in_seat(seating.seat, &mut vec![1], Some(since), 1, &mut out);
    assert!(matches!(next, Next::Taken));
    assert_eq!(scheduler.counters().longest_wait, policy::KEPT_UP);
}

/// Where packets have waited for long, looks are frequent enough to tell soon whether a processor is spare.
#[test]
fn whether_a_processor_is_spare_is_told_soon() {
    let Scene { clock, scheduler, .. } = &scene(Waking::Late);
    let next = || {
        come_back(scheduler, clock.now());
        scheduler.look();
        let state = scheduler.state();
        state.watch.as_ref().map(|watch| watch.due.duration_since(clock.now()))
    };
    while next() < Some(policy::CALM) {}
    scheduler.push(1);
    clock.advance(policy::KEPT_UP * 2);
    clock.crowd(true);
    assert_eq!(next(), Some(policy::CALM));
    clock.crowd(false);
    assert_eq!(next(), Some(policy::SELDOM));
}

/// The driver of the one that is out is not left alone either.
#[test]
fn woken_eagerly_it_does_not_wait() {
    let Scene { scheduler, parked, .. } = &scene(Waking::Eager);
    let mut out = Vec::new();
    let Some(Next::Drive(seating)) = scheduler.given(parked, 1, &mut out) else {
        panic!("it is sent to the first driver");
    };
    assert!(scheduler.fall_asleep(seating).is_some());
    scheduler.push(1);
    let next = scheduler.next_in_seat(seating.seat, &mut Vec::new(), None, 1, &mut out);
    assert!(matches!(next, Next::Taken));
    assert_eq!(out, [1]);
}

/// Limit 2, and two drivers. One is out with packet 0, which is in the list that comes with this, and passes its time; the other sits in
/// the second driver.
struct Pair {
    clock: StdArc<Clock>,
    scheduler: StdArc<Scheduler<u32>>,
    sleeps: usize,
    seating: Seating,
    _runs: Busy,
}

fn pair(waking: Waking, pass_time: fn()) -> (Pair, Vec<u32>) {
    let clock = Clock::new();
    let scheduler = StdArc::new(Scheduler::new(clock.clone(), 2, 2, waking, Release::Observed));
    scheduler.take_into_use();
    let (_runs, runs) = Busy::enrol(&scheduler, pass_time);
    let (sleeps, _) = scheduler.enrol();
    let nobody = || Waker::Elsewhere(StdArc::new(|| {}));
    let mut out = Vec::new();
    scheduler.push(0);
    assert!(matches!(scheduler.begin(Some(runs), 1, &mut out, nobody), Ok(Next::Taken)));
    let Ok(Next::Drive(seating)) = scheduler.begin(Some(sleeps), 1, &mut out, nobody) else {
        panic!("the second driver is alone");
    };
    (Pair { clock, scheduler, sleeps, seating, _runs }, out)
}

/// A second driver is not left to a worker that burns the processor: whoever sleeps in another takes it along.
#[test]
fn the_driver_of_one_that_is_out_for_long_is_taken_along() {
    let (Pair { clock, scheduler, sleeps: _, seating, _runs }, mut out) =
        pair(Waking::Late, std::hint::spin_loop);
    assert!(seating.drivers.iter().eq([1]));
    assert!(scheduler.fall_asleep(seating).is_some());
    clock.advance(policy::SOON - Duration::from_nanos(1));
    scheduler.look();
    assert!(scheduler.fall_asleep(seating).is_some(), "it may come back in time");
    clock.advance(Duration::from_nanos(1));
    look_until(&scheduler, || scheduler.counters().took_over == 1);
    assert!(scheduler.fall_asleep(seating).is_none(), "there is something to look at first");
    let next = scheduler.next_in_seat(seating.seat, &mut Vec::new(), None, 1, &mut out);
    let Next::Drive(seating) = next else { panic!("there is nothing to take") };
    assert!(seating.drivers.iter().eq([0, 1]));
    assert_eq!(scheduler.counters().took_over, 1);
}

/// A worker that a look finds blocked, when nobody is free to have its driver: whoever comes next does.
#[test]
fn the_driver_of_a_blocked_worker_is_there_for_who_comes_next() {
    // Some systems tell nothing of threads, and nobody is ever seen to be blocked (Wine is one).
    if Observation::here() == Observation::Nothing {
        return;
    }
    let (Pair { clock, scheduler, sleeps, seating, _runs }, mut out) =
        pair(Waking::Eager, || thread::park_timeout(Duration::from_secs(1)));
    let nobody = || Waker::Elsewhere(StdArc::new(|| {}));
    assert!(scheduler.fall_asleep(seating).is_some());
    scheduler.push(1);
    clock.advance(policy::SOON);
    // It may be on its way to sleep.
    look_until(&scheduler, || scheduler.counters().released_by_observation == 1);
    let next = scheduler.next_in_seat(seating.seat, &mut Vec::new(), None, 1, &mut out);
    assert!(matches!(next, Next::Taken));
    assert_eq!(out, [0, 1]);
    let Ok(Next::Drive(seating)) = scheduler.begin(Some(sleeps), 1, &mut out, nobody) else {
        panic!("there is nothing to take");
    };
    assert!(seating.drivers.iter().eq([0, 1]));
}

/// A look takes a while, and somebody goes out meanwhile: it is watched.
#[test]
fn who_goes_out_during_a_look_is_watched() {
    let clock = Clock::new();
    let scheduler = Scheduler::<u32>::new(clock.clone(), 1, 2, Waking::Late, Release::Observed);
    scheduler.take_into_use();
    let [first, keeper] = [(); 2].map(|()| Some(scheduler.enrol().0));
    let nobody = || Waker::Elsewhere(StdArc::new(|| {}));
    let mut out = Vec::new();
    scheduler.push(0);
    assert!(matches!(scheduler.begin(first, 1, &mut out, nobody), Ok(Next::Taken)));
    let Err(parked) = scheduler.begin(keeper, 1, &mut out, nobody) else {
        panic!("there is nothing for it");
    };
    assert!(scheduler.next_look(&parked).is_some());
    let Ok(Next::Drive(seating)) = scheduler.begin(first, 1, &mut out, nobody) else {
        panic!("it has the driver");
    };
    for _ in 0..policy::IDLE_LOOKS - 1 {
        scheduler.look();
    }
    let Outlook { suspects, progress, .. } = scheduler.state().suspects(clock.now());
    assert!(suspects.is_empty() && !progress, "nobody is out");
    let next = scheduler.next_in_seat(seating.seat, &mut vec![1], None, 1, &mut out);
    assert!(matches!(next, Next::Taken));
    let sight = Sight { seen: &[], progress, help_wanted: false, spare: false };
    let _ = scheduler.state().judge(&sight, clock.now());
    assert!(scheduler.next_look(&parked).is_some());
}

/// A look takes a while, and somebody goes out meanwhile: that one may keep up, whoever else burns the processor.
#[test]
fn packets_wait_for_who_goes_out_during_a_look() {
    for meanwhile in [true, false] {
        let Scene { clock, scheduler, parked: _parked, _burner } = scene_of(3, Waking::Late);
        clock.advance(policy::SOON);
        assert!(!look_and_see(&scheduler, Seen::Running, clock.now()), "for the first time");
        clock.advance(policy::SOON);
        let Outlook { suspects, progress, .. } = scheduler.state().suspects(clock.now());
        assert!(suspects.len() == 1 && !progress, "only one is out");
        if meanwhile {
            let second = scheduler.enrol().0;
            scheduler.state().count(Some(second), clock.now());
        }
        scheduler.push(1);
        let seen: Vec<_> = suspects.into_iter().map(|one| (Seen::Running, one)).collect();
        let sight = Sight { seen: &seen, progress, help_wanted: false, spare: true };
        let (wakes, burning) = scheduler.state().judge(&sight, clock.now());
        scheduler.carry_out(wakes);
        assert!(burning);
        assert_eq!(scheduler.waiting().0, usize::from(meanwhile), "what waits");
        assert_eq!(scheduler.counters().released_by_watch, u64::from(!meanwhile));
    }
}

/// Limit 1, one driver. One is out, and a look finds that it does not come back: the other, who waits, sits in the driver, for the first
/// to find what it brings in. Tells also the number of the first, and what it has taken.
fn relieved() -> (Pair, usize, Vec<u32>) {
    let clock = Clock::new();
    let scheduler =
        StdArc::new(Scheduler::new(clock.clone(), 1, 1, Waking::Late, Release::Observed));
    scheduler.take_into_use();
    let (_runs, runs) = Busy::enrol(&scheduler, std::hint::spin_loop);
    let (sleeps, _) = scheduler.enrol();
    let nobody = || Waker::Elsewhere(StdArc::new(|| {}));
    let mut out = Vec::new();
    scheduler.push(0);
    assert!(matches!(scheduler.begin(Some(runs), 1, &mut out, nobody), Ok(Next::Taken)));
    let Err(parked) = scheduler.begin(Some(sleeps), 1, &mut out, nobody) else {
        panic!("one runs already");
    };
    clock.advance(policy::SOON);
    look_until(&scheduler, || scheduler.counters().took_over == 1);
    let Some(Next::Drive(seating)) = scheduler.given(&parked, 1, &mut out) else {
        panic!("the driver is taken from the one that is out");
    };
    assert!(scheduler.fall_asleep(seating).is_some());
    (Pair { clock, scheduler, sleeps, seating, _runs }, runs, out)
}

/// ... and gives the driver back as soon as that one keeps up again. Otherwise each completion would wake a thread that may not run.
#[test]
fn who_sits_for_a_worker_that_comes_back_gives_the_driver_back() {
    let (Pair { clock, scheduler, sleeps, seating, _runs }, runs, mut out) = relieved();
    let nobody = || Waker::Elsewhere(StdArc::new(|| {}));
    let next = scheduler.next_in_seat(seating.seat, &mut vec![1], None, 1, &mut out);
    assert!(matches!(next, Next::Drive(_)), "nobody else would look there");
    assert!(matches!(scheduler.begin(Some(runs), 1, &mut out, nobody), Ok(Next::Taken)));
    clock.advance(policy::SOON - Duration::from_nanos(1));
    let next = scheduler.next_in_seat(seating.seat, &mut vec![2], None, 1, &mut out);
    let Next::Wait(arrival) = next else { panic!("the first has come back") };
    let parked = scheduler.park(Some(sleeps), arrival, nobody()).expect("the port is open");
    assert!(matches!(scheduler.begin(Some(runs), 1, &mut out, nobody), Ok(Next::Taken)));
    assert_eq!((out, given(&scheduler, &parked)), (vec![0, 1, 2], None));
    let next = scheduler.begin(Some(runs), 1, &mut Vec::new(), nobody);
    assert!(matches!(next, Ok(Next::Drive(_))), "it has its driver again");
    assert_eq!(scheduler.counters().handed_off, 0);
}

/// A waiter that was given a packet between its seat and its slot has it.
#[test]
fn who_gives_its_driver_back_is_still_the_next() {
    let (Pair { scheduler, sleeps, seating, .. }, runs, mut out) = relieved();
    let nobody = || Waker::Elsewhere(StdArc::new(|| {}));
    scheduler.push(1);
    assert!(matches!(scheduler.begin(Some(runs), 1, &mut out, nobody), Ok(Next::Taken)));
    let later = Some(scheduler.enrol().0);
    let Err(later) = scheduler.begin(later, 1, &mut out, nobody) else {
        panic!("there is nothing for it");
    };
    let Next::Wait(arrival) = scheduler.next_in_seat(seating.seat, &mut vec![2], None, 1, &mut out)
    else {
        panic!("the first has come back");
    };
    let parked = scheduler.park(Some(sleeps), arrival, nobody()).expect("the port is open");
    assert!(scheduler.block(runs), "its place is free");
    assert_eq!(given(&scheduler, &later), Some(2), "the newest waiter, as before");
    let next = scheduler.given(&parked, 1, &mut out);
    assert!(matches!(next, Some(Next::Drive(_))), "somebody must");
}

/// Looks are rare where nobody is out for long, and more frequent for a while after somebody was.
#[test]
fn looks_are_rare_in_calm() {
    let Scene { clock, scheduler, .. } = &scene(Waking::Late);
    let look = |seen: &[_], after| {
        clock.advance(after);
        let mut state = scheduler.state();
        let sight = Sight { seen, progress: true, help_wanted: false, spare: false };
        let _ = state.judge(&sight, clock.now());
        state.watch.as_ref().map(|watch| watch.interval)
    };
    let rarest = |seen: &[_]| {
        let _ = look(seen, Duration::ZERO);
        (0..20).filter_map(|_| look(&[], Duration::from_micros(1))).max()
    };
    assert_eq!(rarest(&[]), Some(policy::CALM));
    // It was back, or gone, before it was judged.
    let observer = StdArc::new(Observer::of_this_thread());
    let seen = |seen| {
        let observer = observer.clone();
        [(seen, Suspect { worker: usize::MAX, turns: 0, observer, again: true })]
    };
    assert_eq!(rarest(&seen(Seen::Waiting)), Some(policy::CALM), "for a processor only");
    assert_eq!(rarest(&seen(Seen::Running)), Some(policy::SELDOM));
    assert_eq!(look(&[], policy::WARY), Some(policy::SELDOM * 2), "calm again");
}

/// ... but not to one that was seen to be blocked meanwhile: no look looks at that one any more, and nobody would see to the driver.
#[test]
fn a_driver_is_not_given_back_to_a_worker_that_is_not_watched() {
    for stuck in [true, false] {
        let (Pair { scheduler, seating, .. }, runs, mut out) = relieved();
        let nobody = || Waker::Elsewhere(StdArc::new(|| {}));
        scheduler.push(1);
        assert!(matches!(scheduler.begin(Some(runs), 1, &mut out, nobody), Ok(Next::Taken)));
        if stuck {
            scheduler.state().workers[runs].stuck = true;
        } else {
            // Released by observation, and its place is another's.
            scheduler.state().workers[runs].counted = false;
        }
        let next = scheduler.next_in_seat(seating.seat, &mut vec![2], None, 1, &mut out);
        assert!(matches!(next, Next::Drive(_)), "stuck: {stuck}");
    }
}
