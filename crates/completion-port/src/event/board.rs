//! All events of the process, and who waits for them.
//!
//! One lock for all, as NT's dispatcher had it: a wait for all of several events takes them at one moment or takes none, and a set gives
//! the event to who has waited longest, which needs a look at everything that this one waits for. The lock is held for a walk through
//! the waiters of one event; nobody is woken, and nothing is dropped, behind it.

use std::collections::VecDeque;

use slab::Slab;

use super::Which;
use crate::schedule::{
    Waker,
    sync::{Mutex, lock},
};

pub(super) struct Board(Mutex<Table>);

struct Table {
    events: Slab<State>,
    waiters: Slab<Waiter>,
}

struct State {
    auto_reset: bool,
    signaled: bool,
    /// Who waits for it, perhaps among others, the longest first. Nobody in it could be released now.
    waiters: VecDeque<usize>,
}

struct Waiter {
    events: Vec<usize>,
    which: Which,
    /// What ends its sleep, until that is used.
    waker: Option<Waker>,
    /// It waits no longer: which of its events it was given (the first stands for all).
    released: Option<usize>,
}

impl Board {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Table { events: Slab::new(), waiters: Slab::new() }))
    }

    pub(super) fn add(&self, auto_reset: bool, signaled: bool) -> usize {
        lock(&self.0).events.insert(State { auto_reset, signaled, waiters: VecDeque::new() })
    }

    /// Of an event that nobody waits for.
    pub(super) fn remove(&self, event: usize) {
        let gone = lock(&self.0).events.try_remove(event);
        drop(gone);
    }

    /// Whether it resets by itself, and whether it is signaled.
    pub(super) fn look(&self, event: usize) -> (bool, bool) {
        let table = lock(&self.0);
        (table.events[event].auto_reset, table.events[event].signaled)
    }

    pub(super) fn set(&self, event: usize) {
        let wakers = lock(&self.0).set(event);
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(super) fn reset(&self, event: usize) {
        lock(&self.0).events[event].signaled = false;
    }

    /// Takes what is wanted if it is there, without a wait.
    pub(super) fn take(&self, events: &[usize], which: Which) -> Option<usize> {
        lock(&self.0).take(events, which)
    }

    /// Takes what is wanted if it is there, or makes the caller one who waits for it (`Err`, with its number), until
    /// [`end`](Board::end). To have nobody waiting for ever, who gets a number calls that.
    pub(super) fn begin(
        &self,
        events: &[usize],
        which: Which,
        waker: Waker,
    ) -> Result<usize, usize> {
        let mut table = lock(&self.0);
        if let Some(index) = table.take(events, which) {
            drop(table);
            return Ok(index);
        }
        let waiter = table.waiters.insert(Waiter {
            events: events.to_vec(),
            which,
            waker: Some(waker),
            released: None,
        });
        for event in events {
            table.events[*event].waiters.push_back(waiter);
        }
        Err(waiter)
    }

    pub(super) fn is_released(&self, waiter: usize) -> bool {
        lock(&self.0).waiters[waiter].released.is_some()
    }

    /// Waits no longer. What the waiter was given, if it was released.
    pub(super) fn end(&self, waiter: usize) -> Option<usize> {
        let gone = {
            let mut table = lock(&self.0);
            table.withdraw(waiter);
            table.waiters.remove(waiter)
        };
        gone.released
    }

    /// Waits no longer, and does not want what it was given.
    pub(super) fn decline(&self, waiter: usize) {
        let (gone, wakers) = {
            let mut table = lock(&self.0);
            table.withdraw(waiter);
            let gone = table.waiters.remove(waiter);
            let mut wakers = Vec::new();
            for event in gone.released.map(|index| gone.given(index)).unwrap_or_default() {
                if table.events[*event].auto_reset {
                    wakers.extend(table.set(*event));
                }
            }
            (gone, wakers)
        };
        drop(gone);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Table {
    /// Tells whom to wake when the lock is free.
    fn set(&mut self, event: usize) -> Vec<Waker> {
        let mut wakers = Vec::new();
        self.events[event].signaled = true;
        let mut at = 0;
        while self.events[event].signaled
            && let Some(&number) = self.events[event].waiters.get(at)
        {
            let waiter = &self.waiters[number];
            // Only who waits for several at once may have to wait on: the next may do with this one.
            let Some(index) = self.there(&waiter.events, waiter.which) else {
                at += 1;
                continue;
            };
            self.withdraw(number);
            let waiter = &mut self.waiters[number];
            waiter.released = Some(index);
            wakers.extend(waiter.waker.take());
            for event in waiter.given(index) {
                let state = &mut self.events[*event];
                state.signaled &= !state.auto_reset;
            }
        }
        wakers
    }

    fn take(&mut self, events: &[usize], which: Which) -> Option<usize> {
        let index = self.there(events, which)?;
        for event in which.given(events, index) {
            let state = &mut self.events[*event];
            state.signaled &= !state.auto_reset;
        }
        Some(index)
    }

    /// Whether what is wanted is signaled: which one, or the first for all.
    fn there(&self, events: &[usize], which: Which) -> Option<usize> {
        let signaled = |event: &usize| self.events[*event].signaled;
        match which {
            Which::Any => events.iter().position(signaled),
            Which::All => events.iter().all(signaled).then_some(0),
        }
    }

    /// Takes a waiter out of the lists of its events.
    fn withdraw(&mut self, number: usize) {
        for event in &self.waiters[number].events {
            self.events[*event].waiters.retain(|waiter| *waiter != number);
        }
    }
}

impl Waiter {
    fn given(&self, index: usize) -> &[usize] {
        self.which.given(&self.events, index)
    }
}

impl Which {
    /// What a wait that ended with this index has been given.
    fn given(self, events: &[usize], index: usize) -> &[usize] {
        match self {
            Which::Any => &events[index..=index],
            Which::All => events,
        }
    }
}
