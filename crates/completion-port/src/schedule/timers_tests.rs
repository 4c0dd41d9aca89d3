//! The timers beside a model that is a list, on a clock that stands still until it is moved.

use proptest::prelude::*;

use super::*;

type Number = u32;

/// What is armed, in the model.
#[derive(Debug, Clone)]
struct Modelled {
    of: Of,
    key: TimerKey,
    at: Option<u64>,
    what: Number,
}

#[derive(Debug, Clone)]
enum Step {
    /// For this owner, on that list, so many nanoseconds from now; or never.
    Arm {
        owner: Option<u32>,
        posts: bool,
        after: Option<u64>,
    },
    /// That one of all that were ever armed, in the name of the right owner or not.
    Disarm {
        which: prop::sample::Index,
        rightly: bool,
    },
    DisarmOne {
        which: prop::sample::Index,
    },
    DisarmAll {
        owner: u32,
        posts: bool,
    },
    Move {
        which: prop::sample::Index,
        after: Option<u64>,
    },
    /// Time passes, and what is due fires: those whose number is odd come again, after that time, unless they are cancelled meanwhile.
    Pass {
        time: u64,
        again: u64,
        cancel: bool,
    },
    Sleep,
    Wake,
}

fn after() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![
        // Often the same moment.
        6 => (0..20_u64).prop_map(Some),
        6 => (0..1_000_000_u64).prop_map(Some),
        1 => Just(None),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    use prop::sample::Index;
    prop_oneof![
        12 => (prop::option::weighted(0.9, 0..3_u32), any::<bool>(), after())
            .prop_map(|(owner, posts, after)| Step::Arm { owner, posts, after }),
        6 => (any::<Index>(), prop::bool::weighted(0.8))
            .prop_map(|(which, rightly)| Step::Disarm { which, rightly }),
        2 => any::<Index>().prop_map(|which| Step::DisarmOne { which }),
        1 => (0..3_u32, any::<bool>()).prop_map(|(owner, posts)| Step::DisarmAll { owner, posts }),
        3 => (any::<Index>(), after()).prop_map(|(which, after)| Step::Move { which, after }),
        4 => (prop_oneof![0..20_u64, 0..400_000_u64], 0..1000_u64, prop::bool::weighted(0.2))
            .prop_map(|(time, again, cancel)| Step::Pass { time, again, cancel }),
        2 => Just(Step::Sleep),
        1 => Just(Step::Wake),
    ]
}

fn of(owner: Option<u32>, posts: bool) -> Of {
    match owner {
        None => Of::Nobody,
        Some(owner) if posts => Of::Posting(owner),
        Some(owner) => Of::Deadline(owner),
    }
}

struct Test {
    timers: Timers<Number>,
    base: Instant,
    now: u64,
    model: Vec<Modelled>,
    ever: Vec<(Of, TimerKey, Number)>,
    /// As the sleeper was told.
    asleep: Option<Option<u64>>,
}

impl Test {
    fn new() -> Self {
        let base = Instant::now();
        let (model, ever) = (Vec::new(), Vec::new());
        Self { timers: Timers::new(base), base, now: 0, model, ever, asleep: None }
    }

    fn instant(&self, at: Option<u64>) -> Option<Instant> {
        at.map(|at| self.base + Duration::from_nanos(at))
    }

    fn first(&self) -> Option<u64> {
        self.model.iter().filter_map(|one| one.at).min()
    }

    /// Whether the sleeper must be told of a time.
    fn is_too_late(&self, at: Option<u64>) -> bool {
        match (self.asleep, at) {
            (None, _) | (_, None) => false,
            (Some(until), Some(at)) => until.is_none_or(|until| at < until),
        }
    }

