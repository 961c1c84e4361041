"""Logs that lost attested records to a bad disk: they come back from the other nodes, whole."""

import os
import unittest

import wal_files
import wire
from cluster import ClusterTest, wait_until


class RepairTest(ClusterTest):
    def write(self, count):
        writer = wire.Writer([n.client for n in self.cluster.nodes])
        self.addCleanup(writer.close)
        self.assertTrue(writer.run_until(lambda w: len(w.acked) >= count),
                        f"{len(writer.acked)} of {count} writes in time")
        return writer

    def assert_readable(self, writer, through=None):
        found = set(self.cluster.keys(writer.prefix.decode(), through=through))
        missing = set(writer.acked) - found
        self.assertEqual(sorted(missing)[:5], [], f"{len(missing)} acknowledged keys are missing")

    def rest(self):
        """Everything is everywhere, and attested."""
        self.cluster.wait_caught_up()
        for node in self.cluster.nodes:
            wait_until(lambda n=node: wal_files.quiet(n.data), "the log is at rest")

    def flip(self, node, part):
        """Flips a byte that lies at so much of the last used segment. Returns what was there."""
        path, used = wal_files.last_segment(node.data)
        offset = wal_files.HEADER_BYTES + int((used - wal_files.HEADER_BYTES) * part)
        with open(path, "rb") as file:
            before = file.read()
        wal_files.flip(path, offset)
        return path, before[:used]

    def assert_same_bytes(self, path, before):
        with open(path, "rb") as file:
            self.assertEqual(file.read()[:len(before)], before, "the very same bytes are back")

    def wait_healthy(self, node):
        wait_until(lambda: (node.status() or {}).get("healthy"), f"{node.name} is back")


class Repair(RepairTest):
    def test_one_node_gets_its_entry_back(self):
        self.start_cluster()
        node = self.cluster.others(self.cluster.wait_leader())[0]
        writer = self.write(300)
        self.rest()
        node.kill()
        path, before = self.flip(node, 0.5)
        node.start()
        self.wait_healthy(node)
        text = node.log_text().split("---- start")[-1]
        self.assertIn("damaged", text)
        self.assertIn(os.path.basename(path), text, "it names the damaged file")
        self.assertIn("offset", text)
        self.assertIn("repaired", text)
        self.cluster.wait_caught_up()
        self.assert_readable(writer, [node])
        self.assert_same_bytes(path, before)
        node.stop()
        node.start()
        self.wait_healthy(node)
        self.assertNotIn("damaged", node.log_text().split("---- start")[-1])

    def test_all_nodes_damaged_at_different_places(self):
        """Nobody leads, and there is no majority of whole logs: each is the other's good copy."""
        self.start_cluster()
        writer = self.write(300)
        self.rest()
        for node in self.cluster.nodes:
            node.kill()
        files = [self.flip(node, part)
                 for node, part in zip(self.cluster.nodes, (0.2, 0.5, 0.8))]
        for node in self.cluster.nodes:
            node.start()
        self.cluster.wait_leader()
        self.cluster.wait_caught_up()
        self.assert_readable(writer)
        for path, before in files:
            self.assert_same_bytes(path, before)

    def test_a_lost_block_comes_back(self):
        """Many records in a row, on two nodes of three."""
        self.start_cluster()
        writer = self.write(500)
        self.rest()
        victims = self.cluster.nodes[:2]
        for node in victims:
            node.kill()
        for node, block in zip(victims, (1, 3)):
            path, used = wal_files.last_segment(node.data)
            self.assertGreater(used, 6 * 4096)
            wal_files.overwrite(path, block * 4096, bytes(4096))
        for node in victims:
            node.start()
            self.wait_healthy(node)
        self.cluster.wait_caught_up()
        self.assert_readable(writer, victims)
        for node in victims:
            node.stop()
            node.start()
            self.wait_healthy(node)
            self.assertNotIn("damaged", node.log_text().split("---- start")[-1])

    def test_in_repair_a_node_takes_no_part_and_says_so(self):
        self.start_cluster()
        self.write(100)
        self.rest()
        node, other, third = self.cluster.nodes
        for each in self.cluster.nodes:
            each.kill()
        path, before = self.flip(node, 0.5)
        node.start()
        status = wait_until(lambda: (s := node.status()) and s["role"] == "repair" and
                            "does not answer" in (s["repair"] or "") and s, "it says what it lacks")
        self.assertIn(os.path.basename(path), status["repair"])
        self.assertIn("entries", status["repair"])
        self.assertFalse(status["healthy"])
        done = self.cluster.run("put", "k", "v", "--timeout", "500ms", through=[node])
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(node.stop(), 0, "it ends when it is asked to")
        self.assertNotEqual(open(path, "rb").read()[:len(before)], before, "nothing was written")
        # One whole log and the one in repair are two of three: no leader, for one of them has no
        # vote, before the entry is there.
        node.start()
        other.start()
        self.wait_healthy(node)
        self.assert_same_bytes(path, before)
        self.cluster.wait_leader([node, other])
        third.start()
        self.cluster.wait_caught_up()


class Alone(RepairTest):
    """Long timeouts: a leader that lost the others still appends for a while."""

    options = ("--election-timeout", "5s", "--heartbeat", "200ms")

    def test_what_no_other_node_has_stops_the_node(self):
        self.start_cluster()
        leader = self.cluster.wait_leader()
        writer = self.write(50)
        self.rest()
        others = self.cluster.others(leader)
        for node in others:
            node.kill()
        # What only the leader has: the session in which the client wants to write.
        path, _ = wal_files.last_segment(leader.data)
        held = len(wal_files.entries(path))
        self.cluster.run("put", "only", "here", "--timeout", "300ms", through=[leader])
        wait_until(lambda: len(wal_files.entries(path)) > held, "the leader appended")
        wait_until(lambda: wal_files.quiet(leader.data), "the log is at rest")
        leader.kill()
        wal_files.flip(path, wal_files.entries(path)[-1][0] + 48)
        before = wal_files.log_contents(leader.data)
        for node in others:
            node.start()
        self.cluster.wait_leader(others)
        leader.start()
        self.assertEqual(leader.wait_exit(), 8)
        text = leader.log_text().split("---- start")[-1]
        self.assertIn("does not have it", text)
        self.assertIn(os.path.basename(path), text)
        self.assertTrue(wal_files.log_contents(leader.data) == before, "it changed what it refused")
        self.assert_readable(writer, others)


if __name__ == "__main__":
    unittest.main()
