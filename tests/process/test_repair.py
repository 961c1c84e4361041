"""Logs that lost attested records to a bad disk: they come back from the other nodes, whole."""

import os
import re
import shutil
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
            wait_until(lambda n=node: wal_files.attested(n.data), "the log is at rest")

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


class Repair(RepairTest):
    def test_one_node_gets_its_entry_back(self):
        self.start_cluster()
        node = self.cluster.others(self.cluster.wait_leader())[0]
        writer = self.write(300)
        self.rest()
        node.kill()
        path, before = self.flip(node, 0.5)
        node.start()
        node.wait_healthy()
        text = node.last_life()
        self.assertIn("damaged", text)
        self.assertIn(os.path.basename(path), text, "it names the damaged file")
        self.assertIn("offset", text)
        self.assertIn("repaired", text)
        self.cluster.wait_caught_up()
        self.assert_readable(writer, [node])
        self.assert_same_bytes(path, before)
        node.stop()
        node.start()
        node.wait_healthy()
        self.assertNotIn("damaged", node.last_life())

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

    def test_every_other_entry_is_lost_on_each_of_two_nodes(self):
        """And the third is gone: there is no entry that both of them hold."""
        self.start_cluster()
        writer = self.write(150)
        self.rest()
        for node in self.cluster.nodes:
            node.kill()
        pair = self.cluster.nodes[:2]
        for parity, node in enumerate(pair):
            path, _ = wal_files.last_segment(node.data)
            lost = [offset for offset, _, index in wal_files.entries(path) if index % 2 == parity]
            self.assertGreater(len(lost), 50)
            for offset in lost:
                wal_files.flip(path, offset + 5)
        for node in pair:
            node.start()
        for node in pair:
            node.wait_healthy()
        self.assert_readable(writer, pair)

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
            node.wait_healthy()
        self.cluster.wait_caught_up()
        self.assert_readable(writer, victims)
        for node in victims:
            node.stop()
            node.start()
            node.wait_healthy()
            self.assertNotIn("damaged", node.last_life())

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
        node.wait_healthy()
        self.assert_same_bytes(path, before)
        self.cluster.wait_leader([node, other])
        third.start()
        self.cluster.wait_caught_up()


class Alone(RepairTest):
    """A steady leader that lost the others still appends for a while."""

    def test_what_no_other_node_has_stops_the_node(self):
        self.start_cluster(steady=True)
        leader = self.cluster.wait_leader()
        writer = self.write(50)
        self.rest()
        others = self.cluster.others(leader)
        for node in others:
            node.kill()
        # What only the leader has: the session in which the client wants to write.
        path, _ = wal_files.last_segment(leader.data)
        held = len(wal_files.entries(path))

        def appended():
            self.cluster.run("put", "only", "here", "--timeout", "300ms", through=[leader])
            return len(wal_files.entries(path)) > held
        wait_until(appended, "the leader appended")
        wait_until(lambda: wal_files.attested(leader.data), "the log is at rest")
        leader.kill()
        wal_files.flip(path, wal_files.entries(path)[-1][0] + 48)
        before = wal_files.log_contents(leader.data)
        self.cluster.options = []
        for node in others:
            node.start()
        self.cluster.wait_leader(others)
        leader.start()
        self.assertEqual(leader.wait_exit(), 8)
        text = leader.last_life()
        self.assertIn("does not have it", text)
        self.assertIn(os.path.basename(path), text)
        self.assertTrue(wal_files.log_contents(leader.data) == before, "it changed what it refused")
        self.assert_readable(writer, others)


