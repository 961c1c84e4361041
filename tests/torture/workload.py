"""Threads that use the cluster as its users do, and write down what they did and saw: every one adds to a History.

All of them are clients of examples/python, written from docs/protocol.md.
"""

import itertools
import os
import random
import sys
import threading
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples", "python"))

import conclave  # noqa: E402
import conclave_lock  # noqa: E402
import conclave_streams as streams  # noqa: E402
from history import NEVER, OK, UNKNOWN, Held, Lived, Op, Publish, Subscribed, Watched  # noqa: E402

GROUP_KEYS, GROUP_OPS = 3, 120  # so that a search for an order has an end
TOPICS = (b"t/0", b"t/\xff1")
LOCK = b"lock\xff"
LOCK_MS = 2000
READ_STALE, READ_LEASE = 12, 13
NO = 2  # COMPARE_FAILED


class Worker(threading.Thread):
    """Repeats turn() until it is told to end. An error that nobody foresaw is a problem of the run."""

    def __init__(self, run, number):
        super().__init__(daemon=True)
        self.run_, self.history, self.number = run, run.history, number
        self.random = random.Random(f"{run.seed} {type(self).__name__} {number}")
        self.counter = itertools.count(1)

    def client(self, timeout):
        return conclave.Client(*self.random.sample(self.run_.endpoints, len(self.run_.endpoints)), timeout=timeout,
                               patience=self.random.choice((0.3, 1.0)))

    def run(self):
        try:
            self.begin()
            while not self.run_.over.is_set():
                self.turn()
            self.finish()
        except Exception:
            self.run_.problems.append(f"{type(self).__name__} {self.number}: {traceback.format_exc()}")

    def begin(self):
        pass

    def finish(self):
        pass

    def value(self):
        return b"%s%d.%d" % (type(self).__name__[:1].encode(), self.number, next(self.counter))

    def rest(self):
        self.run_.over.wait(self.random.expovariate(1 / self.run_.pause))


def answered(op, call):
    """Carries it out and writes down how it ended; code and answer, or None, None."""
    op.start = time.monotonic_ns()
    try:
        code, answer = call()
        assert code in (0, 1, NO), f"refused with {code}, {answer}: {op}"
        op.outcome = OK
        return code, answer
    except conclave.Unknown:
        op.outcome = UNKNOWN
    except conclave.Unreachable:
        op.outcome = NEVER
    finally:
        op.end = time.monotonic_ns()
    return None, None


class Keys(Worker):
    """Puts, gets, swaps, deletes and transactions on a few keys at a time."""

    def begin(self):
        self.session = self.random.random() < 0.5
        self.at = self.client(8.0 if self.session else 3.0)
        self.seen = {}  # key: (value, revision), of the last read

    def finish(self):
        self.at.connect(None)

    def send(self, *command):
        return self.at.command(*command) if self.session else self.at.propose(*command)

    def look(self, *query):
        kind = READ_LEASE if self.random.random() < 0.3 else conclave.READ
        return self.at.request(kind, conclave.msgpack.packb(query))[:2]

    def kinds(self):
        return (self.put, self.get, self.swap, self.replace, self.delete, self.several, self.list), (4, 4, 3, 2, 1, 4, 2)

    def turn(self):
        group = self.run_.group()
        keys = [b"%s/%d" % (group, number) for number in range(GROUP_KEYS)]
        op = Op(self.number, "", 0, group=group.decode())
        kind = self.random.choices(*self.kinds())[0]
        op.what = kind.__name__
        kind(op, self.random.choice(keys), keys)
        self.history.ops.append(op)
        self.rest()

    def put(self, op, key, _):
        op.writes = {key: self.value()}
        _, answer = answered(op, lambda: self.send(1, key, op.writes[key]))
        if op.outcome == OK:
            op.revision = answer[0]

    def get(self, op, key, _):
        code, answer = answered(op, lambda: self.look(64, key))
        if op.outcome == OK:
            op.revision, op.got = answer[0], {key: answer[1][1] if code == 0 else None}
            self.seen[key] = (answer[1][1], answer[1][3]) if code == 0 else (None, 0)

    def delete(self, op, key, _):
        op.writes = {key: None}
        _, answer = answered(op, lambda: self.send(2, key))
        if op.outcome == OK:
            op.revision, op.existed = answer[0], {key: answer[1] == 1}

    def replace(self, op, key, _):
        """By the revision that was read last."""
        value, revision = self.seen.get(key, (None, 0))
        op.compares, op.writes = {key: value}, {key: self.value()}
        code, answer = answered(op, lambda: self.send(1, key, op.writes[key], revision))
        if op.outcome == OK:
            op.revision, op.held = answer[0], code == 0

    def transaction(self, op, keys):
        compares = [[3, 0, key, value] if value is not None else [2, 0, key, 0] for key, value in op.compares.items()]
        reads = [[64, key] for key in keys]
        steps = reads + [[1, key, value] for key, value in op.writes.items()]
        publish = None
        if op.writes and self.random.random() < 0.2:
            publish = Publish(self.number, self.random.choice(TOPICS), [self.value()], 0, op=op)
            steps.append([26, publish.topic, publish.messages])
        _, answer = answered(op, lambda: self.send(5, compares, steps, reads))
        if op.outcome == OK:
            op.revision, op.held = answer[0], answer[1] == 1
        if publish:
            publish.start, publish.end, publish.outcome = op.start, op.end, op.outcome if op.held else NEVER
            if publish.outcome == OK:
                publish.revision, publish.first = op.revision, answer[2][-1][1][1]
            self.history.publishes.append(publish)
        if op.outcome == OK:
            op.got = {key: got[1][1][1] if got[0] == 0 else None for key, got in zip(keys, answer[2])}
            self.seen.update((key, (got[1][1][1], got[1][1][3]) if got[0] == 0 else (None, 0))
                             for key, got in zip(keys, answer[2]))

    def swap(self, op, key, _):
        op.compares, op.writes = {key: self.seen.get(key, (None, 0))[0]}, {key: self.value()}
        self.transaction(op, [key])

    def several(self, op, _, keys):
        some = self.random.sample(keys, 2)
        op.compares = {key: self.seen[key][0] for key in some if key in self.seen and self.random.random() < 0.5}
        value = self.value()
        op.writes = {key: value for key in some} if self.random.random() < 0.7 else {}
        self.transaction(op, keys)

    def list(self, op, _, keys):
        base = keys[0][:-1]
        _, answer = answered(op, lambda: self.look(65, base, conclave.prefix_end(base)))
        if op.outcome == OK:
            there = {item[0]: (item[1], item[3]) for item in answer[1]}
            op.revision, op.got = answer[0], {key: there.get(key, (None, 0))[0] for key in keys}
            self.seen.update((key, there.get(key, (None, 0))) for key in keys)


