"""The program itself as a client, and with it libconclave: what it prints, and what its exit codes promise."""

import base64
import json
import os
import select
import subprocess
import time

import cluster
from history import NEVER, OK, UNKNOWN, Op, Subscribed, Watched
from workload import GROUP_KEYS, TOPICS, Worker

KINDS = {"put": 1, "delete": 2, "expire": 3}
NOT_TOLD = -1  # a revision that is not printed


def raw(text):
    """The bytes of what JSON shows."""
    if isinstance(text, dict):
        return base64.b64decode(text["b64"])
    return text.encode() if text is not None else None


class ProgramKeys(Worker):
    """A program for each operation."""

    def turn(self):
        group = self.run_.group()
        key = b"%s/%d" % (group, self.random.randrange(GROUP_KEYS))
        op = Op(self.number, "", 0, group=group.decode())
        kind = self.random.choice((self.put, self.create, self.get, self.get, self.delete))
        op.what = f"program {kind.__name__}"
        kind(op, key)
        self.history.ops.append(op)
        self.run_.over.wait(0.05)

    def program(self, op, *arguments):
        """What it printed, as JSON; exit codes 0 and 1 are answers, and what others say of the outcome is so."""
        endpoints = ",".join(self.random.sample(self.run_.endpoints, len(self.run_.endpoints)))
        op.start = time.monotonic_ns()
        done = cluster.run(*arguments, "--json", "--endpoints", endpoints, "--timeout", "3s")
        op.end = time.monotonic_ns()
        assert done.returncode in (0, 1, 3, 4, 5), f"exit {done.returncode}, {done.stderr}: {op}"
        op.outcome = {0: OK, 1: OK, 5: UNKNOWN}.get(done.returncode, NEVER)
        return done.returncode, json.loads(done.stdout) if done.stdout.strip() else {}

    def put(self, op, key):
        op.writes = {key: self.value()}
        _, told = self.program(op, "put", key, op.writes[key])
        op.revision = told.get("revision", 0)

    def create(self, op, key):
        op.compares, op.writes = {key: None}, {key: self.value()}
        code, told = self.program(op, "put", key, op.writes[key], "--if-absent")
        op.held, op.revision = code != 1, told.get("revision", NOT_TOLD if code == 1 else 0)

    def get(self, op, key):
        code, told = self.program(op, "get", key, *(["--lease"] if self.random.random() < 0.3 else []))
        op.got, op.revision = {key: raw(told.get("value"))} if op.outcome == OK else {}, NOT_TOLD
        assert code != 0 or "value" in told, f"nothing printed: {op}"

    def delete(self, op, key):
        op.writes = {key: None}
        code, told = self.program(op, "del", key, "--yes")
        if op.outcome == OK:
            op.existed, op.revision = {key: code == 0}, told.get("revision", NOT_TOLD)


class Lines(Worker):
    """A program that goes on printing lines of JSON until all of it has come."""

    def launch(self, *arguments):
        endpoints = ",".join(self.random.sample(self.run_.endpoints, len(self.run_.endpoints)))
        with open(os.path.join(self.run_.cluster.dir, f"{arguments[0]}.{self.number}.errors"), "wb") as errors:
            self.process = subprocess.Popen(
                [cluster.PROGRAM, *arguments, "--json", "--endpoints", endpoints, "--timeout", "30s"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
        self.run_.cluster.processes.append(self.process)
        self.rest_of_line = b""

    def turn(self):
        if not select.select([self.process.stdout], [], [], 0.5)[0]:
            return
        data = os.read(self.process.stdout.fileno(), 1 << 16)
        assert data, f"{self.process.args[1]} ended by itself with {self.process.wait()}"
        *lines, self.rest_of_line = (self.rest_of_line + data).split(b"\n")
        for line in lines:
            self.take(json.loads(line))

    def wait_for(self, whole):
        until = time.monotonic() + self.run_.patience
        while not whole() and time.monotonic() < until:
            self.turn()
        if not whole():
            self.run_.problems.append(f"{self.process.args[1]} did not tell everything in {self.run_.patience} s")
        self.process.kill()
        self.process.wait()


class ProgramWatcher(Lines):
    def begin(self):
        self.told = Watched(f"program watch {self.number}", 1, position=1)
        self.history.watched.append(self.told)
        self.launch("watch", "", "--prefix", "--from", "1")

    def take(self, line):
        revision = line["revision"]
        if line["type"] in KINDS:
            event = (KINDS[line["type"]], raw(line["key"]), raw(line.get("value")), revision)
            if self.told.batches and self.told.batches[-1][0] == revision + 1 and self.told.position <= revision + 1:
                self.told.batches[-1][1].append(event)
            else:
                self.told.batches.append((revision + 1, [event]))
        else:
            assert line["type"] == "progress", f"the history is kept, and yet: {line}"
        self.told.position = max(self.told.position, revision + (line["type"] == "progress"))

    def finish(self):
        at = self.client(30.0)
        revision = at.must(67)[0]
        at.connect(None)
        self.wait_for(lambda: self.told.position > revision)


class ProgramSubscriber(Lines):
    def begin(self):
        self.told = Subscribed(f"program sub {self.number}", TOPICS[self.number % len(TOPICS)])
        self.history.subscribed.append(self.told)
        self.launch("sub", self.told.topic, "--from", "first")

    def take(self, line):
        assert "sequence" in line, f"nothing is dropped, and yet: {line}"
        self.told.messages.append((line["sequence"], line["revision"], raw(line["data"])))

    def finish(self):
        at = self.client(30.0)
        end = at.must(80, self.told.topic)[2][3]
        at.connect(None)
        self.wait_for(lambda: len(self.told.messages) >= end - 1)
