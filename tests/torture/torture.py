#!/usr/bin/env python3
"""Real nodes under kills, pauses and partitions, and what their clients saw, checked.

    torture.py [--minutes M | --seed N] [--seconds S] [--nodes N] [--verbose] [--keep-going]

One seed after another is a cluster of 3 or 5 nodes in a network of its own (network.py), clients of all kinds
(workload.py) and faults (nemesis.py), until the minutes are over. Then everything is healed, every watcher told to the
end, and the history checked: linearizable.py by search, serial.py by revisions, told.py what was told. It ends with 1
and the directory of what is needed to look into it if anything was wrong. Needs CONCLAVE, the program.
"""

import argparse
import collections
import os
import random
import shutil
import subprocess
import sys
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "process"), os.path.join(HERE, "..", "..", "examples", "python")]

import cluster  # noqa: E402
import conclave  # noqa: E402
import conclave_lock  # noqa: E402
import conclave_streams as streams  # noqa: E402
import linearizable  # noqa: E402
import nemesis  # noqa: E402
import network  # noqa: E402
import programs  # noqa: E402
import serial  # noqa: E402
import told  # noqa: E402
import workload  # noqa: E402
from history import History  # noqa: E402

PEER_PORT, CLIENT_PORT = 7401, 7501
HEAL_SECONDS = 60
OPTIONS = ["--snapshot-entries", "200", "--segment-size", "64KiB", "--log-level", "info", "--expose-plaintext"]


class Node(cluster.Node):
    """With an address of its own if there is a network."""

    address = None

    @property
    def peer(self):
        return f"tcp://{self.address}:{PEER_PORT}" if self.address else super().peer

    @property
    def client(self):
        return f"tcp://{self.address}:{CLIENT_PORT}" if self.address else super().client


class Cluster(cluster.Cluster):
    def __init__(self, count, options, net):
        super().__init__(0, options)
        self.net, self.made, self.gone = net, 0, []
        for _ in range(count):
            self.nodes.append(self.another())

    def another(self):
        self.made += 1
        node = Node(self, f"n{self.made}")
        if self.net:
            node.address = self.net.add(node.name)
        return node

    def wrapper(self, node):
        return self.net.wrapper(node.name) if self.net else ()

    def start(self):
        for node in self.nodes:
            self.init(node)
        for node in self.nodes:
            node.start(wrapper=self.wrapper(node))
        self.wait_leader()
        return self


