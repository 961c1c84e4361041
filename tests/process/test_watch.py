"""Watches: what happens to keys is told in order, once, and to the end, whichever node dies."""

import json
import os
import signal
import subprocess
import unittest

import cluster
import subscriber
import wire
from cluster import Cluster, SharedClusterTest
from deadline import Deadline
from subscriber import DELETE, INITIAL, NO_DELETES, NO_PUTS, PREVIOUS, PUT, Follower, Watch


class Protocol(SharedClusterTest):
    """A client of another language, at any node."""

    def setUp(self):
        self.node = self.cluster.wait_leader()
        self.writer = wire.Connection(self.node.client)
        self.addCleanup(self.writer.close)

    def watch(self, *arguments, node=None, **options):
        watch = Watch((node or self.cluster.others(self.node)[0]).client, *arguments, **options)
        self.addCleanup(watch.close)
        return watch

    def put(self, key, value):
        code, body = self.writer.put(key, value)
        self.assertEqual(code, wire.OK)
        return wire.unpack(body)[0]

    def delete_range(self, start, end):
        command = wire.pack([wire.DELETE_RANGE, start, end])
        code, body = self.writer.call([(wire.PROPOSE, command)])[0]
        self.assertEqual(code, wire.OK)
        return wire.unpack(body)[0]

    def test_every_node_tells_the_same(self):
        first = self.put(b"e/0", b"before")
        watches = [self.watch(b"e/", b"e0", PREVIOUS, first + 1, node=n) for n in self.cluster.nodes]
        a = self.put(b"e/1", b"\0binary\xff")
        self.put(b"x/1", b"of nobody")
        b = self.put(b"e/1", b"again")
        c = self.delete_range(b"e/", b"e0")
        for watch in watches:
            watch.catch_up()
            self.assertEqual(watch.events, [
                [PUT, b"e/1", b"\0binary\xff", a, a, 1],
                [PUT, b"e/1", b"again", b, a, 2, [b"\0binary\xff", a, a, 1]],
                [DELETE, b"e/0", None, c, 0, 0, [b"before", first, first, 1]],
                [DELETE, b"e/1", None, c, 0, 0, [b"again", a, b, 2]]])
            self.assertGreater(watch.position, c)

    def test_filters_and_a_single_key(self):
        puts = self.watch(b"f/1", b"f/1\0", NO_DELETES)
        deletes = self.watch(b"f/", b"f0", NO_PUTS)
        puts.catch_up()
        deletes.catch_up()
        self.put(b"f/1", b"v")
        self.put(b"f/11", b"another key")
        self.delete_range(b"f/", b"f0")
        puts.catch_up()
        deletes.catch_up()
        self.assertEqual([e[:2] for e in puts.events], [[PUT, b"f/1"]])
        self.assertEqual([e[:2] for e in deletes.events], [[DELETE, b"f/1"], [DELETE, b"f/11"]])

    def test_the_state_first_and_then_what_happens(self):
        for i in range(300):
            self.put(b"s/%03d" % i, b"%d" % i * 1000)
        watch = self.watch(b"s/", b"s0", INITIAL)
        for i in range(0, 300, 7):
            self.put(b"s/%03d" % i, b"new")
        watch.catch_up()
        state = {key: item[1] for key, item in watch.state.items()}
        for event in watch.events:
            state[event[1]] = event[2]
        self.assertEqual(state, {b"s/%03d" % i: b"new" if i % 7 == 0 else b"%d" % i * 1000
                                 for i in range(300)})

    def test_no_more_than_was_granted_and_others_do_not_wait(self):
        slow = self.watch(b"g/", b"g0", granted=0)
        fast = self.watch(b"g/", b"g0")
        fast.catch_up()
        slow.poll_until(lambda w: w.begun, "begun")
        for i in range(100):
            self.put(b"g/%d" % i, b"v" * 5000)
        fast.catch_up()
        self.assertEqual(len(fast.events), 100)
        slow.poll(0.1)
        self.assertEqual((slow.events, slow.spent), ([], 0))
        slow.grant(1 << 20)
        slow.catch_up()
        self.assertEqual(slow.events, fast.events)

    def test_who_is_too_far_behind_is_told_the_state_and_others_do_not_wait(self):
        def keep(changes):
            done = self.cluster.run("store", "--history", str(changes))
            self.assertEqual(done.returncode, 0, done.stderr)

        first = self.put(b"r/0", b"before")
        self.put(b"r/gone", b"before")
        keep(200)
        self.addCleanup(keep, 100000)
        stalled = [self.watch(b"r/", b"r0", granted=0, node=n) for n in self.cluster.nodes]
        fast = [self.watch(b"r/", b"r0", node=n) for n in self.cluster.nodes]
        for watch in stalled + fast:
            watch.poll_until(lambda w: w.begun, "begun")
        self.delete_range(b"r/gone", b"r/gone\0")
        for number in range(0, 500, 50):
            puts = [(wire.PROPOSE, wire.put_command(b"r/%d" % (i % 10), b"%d" % i))
                    for i in range(number, number + 50)]
            for code, _ in self.writer.call(puts):
                self.assertEqual(code, wire.OK)
            for watch in fast:
                watch.catch_up()
        for watch in fast:
            self.assertEqual([e[2] for e in watch.events[1:]], [b"%d" % i for i in range(500)])
            self.assertEqual(watch.resyncs, 0)
        for watch in stalled:
            watch.grant(1 << 20)
            watch.catch_up()
            self.assertEqual(watch.resyncs, 1)
            self.assertEqual({key: item[1] for key, item in watch.state.items()},
                             {b"r/%d" % i: b"%d" % (490 + i) for i in range(10)})
            self.assertEqual(watch.events, [])
        last = self.put(b"r/3", b"after")
        late = self.watch(b"r/", b"r0", position=first)
        for watch in [*stalled, late]:
            watch.catch_up()
            self.assertGreater(watch.position, last)
        self.assertEqual([e[2:4] for e in stalled[0].events], [[b"after", last]])
        self.assertEqual((late.resyncs, late.state[b"r/3"][1]), (1, b"after"))

    def test_thousands_on_one_connection_each_hear_of_their_own(self):
        count = 3000
        connection = wire.Connection(self.cluster.others(self.node)[1].client)
        self.addCleanup(connection.close)
        watches = [self.watch(b"m/%d" % i, b"m/%d\0" % i, connection=connection)
                   for i in range(count)]
        by_id = {watch.id: watch for watch in watches}

        def poll_all(condition):
            deadline = Deadline(wire.DEADLINE)
            while not all(condition(w) for w in watches):
                self.assertFalse(deadline.passed())
                for reply in connection.receive(0.1):
                    connection.replies.pop(reply[0], None)
                    by_id[reply[0]].take(reply[1], reply[2])

        poll_all(lambda w: w.begun)
        for first in range(0, count, 500):
            puts = [(wire.PROPOSE, wire.put_command(b"m/%d" % i, b"%d" % i))
                    for i in range(first, first + 500)]
            self.writer.call(puts)
        poll_all(lambda w: w.events)
        for i, watch in enumerate(watches):
            self.assertEqual([event[:3] for event in watch.events], [[PUT, b"m/%d" % i, b"%d" % i]])

    def test_the_end_is_said(self):
        watch = self.watch(b"u/", b"u0")
        watch.poll_until(lambda w: w.begun, "begun")
        watch.say(subscriber.UNSUBSCRIBE, None)
        with self.assertRaises(subscriber.Ended) as ended:
            watch.poll_until(lambda w: False, "the end")
        self.assertEqual(ended.exception.code, wire.OK)
        watch.grant(5)
        with self.assertRaises(subscriber.Ended) as ended:
            watch.poll_until(lambda w: False, "the end")
        self.assertEqual(ended.exception.code, wire.NOT_FOUND)
        for body, code in ((wire.pack([9, 1, 1, []]), wire.INVALID),
                           (wire.pack([1, 1, 1, [b"a"]]), wire.MALFORMED),
                           (wire.pack([1, 1, 1, [b"a" * 500, None]]), wire.TOO_LARGE),
                           (b"\xc1", wire.MALFORMED)):
            reply = watch.connection.call([(subscriber.SUBSCRIBE, body)])[0]
            self.assertEqual(reply[0], code)


