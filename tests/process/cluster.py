"""Real nodes for the process tests: a cluster of `conclave serve` processes in a temporary directory.

Nothing here waits for a fixed time: conditions are polled until a generous deadline, and nothing may
depend on how fast the machine, its disk and its scheduler are. On a slow one elections come whenever
they like: a test that is not about elections takes a steady cluster, in which there are none but those
that are asked for; others ask for what holds whoever leads. Only processes that were started here are
ever signalled. When a test fails, the nodes' logs are shown and kept out of the way of the next test.
"""

import contextlib
import fcntl
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from deadline import Deadline

PROGRAM = os.environ.get("CONCLAVE", "conclave")
# Slower builds (sanitizers, valgrind) stretch every deadline.
PATIENCE = float(os.environ.get("CONCLAVE_PATIENCE", "1"))
# The short forms of long tests, for sanitizer builds.
QUICK = os.environ.get("CONCLAVE_QUICK", "") == "1"
ELECTION_TIMEOUT_MS = 500
# How long what will come may take: costs nothing where it comes. The program's own --timeout is as long,
# where a test names none.
DEADLINE = 120.0
# No machine stands still for so long: in a steady cluster nobody campaigns who is not told to.
STEADY = ["--election-timeout", "60s"]  # as long as there may be
os.environ["CONCLAVE_TIMEOUT"] = f"{DEADLINE * PATIENCE:.0f}s"
LOG_LINES_SHOWN = 60

def own_ports():
    """Ports that no other test program of this machine uses while this one runs, and the file whose
    lock says so. Below the ephemeral range, where a reconnecting socket could connect to itself."""
    blocks = [range(first, first + 500) for first in range(20000, 31000, 500)]
    random.shuffle(blocks)
    for block in blocks:
        path = os.path.join(tempfile.gettempdir(), f"conclave-ports-{os.getuid()}-{block.start}")
        lock = open(path, "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return block, lock
        except OSError:
            lock.close()
    raise RuntimeError("every block of test ports is in use")


PORTS, _ports_lock = own_ports()
_handed_out = set()


def free_port():
    """A TCP port of 127.0.0.1 that nobody listens on and that was not handed out before."""
    while len(_handed_out) < len(PORTS):
        port = random.choice(PORTS)
        if port in _handed_out:
            continue
        _handed_out.add(port)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise RuntimeError("every test port was handed out")


def free_ports(count):
    """The first of `count` neighbouring free ports, none of which was handed out before."""
    while True:
        first = free_port()
        behind = range(first + 1, first + count)
        good = _handed_out.isdisjoint(behind)
        for port in behind:
            with socket.socket() as probe:
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    good = False
        if good and first + count <= PORTS.stop:
            _handed_out.update(range(first, first + count))
            return first


def wait_until(condition, what, timeout=DEADLINE, pause=0.05):
    """Polls until condition() is true and returns its value; fails the test after the deadline.
    `what` may be a function, called to describe the failure."""
    deadline = Deadline(timeout * PATIENCE)
    while True:
        value = condition()
        if value:
            return value
        if deadline.passed():
            text = what() if callable(what) else what
            raise AssertionError(f"not within {timeout * PATIENCE:.0f} s: {text}")
        time.sleep(pause)


def clean_environment(**more):
    """Without what this machine's user has set for the program."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CONCLAVE_") or k == "CONCLAVE_TIMEOUT"}
    return {**kept, **more}


def run(*arguments, data=None, timeout=3 * DEADLINE, env=None):
    """Runs the program to its end; the result has returncode, stdout and stderr as bytes."""
    command = [PROGRAM, *[a if isinstance(a, bytes) else str(a) for a in arguments]]
    environment = clean_environment(**(env or {}))
    return subprocess.run(command, input=data if data is not None else b"", capture_output=True,
                          timeout=timeout * PATIENCE, env=environment)


class Node:
    """One node: its directory, its ports, and its process while it runs."""

    def __init__(self, cluster, name):
        self.cluster = cluster
        self.name = name
        self.data = os.path.join(cluster.dir, name)
        self.peer_port = free_port()
        self.client_port = free_port()
        self.feed_port = free_port() if cluster.feeds else None
        self.log = os.path.join(cluster.dir, f"{name}.log")
        self.process = None
        self.awake = False

    @property
    def peer(self):
        return f"tcp://127.0.0.1:{self.peer_port}"

    @property
    def client(self):
        return f"tcp://127.0.0.1:{self.client_port}"

    @property
    def feed(self):
        return f"tcp://127.0.0.1:{self.feed_port}"

    def start(self, *arguments, env=None, wrapper=()):
        assert self.process is None or self.process.poll() is not None
        environment = clean_environment(**(env or {}))
        if self.feed_port:
            environment["CONCLAVE_FEED"] = self.feed
        with open(self.log, "ab") as log:
            log.write(f"---- start of {self.name}\n".encode())
            log.flush()
            self.process = subprocess.Popen(
                [*wrapper, PROGRAM, "serve", "--data", self.data, *self.segment_size(arguments),
                 *self.cluster.options, *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        self.cluster.processes.append(self.process)
        self.awake = True

    def segment_size(self, arguments):
        """Small, unless the test says how large: a start reads segments whole, several times after damage."""
        option = "--segment-size"
        return [] if option in arguments or option in self.cluster.options else [option, "1MiB"]

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """SIGKILL, and waits until the process is gone."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    def pause(self):
        self.awake = False
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)
        self.awake = True

    def wait_exit(self, timeout=DEADLINE):
        """The exit code, once the process ended by itself."""
        wait_until(lambda: self.process.poll() is not None, f"{self.name} ends", timeout, 0.01)
        return self.process.returncode

    def stop(self, timeout=DEADLINE):
        """SIGTERM; the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait_exit(timeout)

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def last_life(self):
        """What it has logged since it was started last."""
        return self.log_text().split("---- start")[-1]

    def events(self, name):
        """The events of that name that the node's log has, as they were logged."""
        lines = [line for line in self.log_text().splitlines() if line.startswith("{")]
        return [entry for entry in map(json.loads, lines) if entry.get("event") == name]

    def status(self, timeout=5):
        """What `status` says of this node when asked through its own endpoint, or None."""
        status = self.cluster.ask_status([self], timeout)
        for node in (status or {}).get("nodes", []):
            if node["name"] == self.name and node["pid"]:
                return node
        return None

    def view(self):
        """The same of a node that will answer."""
        return wait_until(self.status, f"{self.name} answers")

    def wait_healthy(self):
        wait_until(lambda: (self.status() or {}).get("healthy"), f"{self.name} serves")


