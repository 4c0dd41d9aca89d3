//! What happens on one connection: each completion starts what comes next.

use std::{io, time::Instant};

use completion_port::{Buffer, TcpSocket};

use super::{
    Done, Handle, Key, PAUSE, Step, Worker,
    lane::{Lane, State, Wrong},
};
use crate::bench::errors::Kind;

impl Worker<'_> {
    /// Goes on with the connection whose operation has completed.
    pub(super) fn take(&mut self, done: Done) {
        let Key { place, generation } = *done.handle.key();
        let Some(lane) = self.lanes.get_mut(place).filter(|lane| lane.generation == generation)
        else {
            return;
        };
        match (done.context, done.result) {
            (Step::Send, Ok(_)) => lane.keep(done.buffer),
            (Step::Recv, Ok(0)) => self.ended(place),
            (Step::Recv, Ok(_)) => self.receive(place, done.buffer),
            (Step::Connect, Ok(_)) => self.connected(place),
            (Step::Connect, Err(error)) => self.failed(place, &error, "connecting"),
            (Step::Send, Err(error)) => self.failed(place, &error, "sending"),
            (Step::Recv, Err(error)) => self.failed(place, &error, "receiving"),
        }
    }

    /// Starts to connect.
    pub(super) fn open(&mut self, place: usize, now: Instant) {
        match self.start(place) {
            Ok(handle) => {
                self.lanes[place].open(handle, now);
                self.opening += 1;
            }
            Err(error) => self.failed(place, &error, "connecting"),
        }
    }

    /// A socket that connects.
    fn start(&mut self, place: usize) -> io::Result<Handle> {
        let socket = TcpSocket::new(&self.plan.address)?;
        if let Some(sources) = &mut self.sources {
            sources.bind(&socket)?;
        }
        let generation = self.lanes[place].generation;
        let handle = self.port.associate(socket, Key { place, generation })?;
        handle.set_nodelay(true)?;
        handle.connect(self.plan.address, Step::Connect)?;
        Ok(handle)
    }

    /// The connection is there: the first messages leave.
    fn connected(&mut self, place: usize) {
        self.opening -= 1;
        let lane = &mut self.lanes[place];
        let now = Instant::now();
        (lane.state, lane.moved) = (State::Up, now);
        if self.plan.churn {
            self.send(place, 1);
        } else {
            self.pump(place, now);
        }
        self.listen(place, Lane::inbox(self.plan.size, self.plan.depth));
    }

    /// Starts as many messages on a connection as there is room for, and as are due.
    pub(super) fn pump(&mut self, place: usize, now: Instant) {
        let (Some(schedule), Some(clock)) = (self.schedule, self.meter.clock) else { return };
        let lane = &mut self.lanes[place];
        let due = |lane: &Lane| schedule.due(lane.number, lane.started, now.min(clock.last()));
        if self.plan.churn {
            // The message leaves when the connection that it is for is made.
            if matches!(lane.state, State::Down(again) if again <= now)
                && let Some(due) = due(lane)
            {
                lane.started += 1;
                lane.waiting.push_back(due);
                self.open(place, now);
            }
            return;
        }
        if lane.state != State::Up {
            return;
        }
        let before = lane.waiting.len();
        while lane.waiting.len() < self.plan.depth
            && let Some(due) = due(lane)
        {
            lane.started += 1;
            lane.waiting.push_back(due);
        }
        if before == 0 {
            lane.moved = now;
        }
        self.send(place, self.lanes[place].waiting.len() - before);
    }

    /// Sends the next `count` messages.
    fn send(&mut self, place: usize, mut count: usize) {
        let size = self.plan.size;
        while count > 0 {
            let lane = &mut self.lanes[place];
            let now = count.min(self.plan.at_once);
            let buffer = lane.next(now * size);
            let Some(handle) = &lane.handle else { return };
            if let Err(refused) = handle.send(buffer, Step::Send) {
                return self.failed(place, &refused.error, "sending");
            }
            count -= now;
        }
    }

    /// Waits for what comes back.
    fn listen(&mut self, place: usize, inbox: Buffer) {
        let Some(handle) = &self.lanes[place].handle else { return };
        if let Err(refused) = handle.recv(inbox, Step::Recv) {
            self.failed(place, &refused.error, "receiving");
        }
    }

    /// Something has come back.
    fn receive(&mut self, place: usize, mut buffer: Buffer) {
        let now = Instant::now();
        let lane = &mut self.lanes[place];
        lane.moved = now;
        match lane.take(&buffer, self.plan.size) {
            Ok(whole) => {
                for due in lane.waiting.drain(..whole) {
                    self.meter.back(due, now);
                }
            }
            Err(wrong) => {
                let number = lane.number;
                match wrong {
                    Wrong::Byte(at) => self.meter.failed(Kind::WrongBytes, || {
                        format!("connection {number}: byte {at} that came back is not the one that was sent")
                    }),
                    Wrong::Surplus => self.meter.failed(Kind::Unexpected, || {
                        format!("connection {number}: more came back than was sent")
                    }),
                }
                return self.shut(place, now);
            }
        }
        if self.plan.churn && lane.waiting.is_empty() {
            lane.close(now);
            return self.pump(place, now);
        }
        self.pump(place, now);
        buffer.clear();
        self.listen(place, buffer);
    }

    /// The server has closed the connection.
    fn ended(&mut self, place: usize) {
        let number = self.lanes[place].number;
        self.meter.failed(Kind::Closed, || format!("connection {number}: the server closed it"));
        self.shut(place, Instant::now());
    }

    /// An operation failed.
    fn failed(&mut self, place: usize, error: &io::Error, doing: &str) {
        self.meter.error(error, doing, self.lanes[place].number);
        self.shut(place, Instant::now());
    }

    /// Closes a connection that has failed. It is opened again after a pause.
    pub(super) fn shut(&mut self, place: usize, now: Instant) {
        let lane = &mut self.lanes[place];
        if lane.state == State::Opening {
            self.opening -= 1;
        }
        lane.close(now + PAUSE);
    }
}