class Faults(unittest.TestCase):
    """Nodes are killed, stopped and started again while many keys are written."""

    def check(self, follower, writer):
        """Everything that was acknowledged was told, everything once, in order, nothing left out."""
        revisions = [event[3] for event in follower.events]
        self.assertEqual(revisions, list(range(1, len(revisions) + 1)), "each revision once")
        told = {}
        for kind, key, value, *_ in follower.events:
            self.assertEqual(kind, PUT)
            self.assertEqual(told.setdefault(key, value), value)
        for key, value in writer.acked.items():
            self.assertEqual(told[key], value)

    def run_faults(self, fault):
        with Cluster() as nodes:
            nodes.start()
            endpoints = [node.client for node in nodes.nodes]
            followers = [Follower(endpoints[i:] + endpoints[:i]) for i in range(3)]
            writer = wire.Writer(endpoints)
            command = [os.environ["CONCLAVE"], "watch", "", "--prefix", "--from", "1", "--json", "-e",
                       nodes.endpoints]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
                try:
                    for round in range(3):
                        goal = len(writer.acked) + 300

                        def step(w):
                            for follower in followers:
                                follower.poll(0)
                            return len(w.acked) >= goal

                        self.assertTrue(writer.run_until(step))
                        fault(nodes, nodes.nodes[round])
                    nodes.put("end", b"")
                    last = json.loads(nodes.run("get", "end", "--json").stdout)["mod_revision"]
                    for follower in followers:
                        follower.poll_until(lambda f: f.position > last, "all of it")
                        self.check(follower, writer)
                    self.assertGreater(max(f.begins for f in followers), 1, "some went on elsewhere")
                    told = []
                    for line in program.stdout:
                        event = json.loads(line)
                        if event["type"] == "progress":
                            continue
                        told.append((event["type"], event["key"], event["value"], event["revision"]))
                        if event["revision"] >= last:
                            break
                    self.assertEqual(told, [("put", e[1].decode(), e[2].decode(), e[3])
                                            for e in followers[0].events if e[3] <= last])
                finally:
                    program.kill()
                    writer.close()
                    for follower in followers:
                        follower.close()

    def test_nothing_is_lost_when_nodes_are_killed(self):
        def fault(nodes, node):
            node.kill()
            node.start()

        self.run_faults(fault)

    def test_nothing_is_lost_when_a_node_stops_answering(self):
        def fault(nodes, node):
            if node is nodes.nodes[0]: # for good
                node.pause()

        self.run_faults(fault)