class Cluster:
    """A cluster of `count` nodes n1, n2, ... As a context manager it cleans up after itself."""

    def __init__(self, count=3, options=(), token=None, feeds=False):
        self.dir = tempfile.mkdtemp(prefix="conclave-test-")
        self.options = list(options)
        self.token = token
        self.feeds = feeds
        self.processes = []
        self.nodes = [Node(self, f"n{i + 1}") for i in range(count)]

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind is not None and not issubclass(kind, unittest.SkipTest):
            self.dump_logs()
        self.close()

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()  # works on a stopped process too
                process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def dump_logs(self):
        for node in self.nodes:
            if os.path.exists(node.log):
                lines = node.log_text().splitlines()[-LOG_LINES_SHOWN:]
                print(f"---- log of {node.name}, its last {len(lines)} lines", file=sys.stderr)
                print("\n".join(lines), file=sys.stderr, flush=True)

    @property
    def members(self):
        return ",".join(f"{node.name}={node.peer}+{node.client}" for node in self.nodes)

    @property
    def endpoints(self):
        return ",".join(node.client for node in self.nodes)

    def node(self, name):
        return next(node for node in self.nodes if node.name == name)

    def others(self, *excluded):
        return [node for node in self.nodes if node not in excluded]

    def init(self, node):
        arguments = ["init", "--data", node.data, "--name", node.name, "--members", self.members]
        if self.token:
            arguments += ["--cluster", self.token]
        done = run(*arguments)
        assert done.returncode == 0, done.stderr.decode()

    def start(self, steady=False):
        """Init and serve every node; returns when there is a leader that serves."""
        for node in self.nodes:
            self.init(node)
        if steady and len(self.nodes) > 1:
            return self.start_steady()
        for node in self.nodes:
            node.start()
        self.wait_leader()
        return self

    def start_steady(self):
        """Nobody campaigns by itself but the first node, which makes no others wait for a leader: it
        gives the lead away and is started once more, as steady as they are."""
        first, *others = self.nodes
        first.start()
        self.options += STEADY
        for node in others:
            node.start()
        while self.wait_leader() is first:
            self.run("leader", "transfer", "--timeout", "5s")
        first.stop()
        first.start()
        for node in self.nodes:
            node.wait_healthy()
        return self

    # --- The program as a client

    def run(self, *arguments, data=None, through=None, timeout=3 * DEADLINE, env=None):
        endpoints = ",".join(node.client for node in through) if through else self.endpoints
        return run(*arguments, "--endpoints", endpoints, data=data, timeout=timeout, env=env)

    def put(self, key, value, **options):
        done = self.run("put", key, "-", data=value, **options)
        assert done.returncode == 0, f"put {key!r}: exit {done.returncode}, {done.stderr.decode()}"

    def get(self, key, **options):
        """The value, or None if there is no such key."""
        done = self.run("get", key, **options)
        if done.returncode == 1:
            return None
        assert done.returncode == 0, f"get {key!r}: exit {done.returncode}, {done.stderr.decode()}"
        return done.stdout

    def keys(self, prefix, **options):
        """The keys with this prefix, as bytes in the order of `ls`."""
        done = self.run("ls", "-0", prefix, **options)
        assert done.returncode == 0, f"ls {prefix!r}: exit {done.returncode}, {done.stderr.decode()}"
        return done.stdout.split(b"\0")[:-1]

    def ask_status(self, through=None, timeout=5):
        """The JSON of `status`, or None when nobody answered in that time."""
        done = self.run("status", "--json", "--timeout", f"{int(timeout * 1000 * PATIENCE)}ms",
                        through=through)
        if done.returncode != 0 and not done.stdout.strip():
            return None
        return json.loads(done.stdout)

    def status(self, through=None):
        """The same, once every node that runs (of those it is asked through) has answered."""
        def answered():
            status = self.ask_status(through)
            there = {view["name"] for view in (status or {}).get("nodes", []) if view["pid"]}
            wanted = {n.name for n in through or self.nodes if n.running and n.awake}
            return status if wanted <= there else None
        return wait_until(answered, "every node that runs answers")

    # --- Conditions

    def leader(self, among=None, timeout=1):
        """The node that most lately took the lead and says so itself, or None."""
        best = None
        status = self.ask_status(among, timeout)
        for view in (status or {}).get("nodes", []):
            if view["role"] == "leader" and view["healthy"]:
                if best is None or view["term"] > best["term"]:
                    best = view
        return self.node(best["name"]) if best else None

    def wait_leader(self, among=None, timeout=DEADLINE):
        """Nodes that do not answer keep the others' answers waiting: not for long at first."""
        times = itertools.chain((1, 2, 4), itertools.repeat(8))
        return wait_until(lambda: self.leader(among, next(times)), "a leader that serves", timeout)

    def wait_caught_up(self, nodes=None, timeout=DEADLINE):
        """Waits until the nodes have all applied the same, everything that was committed."""
        nodes = nodes or self.nodes
        seen = []

        def caught_up():
            seen[:] = [(n.name, s and s["commit"], s and s["applied"])
                       for n in nodes for s in [n.status()]]
            states = {(commit, applied) for _, commit, applied in seen}
            return len(states) == 1 and None not in next(iter(states)) and \
                next(iter(states))[0] == next(iter(states))[1]

        wait_until(caught_up, lambda: f"(node, commit, applied) equal everywhere: {seen}", timeout)


