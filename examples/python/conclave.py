"""A client of conclave, written from docs/protocol.md: keys, transactions, leases and topics.

Needs python3-zmq and python3-msgpack. An object belongs to one thread. Keys, values and names are bytes, or str, which
is sent as UTF-8 and comes back as bytes. conclave_streams.py has watches and subscriptions, conclave_lock.py locks.
"""
import itertools
import random
import time

import msgpack
import zmq

PROPOSE, READ, STATUS, LEADER, SESSION = 1, 2, 3, 4, 5
OK, NOT_FOUND, COMPARE_FAILED, NOT_LEADER, UNKNOWN, SESSION_EXPIRED, FORGOTTEN = 0, 1, 2, 5, 10, 23, 24
NOT_NOW = {5, 6, 7, 8, 25}  # NOT_LEADER, NO_LEADER, BUSY, STOPPING, HANDOVER: surely not applied, ask again
OPEN, COMMAND, KEEP_ALIVE, CLOSE = 1, 2, 3, 4


class Refused(Exception):
    """The cluster said no, and changed nothing: code and answer say why."""

    def __init__(self, code, answer):
        super().__init__(f"code {code}: {answer}")
        self.code, self.answer = code, answer


class Unreachable(Exception):
    """No answer until the deadline. A command was surely not carried out."""


class Unknown(Exception):
    """Nobody can tell any more whether the command was carried out; it may still be."""


class Connection:
    """One socket to one node, which is closed rather than asked again when the node is silent."""

    def __init__(self, endpoint):
        self.endpoint = endpoint
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(endpoint)

    def send(self, request, kind, body):
        self.socket.send(msgpack.packb([1, [request, kind, body]]))

    def receive(self, seconds):
        """The replies of the next message, each [id, code, body, ...]; none if nothing came in time."""
        if not self.socket.poll(max(0, int(seconds * 1000))):
            return []
        version, *replies = msgpack.unpackb(self.socket.recv())
        return replies if version == 1 else []

    def close(self):
        self.socket.close()


def decoded(body):
    """The array of an answer; a map, a sentence and an empty answer stay what they are."""
    return msgpack.unpackb(body) if isinstance(body, bytes) and body else body


def prefix_end(prefix):
    """The first key behind all those that begin with the prefix; None: there is no end."""
    head = prefix.rstrip(b"\xff")
    return head[:-1] + bytes([head[-1] + 1]) if head else None


class Client:
    """Sends commands in a session: each is carried out once, however often it has to be sent."""

    def __init__(self, *endpoints, timeout=10.0, patience=1.0):
        self.endpoints, self.timeout, self.patience = list(endpoints), timeout, patience
        self.around = itertools.cycle(random.sample(self.endpoints, len(endpoints)))
        self.ids, self.connection = itertools.count(1), None
        self.session, self.sequence = None, 0

    def connect(self, endpoint=None):
        if self.connection:
            self.connection.close()
        self.connection = Connection(endpoint) if endpoint else None

    def ask(self, kind, body, seconds):
        """Code and body of the answer; None, None if the node was silent."""
        request, until = next(self.ids), time.monotonic() + seconds
        self.connection.send(request, kind, body)
        while (left := until - time.monotonic()) > 0:
            for number, code, answer, *_ in self.connection.receive(left):
                if number in (request, 0):  # others are late, to what was given up; 0: the frame was not understood
                    return code, answer
        return None, None

    def request(self, kind, body, once=False):
        """Asks one node after another, and the leader where it is named: (code, answer, was it sent before?).

        once: not again when it may have been carried out.
        """
        until, pause, perhaps = time.monotonic() + self.timeout, 0.01, False
        while (left := until - time.monotonic()) > 0:
            if not self.connection:
                self.connect(next(self.around))
            code, answer = self.ask(kind, body, left if once else min(left, self.patience))
            if code not in NOT_NOW and code not in (None, UNKNOWN):
                return code, decoded(answer), perhaps
            perhaps = perhaps or code not in NOT_NOW
            named = answer["endpoint"] if code == NOT_LEADER and isinstance(answer, dict) else ""
            self.connect(named)
            if once and perhaps:
                break
            if not named:
                time.sleep(min(pause * random.uniform(0.5, 1), max(0.0, until - time.monotonic())))
                pause = min(0.5, pause * 2)
        if perhaps and kind in (PROPOSE, SESSION):
            raise Unknown("no answer in time")
        raise Unreachable("no answer in time")

    def propose(self, *command):
        """A command without a session, which may be carried out without an answer (Unknown): code and answer."""
        return self.request(PROPOSE, msgpack.packb(command), once=True)[:2]

    def command(self, *command):
        """A command in the session: code and answer."""
        packed = msgpack.packb(command)
        while True:
            if not self.session:
                code, answer, _ = self.request(SESSION, msgpack.packb([OPEN]))
                if code != OK:
                    raise Refused(code, answer)
                self.session, self.sequence = answer[0], 0
            self.sequence += 1
            body = [COMMAND, self.session, self.sequence, self.sequence - 1, packed]
            code, answer, perhaps = self.request(SESSION, msgpack.packb(body))
            if code == SESSION_EXPIRED:
                self.session = None
                if not perhaps:
                    continue
            if code in (SESSION_EXPIRED, FORGOTTEN):
                raise Unknown(f"code {code}, when it was sent again")
            return code, answer

    def read(self, *query):
        """A query, linearizable at any node: code and answer."""
        return self.request(READ, msgpack.packb(query))[:2]

    def close(self):
        if self.session:
            self.request(SESSION, msgpack.packb([CLOSE, self.session]))
        self.connect(None)

    def must(self, *command):
        code, answer = self.read(*command) if command[0] >= 64 else self.command(*command)
        if code != OK:
            raise Refused(code, answer)
        return answer

    def put(self, key, value, if_revision=None, lease=None, ttl_ms=None):
        """The revision. if_revision: the one that the key has to have, 0 if it may not be there; else Refused."""
        return self.must(1, key, value, if_revision, lease, ttl_ms)[0]

    def get(self, key, at=None):
        """[key, value, create_revision, mod_revision, version] and perhaps a lease; None: there is no such key."""
        code, answer = self.read(64, key, at)
        if code not in (OK, NOT_FOUND):
            raise Refused(code, answer)
        return answer[1] if code == OK else None

    def range(self, start=b"", end=None, at=None):
        """All items from start to before end, as they are, or were, at one revision."""
        while start is not None:
            revision, items, _, start = self.must(65, start, end, None, None, None, at)
            yield from items
            at = at or revision

    def delete(self, key, if_revision=None):
        return self.must(2, key, if_revision)[1]

    def delete_range(self, start, end):
        return self.must(3, start, end)[1]

    def transaction(self, compares, then, otherwise=()):
        """(whether the compares held, [[code, answer], ...] of the steps)"""
        _, held, answers = self.must(5, list(compares), list(then), list(otherwise))
        return bool(held), answers

    def grant(self, ttl_ms):
        return self.must(6, ttl_ms)[1]

    def renew(self, lease):
        self.must(7, lease)

    def revoke(self, lease):
        return self.must(8, lease)[1]

    def create_topic(self, name, count=0, bytes=0, age_ms=0, dedup_ms=0):
        return self.must(24, name, count, bytes, age_ms, dedup_ms)[1]

    def publish(self, topic, *messages, expect=None, ids=None):
        """The sequence of the first new message; the others follow it."""
        return self.must(26, topic, messages, expect, ids)[1]