    fn take(&mut self, fits: impl Fn(&Modelled) -> bool) -> Option<Modelled> {
        let at = self.model.iter().position(fits)?;
        Some(self.model.swap_remove(at))
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Arm { owner, posts, after } => {
                let of = of(owner, posts);
                let at = after.map(|after| self.now + after);
                let what = self.ever.len() as Number;
                let (key, late) = self.timers.arm(of, self.instant(at), what);
                assert_eq!(late, self.is_too_late(at), "whether the sleeper is woken");
                assert!(self.ever.iter().all(|(_, other, _)| *other != key), "a key is used twice");
                self.model.push(Modelled { of, key, at, what });
                self.ever.push((of, key, what));
            }
            Step::Disarm { which, rightly } => {
                if self.ever.is_empty() {
                    return;
                }
                let (of, key, _) = *which.get(&self.ever);
                let asks = if rightly { of } else { Of::Posting(7) };
                let found = self.timers.disarm(asks, key);
                let known = if rightly { self.take(|one| one.key == key) } else { None };
                assert_eq!(found, known.map(|one| Disarmed::Taken(one.what)));
            }
            Step::DisarmOne { which } => {
                if self.ever.is_empty() {
                    return;
                }
                let (of, key, what) = *which.get(&self.ever);
                if of == Of::Nobody {
                    return;
                }
                let found = self.timers.disarm_one(of, |other| *other == what);
                let known = self.take(|one| one.key == key);
                assert_eq!(found, known.map(|one| Disarmed::Taken(one.what)));
            }
            Step::DisarmAll { owner, posts } => {
                let of = of(Some(owner), posts);
                let (mut found, count) = self.timers.disarm_all(of);
                let mut known = Vec::new();
                while let Some(one) = self.take(|one| one.of == of) {
                    known.push(one.what);
                }
                found.sort_unstable();
                known.sort_unstable();
                assert_eq!((found, count), (known.clone(), known.len()));
            }
            Step::Move { which, after } => {
                if self.ever.is_empty() {
                    return;
                }
                let (of, key, what) = *which.get(&self.ever);
                if of == Of::Nobody {
                    return;
                }
                let at = after.map(|after| self.now + after);
                let moved = self.timers.move_one(of, self.instant(at), |other| *other == what);
                let late = self.is_too_late(at);
                let known = self.model.iter_mut().find(|one| one.key == key);
                assert_eq!(moved, (known.is_some(), known.is_some() && late));
                if let Some(one) = known {
                    one.at = at;
                }
            }
            Step::Pass { time, again, cancel } => self.pass(time, again, cancel),
            Step::Sleep => {
                let first = self.first();
                let (at, exactly) = self.timers.sleep();
                assert_eq!(at, self.instant(first));
                // Of several at the same time it may be any.
                let those = self.model.iter().filter(|one| first.is_some() && one.at == first);
                assert!(!exactly || those.clone().any(|one| one.of != Of::Nobody));
                assert!(
                    exactly || first.is_none() || those.clone().any(|one| one.of == Of::Nobody)
                );
                self.asleep = Some(first);
            }
            Step::Wake => {
                self.timers.wake();
                self.asleep = None;
            }
        }
    }

    fn pass(&mut self, time: u64, again: u64, cancel: bool) {
        self.timers.wake();
        self.asleep = None;
        self.now += time;
        let now = self.base + Duration::from_nanos(self.now);
        let mut last = 0;
        let mut come_again = Vec::new();
        while let Some(Fired { key, at, what }) = self.timers.due(now, |what| what % 2 == 1) {
            let one = self.take(|one| one.key == key).expect("an armed one");
            assert_eq!((Some(at), what), (self.instant(one.at), one.what));
            let at = one.at.expect("one with a time");
            assert!(at <= self.now, "it is early");
            assert!(last <= at, "not the first");
            last = at;
            if what % 2 == 1 {
                come_again.push(one);
            }
        }
        // All that fire, before any is armed again.
        for mut one in come_again {
            one.at = Some(self.now + 1 + again);
            if cancel {
                assert_eq!(self.timers.disarm(one.of, one.key), Some(Disarmed::Firing));
                assert_eq!(self.timers.disarm(one.of, one.key), None, "twice");
                assert_eq!(
                    self.timers.fired(one.key, self.instant(one.at), one.what),
                    Err(one.what)
                );
            } else {
                assert!(self.timers.fired(one.key, self.instant(one.at), one.what).is_ok());
                self.model.push(one);
            }
        }
        assert!(self.first().is_none_or(|first| self.now < first), "one that is due is left");
    }

    fn check(&self) {
        assert_eq!(self.timers.first(), self.instant(self.first()));
        assert!(self.timers.any() || self.model.is_empty());
        let posting = self.model.iter().filter(|one| matches!(one.of, Of::Posting(_))).count();
        assert_eq!(self.timers.posting(), posting);
        let armed = self.timers.armed();
        assert_eq!((armed.taken, armed.heap.len()), (self.model.len(), self.model.len()));
        for place in 0..armed.heap.len() {
            let node = armed.heap[place];
            assert_eq!(armed.slots[node.slot as usize].place as usize, place);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn they_do_as_a_list_would(steps in prop::collection::vec(step(), 1..200)) {
        let mut test = Test::new();
        for step in steps {
            test.step(step);
            test.check();
        }
    }
}

/// Who fires one that comes again need not be who sleeps until it is due: whoever has fallen asleep meanwhile knew nothing of it.
#[test]
fn one_that_comes_again_while_the_sleeper_sleeps_is_told() {
    let base = Instant::now();
    let timers = Timers::new(base);
    let at = |nanoseconds| base.checked_add(Duration::from_nanos(nanoseconds));
    assert!(!timers.arm(Of::Posting(0), at(10), 1).1, "nobody sleeps");
    let fired = timers.due(at(10).expect("a time"), |_| true).expect("it is due");
    assert_eq!(timers.sleep().0, None, "nothing is armed at this moment");
    assert!(timers.any(), "one will be");
    assert_eq!(timers.fired(fired.key, at(20), fired.what), Ok(true));
    timers.wake();
    let fired = timers.due(at(20).expect("a time"), |_| true).expect("it is due");
    assert_eq!(timers.fired(fired.key, at(30), fired.what), Ok(false), "the sleeper is awake");
}

/// What a million take, and that it is given back.
#[test]
fn a_burst_is_small_and_leaves_nothing() {
    const MANY: usize = 1_000_000;
    let base = Instant::now();
    let timers = Timers::<(usize, u64)>::new(base);
    let keys: Vec<_> = (0..MANY)
        .map(|n| {
            let at = base + Duration::from_nanos((n * 7919 % MANY) as u64);
            timers.arm(Of::Posting(0), Some(at), (n, 0)).0
        })
        .collect();
    {
        let armed = timers.armed();
        let bytes = armed.heap.bytes() + armed.slots.bytes() + armed.heads.capacity() * 4;
        // Their Option has no room for the tag in a pair of numbers, as what a port keeps has: eight bytes less.
        assert!(bytes <= MANY * (64 + 8), "{} bytes each", bytes / MANY);
    }
    for key in &keys {
        assert!(matches!(timers.disarm(Of::Posting(0), *key), Some(Disarmed::Taken(_))));
    }
    {
        let armed = timers.armed();
        assert_eq!((armed.slots.bytes(), armed.heap.bytes()), (0, 0));
    }
    assert_eq!(timers.disarm(Of::Posting(0), keys[0]), None);
    assert!(timers.any(), "nobody has looked since");
    timers.sleep();
    assert!(!timers.any());
}
