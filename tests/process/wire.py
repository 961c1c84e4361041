"""The client protocol in Python, written from docs/protocol.md: plain pyzmq and msgpack."""

import os
import time

import msgpack
import zmq

from deadline import Deadline

PATIENCE = float(os.environ.get("CONCLAVE_PATIENCE", "1"))
# How long what will come may take: cluster.py.
DEADLINE = 120.0 * PATIENCE

VERSION = 1
PROPOSE, READ, STATUS, LEADER, SESSION = 1, 2, 3, 4, 5
READ_LEASE = 13
SUBSCRIBE, CREDIT, UNSUBSCRIBE = 14, 15, 16
BEGUN, EVENTS, STATE, PROGRESS, RESYNC = 1, 2, 3, 4, 5
PUT, DELETE, DELETE_RANGE, GET, RANGE = 1, 2, 3, 64, 65
TOPIC_CREATE, TOPIC_DELETE, PUBLISH, TOPIC_INFO, TOPIC_LIST, TOPIC_READ = 24, 25, 26, 80, 81, 82

OK, NOT_FOUND, COMPARE_FAILED, INVALID, UNREACHABLE = 0, 1, 2, 3, 4
NOT_LEADER, NO_LEADER, BUSY, STOPPING, TIMEOUT, UNKNOWN = 5, 6, 7, 8, 9, 10
TOO_LARGE, PROTOCOL_VERSION, MALFORMED, SESSION_EXPIRED, FORGOTTEN = 12, 13, 20, 23, 24
HANDOVER = 25
SURELY_NOT = {NOT_LEADER, NO_LEADER, BUSY, STOPPING, TIMEOUT, HANDOVER}


def pack(value):
    return msgpack.packb(value, use_bin_type=True)


def unpack(data):
    return msgpack.unpackb(data, raw=False, strict_map_key=False)


def put_command(key, value):
    return pack([PUT, key, value])


def get_query(key):
    return pack([GET, key])


class Connection:
    """A DEALER to one node. Requests get ids; replies may come in any order and in any frames."""

    def __init__(self, endpoint, context=None):
        self.context = context or zmq.Context.instance()
        self.endpoint = endpoint
        self.next_id = 1
        self.replies = {}
        self.frames = 0
        self.open()

    def open(self):
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RECONNECT_IVL, 50)
        self.socket.setsockopt(zmq.RECONNECT_IVL_MAX, 200)
        self.socket.connect(self.endpoint)

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, operations):
        """Sends (type, body) pairs in one frame; their ids."""
        ids = list(range(self.next_id, self.next_id + len(operations)))
        self.next_id += len(operations)
        frame = [VERSION]
        frame += [[i, kind, body] for i, (kind, body) in zip(ids, operations)]
        self.socket.send(pack(frame))
        return ids

    def send_raw(self, data):
        self.socket.send(data)

    def receive_frame(self, timeout):
        """The next frame, decoded, or None."""
        if not self.socket.poll(int(timeout * 1000)):
            return None
        self.frames += 1
        return unpack(self.socket.recv())

    def receive(self, timeout):
        """Takes in one frame of replies; their [id, code, body] lists."""
        frame = self.receive_frame(timeout)
        if frame is None:
            return []
        assert frame[0] == VERSION, frame
        for reply in frame[1:]:
            self.replies[reply[0]] = reply
        return frame[1:]

    def call(self, operations, timeout=DEADLINE):
        """Sends and waits: (code, body) for each operation, None where no reply came in time."""
        ids = self.send(operations)
        deadline = Deadline(timeout)
        while any(i not in self.replies for i in ids) and not deadline.passed():
            self.receive(min(deadline.left, Deadline.MOMENT))
        replies = [self.replies.pop(i, None) for i in ids]
        return [tuple(reply[1:3]) if reply else None for reply in replies]

    def call_settled(self, operations):
        """The same where nobody may be found to lead, or the node have too much to do, for a moment:
        those operations are sent again."""
        deadline = Deadline(DEADLINE)
        replies = self.call(operations)
        while not deadline.passed():
            again = [i for i, reply in enumerate(replies) if reply and reply[0] in SURELY_NOT]
            if not again:
                break
            time.sleep(0.02)
            for i, reply in zip(again, self.call([operations[i] for i in again])):
                replies[i] = reply
        return replies

    def put(self, key, value, timeout=DEADLINE):
        return self.call([(PROPOSE, put_command(key, value))], timeout)[0]

    def get(self, key, timeout=DEADLINE, kind=READ):
        """(code, value or None), or None when no reply came."""
        reply = self.call([(kind, get_query(key))], timeout)[0]
        if reply is None or reply[0] != OK:
            return reply
        return OK, unpack(reply[1])[1][1]