class Reader(Keys):
    """Reads at one node for a while, whether it leads or not, and waits for it also while it sleeps."""

    def begin(self):
        super().begin()
        self.move()

    def move(self):
        self.at.connect(None)
        self.at = conclave.Client(self.random.choice(self.run_.endpoints), timeout=4.0, patience=4.0)

    def kinds(self):
        return (self.get, self.list, self.stale), (4, 2, 2)

    def turn(self):
        if self.random.random() < 0.02:
            self.move()
        super().turn()

    def stale(self, op, key, _):
        """What may be so old, and says how old it is."""
        op.stale_ms = self.random.choice((50, 300, 1500))
        at = conclave.Connection(self.random.choice(self.run_.endpoints))
        op.start = time.monotonic_ns()
        at.socket.send(conclave.msgpack.packb([1, [1, READ_STALE, conclave.msgpack.packb([64, key]), op.stale_ms]]))
        for _, code, answer, *age in at.receive(1.0):
            op.end = time.monotonic_ns()
            if code in (0, 1):
                answer = conclave.msgpack.unpackb(answer)
                op.outcome, op.revision, op.got = OK, answer[0], {key: answer[1][1] if code == 0 else None}
                assert age[0] <= op.stale_ms, f"older than it may be, {age}: {op}"
                op.stale_ms = age[0]
        at.close()


