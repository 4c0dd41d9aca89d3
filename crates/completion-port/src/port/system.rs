//! How a packet is taken where the system decides who runs: from its port, one thread like another.

use std::{
    any::Any,
    mem,
    time::{Duration, Instant},
};

use super::{
    Shared,
    get::{GetError, Wait, look_around, settle_one},
    shared::Hand,
};
use crate::{
    operation::Completion,
    schedule::{Out, SystemQueue, until},
    sys::Taken,
};

/// What a thread has taken out, and has not given to its caller: brought in again, whatever happens. After the close it is the closer's.
struct Held<'a, K: 'static, T: 'static> {
    shared: &'a Shared<K, T>,
    queue: &'a SystemQueue<Completion<K, T>>,
    hand: Hand<K, T>,
}

impl<K, T> Drop for Held<'_, K, T> {
    fn drop(&mut self) {
        self.hand.packets.drain(..).for_each(|packet| self.queue.push(packet));
        if self.queue.is_closed() {
            drop(self.queue.leftovers());
        }
        self.shared.put_back(mem::take(&mut self.hand));
    }
}

/// Takes what the system hands out and settles it, until there is a packet for this thread.
pub(super) fn take<K: Send + Sync + 'static, T: Send + 'static>(
    shared: &Shared<K, T>,
    queue: &SystemQueue<Completion<K, T>>,
    out: &mut impl Out<Completion<K, T>>,
    max: usize,
    deadline: Option<Instant>,
    wait: &mut impl Wait,
) -> Result<(), GetError> {
    let Some(_waiter) = queue.wait() else { return Err(GetError::Closed) };
    let mut held = Held { shared, queue, hand: shared.hand() };
    loop {
        let left = until(deadline, || shared.drivers.now());
        let hand = &mut held.hand;
        let beside = wait.take(queue.port(), &shared.drivers, max, left, &mut hand.taken);
        let looked_in_vain = hand.taken.is_empty() && left == Some(Duration::ZERO);
        let panic = settle(shared, queue, hand);
        if let Some(panic) = panic {
            std::panic::resume_unwind(panic);
        }
        if queue.is_closed() {
            return Err(GetError::Closed);
        }
        let packets = &mut held.hand.packets;
        if !packets.is_empty() {
            packets.drain(..).for_each(|packet| out.put(packet));
            return Ok(());
        }
        if beside.map_err(GetError::Failed)? {
            return Err(GetError::Alerted);
        }
        if looked_in_vain {
            return Err(GetError::TimedOut);
        }
    }
}

/// Makes packets of what was taken, in the order in which it came, one for each at most: whatever more comes of it stands behind what is in
/// the port already. A panic of the user's code is returned.
pub(super) fn settle<K: Send + Sync + 'static, T: Send + 'static>(
    shared: &Shared<K, T>,
    queue: &SystemQueue<Completion<K, T>>,
    Hand { taken, packets, .. }: &mut Hand<K, T>,
) -> Option<Box<dyn Any + Send>> {
    let (mut nudged, mut panic) = (false, None);
    for (places, one) in (packets.len() + 1..).zip(taken.drain(..)) {
        let mut sink = |packet| {
            if packets.len() < places {
                packets.push(packet);
            } else {
                queue.push(packet);
            }
        };
        let more = match one {
            Taken::Event(event) => settle_one(event, &mut sink),
            Taken::Packet(number) => {
                queue.unpack(number).map(sink);
                None
            }
            Taken::Nudge => {
                nudged = true;
                look_around(shared, &mut sink)
            }
        };
        panic = panic.or(more);
    }
    if nudged {
        queue.set_alarm(|| until(shared.timers.sleep().0, || shared.drivers.now()));
    }
    shared.let_pool_relax();
    panic
}