class Program(SharedClusterTest):
    """conclave watch."""

    nodes = 1

    @classmethod
    def prepare(cls):
        cls.cluster.wait_leader()

    def start(self, *arguments, **options):
        command = [os.environ["CONCLAVE"], "watch", *arguments, "-e", self.cluster.endpoints]
        program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   **options)
        self.addCleanup(program.stdout.close)
        self.addCleanup(program.stderr.close)
        self.addCleanup(program.wait)
        self.addCleanup(program.kill)
        return program

    def line(self, program, *types):
        while True:
            event = json.loads(program.stdout.readline())
            if event["type"] != "progress" or "progress" in types:
                return event

    def test_a_line_for_each_event(self):
        self.cluster.put("l/0", b"\xff")
        program = self.start("l/", "--prefix", "--initial", "--previous", "-n", "3")
        self.assertEqual(self.line(program)["value"], {"b64": "/w=="})
        self.assertEqual(self.line(program)["type"], "synced")
        self.cluster.put("l/1", b"one")
        self.cluster.run("del", "l/0")
        put, gone = self.line(program), self.line(program)
        self.assertEqual((put["type"], put["key"], put["value"]), ("put", "l/1", "one"))
        self.assertEqual((gone["type"], gone["key"], gone["previous"]),
                         ("delete", "l/0", {"b64": "/w=="}))
        self.assertEqual(gone["revision"], put["revision"] + 1)
        self.assertEqual(program.wait(3 * cluster.DEADLINE * cluster.PATIENCE), 0)

    def test_progress_while_nothing_happens(self):
        self.cluster.put("q", b"")
        program = self.start("nothing happens here")
        mark = self.line(program, "progress")
        self.assertEqual(mark["type"], "progress")
        self.assertGreaterEqual(mark["revision"], 1)

    def test_a_command_for_each_event(self):
        for value in (b"a", b"b"):
            self.cluster.put("x/1", value)
        done = self.cluster.run("watch", "x/1", "--from", "1", "-n", "2", "--exec",
                                'echo "$CONCLAVE_EVENT $(cat)"')
        self.assertEqual(done.returncode, 0)
        lines = done.stdout.decode().splitlines()
        self.assertEqual([line.split(" ")[0] for line in lines], ["put", "put"])
        self.assertEqual([json.loads(line.split(" ", 1)[1])["value"] for line in lines], ["a", "b"])
        failed = self.cluster.run("watch", "x/1", "--from", "1", "--exec", "exit 7")
        self.assertEqual(failed.returncode, 7)

    def test_ends_when_its_reader_is_gone(self):
        for i in range(3):
            self.cluster.put("p/1", b"%d" % i)
        program = self.start("p/1", "--from", "1")
        self.line(program)
        program.stdout.close()
        for i in range(3):
            self.cluster.put("p/1", b"%d" % i)
        self.assertEqual(program.wait(3 * cluster.DEADLINE * cluster.PATIENCE), 2)

    def test_ends_with_a_signal(self):
        self.cluster.put("i", b"")
        program = self.start("i", "--from", "1")
        self.line(program)
        program.send_signal(signal.SIGINT)
        self.assertEqual(program.wait(3 * cluster.DEADLINE * cluster.PATIENCE), -signal.SIGINT)

    def test_says_what_is_wrong(self):
        for arguments, code in ((["k", "--from", "x"], 2), (["k", "-n", "-1"], 2), ([""], 2),
                                (["k" * 500], 7)):
            done = self.cluster.run("watch", *arguments)
            self.assertEqual((done.returncode, done.stdout), (code, b""), arguments)
        done = cluster.run("watch", "k", "--timeout", "300ms", "-e", "tcp://127.0.0.1:1")
        self.assertEqual(done.returncode, 3)


if __name__ == "__main__":
    unittest.main()