class SharedClusterTest(unittest.TestCase):
    """One running cluster, self.cluster, for all cases: each uses names of its own. It is steady."""

    nodes = 3
    feeds = False

    @classmethod
    def prepare(cls):
        """What the cases find in the cluster."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(cls.nodes, feeds=cls.feeds).__enter__()
        try:
            cls.cluster.start(steady=True)
            cls.prepare()
        except BaseException:
            cls.tearDownClass()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()


class ClusterTest(unittest.TestCase):
    """Test cases with self.cluster; logs are shown when the case fails."""

    nodes = 3
    options = ()

    def run(self, result=None):
        before = (len(result.failures), len(result.errors)) if result else None
        super().run(result)
        cluster = getattr(self, "cluster", None)
        if cluster is None:
            return
        if result and before != (len(result.failures), len(result.errors)):
            cluster.dump_logs()
        cluster.close()
        self.cluster = None

    def start_cluster(self, steady=False, **options):
        self.cluster = Cluster(self.nodes, self.options, **options)
        return self.cluster.start(steady)

    def assert_ends(self, code, *arguments, never=(0,), **options):
        """A command that has to be given up at some time says why, once it had the time to find out:
        repeated until it ends with this code. It never ends with one of `never`."""
        def ends():
            done = self.cluster.run(*arguments, **options)
            self.assertNotIn(done.returncode, never, f"{arguments}: {done.stdout[:300]!r}, {done.stderr!r}")
            return done if done.returncode == code else None
        return wait_until(ends, f"{arguments} ends with {code}")

    def assert_sentence(self, done, code, *words):
        """The program ended with `code` and said why, in words that include these."""
        text = done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, code, f"stdout {done.stdout[:300]!r}, stderr {text}")
        self.assertTrue(text.strip(), "it says nothing")
        for word in words:
            self.assertIn(word.lower(), text.lower())
