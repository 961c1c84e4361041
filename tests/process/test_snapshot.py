"""Logs are cut behind snapshots, and who lacks what was cut gets a snapshot, while writes go on."""

import os
import shutil
import time
import unittest

import wal_files
import wire
from cluster import QUICK, ClusterTest, wait_until

SHIM = os.environ.get("CONCLAVE_FAULTY_DISK", "")
ENTRIES = 300
ROUNDS = 2 if QUICK else 5
OPTIONS = ["--snapshot-entries", str(ENTRIES), "--segment-size", "64KiB"]


def snapshots(node):
    names = os.listdir(os.path.join(node.data, "snapshots"))
    return sorted(name for name in names if name.endswith(".snap"))


def segments(node):
    return sorted(n for n in os.listdir(os.path.join(node.data, "wal")) if n.endswith(".wal"))


def damage(node, name):
    with open(os.path.join(node.data, "snapshots", name), "r+b") as file:
        file.seek(-30, os.SEEK_END)
        byte = file.read(1)
        file.seek(-30, os.SEEK_END)
        file.write(bytes([byte[0] ^ 1]))


class Snapshot(ClusterTest):
    options = OPTIONS

    def writer(self, nodes):
        writer = wire.Writer([node.client for node in nodes])
        self.addCleanup(writer.close)
        return writer

    def write(self, writer, more):
        before = len(writer.acked)
        done = writer.run_until(lambda w: len(w.acked) >= before + more)
        self.assertTrue(done, f"only {len(writer.acked) - before} of {more} writes in time")

    def fill(self):
        """More than the first segment holds, which `init` makes of the default size."""
        done = self.cluster.run("bench", "put", "--clients", "8", "--ops", "1200",
                                "--value-size", "16384", "--json")
        self.assertEqual(done.returncode, 0, done.stderr.decode())

    def wait_cut(self, nodes):
        for node in nodes:
            wait_until(lambda: len(snapshots(node)) == 2, lambda: f"{node.name}: {snapshots(node)}")
            wait_until(lambda: segments(node)[0] != f"{1:016x}.wal",
                       lambda: f"{node.name}: {segments(node)}")

    def applied(self, node):
        status = node.status()
        return status["applied"] if status else 0

    def wait_caught_up(self, node):
        leader = self.cluster.wait_leader()
        target = self.applied(leader)
        wait_until(lambda: self.applied(node) >= target,
                   lambda: f"{node.name} is at {self.applied(node)} of {target}")

    def wait_none_due(self, node):
        """Has applied everything and taken the snapshots that this makes due."""
        self.wait_caught_up(node)
        wait_until(lambda: int(snapshots(node)[-1][:16], 16) + ENTRIES > self.applied(node),
                   lambda: f"{node.name} is at {self.applied(node)}: {snapshots(node)}")

    def assert_all_there(self, acked):
        for node in self.cluster.nodes:
            found = set(self.cluster.keys(os.path.commonprefix(list(acked)), through=[node]))
            self.assertEqual(sorted(set(acked) - found)[:5], [], node.name)

    def start(self, steady=False):
        self.start_cluster(steady)

    def behind(self, writer):
        """Writes until a follower that was killed lacks what the others no longer have."""
        leader = self.cluster.wait_leader()
        victim = next(n for n in self.cluster.nodes if n is not leader)
        victim.kill()
        last = wal_files.entries(wal_files.last_segment(victim.data)[0])[-1][2]

        def cut(node):
            """The log goes on in memory a quarter of this before its snapshot; that the one before the
            newest is taken is known by now."""
            taken = [int(name[:16], 16) for name in snapshots(node)]
            return len(taken) > 1 and taken[-2] > last + ENTRIES // 4

        while not all(cut(node) for node in self.cluster.others(victim)):
            self.write(writer, ENTRIES + 20)
        return victim

    def test_log_is_cut_and_restart_needs_no_more(self):
        self.start()
        writer = self.writer(self.cluster.nodes)
        self.write(writer, ENTRIES)
        self.fill()
        self.write(writer, 3 * ENTRIES)
        self.wait_cut(self.cluster.nodes)
        for node in self.cluster.nodes:
            node.kill()
        # Without its store, which is a cache, a node begins with its snapshot.
        shutil.rmtree(os.path.join(self.cluster.nodes[0].data, "machine"))
        for node in self.cluster.nodes:
            node.start()
        first = self.cluster.nodes[0]
        wait_until(lambda: "restored" in first.log_text(), "it begins with its snapshot")
        self.cluster.wait_leader()  # the two others may have one before
        self.assert_all_there(writer.acked)
        self.write(writer, 50)

    def test_node_that_was_down_comes_back_by_a_snapshot(self):
        self.start()
        writer = self.writer(self.cluster.nodes)
        for _ in range(3):
            self.write(writer, ENTRIES)
        victim = self.behind(writer)
        victim.start()
        self.write(writer, 100)  # while it is given the snapshot
        self.wait_caught_up(victim)
        self.assertIn("snapshot_installed", victim.log_text())
        self.assertIn("restored", victim.log_text())
        self.write(writer, 100)
        self.assert_all_there(writer.acked)
        victim.kill()
        victim.start()
        self.wait_caught_up(victim)
        self.assert_all_there(writer.acked)

    @unittest.skipUnless(SHIM, "no shim in this build")
    def test_one_that_the_disk_holds_up_delays_neither_heartbeats_nor_writes(self):
        self.start()
        node = self.cluster.wait_leader()
        trigger = os.path.join(self.cluster.dir, "trigger")
        node.stop()
        node.start(env={"LD_PRELOAD": SHIM, "FAULTY_DISK_TRIGGER": trigger,
                        "FAULTY_DISK_UNDER": os.path.join(node.data, "snapshots")})
        node.wait_healthy()
        writer = self.writer(self.cluster.nodes)
        with open(trigger, "w", encoding="utf-8") as file:
            file.write("stall")
        before = snapshots(node)

        def led_on():
            """Whether it led for six election timeouts: on a slow machine others may come before it."""
            self.cluster.run("leader", "transfer", node.name)
            term = node.status()["term"]
            self.write(writer, 2 * ENTRIES)
            self.assertTrue(os.listdir(os.path.join(node.data, "snapshots")), "it has begun one")
            end = time.monotonic() + 3
            writer.run_until(lambda w: time.monotonic() > end)
            self.write(writer, ENTRIES)
            status = node.status()
            return status["role"] == "leader" and status["term"] == term
        wait_until(led_on, "it leads on while a snapshot waits for the disk")
        self.assertEqual(snapshots(node), before, "none can have become durable")
        os.unlink(trigger)
        wait_until(lambda: len(snapshots(node)) == 2, lambda: f"{node.name}: {snapshots(node)}")
        self.wait_caught_up(node)
        self.assert_all_there(writer.acked)

    def test_kills_in_the_middle_lose_nothing(self):
        self.start()
        writer = self.writer(self.cluster.nodes)
        for _ in range(3):
            self.write(writer, ENTRIES)
        for number in range(ROUNDS):
            victim = self.behind(writer)
            victim.start()
            time.sleep(0.05 + 0.15 * number)  # somewhere between hello and caught up
            victim.kill()
            self.write(writer, 20)
            victim.start()
            self.wait_caught_up(victim)
        self.assert_all_there(writer.acked)

    def test_damaged_snapshot_is_set_aside(self):
        self.start()
        writer = self.writer(self.cluster.nodes)
        self.write(writer, ENTRIES)
        self.fill()
        self.write(writer, 3 * ENTRIES)
        self.wait_cut(self.cluster.nodes)
        victim = self.cluster.nodes[1]
        victim.kill()
        shutil.rmtree(os.path.join(victim.data, "machine"))
        newest = snapshots(victim)[-1]
        damage(victim, newest)
        victim.start()
        self.wait_caught_up(victim)
        self.assertIn("snapshot_damaged", victim.log_text())
        self.assertTrue(os.path.exists(os.path.join(victim.data, "snapshots",
                                                    newest.replace(".snap", ".bad"))))
        self.assert_all_there(writer.acked)

    def test_leader_with_a_damaged_snapshot_takes_another_for_who_needs_one(self):
        self.start(steady=True)
        writer = self.writer(self.cluster.nodes)
        for _ in range(3):
            self.write(writer, ENTRIES)
        victim = self.behind(writer)
        others = [node for node in self.cluster.nodes if node is not victim]
        for node in others:
            self.wait_none_due(node)
            damage(node, snapshots(node)[-1])
        victim.start()  # and nobody writes, so that no other snapshot is due
        self.wait_caught_up(victim)
        self.assertIn("snapshot_installed", victim.log_text())
        self.assertTrue(any("snapshot_damaged" in node.log_text() for node in others))
        self.assert_all_there(writer.acked)


if __name__ == "__main__":
    unittest.main()