class BySnapshot(RepairTest):
    """The others have compacted what is missing: an old segment holds it, or their snapshots alone."""

    options = ("--snapshot-entries", "100", "--segment-size", "64KiB")

    def snapshots(self, node):
        """Indexes, the newest last."""
        names = os.listdir(os.path.join(node.data, "snapshots"))
        return sorted(int(name[:16], 16) for name in names if name.endswith(".snap"))

    def flip_snapshots(self, node, offset):
        where = os.path.join(node.data, "snapshots")
        for name in os.listdir(where):
            path = os.path.join(where, name)
            wal_files.flip(path, offset % os.path.getsize(path))

    def flip_entry(self, node, index):
        """Flips a byte of an entry that is in the log."""
        for path in wal_files.segments(node.data):
            for offset, _, at in wal_files.entries(path):
                if at == index:
                    wal_files.flip(path, offset + 4)
                    return
        self.fail(f"{node.name} has no entry {index}")

    def last_entry(self, node):
        return wal_files.entries(wal_files.last_segment(node.data)[0])[-1][2]

    def wait_snapshots_behind(self, nodes, index):
        for node in nodes:
            wait_until(lambda n=node: self.snapshots(n) and self.snapshots(n)[-1] > index + 30,
                       lambda n=node: f"{n.name}: {self.snapshots(n)}, wanted behind {index}")

    def others_compacted(self, on_disk):
        self.start_cluster()
        node = self.cluster.others(self.cluster.wait_leader())[0]
        writers = [self.write(150)]
        self.rest()
        node.kill()
        while self.last_entry(node) - 10 <= max(self.snapshots(node), default=0):
            node.start()  # its own snapshot would do instead
            node.wait_healthy()
            writers.append(self.write(30))
            self.rest()
            node.kill()
        lost = self.last_entry(node) - 10
        self.flip_entry(node, lost)
        others = self.cluster.others(node)
        writers.append(self.write(400))
        self.wait_snapshots_behind(others, lost)
        for other in [] if on_disk else others:
            self.flip_entry(other, lost)  # what is in memory of it is compacted
        node.start()
        node.wait_healthy()
        by_snapshot = "repair_by_snapshot" in node.last_life()
        self.assertEqual(by_snapshot, not on_disk)
        self.cluster.wait_caught_up()
        for writer in writers:
            self.assert_readable(writer, [node])
        node.stop()
        node.start()
        node.wait_healthy()
        self.assertNotIn("damaged", node.last_life())

    def test_what_others_have_on_disk_alone_is_read_there(self):
        self.others_compacted(on_disk=True)

    def test_others_went_on_and_compacted(self):
        self.others_compacted(on_disk=False)

    def test_what_stands_behind_the_snapshot_stays(self):
        """No node but the damaged one and another is there: what both acknowledged must not go."""
        self.start_cluster()
        writer = self.write(350)
        self.rest()
        node, other, _ = self.cluster.nodes
        for each in self.cluster.nodes:
            each.kill()
        last = self.last_entry(node)
        self.wait_snapshots_behind([other], 50)
        self.flip_entry(node, 50)
        self.flip_snapshots(node, 100)
        shutil.rmtree(os.path.join(node.data, "machine"))
        other.start()
        wait_until(other.status, f"{other.name} has read its log")
        self.flip_entry(other, 50)  # it has that in its snapshot alone now
        node.start()
        node.wait_healthy()
        life = node.last_life()
        self.assertIn("repair_by_snapshot", life)
        found = int(re.findall(r'"recovered","last_index":(\d+)', life)[-1])
        self.assertEqual(found, last, "the log goes on to where it ended")
        self.assert_readable(writer, [node])

    def fill(self):
        """More than the first segment holds, which `init` makes of 1 MiB."""
        done = self.cluster.run("bench", "put", "--clients", "8", "--ops", "100",
                                "--value-size", "16384", "--json")
        self.assertEqual(done.returncode, 0, done.stderr.decode())

    def all_snapshots_damaged(self, offset):
        self.start_cluster()
        first = self.write(100)
        self.fill()
        second = self.write(250)
        node = self.cluster.others(self.cluster.wait_leader())[0]
        wait_until(lambda: wal_files.segments(node.data)[0].endswith(f"{1:016x}.wal") is False,
                   "the log is cut")
        self.rest()
        node.kill()
        self.assertEqual(len(self.snapshots(node)), 2)
        self.flip_snapshots(node, offset)
        shutil.rmtree(os.path.join(node.data, "machine"))
        last = self.last_entry(node)
        node.start()
        node.wait_healthy()
        life = node.last_life()
        self.assertIn("no valid snapshot reaches it", life)
        self.assertIn("repair_by_snapshot", life)
        self.assertEqual(int(re.findall(r'"recovered","last_index":(\d+)', life)[-1]), last)
        self.cluster.wait_caught_up()
        for writer in (first, second):
            self.assert_readable(writer, [node])
        node.stop()
        node.start()
        node.wait_healthy()
        self.assertNotIn("damaged", node.last_life())

    def test_all_snapshots_damaged_in_the_middle(self):
        self.all_snapshots_damaged(-30)

    def test_all_snapshots_damaged_at_the_beginning(self):
        self.all_snapshots_damaged(60)


if __name__ == "__main__":
    unittest.main()
