"""A client of another language, written from docs/protocol.md alone: pyzmq and msgpack."""

import os
import re
import shutil
import subprocess
import sys
import unittest

import msgpack
import zmq

import cluster
import wire
from cluster import SharedClusterTest


EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples")


class Protocol(SharedClusterTest):
    def setUp(self):
        self.node = self.cluster.wait_leader()
        self.connection = wire.Connection(self.node.client)
        self.addCleanup(self.connection.close)

    def call(self, *operations):
        replies = self.connection.call(list(operations))
        self.assertNotIn(None, replies, "no reply")
        return replies

    def test_put_and_get(self):
        code, body = self.call((wire.PROPOSE, wire.put_command(b"p/k", b"v\0")))[0]
        self.assertEqual(code, wire.OK)
        revision, previous = wire.unpack(body)[:2]
        self.assertGreater(revision, 0)
        self.assertEqual(previous, 0)
        code, body = self.call((wire.READ, wire.get_query(b"p/k")))[0]
        self.assertEqual(code, wire.OK)
        at, item = wire.unpack(body)[:2]
        self.assertGreaterEqual(at, revision)
        self.assertEqual(item, [b"p/k", b"v\0", revision, revision, 1])

    def test_every_node_reads_what_was_acknowledged(self):
        others = [wire.Connection(n.client) for n in self.cluster.others(self.node)]
        for other in others:
            self.addCleanup(other.close)
        for i in range(50):
            value = b"%d" % i
            self.assertEqual(self.call((wire.PROPOSE, wire.put_command(b"p/every", value)))[0][0],
                             wire.OK)
            for other in others:
                code, body = other.call([(wire.READ, wire.get_query(b"p/every"))])[0]
                self.assertEqual(code, wire.OK)
                self.assertEqual(wire.unpack(body)[1][1], value)

    def test_missing_key(self):
        code, body = self.call((wire.READ, wire.get_query(b"p/none")))[0]
        self.assertEqual(code, wire.NOT_FOUND)
        self.assertGreaterEqual(wire.unpack(body)[0], 0)

    def test_many_operations_in_one_frame_each_have_a_reply(self):
        puts = [(wire.PROPOSE, wire.put_command(b"p/m/%04d" % i, b"%d" % i)) for i in range(1000)]
        replies = self.call(*puts)
        self.assertEqual({code for code, _ in replies}, {wire.OK})
        revisions = [wire.unpack(body)[0] for _, body in replies]
        self.assertEqual(sorted(set(revisions)), sorted(revisions), "each command has its revision")
        self.assertEqual(revisions, sorted(revisions), "commands of one frame keep their order")
        gets = [(wire.READ, wire.get_query(b"p/m/%04d" % i)) for i in range(1000)]
        values = [wire.unpack(body)[1][1] for _, body in self.call(*gets)]
        self.assertEqual(values, [b"%d" % i for i in range(1000)])

    def test_range_goes_on_from_next(self):
        self.call(*[(wire.PROPOSE, wire.put_command(b"p/r/%03d" % i, b"v")) for i in range(100)])
        keys, start, pages = [], b"p/r/", 0
        while start is not None:
            code, body = self.call((wire.READ, wire.pack([wire.RANGE, start, b"p/r0", 30])))[0]
            self.assertEqual(code, wire.OK)
            _, items, count, start = wire.unpack(body)[:4]
            self.assertEqual(count, len(items))
            keys += [item[0] for item in items]
            pages += 1
        self.assertEqual(keys, [b"p/r/%03d" % i for i in range(100)])
        self.assertEqual(pages, 4)

    def test_condition_on_the_revision(self):
        key = b"p/cas"
        create = wire.pack([wire.PUT, key, b"1", 0])
        code, body = self.call((wire.PROPOSE, create))[0]
        self.assertEqual(code, wire.OK)
        revision = wire.unpack(body)[0]
        code, body = self.call((wire.PROPOSE, create))[0]
        self.assertEqual(code, wire.COMPARE_FAILED)
        self.assertEqual(wire.unpack(body)[1], revision)
        code, _ = self.call((wire.PROPOSE, wire.pack([wire.DELETE, key, revision])))[0]
        self.assertEqual(code, wire.OK)

    def test_delete_tells_how_many(self):
        self.call((wire.PROPOSE, wire.put_command(b"p/d", b"v")))
        _, body = self.call((wire.PROPOSE, wire.pack([wire.DELETE, b"p/d"])))[0]
        self.assertEqual(wire.unpack(body)[1], 1)
        _, body = self.call((wire.PROPOSE, wire.pack([wire.DELETE, b"p/d"])))[0]
        self.assertEqual(wire.unpack(body)[1], 0)

    def test_status_of_every_node(self):
        for node in self.cluster.nodes:
            with wire.Connection(node.client) as connection:
                code, body = connection.call([(wire.STATUS, None)])[0]
            self.assertEqual(code, wire.OK)
            status = wire.unpack(body)
            self.assertEqual((status["name"], status["pid"]), (node.name, node.process.pid))
            self.assertEqual(status["leader"], self.node.name)
            self.assertEqual(len(status["members"]), 3)

    def test_follower_forwards_or_names_the_leader(self):
        for node in self.cluster.others(self.node):
            with wire.Connection(node.client) as connection:
                code, body = connection.call([(wire.LEADER, None)])[0]
                self.assertEqual(code, wire.OK)
                self.assertEqual((body["leader"], body["endpoint"]),
                                 (self.node.name, self.node.client))
                code, body = connection.put(b"p/f", b"v")
                if code == wire.NOT_LEADER:
                    self.assertEqual(body["endpoint"], self.node.client)
                else:
                    self.assertEqual(code, wire.OK)

    def test_unknown_operation_is_answered_and_others_are_served(self):
        replies = self.call((77, b"?"), (wire.READ, wire.get_query(b"p/none")))
        self.assertEqual([code for code, _ in replies], [wire.INVALID, wire.NOT_FOUND])

    def test_unknown_command_is_answered(self):
        for body in (wire.pack([99]), wire.pack([]), b"", b"\xc1", wire.pack([wire.PUT]),
                     wire.pack([wire.PUT, b"k", b"v", "x"])):
            code, _ = self.call((wire.PROPOSE, body))[0]
            self.assertIn(code, (wire.MALFORMED, wire.INVALID))
            code, _ = self.call((wire.READ, body))[0]
            self.assertIn(code, (wire.MALFORMED, wire.INVALID))

    def test_command_as_query_is_refused(self):
        code, _ = self.call((wire.READ, wire.put_command(b"p/q", b"v")))[0]
        self.assertIn(code, (wire.MALFORMED, wire.INVALID))
        code, _ = self.call((wire.PROPOSE, wire.get_query(b"p/q")))[0]
        self.assertIn(code, (wire.MALFORMED, wire.INVALID))
        self.assertEqual(self.call((wire.READ, wire.get_query(b"p/q")))[0][0], wire.NOT_FOUND)

    def test_limits(self):
        code, _ = self.call((wire.PROPOSE, wire.put_command(b"k" * 480, b"v")))[0]
        self.assertEqual(code, wire.OK)
        code, _ = self.call((wire.PROPOSE, wire.put_command(b"k" * 481, b"v")))[0]
        self.assertEqual(code, wire.TOO_LARGE)
        code, _ = self.call((wire.PROPOSE, wire.put_command(b"", b"v")))[0]
        self.assertEqual(code, wire.INVALID)
        code, _ = self.call((wire.PROPOSE, bytes((1 << 20) + 1)))[0]
        self.assertEqual(code, wire.TOO_LARGE)

    def session(self, *request):
        return self.call((wire.SESSION, wire.pack(list(request))))[0]

    def test_a_command_in_a_session_is_applied_once(self):
        code, body = self.session(1)
        self.assertEqual(code, wire.OK)
        session, lifetime_ms, window = wire.unpack(body)
        self.assertEqual((lifetime_ms, window), (60000, 4096))
        command = wire.put_command(b"p/s", b"v")
        first = self.session(2, session, 1, 0, command)
        self.assertEqual(first[0], wire.OK)
        self.assertEqual(self.session(2, session, 1, 0, command), first)
        self.assertEqual(self.session(3, session, 1), (wire.OK, b""))
        self.assertEqual(self.session(2, session, 1, 0, command)[0], wire.FORGOTTEN)
        self.assertEqual(self.session(2, session, 2, 1, wire.put_command(b"", b""))[0], wire.INVALID)
        self.assertEqual(self.session(4, session), (wire.OK, b""))
        code, body = self.session(2, session, 3, 2, command)
        self.assertEqual(code, wire.SESSION_EXPIRED)
        self.assertIsInstance(body, str)

    def test_requests_that_no_client_may_make_of_a_session_are_refused(self):
        for request in ([], [0], [6], [2, 1, 1, 1, b""], [2, 0, 1, 0, b""], [3, 1]):
            self.assertEqual(self.session(*request)[0], wire.MALFORMED)
        self.assertEqual(self.session(5, 1000)[0], wire.INVALID)

    def test_unknown_version_is_answered_with_the_versions_known(self):
        self.connection.send_raw(wire.pack([2, [1, wire.READ, b""]]))
        frame = self.connection.receive_frame(wire.DEADLINE)
        self.assertIsNotNone(frame, "no answer to an unknown version")
        self.assertEqual(frame[1][1], wire.PROTOCOL_VERSION)
        self.assertEqual(self.call((wire.READ, wire.get_query(b"p/none")))[0][0], wire.NOT_FOUND)

    def test_garbage_is_answered_or_dropped_and_the_connection_lives(self):
        for data in (b"", b"\xc1", b"garbage", wire.pack({}), wire.pack([1, 2, 3]), wire.pack(1),
                     wire.pack([1, [1]]), wire.pack([1, [2 ** 63, 1, b""]]), b"\xdd\xff\xff\xff\xff"):
            self.connection.send_raw(data)
        code, _ = self.call((wire.READ, wire.get_query(b"p/none")))[0]
        self.assertEqual(code, wire.NOT_FOUND)

    def test_str_for_bin_and_wide_integers_are_understood(self):
        """What PHP, Perl and JavaScript libraries make of bytes and numbers."""
        command = msgpack.packb([1, "p/liberal", "value"], use_bin_type=True)
        frame = msgpack.packb([1, [2.0 ** 40, 1, command.decode("latin-1")
                                   if command.isascii() else command]])
        self.connection.send_raw(frame)
        reply = self.connection.receive_frame(wire.DEADLINE)
        self.assertEqual(reply[1][0], 2 ** 40)
        self.assertEqual(reply[1][1], wire.OK)
        code, body = self.call((wire.READ, wire.get_query(b"p/liberal")))[0]
        self.assertEqual(wire.unpack(body)[1][1], b"value")

    def test_programs_in_the_document_run_as_they_stand(self):
        with open(os.path.join(EXAMPLES, "..", "docs", "protocol.md"), encoding="utf-8") as document:
            parts = re.findall(r"^```python\n(.*?)^```", document.read(), re.M | re.S)
        parts.sort(key=lambda part: "class Client:" not in part)  # the others use it
        self.assertGreaterEqual(len(parts), 4)
        self.assertEqual(parts[0].count(":750"), 3)
        program = "\n".join(parts)
        for number, node in enumerate(self.cluster.nodes, 1):
            program = program.replace(f"tcp://127.0.0.1:750{number}", node.client)
        done = subprocess.run([sys.executable, "-B", "-"], input=program, capture_output=True, text=True,
                              timeout=3 * cluster.DEADLINE * cluster.PATIENCE)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertIn("1 b'one'", done.stdout)
        self.assertIn("b'greeting' b'again'", done.stdout)

    def tour(self, *command):
        done = subprocess.run([*command, self.cluster.endpoints], capture_output=True, text=True,
                              timeout=3 * cluster.DEADLINE * cluster.PATIENCE, stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(len(done.stdout.splitlines()), 18, done.stdout)

    def test_example_in_python_does_all_that_it_can(self):
        self.tour(sys.executable, "-B", os.path.join(EXAMPLES, "python", "tour.py"))

    def test_example_for_node_does_all_that_it_can(self):
        node = shutil.which("node")
        if not node:
            self.skipTest("there is no node")
        if not os.path.isdir(os.path.join(EXAMPLES, "node", "node_modules")):
            self.skipTest("make node was not run: its packages are not there")
        self.tour(node, os.path.join(EXAMPLES, "node", "tour.mjs"))

    def test_request_socket_works_too(self):
        request = zmq.Context.instance().socket(zmq.REQ)
        request.setsockopt(zmq.LINGER, 0)
        self.addCleanup(request.close)
        request.connect(self.node.client)
        for i in range(3):
            request.send(wire.pack([1, [i, wire.LEADER, None]]))
            self.assertTrue(request.poll(int(wire.DEADLINE * 1000)), "no reply")
            self.assertEqual(wire.unpack(request.recv())[1][0], i)


if __name__ == "__main__":
    unittest.main()
