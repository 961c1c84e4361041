"""Topics: by the program, by a client written from docs/protocol.md, and while leaders are killed."""

import json
import os
import signal
import subprocess
import sys
import unittest

import msgpack
import zmq

import cluster
import wire
from cluster import PROGRAM, QUICK, ClusterTest, SharedClusterTest, wait_until

EXAMPLE = os.path.join(os.path.dirname(__file__), "..", "..", "examples", "feed.py")
MESSAGES = 300 if QUICK else 1500


class Commands(SharedClusterTest):
    feeds = True

    def run_ok(self, *arguments, data=None):
        done = self.cluster.run(*arguments, data=data)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def lines(self, *arguments):
        return [json.loads(line) for line in self.run_ok(*arguments, "--json").splitlines()]

    def test_publish_prints_the_sequence_and_sub_the_bytes(self):
        self.run_ok("topic", "create", "first")
        self.assertEqual(self.run_ok("pub", "first", "hello"), b"1\n")
        self.assertEqual(self.run_ok("pub", "first", "-", data=b"\0\xff\n"), b"2\n")
        self.assertEqual(self.run_ok("sub", "first", "--from", "first", "-n", "2", "-0"),
                         b"hello\0\0\xff\n\0")
        one, two = self.lines("sub", "first", "--from", "first", "--no-wait")
        self.assertEqual((one["sequence"], one["data"]), (1, "hello"))
        self.assertEqual(two["data"], {"b64": "AP8K"})
        self.assertGreater(two["revision"], one["revision"])
        self.assertEqual(self.run_ok("sub", "first", "--from", "last", "--no-wait"), b"\0\xff\n\n")

    def test_sub_goes_on_with_what_comes(self):
        self.run_ok("topic", "create", "live")
        self.run_ok("pub", "live", "before")
        sub = subprocess.Popen(
            [PROGRAM, "sub", "live", "--from", "first", "-n", "3", "-e", self.cluster.endpoints],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.cluster.processes.append(sub)
        self.assertEqual(sub.stdout.readline(), b"before\n")
        self.run_ok("pub", "live", "one")
        self.assertEqual(sub.stdout.readline(), b"one\n")
        self.run_ok("pub", "live", "two")
        self.assertEqual(sub.communicate(timeout=3 * cluster.DEADLINE * cluster.PATIENCE)[0], b"two\n")
        self.assertEqual(sub.returncode, 0)

    def test_sub_ends_with_its_topic(self):
        self.run_ok("topic", "create", "ends")
        self.run_ok("pub", "ends", "one")
        sub = subprocess.Popen(
            [PROGRAM, "sub", "ends", "--from", "first", "-e", self.cluster.endpoints],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.cluster.processes.append(sub)
        self.assertEqual(sub.stdout.readline(), b"one\n")
        self.run_ok("topic", "delete", "ends", "--yes")
        self.run_ok("topic", "create", "ends")
        self.assertEqual(sub.wait(3 * cluster.DEADLINE * cluster.PATIENCE), 1)
        self.assertIn(b"the topic 'ends' was deleted", sub.stderr.read())

    def test_ids_and_expected_sequences(self):
        self.run_ok("topic", "create", "once")
        self.assertEqual(self.run_ok("pub", "once", "a", "--id", "x"), b"1\n")
        self.assertEqual(self.lines("pub", "once", "b", "--id", "x"),
                         [{"topic": "once", "sequence": 1, "duplicate": True}])
        done = self.cluster.run("pub", "once", "c", "--expect-seq", "0")
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        self.assertIn(b"has sequence 1, not 0", done.stderr)
        self.assertEqual(self.run_ok("pub", "once", "c", "--expect-seq", "1"), b"2\n")

    def test_lines_are_messages_in_order(self):
        self.run_ok("topic", "create", "lines")
        data = b"".join(b"line %d\n" % i for i in range(5000)) + b"the last has no end"
        out = self.run_ok("pub", "lines", "-", "--lines", data=data)
        self.assertEqual(out.split(), [b"%d" % i for i in range(1, 5002)])
        self.assertEqual(self.run_ok("sub", "lines", "--from", "first", "--no-wait"), data + b"\n")

    def test_exec_runs_once_for_each_message_and_its_failure_ends_it(self):
        self.run_ok("topic", "create", "exec")
        for text in ("a", "b", "c"):
            self.run_ok("pub", "exec", text, "--id", f"id-{text}")
        out = self.run_ok("sub", "exec", "--from", "2", "--no-wait", "--exec",
                          "echo $CONCLAVE_SEQUENCE $CONCLAVE_ID $(cat)")
        self.assertEqual(out, b"2 id-b b\n3 id-c c\n")
        done = self.cluster.run("sub", "exec", "--from", "first", "--exec", "cat; exit 9")
        self.assertEqual((done.returncode, done.stdout), (9, b"a"))

    def test_what_was_dropped_is_said(self):
        self.run_ok("topic", "create", "short", "--retain", "2,1GiB,7d")
        for text in ("a", "b", "c", "d"):
            self.run_ok("pub", "short", text)
        done = self.cluster.run("sub", "short", "--from", "1", "--no-wait")
        self.assertEqual((done.returncode, done.stdout), (0, b"c\nd\n"))
        self.assertIn(b"messages 1 to 2 were dropped", done.stderr)
        gap, third, _ = self.lines("sub", "short", "--from", "1", "--no-wait")
        self.assertEqual(gap, {"dropped": {"first": 1, "last": 2}})
        self.assertEqual(third["sequence"], 3)
        info, = self.lines("topic", "info", "short")
        self.assertEqual((info["first"], info["last"], info["messages"]), (3, 4, 2))
        self.assertEqual(info["retain"], {"messages": 2, "bytes": 1 << 30, "age_ms": 604800000})

    def test_topics_are_made_listed_and_deleted(self):
        for name in ("list b", "list a"):
            self.run_ok("topic", "create", name)
            self.run_ok("topic", "create", name)
        names = [line["topic"] for line in self.lines("topic", "ls")]
        self.assertEqual([name for name in names if name.startswith("list")], ["list a", "list b"])
        done = self.cluster.run("topic", "create", "list a", "--retain", "5")
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"other settings", done.stderr)
        self.assertEqual(self.cluster.run("topic", "delete", "list a").returncode, 2)
        self.run_ok("topic", "delete", "list a", "--yes")
        for arguments in (["topic", "info", "list a"], ["pub", "list a", "x"], ["sub", "list a"],
                          ["topic", "delete", "list a", "--yes"]):
            done = self.cluster.run(*arguments)
            self.assertEqual((done.returncode, done.stdout), (1, b""), arguments)
        for arguments in (["topic", "make", "x"], ["topic", "create"], ["topic", "ls", "x"],
                          ["topic", "create", "x", "--retain", "1XB"],
                          ["sub", "x", "--from", "yesterday"], ["sub", "x", "-n", "0"],
                          ["pub", "x", "y", "--expect-seq", "no"], ["pub", "x", "y", "--lines"]):
            self.assertEqual(self.cluster.run(*arguments).returncode, 2, arguments)

    def test_a_transaction_publishes_and_changes_keys_at_once(self):
        self.run_ok("topic", "create", "both")
        result, = self.lines("txn", "--if", "absent(both/k)", "--then", "pub both x id=one",
                             "--then", "put both/k v", "--else", "pub both never")
        self.assertTrue(result["held"])
        self.assertEqual(result["steps"][0], {"do": "pub", "topic": "both", "sequence": 1, "duplicate": False})
        message, = self.lines("sub", "both", "--from", "first", "--no-wait")
        self.assertEqual((message["data"], message["id"]), ("x", "one"))
        self.assertEqual(message["revision"], result["revision"])
        self.assertEqual(self.lines("get", "both/k")[0]["mod_revision"], result["revision"])
        self.assertEqual(self.run_ok("txn", "--then", "pub both again id=one"), b"pub 1\n")
        done = self.cluster.run("txn", "--then", "put both/k w", "--then", "pub none x")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(self.run_ok("get", "both/k").rstrip(), b"v")
        self.assertEqual(self.cluster.run("txn", "--then", "pub both").returncode, 2)

    def member(self, topic, *arguments):
        """A member of the group "g" as a process of its own."""
        process = subprocess.Popen(
            [PROGRAM, "sub", topic, "--group", "g", "--ack", *arguments, "-e",
             self.cluster.endpoints],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.cluster.processes.append(process)
        return process

    def make_group(self, topic, count, *arguments):
        self.run_ok("topic", "create", topic)
        self.run_ok("pub", topic, "-", "--lines",
                    data=b"".join(b"%d\n" % i for i in range(1, count + 1)))
        self.run_ok("group", "create", topic, "g", "--from", "first", *arguments)

    def group_info(self, topic):
        info, = self.lines("group", "info", topic, "g")
        self.assertEqual(info["next"] - info["start"],
                         sum(info[place] for place in ("acked", "dead_letters", "lost", "held",
                                                       "delayed", "ready")))
        return info

    def test_a_group_hands_each_message_to_one_member(self):
        self.make_group("shared", 200, "--ack-time", "1h")
        members = [self.member("shared", "-n", "80", "--ttl", "10m", "--json") for _ in range(2)]
        told = [json.loads(line) for member in members
                for line in member.communicate(timeout=3 * cluster.DEADLINE * cluster.PATIENCE)[0].splitlines()]
        self.assertEqual(len(told), 160)
        self.assertEqual(len({line["sequence"] for line in told}), 160)
        waiting = self.member("shared", "-n", "41")
        for _ in range(40):
            self.assertTrue(waiting.stdout.readline(), "what the others gave back, and the rest")
        self.run_ok("pub", "shared", "comes")
        self.assertEqual(waiting.communicate(timeout=3 * cluster.DEADLINE * cluster.PATIENCE)[0], b"comes\n")
        wait_until(lambda: self.group_info("shared")["members"] == 0, "all of them have left")
        info = self.group_info("shared")
        self.assertEqual((info["acked"], info["waiting"], info["held"]), (201, 0, 0))
        self.assertEqual(self.lines("group", "ls", "shared"), [info])

    def test_a_group_moves_what_a_command_failed_on_too_often(self):
        self.run_ok("topic", "create", "hard.dead")
        self.make_group("hard", 3, "--deliveries", "2", "--dead", "hard.dead")
        member = self.member("hard", "-n", "4", "--retry", "0s", "--exec",
                             "echo $CONCLAVE_SEQUENCE $CONCLAVE_DELIVERIES $(cat); "
                             "[ $CONCLAVE_SEQUENCE != 2 ] || exit 9")
        out = member.communicate(timeout=3 * cluster.DEADLINE * cluster.PATIENCE)[0]
        self.assertEqual(out, b"1 1 1\n2 1 2\n2 2 2\n3 1 3\n")
        self.assertEqual(member.returncode, 9, "that of the last one that failed")
        dead = json.loads(self.run_ok("sub", "hard.dead", "--from", "first", "-n", "1", "--json"))
        self.assertEqual((dead["data"], dead["origin"]),
                         ("2", {"topic": "hard", "group": "g", "sequence": 2, "deliveries": 2}))
        info = self.group_info("hard")
        self.assertEqual((info["acked"], info["dead_letters"]), (2, 1))
        for wrong in (["group", "create", "hard", "x", "--deliveries", "2"],
                      ["group", "create", "hard", "g"], ["group", "info", "hard"],
                      ["group", "delete", "hard", "g"], ["sub", "hard", "--ack"],
                      ["sub", "hard", "--group", "g", "--from", "first"]):
            self.assertEqual(self.cluster.run(*wrong).returncode, 2, wrong)
        self.run_ok("group", "delete", "hard", "g", "--yes")
        for missing in (["group", "info", "hard", "g"], ["group", "ls", "none"],
                        ["sub", "hard", "--group", "g", "--ack"]):
            self.assertEqual(self.cluster.run(*missing).returncode, 1, missing)

    def test_a_group_gets_back_what_a_member_held_that_died_or_was_told_to_stop(self):
        ttl_ms = 500
        while not self.gets_back(f"back{ttl_ms}", ttl_ms):
            ttl_ms *= 2  # a slow machine let the lease end of the one who lived
            self.assertLess(ttl_ms, 100000)

    def gets_back(self, topic, ttl_ms):
        self.make_group(topic, 2, "--ack-time", "1h")
        killed = self.member(topic, "--ttl", f"{ttl_ms}ms", "--exec", "echo got; exec sleep 600")
        self.assertEqual(killed.stdout.readline(), b"got\n")
        stopped = self.member(topic, "--exec", "echo got; exec sleep 600")
        self.assertEqual(stopped.stdout.readline(), b"got\n")
        pending = self.lines("group", "pending", topic, "g")
        killed.kill()
        stopped.send_signal(signal.SIGINT)
        self.assertEqual(stopped.wait(3 * cluster.DEADLINE * cluster.PATIENCE), 130, "the command's end, by a signal")
        if [(line["sequence"], line["deliveries"]) for line in pending] != [(1, 1), (2, 1)]:
            return False
        self.assertEqual(len({line["lease"] for line in pending}), 2)
        heir = self.member(topic, "-n", "2", "--json")
        told = [json.loads(line)
                for line in heir.communicate(timeout=3 * cluster.DEADLINE * cluster.PATIENCE)[0].splitlines()]
        self.assertEqual(sorted((line["sequence"], line["deliveries"]) for line in told),
                         [(1, 2), (2, 2)])
        wait_until(lambda: self.group_info(topic)["members"] == 0, "no member is left")
        return True

    def test_a_client_of_another_language(self):
        with wire.Connection(self.cluster.wait_leader().client) as connection:
            def call(kind, *body):
                code, answer = connection.call([(kind, wire.pack(list(body)))])[0]
                return code, wire.unpack(answer)
            code, (_, made) = call(wire.PROPOSE, wire.TOPIC_CREATE, "wire", None, None, None, 60000)
            self.assertEqual(code, wire.OK)
            code, (revision, first, count) = call(wire.PROPOSE, wire.PUBLISH, "wire", ["a", b"b"],
                                                  0, [None, "i"])
            self.assertEqual((code, first, count), (wire.OK, 1, 2))
            code, body = call(wire.PROPOSE, wire.PUBLISH, "wire", ["x", "y"], None, ["i", None])
            self.assertEqual((code, body[1:]), (wire.OK, [3, 1, [[0, 2]]]))
            code, body = call(wire.PROPOSE, wire.PUBLISH, "wire", ["z"], 1)
            self.assertEqual((code, body[1]), (wire.COMPARE_FAILED, 3))
            for node in self.cluster.nodes:
                with wire.Connection(node.client) as other:
                    messages = wire.read_topic(other, "wire")
                self.assertEqual([(m[0], m[2], m[3]) for m in messages],
                                 [(1, b"a", None), (2, b"b", b"i"), (3, b"y", None)])
                self.assertEqual(messages[0][1], revision)
            code, (_, _, info) = call(wire.READ, wire.TOPIC_INFO, "wire")
            self.assertEqual((code, info[:4]), (wire.OK, [b"wire", made, 1, 4]))

    def test_a_subscription_runs_from_history_into_what_comes_at_any_node(self):
        self.run_ok("topic", "create", "stream")
        for text in ("a", "b", "c"):
            self.run_ok("pub", "stream", text)
        for node in self.cluster.nodes:
            with wire.Connection(node.client) as connection:
                connection.send([(wire.SUBSCRIBE, wire.pack([2, 2, 1 << 20, ["stream"]]))])
                frames, told = 0, []

                def receive():
                    nonlocal frames
                    replies = connection.receive(wire.DEADLINE)
                    self.assertTrue(replies, "it is told")
                    for _, code, body in replies:
                        self.assertEqual(code, wire.OK)
                        number, kind, position, *rest = wire.unpack(body)
                        frames += 1
                        self.assertEqual(number, frames)
                        if kind == wire.EVENTS:
                            told.extend((m[0], m[3]) for m in rest[1])
                while len(told) < 2:
                    receive()
                last = int(self.run_ok("pub", "stream", node.name))
                while told[-1][0] < last:
                    receive()
                self.assertEqual([sequence for sequence, _ in told], list(range(2, last + 1)))
                self.assertEqual(told[:2] + told[-1:],
                                 [(2, b"b"), (3, b"c"), (last, node.name.encode())])


    def test_plain_subscribers_follow_a_topic_at_every_node(self):
        self.run_ok("topic", "create", "feed")
        self.run_ok("pub", "feed", "before")
        told = {}
        for node in self.cluster.nodes:
            self.assertEqual(node.view()["feed"], node.feed)
            sub = zmq.Context.instance().socket(zmq.SUB)
            self.addCleanup(sub.close, 0)
            sub.setsockopt(zmq.RCVHWM, 0)
            sub.setsockopt(zmq.SUBSCRIBE, b"feed\0")
            sub.connect(node.feed)
            told[sub] = []
        example = subprocess.Popen(
            [sys.executable, EXAMPLE, self.cluster.nodes[0].feed, self.cluster.nodes[1].client,
             "feed", "1", "3000"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.cluster.processes.append(example)

        def came(least):
            for sub, messages in told.items():
                while sub.poll(0):
                    name, header, data = sub.recv_multipart()
                    self.assertEqual(name, b"feed\0")
                    messages.append((*msgpack.unpackb(header), data))
            return all(messages and messages[-1][0] >= least for messages in told.values())

        def subscribed():
            self.run_ok("pub", "feed", "live")
            return came(1)
        wait_until(subscribed, "the subscriptions")
        data = b"".join(b"line %d\n" % i for i in range(3000))
        first = int(self.run_ok("pub", "feed", "-", "--lines", data=data).split()[0])
        last = int(self.run_ok("pub", "feed", "the last", "--id", "one"))
        wait_until(lambda: came(last), "the last message")
        for messages in told.values():
            self.assertEqual([m[0] for m in messages], list(range(messages[0][0], last + 1)))
            lines = [m[-1] for m in messages if first <= m[0] < last]
            self.assertEqual(lines, data.splitlines())
            self.assertEqual(messages[-1][3:], (b"one", b"the last"))
        seen = [line.split(b" ", 1) for line in
                example.communicate(timeout=3 * cluster.DEADLINE * cluster.PATIENCE)[0].splitlines()]
        self.assertEqual([int(sequence) for sequence, _ in seen], list(range(1, 3001)))
        self.assertEqual((seen[0][1], seen[first - 1][1]), (b"before", b"line 0"))


class Killed(ClusterTest):
    options = ["--snapshot-entries", "300", "--segment-size", "64KiB"]

    def check(self, publisher, node):
        """Every message once, without a gap, each acknowledged one where it was said to be."""
        with wire.Connection(node.client) as connection:
            messages = wire.read_topic(connection, publisher.topic)
        self.assertEqual([m[0] for m in messages], list(range(1, len(messages) + 1)))
        revisions = [m[1] for m in messages]
        self.assertEqual(revisions, sorted(set(revisions)))
        ids = [m[3] for m in messages]
        self.assertEqual(len(set(ids)), len(ids), "a message was published twice")
        self.assertGreaterEqual(len(publisher.sequences), MESSAGES)
        for number, sequence in publisher.sequences.items():
            self.assertEqual(messages[sequence - 1][2:],
                             (publisher.value(number), publisher.key(number)))
        return messages

    def test_nothing_is_lost_or_repeated_while_leaders_are_killed(self):
        self.start_cluster()
        self.cluster.wait_leader()
        done = self.cluster.run("topic", "create", "t", "--dedup", "1h", "--dedup-count", "1000000")
        self.assertEqual(done.returncode, 0, done.stderr)
        sub = subprocess.Popen(
            [PROGRAM, "sub", "t", "--from", "first", "-n", str(MESSAGES), "--json", "-e",
             self.cluster.endpoints], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.cluster.processes.append(sub)
        publisher = wire.Publisher([node.client for node in self.cluster.nodes], b"t")
        self.addCleanup(publisher.close)
        for part in range(1, 4):
            done = publisher.run_until(lambda p: len(p.acked) >= part * MESSAGES // 4)
            self.assertTrue(done, f"only {len(publisher.acked)} messages in time")
            leader = self.cluster.wait_leader()
            leader.kill()
            publisher.move_on()
            leader.start()
            leader.wait_healthy()
        done = publisher.run_until(lambda p: len(p.acked) >= MESSAGES)
        self.assertTrue(done, f"only {len(publisher.acked)} messages in time")
        self.cluster.wait_caught_up()
        all_of_them = [self.check(publisher, node) for node in self.cluster.nodes]
        self.assertEqual(all_of_them[0], all_of_them[1])
        self.assertEqual(all_of_them[0], all_of_them[2])
        told = [json.loads(line) for line in
                sub.communicate(timeout=3 * cluster.DEADLINE * cluster.PATIENCE)[0].splitlines()]
        self.assertEqual([(line["sequence"], line["data"].encode()) for line in told],
                         [(m[0], m[2]) for m in all_of_them[0][:MESSAGES]])


if __name__ == "__main__":
    unittest.main()