class Batcher(Worker):
    """Frames of several puts and gets, to whoever leads; each is an operation by itself."""

    def begin(self):
        self.at, self.ids = conclave.Connection(self.random.choice(self.run_.endpoints)), itertools.count(1)

    def finish(self):
        self.at.close()

    def turn(self):
        group, ops, frame = self.run_.group(b"b%d." % self.number, 1), {}, [1]
        for _ in range(5):  # an operation of a frame counts like one of others
            self.run_.group(b"b%d." % self.number, 1)
        for _ in range(self.random.randint(2, 10)):
            key = b"%s/%d" % (group, self.random.randrange(GROUP_KEYS))
            op = Op(self.number, "one of a frame", 0, group=group.decode())
            if self.random.random() < 0.6:
                op.writes = {key: self.value()}
                command = (conclave.PROPOSE, [1, key, op.writes[key]])
            else:
                op.got = {key: None}
                command = (conclave.READ, [64, key])
            ops[next(self.ids)] = op
            frame.append([next(reversed(ops)), command[0], conclave.msgpack.packb(command[1])])
        for op in ops.values():
            op.start = time.monotonic_ns()
        self.at.socket.send(conclave.msgpack.packb(frame))
        self.wait(ops)
        self.history.ops += ops.values()
        self.rest()

    def wait(self, ops):
        """Until all are answered, or it is given up: then another node is asked next."""
        left, named, until = set(ops), "", time.monotonic() + 2
        while left and time.monotonic() < until:
            for number, code, answer, *_ in self.at.receive(0.2):
                if number in left:
                    left.remove(number)
                    self.answer(ops[number], code, answer)
                    named = answer["endpoint"] if code == conclave.NOT_LEADER else named
        for number in left:
            ops[number].end = time.monotonic_ns()
        if left or named or any(op.outcome != OK for op in ops.values()):
            self.at.close()
            self.at = conclave.Connection(named or self.random.choice(self.run_.endpoints))

    def answer(self, op, code, answer):
        op.end = time.monotonic_ns()
        if code in conclave.NOT_NOW:
            op.outcome = NEVER
        elif code in (0, 1):
            answer = conclave.msgpack.unpackb(answer)
            op.outcome, op.revision = OK, answer[0]
            op.got = {key: answer[1][1] if code == 0 else None for key in op.got}
        else:
            assert code == conclave.UNKNOWN, f"refused with {code}: {op}"


class Publisher(Worker):
    def begin(self):
        self.session = self.random.random() < 0.5
        self.at = self.client(6.0)

    def finish(self):
        self.at.connect(None)

    def turn(self):
        messages = [self.value() for _ in range(self.random.choice((1, 1, 2, 5)))]
        publish = Publish(self.number, self.random.choice(TOPICS), messages, 0)
        ids = messages if self.random.random() < 0.5 else None
        command = (26, publish.topic, messages, None, ids)
        send = self.at.command if self.session else self.at.propose
        _, answer = answered(publish, lambda: send(*command))
        if publish.outcome == UNKNOWN and ids and self.random.random() < 0.7:  # the ids make it safe to try again
            started = publish.start
            _, answer = answered(publish, lambda: send(*command))
            publish.start = started
            publish.outcome = UNKNOWN if publish.outcome == NEVER else publish.outcome
            if publish.outcome == OK and answer[2] < len(messages):
                answer = [0, answer[3][0][1]]  # it was there: its revision is not told
        if publish.outcome == OK:
            publish.revision, publish.first = answer[0], answer[1]
        self.history.publishes.append(publish)
        self.rest()


class Watcher(Worker):
    """Everything that happens to keys, from the first revision on or behind a state; moves from node to node."""

    def begin(self):
        self.endpoints = self.random.sample(self.run_.endpoints, len(self.run_.endpoints))
        self.state_first = self.number % 2 == 1
        self.told = None
        self.open(1, self.state_first)

    def open(self, position, state):
        what = streams.STATE_FIRST if state else 0
        self.stream = streams.watch(self.endpoints, b"", None, what, 0 if state else position)
        self.stream.window = self.random.choice((4096, 65536, 1 << 20))
        if not state and self.told is None:
            self.record(position)

    def record(self, first):
        self.told = Watched(f"watcher {self.number}", first, position=first)
        self.history.watched.append(self.told)

    def take(self, told):
        kind, position, what = told
        if kind == streams.EVENTS:
            events = [tuple(event[:4]) for event in what]
            self.told.batches.append((position, events))
        elif kind == streams.STATE:
            self.record(position)
            self.told.states.append((position, {item[0]: item[1] for item in what}))
        elif kind == streams.RESYNC:
            self.run_.problems.append(f"watcher {self.number}: the history is kept, and yet RESYNC from {what}")
        if self.told:
            self.told.position = max(self.told.position, position)

    def turn(self):
        if told := self.stream.next(0.5):
            self.take(told)
        if self.told and self.random.random() < 0.01:
            self.stream.close()
            self.endpoints = self.endpoints[1:] + self.endpoints[:1]
            self.open(self.told.position, self.state_first and self.random.random() < 0.3)

    def finish(self):
        """To the end, which is what is committed by now."""
        self.stream.ask(1)
        until = time.monotonic() + self.run_.patience
        while (told := self.stream.next(max(0.0, until - time.monotonic()))) and not (
                told[0] == streams.PROGRESS and told[2] == 1):
            self.take(told)
        if told is None:
            self.run_.problems.append(f"watcher {self.number}: not told everything in {self.run_.patience} s")
        self.stream.close()


