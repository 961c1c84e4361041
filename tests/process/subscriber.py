"""Subscriptions in Python, written from docs/protocol.md: plain pyzmq and msgpack."""

import time

import zmq

import wire
from deadline import Deadline

SUBSCRIBE, CREDIT, UNSUBSCRIBE = 14, 15, 16
WATCH = 1
BEGUN, EVENTS, STATE, PROGRESS, RESYNC = 1, 2, 3, 4, 5
INITIAL, NO_PUTS, NO_DELETES, PREVIOUS = 1, 2, 4, 8
PUT, DELETE, EXPIRE = 1, 2, 3


class Ended(Exception):
    """The subscription is over: another node, or the same one, has to be asked again."""

    def __init__(self, code, text):
        super().__init__(f"{code} {text}")
        self.code = code


class Watch:
    """One subscription at one node. What is whole is in `events`, in order; `position` is where to
    go on. One that is granted nothing at first gets nothing until `grant` is called."""

    def __init__(self, endpoint, start, end, what=0, position=0, granted=1 << 20, connection=None):
        self.connection = connection or wire.Connection(endpoint)
        self.owns = connection is None
        self.granted, self.spent, self.number = granted, 0, 0
        self.generous = granted > 0
        self.position, self.begun, self.asks, self.answered = position, False, 0, 0
        self.events, self.part, self.state, self.resyncs = [], [], None, 0
        self.progress = []
        self.gathering = {} if what & INITIAL else None
        self.id = self.connection.send(
            [(SUBSCRIBE, wire.pack([WATCH, position, granted, [start, end, what]]))])[0]

    def close(self):
        if self.owns:
            self.connection.close()

    def say(self, kind, body):
        self.connection.socket.send(wire.pack([wire.VERSION, [self.id, kind, body]]))

    def grant(self, more=0, ask=False):
        self.granted += more
        self.generous |= more > 0
        self.asks += ask
        self.say(CREDIT, wire.pack([self.granted, self.asks] if ask else [self.granted]))

    def take(self, code, body):
        if code != wire.OK or not body:
            raise Ended(code, body)
        frame = wire.unpack(body)
        number, kind, position = frame[:3]
        if number != self.number + 1:
            raise Ended(None, "a frame is missing")
        self.number = number
        assert (kind == BEGUN) == (number == 1), frame
        if kind in (EVENTS, STATE):
            self.spent += len(body)
        if kind == BEGUN:
            assert self.position in (0, position), frame
            self.begun, self.position = True, position
        elif kind == EVENTS:
            more, events = frame[3:5]
            assert not more or len({event[3] for event in events}) == 1, "parts of one revision only"
            self.part += events
            if not more:
                assert all(self.position <= event[3] < position for event in self.part), frame
                self.events += self.part
                self.part, self.position = [], position
        elif kind == STATE:
            more, items = frame[3:5]
            for item in items:
                self.gathering.pop(item[0], None)
                if item[4]:
                    self.gathering[item[0]] = item
            if not more:
                self.state, self.gathering, self.position = self.gathering, None, position
        elif kind == PROGRESS:
            assert position >= self.position
            if not self.part and self.gathering is None:
                self.position = position
            self.progress.append(frame)
            self.answered = frame[4] or self.answered
        elif kind == RESYNC:
            self.resyncs += 1
            self.part, self.gathering = [], {}

    def poll(self, timeout):
        """Takes what comes within the time; raises Ended."""
        for reply in self.connection.receive(timeout):
            self.connection.replies.pop(reply[0], None)
            if reply[0] == self.id:
                self.take(reply[1], reply[2])
        if self.begun and self.generous and self.granted - self.spent < 1 << 19:
            self.grant(1 << 20)

    def poll_until(self, condition, what, timeout=wire.DEADLINE):
        deadline = Deadline(timeout)
        while not condition(self):
            assert not deadline.passed(), f"not in time: {what}"
            self.poll(0.1)

    def catch_up(self):
        """Until everything that is committed now has been told."""
        self.poll_until(lambda w: w.begun, "begun")
        self.grant(ask=True)
        asked = self.asks
        self.poll_until(lambda w: w.answered >= asked, "a progress mark")


class Follower:
    """A watch that goes on at the next node whenever it ends or nothing comes."""

    PATIENCE = 1.5 * wire.PATIENCE  # until it begins; longer each time it was in vain

    def __init__(self, endpoints, start=b"", end=None, what=0):
        self.endpoints, self.at = list(endpoints), 0
        self.start, self.end, self.what = start, end, what
        self.events, self.position, self.begins = [], 1, 0
        self.watch, self.heard, self.patience = None, 0.0, self.PATIENCE

    def lost(self):
        self.gather()
        self.watch.close()
        self.watch = None
        self.at = (self.at + 1) % len(self.endpoints)

    def gather(self):
        self.events += self.watch.events
        self.watch.events = []
        self.position = self.watch.position

    def poll(self, timeout=0.05):
        if self.watch is None:
            self.watch = Watch(self.endpoints[self.at], self.start, self.end, self.what,
                               self.position)
            self.heard = time.monotonic()
            self.begins += 1
        number = self.watch.number
        try:
            self.watch.poll(timeout)
        except Ended:
            self.lost()
            return
        if self.watch.number > number:
            self.heard = time.monotonic()
        self.gather()
        # Progress comes every 3 s.
        limit = 4 * self.patience if self.watch.begun else self.patience
        if time.monotonic() - self.heard > limit:
            self.patience = min(2 * self.patience, 30 * wire.PATIENCE)
            self.lost()

    def poll_until(self, condition, what, timeout=wire.DEADLINE):
        deadline = Deadline(timeout)
        while not condition(self):
            assert not deadline.passed(), f"not in time: {what}"
            self.poll()

    def close(self):
        if self.watch:
            self.watch.close()
