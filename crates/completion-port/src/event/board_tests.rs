//! The board beside a model that is too simple to be wrong: after every step, whoever has waited longest and can be released, is.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use proptest::{collection::vec, prelude::*};

use super::{Which, board::Board};
use crate::schedule::Waker;

const EVENTS: usize = 5;

#[derive(Debug, Clone)]
enum Step {
    Set(usize),
    Reset(usize),
    Take(Vec<usize>, Which),
    Begin(Vec<usize>, Which),
    /// Of those that have begun, and not ended, the one at this place (if there are so many: modulo).
    End(usize),
    Decline(usize),
}

fn events() -> impl Strategy<Value = Vec<usize>> {
    proptest::sample::subsequence((0..EVENTS).collect::<Vec<_>>(), 1..=EVENTS).prop_shuffle()
}

fn which() -> impl Strategy<Value = Which> {
    prop_oneof![Just(Which::Any), Just(Which::All)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..EVENTS).prop_map(Step::Set),
        1 => (0..EVENTS).prop_map(Step::Reset),
        1 => (events(), which()).prop_map(|(events, which)| Step::Take(events, which)),
        3 => (events(), which()).prop_map(|(events, which)| Step::Begin(events, which)),
        2 => any::<usize>().prop_map(Step::End),
        1 => any::<usize>().prop_map(Step::Decline),
    ]
}

/// In the order of their coming, by number; with what they were given, once they are released.
type Waiters = BTreeMap<usize, (Vec<usize>, Which, Option<usize>)>;

struct Model {
    auto_reset: Vec<bool>,
    signaled: Vec<bool>,
    waiters: Waiters,
    next: usize,
}

impl Model {
    fn take(&mut self, events: &[usize], which: Which) -> Option<usize> {
        let index = match which {
            Which::Any => (0..events.len()).find(|at| self.signaled[events[*at]])?,
            Which::All => events.iter().all(|event| self.signaled[*event]).then_some(0)?,
        };
        for (at, event) in events.iter().enumerate() {
            if self.auto_reset[*event] && (which == Which::All || at == index) {
                self.signaled[*event] = false;
            }
        }
        Some(index)
    }

    /// Releases whoever can be.
    fn settle(&mut self) {
        for number in self.waiters.keys().copied().collect::<Vec<_>>() {
            let (events, which, released) = self.waiters[&number].clone();
            if released.is_none() {
                let given = self.take(&events, which);
                self.waiters.insert(number, (events, which, given));
            }
        }
    }

    fn set(&mut self, event: usize) {
        self.signaled[event] = true;
        self.settle();
    }

    fn decline(&mut self, number: usize) {
        let Some((events, which, Some(index))) = self.waiters.remove(&number) else { return };
        for (at, event) in events.into_iter().enumerate() {
            if self.auto_reset[event] && (which == Which::All || at == index) {
                self.set(event);
            }
        }
    }
}

fn counted(woken: &Arc<AtomicUsize>) -> Waker {
    let woken = woken.clone();
    Waker::Elsewhere(Arc::new(move || _ = woken.fetch_add(1, Ordering::Relaxed)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// And who is released is woken, once.
    #[test]
    fn events_are_given_to_who_has_waited_longest(
        auto_reset in vec(any::<bool>(), EVENTS),
        signaled in vec(any::<bool>(), EVENTS),
        steps in vec(step(), 1..60),
    ) {
        let board = Board::new();
        let numbers: Vec<usize> =
            (0..EVENTS).map(|at| board.add(auto_reset[at], signaled[at])).collect();
        let real = |events: &[usize]| events.iter().map(|at| numbers[*at]).collect::<Vec<_>>();
        let mut model = Model { auto_reset, signaled, waiters: Waiters::new(), next: 0 };
        // The board's number and the wakings of each of the model's.
        let mut waiting: BTreeMap<usize, (usize, Arc<AtomicUsize>)> = BTreeMap::new();

        for step in steps {
            let pick = |at: usize| {
                (!waiting.is_empty()).then(|| *waiting.keys().nth(at % waiting.len()).expect("there"))
            };
            match step {
                Step::Set(event) => {
                    board.set(numbers[event]);
                    model.set(event);
                }
                Step::Reset(event) => {
                    board.reset(numbers[event]);
                    model.signaled[event] = false;
                }
                Step::Take(events, which) => {
                    prop_assert_eq!(board.take(&real(&events), which), model.take(&events, which));
                }
                Step::Begin(events, which) => {
                    let woken = Arc::default();
                    let begun = board.begin(&real(&events), which, counted(&woken));
                    match (begun, model.take(&events, which)) {
                        (Err(waiter), None) => {
                            waiting.insert(model.next, (waiter, woken));
                            model.waiters.insert(model.next, (events, which, None));
                            model.next += 1;
                        }
                        (begun, expected) => prop_assert_eq!(begun.ok(), expected),
                    }
                }
                Step::End(at) => if let Some(number) = pick(at) {
                    let (waiter, _) = waiting.remove(&number).expect("picked");
                    let (.., expected) = model.waiters.remove(&number).expect("picked");
                    prop_assert_eq!(board.end(waiter), expected);
                }
                Step::Decline(at) => if let Some(number) = pick(at) {
                    let (waiter, _) = waiting.remove(&number).expect("picked");
                    board.decline(waiter);
                    model.decline(number);
                }
            }
            for (at, number) in numbers.iter().enumerate() {
                prop_assert_eq!(board.look(*number), (model.auto_reset[at], model.signaled[at]));
            }
            for (number, (waiter, woken)) in &waiting {
                let released = model.waiters[number].2.is_some();
                prop_assert_eq!(board.is_released(*waiter), released);
                prop_assert_eq!(woken.load(Ordering::Relaxed), usize::from(released));
            }
        }
    }
}