class Subscriber(Worker):
    def begin(self):
        self.told = Subscribed(f"subscriber {self.number}", self.random.choice(TOPICS))
        self.history.subscribed.append(self.told)
        self.endpoints = self.random.sample(self.run_.endpoints, len(self.run_.endpoints))
        self.open()

    def open(self):
        position = self.told.messages[-1][0] + 1 if self.told.messages else 1
        self.stream = streams.subscribe(self.endpoints, self.told.topic, position, self.random.choice((4096, 1 << 20)))

    def take(self, told):
        if told[0] == streams.EVENTS:
            self.told.messages += [(sequence, revision, data) for sequence, revision, _, data, _ in told[2]]
        elif told[0] == streams.RESYNC:
            self.run_.problems.append(f"{self.told.name}: nothing is dropped, and yet RESYNC")

    def turn(self):
        if told := self.stream.next(0.5):
            self.take(told)
        if self.random.random() < 0.01:
            self.stream.close()
            self.endpoints = self.endpoints[1:] + self.endpoints[:1]
            self.open()

    def finish(self):
        self.stream.ask(1)
        until = time.monotonic() + self.run_.patience
        while (told := self.stream.next(max(0.0, until - time.monotonic()))) and not (
                told[0] == streams.PROGRESS and told[2] == 1):
            self.take(told)
        if told is None:
            self.run_.problems.append(f"{self.told.name}: not told everything in {self.run_.patience} s")
        self.stream.close()


class Leaser(Worker):
    """Keys that end by themselves or with a lease, which is renewed or not, and looks whether they are there."""

    def begin(self):
        self.at = self.client(4.0)

    def finish(self):
        self.at.connect(None)

    def turn(self):
        try:
            self.live()
        except (conclave.Unknown, conclave.Unreachable):
            self.run_.counts["lives given up"] += 1  # as much as was seen of them is checked
        except conclave.Refused as refused:
            if refused.code != conclave_lock.LEASE_EXPIRED:
                raise

    def live(self):
        ttl_ms = self.random.choice((600, 1500, 3000))
        start, lease, lives = time.monotonic_ns(), None, []
        if self.random.random() < 0.6:
            lease = self.at.grant(ttl_ms)
        for _ in range(self.random.randint(1, 3)):
            key = b"ttl/" + self.value()
            asked = time.monotonic_ns()
            self.at.put(key, b"", lease=lease, ttl_ms=None if lease else ttl_ms)
            lives.append(Lived(key, start if lease else asked, ttl_ms, lease or 0))
            self.history.lives.append(lives[-1])
        renewals = self.random.randint(0, 2) if lease else 0
        while lives and not self.run_.over.is_set():
            self.run_.over.wait(ttl_ms / 5000)
            if renewals:
                asked = time.monotonic_ns()
                try:
                    self.at.renew(lease)
                except conclave.Refused:
                    lives[0].looks.append((asked, time.monotonic_ns(), False))
                    raise
                renewals -= 1
                for life in lives:
                    life.start = asked
                    life.looks.clear()  # those before saw it in an earlier life
            life = self.random.choice(lives)
            asked = time.monotonic_ns()
            there = self.at.get(life.key) is not None
            life.looks.append((asked, time.monotonic_ns(), there))
            if not there:
                lives.remove(life)


class Locker(Worker):
    """Wants one lock again and again, and what it guards refuses tokens that are not the highest."""

    def begin(self):
        self.at = self.client(1.5)

    def finish(self):
        self.at.connect(None)

    def turn(self):
        lock = None
        try:
            lock = conclave_lock.Lock(self.at, LOCK, LOCK_MS, b"%d" % self.number)
            if lock.acquire(4.0):
                self.hold(lock)
            lock.release()
        except (conclave.Unknown, conclave.Unreachable, conclave_lock.Lost):
            self.run_.counts["locks lost"] += 1
        except conclave.Refused as refused:
            if refused.code != conclave_lock.LEASE_EXPIRED:
                raise
        self.rest()

    def hold(self, lock):
        held = Held(self.number, lock.token, time.monotonic_ns(), 0)
        until = time.monotonic() + self.random.choice((0.02, 0.2, 3.0))
        while True:
            now = time.monotonic_ns()
            if not lock.held():
                break
            held.end = now
            if time.monotonic() > until or self.run_.over.is_set():
                break
            self.run_.over.wait(0.02)
            if lock.until - time.monotonic() < LOCK_MS / 3000:
                if not self.renew(lock, held):
                    break
        if held.end:
            self.history.holds.append(held)

    def renew(self, lock, held):
        """True if it did. Whoever asks holds meanwhile, as long as the time lasts that was there before."""
        until = lock.until
        try:
            lock.renew()
            return True
        except (conclave.Unknown, conclave.Unreachable):
            pass
        except conclave_lock.Lost:
            if time.monotonic() < until:
                self.run_.problems.append(f"a lease ended {until - time.monotonic():.3f} s early, of {held}")
        held.end = min(int(until * 1e9), time.monotonic_ns())
        return False