class Run:
    """One seed."""

    def __init__(self, seed, seconds, nodes, verbose, net):
        self.seed, self.seconds, self.verbose, self.net = seed, seconds, verbose, net
        self.random = random.Random(seed)
        self.count = nodes or self.random.choice((3, 3, 5))
        self.leases = self.random.random() < 0.5
        self.pause = self.random.choice((0.002, 0.01, 0.03))
        self.patience = HEAL_SECONDS * cluster.PATIENCE
        self.history, self.problems, self.counts = History(), [], collections.Counter()
        self.over, self.endpoints, self.lock = threading.Event(), [], threading.Lock()
        self.ops = collections.Counter()

    def group(self, base=b"g", count=3):
        """One of so many at once, and new ones when so many operations were done."""
        with self.lock:
            self.ops[base] += 1
            return b"%s%d.%d" % (base, self.ops[base] // (count * workload.GROUP_OPS), self.ops[base] % count)

    def workers(self):
        kinds = ((workload.Keys, 6), (workload.Reader, 4), (workload.Batcher, 2), (workload.Publisher, 2),
                 (workload.Watcher, 3), (workload.Subscriber, 3), (workload.Locker, 3), (workload.Leaser, 2),
                 (programs.ProgramKeys, 1), (programs.ProgramWatcher, 1), (programs.ProgramSubscriber, 1))
        return [kind(self, number) for kind, count in kinds for number in range(count)]

    def prepare(self):
        at = conclave.Client(*self.endpoints, timeout=30)
        at.must(9, 1 << 20, 1 << 30, None, None)  # all of the history is kept
        for topic in workload.TOPICS:
            at.create_topic(topic, dedup_ms=3600000)
        at.close()

    def heal(self, cl, faults):
        if self.net:
            self.net.mend()
        faults.look()
        cl.wait_leader(timeout=HEAL_SECONDS)

    def read_all(self, cl):
        """What is there in the end, from every node: the same everywhere."""
        until = time.monotonic() + self.patience
        while True:  # what ends by itself may do so meanwhile
            found = [self.read_node(node) for node in cl.nodes]
            if all(one["end"] == found[0]["end"] for one in found) or time.monotonic() > until:
                break
        for what in ("end", "events", "keys", "topics"):
            if any(one[what] != found[0][what] for one in found):
                self.problems.append(f"in the end the nodes do not tell the same {what}")
        self.history.revision, self.history.events = found[0]["end"], found[0]["events"]
        self.history.topics = found[0]["topics"]
        state = serial.states_at(self.history.events, {self.history.revision})[self.history.revision]
        if state != found[0]["keys"]:
            self.problems.append("what is there in the end is not what the changes made")

    def read_node(self, node):
        events, end = {}, None
        stream = streams.watch([node.client], b"", None, position=1)
        stream.ask(1)
        until = time.monotonic() + self.patience
        while end is None and (what := stream.next(until - time.monotonic())):
            if what[0] == streams.EVENTS:
                for event in what[2]:
                    events.setdefault(event[3], []).append(tuple(event[:4]))
            elif what[0] == streams.RESYNC:
                raise AssertionError("the history is not kept as it was told to be")
            elif what[2] == 1:
                end = what[1] - 1
        stream.close()
        at = conclave.Client(node.client, timeout=30)
        keys = {item[0]: item[1] for item in at.range(at=end)}
        topics = {topic: self.read_topic(at, topic) for topic in workload.TOPICS}
        at.connect(None)
        return {"end": end, "events": events, "keys": keys, "topics": topics}

    def read_topic(self, at, topic):
        messages, position, end = [], 1, 2
        while position < end:
            _, _, _, end, position, part = at.must(82, topic, 0, position)
            messages += [(sequence, revision, data) for sequence, revision, _, data, _ in part]
        return messages

    def play(self, cl):
        self.endpoints, self.cluster = [node.client for node in cl.nodes], cl
        self.prepare()
        workers = self.workers()
        for worker in workers:
            worker.start()
        faults = nemesis.Nemesis(self, cl, self.net)
        try:
            faults.one_after_another(time.monotonic() + self.seconds)
            self.heal(cl, faults)
        finally:
            self.over.set()
            self.faults, self.fault_counts = faults.log, faults.counts
        for worker in workers:
            worker.join(2 * self.patience)
            if worker.is_alive():
                self.problems.append(f"{type(worker).__name__} {worker.number} does not end")
        cl.wait_caught_up(timeout=HEAL_SECONDS)
        self.lock_once()
        self.read_all(cl)

    def lock_once(self):
        """Whoever held the lock and is gone does not hold it for ever."""
        at = conclave.Client(*self.endpoints, timeout=30)
        lock = conclave_lock.Lock(at, workload.LOCK, 10000)
        if not lock.acquire(self.patience):
            self.problems.append(f"nobody wants the lock any more, and yet it is not free in {self.patience} s")
        lock.release()
        at.close()

    def check(self):
        self.problems += told.check(self.history)
        self.problems += serial.check(self.history, lambda key: not key.startswith(b"ttl/"))
        problems, self.undecided = linearizable.check(self.history)
        self.problems += problems

    def __call__(self):
        started = time.monotonic()
        options = OPTIONS + (["--leases", "true"] if self.leases else [])
        cl = Cluster(self.count, options, self.net)
        self.faults, self.fault_counts, self.undecided, played = [], {}, 0, 0.0
        try:
            cl.start()
            self.play(cl)
            played = time.monotonic() - started
            self.check()
        except Exception:  # of the cluster, or of a check
            self.problems.append(traceback.format_exc())
        finally:
            self.over.set()
        self.report(cl, played or time.monotonic() - started, time.monotonic() - started)
        return not self.problems

    def report(self, cl, played, whole):
        h = self.history
        outcomes = collections.Counter(op.outcome for op in [*h.ops, *h.publishes])
        faults = ", ".join(f"{count} {what}" for what, count in sorted(self.fault_counts.items()))
        print(f"seed {self.seed}: {self.count} nodes; {faults}; {len(h.ops)} operations and "
              f"{len(h.publishes)} publishes ({', '.join(f'{n} {what}' for what, n in sorted(outcomes.items()))}), "
              f"{len(h.holds)} locks held, {len(h.lives)} keys ended, {sum(len(batch[1]) for w in h.watched for batch in w.batches)} events and "
              f"{sum(len(s.messages) for s in h.subscribed)} messages told; {played:.0f} s, checked in "
              f"{whole - played:.1f} s{f', {self.undecided} groups undecided' if self.undecided else ''}", flush=True)
        if self.problems:
            self.keep(cl)
        cl.close()

    def keep(self, cl):
        """Everything that is needed to find out why."""
        kept = f"{cl.dir}-failed"
        for process in cl.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        shutil.copytree(cl.dir, kept)
        self.history.save(os.path.join(kept, "history.json"))
        with open(os.path.join(kept, "problems"), "w", encoding="utf-8") as file:
            file.writelines(f"{at:8.3f} {what}\n" for at, what in self.faults)
            file.writelines(f"{problem}\n" for problem in self.problems)
        print(f"seed {self.seed}: FAILED, {len(self.problems)} problems; all of it is in {kept}", flush=True)
        for problem in self.problems[:8]:
            print(f"    {problem}"[:2000], flush=True)


def one(options):
    """A seed, in this process and a network of its own."""
    refused = network.enter()
    if refused:
        print(f"torture: without partitions: {refused}", flush=True)
    net = network.Network() if not refused else None
    good = Run(options.seed, options.seconds, options.nodes, options.verbose, net)()
    if net:
        net.close()
    return 0 if good else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=5, help="new seeds until they are over (5)")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--seconds", type=float, default=30, help="of faults, for each seed (30)")
    parser.add_argument("--nodes", type=int, help="3 or 5; else drawn")
    parser.add_argument("--verbose", action="store_true", help="every fault as it happens")
    parser.add_argument("--keep-going", action="store_true", help="on to the next seed behind one that failed")
    options = parser.parse_args()
    if options.seed is not None:
        return one(options)
    until, done, failed = time.monotonic() + 60 * options.minutes, 0, []
    while done == 0 or time.monotonic() < until and (not failed or options.keep_going):
        seed = random.randrange(1 << 32)
        code = subprocess.run([sys.executable, *sys.argv, "--seed", str(seed)]).returncode
        done += 1
        failed += [seed] if code else []
    for seed in failed:
        print(f"torture: seed {seed} failed", flush=True)
    print(f"{done - len(failed)} passed, {len(failed)} failed, 0 skipped", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