class Writer:
    """Puts one key after the other, following the leader, and remembers what was acknowledged.

    Each operation has its own key and is sent until it is acknowledged; one whose outcome is unknown
    (no reply in time, UNKNOWN) is sent again too, which is harmless for a put of the same value.
    """

    # How long to wait at first for a reply before another node is asked: a dead one says nothing.
    # Longer each time it was in vain, for what a slow one does in its time is lost else.
    PATIENCE = 0.3 * PATIENCE

    def __init__(self, endpoints, prefix=b"w/", window=32):
        self.endpoints = list(endpoints)
        self.prefix = prefix
        self.window = window
        self.acked = {}  # key: value
        self.ack_times = []
        self.connection = None
        self.at = 0
        self.patience = self.PATIENCE
        self.waiting = {}  # id: (number, when it was sent)
        self.again = []
        self.number = 0

    def key(self, number):
        return self.prefix + b"%08d" % number

    def value(self, number):
        return b"value of %d" % number

    def command(self, number):
        return put_command(self.key(number), self.value(number))

    def acknowledge(self, number, _):
        self.acked[self.key(number)] = self.value(number)
        self.ack_times.append(time.monotonic())

    def move_on(self, endpoint=None):
        """To the endpoint, or to the next one; what is on its way is asked again there."""
        if self.connection:
            self.connection.close()
            self.connection = None
        self.again += [number for number, _ in self.waiting.values()]
        self.waiting.clear()
        if endpoint in self.endpoints:
            self.at = self.endpoints.index(endpoint)
        else:
            self.at = (self.at + 1) % len(self.endpoints)

    def fill(self):
        if self.connection is None:
            self.connection = Connection(self.endpoints[self.at])
        numbers = []
        while len(self.waiting) + len(numbers) < self.window:
            if self.again:
                numbers.append(self.again.pop())
            else:
                numbers.append(self.number)
                self.number += 1
        if numbers:
            ids = self.connection.send(
                [(PROPOSE, self.command(n)) for n in numbers])
            now = time.monotonic()
            self.waiting.update({i: (n, now) for i, n in zip(ids, numbers)})

    def take(self, reply):
        if reply[0] not in self.waiting:
            return None
        number, sent = self.waiting.pop(reply[0])
        if reply[1] == OK:
            self.patience = max(self.PATIENCE, 3 * (time.monotonic() - sent))
            self.acknowledge(number, reply[2])
            return None
        self.again.append(number)
        assert reply[1] in SURELY_NOT or reply[1] == UNKNOWN, reply
        return reply

    def step(self):
        """Keeps the window full for a moment."""
        self.fill()
        refused = [r for r in map(self.take, self.connection.receive(0.1)) if r]
        if refused:
            body = refused[-1][2]
            self.move_on(body.get("endpoint") if isinstance(body, dict) else None)
            time.sleep(0.02)
        elif any(sent + self.patience < time.monotonic() for _, sent in self.waiting.values()):
            self.patience = min(2 * self.patience, 30 * PATIENCE)
            self.move_on()

    def run_until(self, condition, timeout=DEADLINE):
        """Writes until condition(self) holds; false if it did not in time."""
        deadline = Deadline(timeout)
        while not condition(self):
            if deadline.passed():
                return False
            self.step()
        return True

    def longest_gap(self):
        """The longest time between two acknowledgements that follow each other, in seconds."""
        times = self.ack_times
        return max((b - a for a, b in zip(times, times[1:])), default=0.0)

    def close(self):
        if self.connection:
            self.connection.close()
            self.connection = None


class Publisher(Writer):
    """As a Writer, to a topic: each message has an id of its own, so sending it again is harmless."""

    def __init__(self, endpoints, topic, **options):
        super().__init__(endpoints, **options)
        self.topic = topic
        self.sequences = {}  # of what was acknowledged: number: sequence

    def command(self, number):
        return pack([PUBLISH, self.topic, [self.value(number)], None, [self.key(number)]])

    def acknowledge(self, number, body):
        super().acknowledge(number, body)
        _, first, count, *duplicates = unpack(body)
        self.sequences[number] = first if count else duplicates[0][0][1]


def read_topic(connection, topic, start=1):
    """All messages from a sequence on, as (sequence, revision, data, id)."""
    messages = []
    while True:
        reply = connection.call_settled([(READ, pack([TOPIC_READ, topic, 0, start]))])[0]
        assert reply and reply[0] == OK, reply
        _, _, _, end, start, items = unpack(reply[1])
        messages += [(sequence, revision, data, key) for sequence, revision, _, data, key in items]
        if start >= end:
            return messages
