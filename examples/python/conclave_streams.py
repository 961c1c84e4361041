"""What happens to keys and topics, as it happens: each thing once and in order, from one node after another."""
import itertools
import time

import msgpack

from conclave import OK, Connection, Refused

SUBSCRIBE, CREDIT, UNSUBSCRIBE = 14, 15, 16
KEYS, TOPIC = 1, 2
BEGUN, EVENTS, STATE, PROGRESS, RESYNC = 1, 2, 3, 4, 5
STATE_FIRST, NO_PUTS = 1, 2  # of `what` in the spec of a watch
PUT, DELETE, EXPIRE = 1, 2, 3
NOT_FOUND = 1
ELSEWHERE = {6, 7, 8, 9, 15, 16}  # ends that another node can go on from
FIRST, SILENCE = 3.0, 8.0  # so long a node may be silent: it has something to say at once, and then every 3 s
AGE_MS = 8000  # one that knows only of what is older is cut off from the others


class Subscription:
    """next() gives one after another of

    (EVENTS, position, events)   all that happened before position and was not told
    (STATE, position, items)     all that there was before position
    (RESYNC, oldest, None)       what happened before oldest was not kept
    (PROGRESS, position, ask)    everything before position has been told
    """

    def __init__(self, endpoints, kind, spec, position=0, window=1 << 20):
        self.around, self.kind, self.spec, self.position = itertools.cycle(endpoints), kind, spec, position
        self.window, self.connection, self.ready, self.wish = window, None, [], None

    def begin(self):
        """At the next node, from where everything was told."""
        self.end()
        self.number = self.received = 0
        self.held, self.state, self.lifetime = [], {}, 30.0
        self.connection = Connection(next(self.around))
        self.granted, self.heard = self.window, time.monotonic()
        body = [self.kind, self.position, self.granted, self.spec]
        self.connection.send(1, SUBSCRIBE, msgpack.packb(body))
        self.spoke = time.monotonic()

    def end(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def close(self):
        """Tells the node, which would otherwise find out after the lifetime."""
        if self.connection:
            self.connection.send(1, UNSUBSCRIBE, None)
            until = time.monotonic() + 1
            while time.monotonic() < until and all(reply[2] for reply in self.connection.receive(0.1)):
                pass
        self.end()

    def credit(self, *ask):
        self.granted, self.spoke = self.received + self.window, time.monotonic()
        self.connection.send(1, CREDIT, msgpack.packb([self.granted, *ask]))

    def ask(self, number):
        """A PROGRESS with this number will come behind everything that is committed by now."""
        self.wish = number
        if self.connection:
            self.credit(number)

    def next(self, timeout):
        """The next one, or None if nothing came in time."""
        until = time.monotonic() + timeout
        while not self.ready and (left := until - time.monotonic()) > 0:
            if not self.connection or time.monotonic() - self.heard > (SILENCE if self.number else FIRST):
                self.begin()
            if self.granted - self.received < self.window / 2 or time.monotonic() - self.spoke > self.lifetime / 3:
                self.credit()
            for number, code, body, *_ in self.connection.receive(min(left, 1.0)):
                self.heard = time.monotonic()
                if not self.take(code, body):
                    self.end()
                    break
        return self.ready.pop(0) if self.ready else None

    def take(self, code, body):
        """One reply; False if this subscription is over and another one has to go on."""
        if code != OK:
            if code in ELSEWHERE or code == NOT_FOUND and self.number:  # the node does not know of it any more
                time.sleep(0.05)
                return False
            raise Refused(code, body)
        number, kind, position, *rest = msgpack.unpackb(body)
        if number != self.number + 1:
            return False  # something was lost
        self.number = number
        if kind == BEGUN:
            self.position, self.lifetime = position, rest[0] / 1000
            if self.wish is not None:
                self.credit(self.wish)
        elif kind == EVENTS:
            self.received += len(body)
            self.held += rest[1]
            if not rest[0]:
                self.told(EVENTS, position, self.held)
                self.held = []
        elif kind == STATE:
            self.received += len(body)
            self.state.update((item[0], item) for item in rest[1])
            if not rest[0]:
                self.told(STATE, position, [item for item in self.state.values() if item[4]])
                self.state = {}
                self.spec = self.spec[:2] + [self.spec[2] & ~STATE_FIRST] + self.spec[3:]
        elif kind == PROGRESS:
            ask = rest[1] or None
            self.wish = None if ask == self.wish else self.wish
            self.told(PROGRESS, position, ask)
            return rest[0] <= AGE_MS
        elif kind == RESYNC:
            self.held, self.state = [], {}
            self.ready.append((RESYNC, rest[0], None))
        return True

    def told(self, kind, position, what):
        self.position = position
        self.ready.append((kind, position, what))


def watch(endpoints, start, end, what=0, position=0, space=0):
    """The changes of the keys from start to before end; an event is
    [kind, key, value, revision, create_revision, version], of kind PUT, DELETE or EXPIRE."""
    return Subscription(endpoints, KEYS, [start, end, what, space], position)


def subscribe(endpoints, topic, position=1, window=1 << 20):
    """The messages of a topic; one is [sequence, revision, time_ms, data, id]."""
    return Subscription(endpoints, TOPIC, [topic], position, window)
