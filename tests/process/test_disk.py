"""Disks that lie, fail and fill up; directories that are not what they should be."""

import os
import shutil
import signal
import unittest

import cluster
import wal_files
import wire
from cluster import ClusterTest, wait_until

SHIM = os.environ.get("CONCLAVE_FAULTY_DISK", "")


class Disk(ClusterTest):
    def write(self, count, writer=None, nodes=None):
        if writer is None:
            writer = wire.Writer([n.client for n in nodes or self.cluster.nodes])
            self.addCleanup(writer.close)
        before = len(writer.acked)
        self.assertTrue(writer.run_until(lambda w: len(w.acked) >= before + count),
                        f"{len(writer.acked) - before} of {count} writes in time")
        return writer

    def assert_readable(self, writer, through=None):
        found = set(self.cluster.keys(writer.prefix.decode(), through=through))
        missing = set(writer.acked) - found
        self.assertEqual(sorted(missing)[:5], [], f"{len(missing)} acknowledged keys are missing")

    def follower(self):
        leader = self.cluster.wait_leader()
        return self.cluster.others(leader)[0]

    # --- Damage

    def test_damage_beyond_repair_is_refused_and_changes_nothing(self):
        """The first segment's header and what stands behind it: nothing says what that was. (What can
        be put back is put back: test_repair.py.)"""
        self.start_cluster()
        node = self.follower()
        writer = self.write(300)
        self.cluster.wait_caught_up()
        node.kill()
        path, used = wal_files.last_segment(node.data)
        self.assertGreater(used, 2 * wal_files.HEADER_BYTES)
        wal_files.overwrite(path, 0, bytes(2 * wal_files.HEADER_BYTES))
        before = wal_files.log_contents(node.data)
        node.start()
        self.assertEqual(node.wait_exit(), 8)
        text = node.last_life()
        self.assertIn(os.path.basename(path), text, "it names the damaged file")
        self.assertIn("offset", text.lower())
        self.assertTrue(wal_files.log_contents(node.data) == before, "it changed what it refused")
        self.write(100, writer)  # the others go on
        self.assert_readable(writer)

    def test_torn_tail_after_a_kill_boots_and_catches_up(self):
        """What power loss leaves of a write that was never synced, so never acknowledged."""
        self.start_cluster()
        node = self.follower()
        writer = self.write(200)
        for tear in ("half a record", "half an attestation", "a shorter file"):
            self.write(50, writer)
            # Idle for a moment, so that the last thing in the log is the attestation.
            self.cluster.wait_caught_up()
            wait_until(lambda: wal_files.attested(node.data), "the log is at rest")
            node.kill()
            path, used = wal_files.last_segment(node.data)
            if tear == "half a record":
                wal_files.overwrite(path, (used + 7) // 8 * 8, os.urandom(60))
            elif tear == "half an attestation":
                wal_files.overwrite(path, used - 5, bytes(5))
            else:
                os.truncate(path, used - 3)
            node.start()
            node.wait_healthy()
            self.write(50, writer)
        self.cluster.wait_caught_up()
        self.assert_readable(writer, [node])

    def test_damaged_vote_is_refused(self):
        self.start_cluster()
        node = self.follower()
        node.stop()
        path = os.path.join(node.data, "vote")
        size = os.path.getsize(path)
        with open(path, "r+b") as file:
            file.write(b"\xa5" * size)
        node.start()
        self.assertEqual(node.wait_exit(), 8)
        self.assertIn("vote", node.last_life())

    def test_damaged_identity_is_refused(self):
        self.start_cluster()
        node = self.follower()
        node.stop()
        wal_files.flip(os.path.join(node.data, "identity"), 60)
        node.start()
        self.assertEqual(node.wait_exit(), 8)

    # --- Whose directory is it

    def test_log_of_another_node_is_refused(self):
        self.start_cluster()
        first, second = self.cluster.nodes[:2]
        first.stop()
        second.stop()
        shutil.rmtree(os.path.join(first.data, "wal"))
        shutil.copytree(os.path.join(second.data, "wal"), os.path.join(first.data, "wal"))
        first.start()
        self.assertIn(first.wait_exit(), (2, 8))
        second.start()
        self.cluster.wait_leader(self.cluster.others(first))

    def test_directory_of_another_cluster_joins_nothing(self):
        self.start_cluster(steady=True)
        writer = self.write(50)
        node = self.follower()
        self.assertEqual(node.stop(), 0)
        other = cluster.Cluster(3, token="another")
        with other:
            for mine, theirs in zip(self.cluster.nodes, other.nodes):
                theirs.peer_port, theirs.client_port = mine.peer_port, mine.client_port
            stranger = other.node(node.name)
            other.init(stranger)
            stranger.start()
            before = self.cluster.status(self.cluster.others(node))
            self.write(200, writer, self.cluster.others(node))
            self.assertNotEqual(other.status([stranger])["cluster"], before["cluster"])
            self.assertLessEqual(stranger.view()["commit"], 1)
            after = self.cluster.status(self.cluster.others(node))
            self.assertEqual(after["leader"], before["leader"])
            terms = {n["name"]: n["term"] for n in before["nodes"]}
            for view in after["nodes"]:
                if view["name"] != node.name:
                    self.assertEqual(view["term"], terms[view["name"]], "a stranger moved the term")
            stranger.stop()
        node.start()
        self.cluster.wait_caught_up()
        self.assert_readable(writer)

    def test_second_process_on_a_directory_is_refused(self):
        self.start_cluster()
        node = self.cluster.nodes[0]
        done = cluster.run("serve", "--data", node.data)
        self.assert_sentence(done, 2, "process", str(node.process.pid))
        self.assertTrue(node.running)

    def test_init_over_a_node_is_refused(self):
        self.start_cluster()
        node = self.cluster.nodes[0]
        done = cluster.run("init", "--data", node.data, "--name", node.name, "--members",
                           self.cluster.members)
        self.assert_sentence(done, 2, node.data)

    def test_serve_without_init_is_refused(self):
        with cluster.Cluster(1) as empty:
            os.makedirs(empty.nodes[0].data)
            done = cluster.run("serve", "--data", empty.nodes[0].data)
            self.assert_sentence(done, 2 if done.returncode == 2 else 1, "init")
            done = cluster.run("serve", "--data", empty.nodes[0].data + "/not/there")
            self.assertIn(done.returncode, (1, 2))

    @unittest.skipIf(os.geteuid() == 0, "root may write everywhere")
    def test_read_only_directory_is_refused(self):
        self.start_cluster()
        node = self.follower()
        node.stop()
        for where, folders, names in os.walk(node.data):
            for name in folders + names:
                os.chmod(os.path.join(where, name), 0o500)
        os.chmod(node.data, 0o500)
        node.start()
        self.assertIn(node.wait_exit(), (2, 8))

    # --- Disks that fail. The shim is loaded into one node and acts once its trigger file is there.

    def start_with_shim(self):
        if not SHIM:
            self.skipTest("no shim in this build")
        self.start_cluster()
        self.trigger = os.path.join(self.cluster.dir, "trigger")

    def shimmed(self, node):
        node.stop()
        self.start_with_shim_in(node)
        node.wait_healthy()

    def start_with_shim_in(self, node):
        node.start(env={"LD_PRELOAD": SHIM, "FAULTY_DISK_TRIGGER": self.trigger,
                        "FAULTY_DISK_UNDER": node.data})

    def start_without_room(self, node):
        """The state machine's disk is full when the node starts: it is there, says so, and waits."""
        self.break_disk(node, "store")
        self.start_with_shim_in(node)
        wait_until(lambda: '"no_room"' in node.last_life(), "its start waits for room")
        wait_until(lambda: (node.status() or {}).get("disk_full"), "it says so")
        self.assertNotIn('"machine_opened"', node.last_life())

    def break_disk(self, node, fault):
        with open(self.trigger + ".new", "w", encoding="utf-8") as file:
            file.write(fault)
        os.rename(self.trigger + ".new", self.trigger)

    def fail_disk(self, node, fault, codes):
        """One node's disk fails under load: it stops, the rest goes on, nothing is lost."""
        writer = self.write(200)
        self.break_disk(node, fault)
        # Written to whoever takes it, until the node is gone.
        self.assertTrue(writer.run_until(lambda w: not node.running), f"{node.name} did not stop")
        self.assertIn(node.wait_exit(), codes)
        self.write(200, writer)
        self.assert_readable(writer, self.cluster.others(node))
        os.unlink(self.trigger)
        node.start()
        self.cluster.wait_caught_up()
        self.assert_readable(writer, [node])

    def test_failed_fsync_of_a_follower_stops_it_alone(self):
        self.start_with_shim()
        node = self.follower()
        self.shimmed(node)
        self.cluster.wait_leader()
        self.fail_disk(node, "sync", (8,))
        self.assertIn("fatal", node.log_text().lower())

    def test_failed_fsync_of_the_leader_stops_it_alone(self):
        self.start_with_shim()
        leader = self.cluster.wait_leader()
        self.shimmed(leader)

        def leads_again():
            self.cluster.run("leader", "transfer", leader.name)
            return self.cluster.leader() is leader
        wait_until(leads_again, "it leads again")
        self.fail_disk(leader, "sync", (8,))

    def test_full_disk_of_the_only_node_refuses_writes_and_takes_the_rest(self):
        if not SHIM:
            self.skipTest("no shim in this build")
        self.nodes = 1
        self.start_with_shim()
        node = self.cluster.nodes[0]
        self.cluster.put("kept", b"value")
        self.cluster.put("goes", b"value")
        self.break_disk(node, "full")
        self.shimmed(node)
        wait_until(lambda: '"disk_full"' in node.log_text(), "it sees that there is no room")
        done = self.assert_ends(7, "put", "new", "value", "--timeout", "1s")
        self.assert_sentence(done, 7, "space")
        self.assertEqual(self.cluster.get("kept"), b"value")
        self.assertEqual(self.cluster.run("del", "goes").returncode, 0)
        self.assertIsNone(self.cluster.get("goes"))
        self.assertIsNone(self.cluster.get("new"))
        os.unlink(self.trigger)
        # Nobody does anything: it finds the room by itself, and a client that waits is served.
        self.cluster.put("new", b"value")
        self.assertIn('"disk_has_room"', node.log_text())

    def test_full_disk_of_the_leader_hands_the_lead_over_and_heals(self):
        self.options = ["--segment-size", "64KiB"]
        self.start_with_shim()
        full = self.cluster.wait_leader()
        others = self.cluster.others(full)
        self.break_disk(full, "full")
        self.shimmed(full)
        wait_until(lambda: '"disk_full"' in full.log_text(), "it sees that there is no room")
        # Whoever leads: asked to, the full one leads for a moment, and others take over from it.
        if self.cluster.wait_leader() is not full:
            self.cluster.run("leader", "transfer", full.name, "--timeout", "5s")
        wait_until(lambda: self.cluster.leader() in others, "another one leads")
        writer = self.write(300)
        # More than its last segment holds: it waits, and neither ends nor holds the others up.
        done = self.cluster.run("bench", "put", "--clients", "8", "--ops", "1400", "--value-size",
                                "16384", "--json")
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        wait_until(lambda: '"no_room"' in full.log_text(), "its log waits for room")
        self.assertTrue(full.running)
        self.write(100, writer)
        os.unlink(self.trigger)
        self.cluster.wait_caught_up()
        self.assert_readable(writer, [full])

    def fill_store(self, through=None):
        """Writes until the store would have to grow, and cannot: the node refuses, and is there."""
        value = os.urandom(500000)
        taken = []
        for number in range(200):
            done = self.cluster.run("put", f"large{number:03}", "-", "--timeout", "2s", data=value,
                                    through=through)
            if done.returncode == 0:
                taken.append(number)
            elif done.returncode == 7:
                return taken
        self.fail("nothing was refused")

    def test_full_store_of_the_only_node_waits_and_heals(self):
        self.nodes = 1
        self.start_with_shim()
        node = self.cluster.nodes[0]
        self.cluster.put("kept", b"value")
        self.cluster.put("goes", b"value")
        self.shimmed(node)
        self.break_disk(node, "store")
        taken = self.fill_store()
        self.assertIn('"little_room"', node.log_text())
        self.assertNotIn('"no_room"', node.log_text())
        self.assertTrue(node.view()["disk_full"])
        # What is left is for those who delete, and for leases.
        self.assertLessEqual({b"large%03d" % n for n in taken}, set(self.cluster.keys("large")))
        self.assertEqual(self.cluster.run("del", "goes").returncode, 0)
        self.assertEqual(self.cluster.run("txn", "--if", "exists(kept)", "--then", "del none").returncode, 0)
        self.assert_ends(7, "put", "new", "x", "--timeout", "1s")
        # More at once than is left for it: it waits, and nobody who needs it is answered.
        self.cluster.run("del", "--prefix", "large", "--yes", "--timeout", "1s")
        wait_until(lambda: '"no_room"' in node.log_text(), "it waits for room")
        done = self.cluster.run("get", "kept", "--timeout", "1s")
        self.assertNotEqual(done.returncode, 1, "what may not be applied is not answered")
        self.assert_ends(7, "del", "kept", "--timeout", "1s")
        self.assertTrue(node.running)
        os.unlink(self.trigger)
        # Nobody does anything: it finds the room by itself, and what waited is applied.
        self.cluster.put("new", b"value")
        self.assertEqual(self.cluster.get("kept"), b"value")
        self.assertEqual(self.cluster.keys("large"), [])
        self.assertIn('"has_room"', node.log_text())
        wait_until(lambda: '"enough_room"' in node.log_text(), "it says so")
        wait_until(lambda: not node.view()["disk_full"], "status, too")
        self.assertEqual(node.stop(), 0)
        # Without room at a start nobody can look at what there is, and nothing of it is lost.
        self.start_without_room(node)
        self.assert_ends(7, "put", "kept", "another", "--timeout", "1s")
        os.unlink(self.trigger)
        self.assertEqual(self.cluster.get("kept"), b"value")
        self.assertIn('"has_room"', node.last_life())
        self.assertGreater(node.events("machine_opened")[-1]["applied"], 0)

    def test_full_store_of_the_leader_hands_the_lead_over_and_heals(self):
        self.start_with_shim()
        full = self.cluster.wait_leader()
        others = self.cluster.others(full)
        self.shimmed(full)
        self.cluster.run("leader", "transfer", full.name, "--timeout", "5s")
        self.break_disk(full, "store")
        writer = self.write(50)
        value = os.urandom(500000)
        for sign in ('"little_room"', '"no_room"'):
            for number in range(200):
                if sign in full.log_text():
                    break
                self.cluster.put(f"large{number:03}", value)
            self.assertIn(sign, full.log_text())
            wait_until(lambda: self.cluster.leader() in others, "another one leads")
        self.write(100, writer)
        self.assertTrue(full.running)
        os.unlink(self.trigger)
        self.cluster.wait_caught_up()
        self.assert_readable(writer, [full])

    def overtake(self, node):
        """More than is sent to it before it answers."""
        done = self.cluster.run("bench", "put", "--clients", "8", "--ops", "1400", "--value-size",
                                "16384", "--json",
                                through=self.cluster.others(node))
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        sent = self.cluster.wait_leader().status()["commit"]

        def compacted():  # up to the older one of its snapshots, which more has to be written for
            leader = self.cluster.wait_leader()
            if self.snapshots(leader)[0] > sent:
                return True
            done = self.cluster.run("bench", "put", "--clients", "8", "--ops", "100", "--json",
                                    through=self.cluster.others(node))
            self.assertEqual(done.returncode, 0, done.stderr.decode())
            return False
        wait_until(compacted, "what was sent is compacted")

    def snapshots(self, node):
        """Where those that it has end, the oldest first."""
        names = os.listdir(os.path.join(node.data, "snapshots"))
        return sorted(int(name[:16], 16) for name in names if name.endswith(".snap")) or [0]

    def test_full_store_that_is_to_become_a_snapshot_waits_and_heals(self):
        self.options = ["--snapshot-entries", "100"]
        self.start_with_shim()
        full = self.follower()
        self.shimmed(full)
        writer = self.write(50)
        self.cluster.wait_caught_up()
        full.pause()
        self.overtake(full)
        self.break_disk(full, "store")
        full.resume()
        wait_until(lambda: '"no_room"' in full.log_text(), "the installation waits for room")
        wait_until(lambda: (full.status() or {}).get("disk_full"), "it says so")
        # It has a vote and a log all the same: with one of the others it is a majority.
        self.cluster.others(self.cluster.wait_leader(), full)[0].kill()
        self.write(50, writer)
        self.assertTrue(full.running)
        self.assertNotIn('"restored"', full.last_life())
        # Ended while it waits and started again, it lacks the room even for its store.
        full.kill()
        self.start_without_room(full)
        self.write(50, writer)
        # Behind what is committed now and waits comes another snapshot.
        for node in self.cluster.nodes:
            if not node.running:
                node.start()
                node.wait_healthy()
        full.pause()
        self.overtake(full)
        full.resume()
        wait_until(lambda: '"snapshot_installed"' in full.last_life(), "it gets another snapshot")
        self.assertTrue(full.running)
        self.assertNotIn('"restored"', full.last_life())
        os.unlink(self.trigger)
        self.cluster.wait_caught_up()
        self.assert_readable(writer, [full])
        self.assertIn('"has_room"', full.last_life())
        self.assertEqual(full.stop(), 0)
        # Its store holds more than the snapshot behind which its log begins. With what is written before
        # it is heard of it could lack what the leader has compacted by then.
        self.start_without_room(full)
        wait_until(lambda: '"event":"leader"' in full.last_life(), "it follows")
        os.unlink(self.trigger)
        self.write(50, writer)
        self.cluster.wait_caught_up()
        self.assert_readable(writer, [full])
        self.assertNotIn('"restored"', full.last_life())
        self.assertEqual(full.stop(), 0)

    def test_disk_that_fails_writes_for_want_of_space_stops_the_node(self):
        self.start_with_shim()
        node = self.follower()
        self.shimmed(node)
        self.cluster.wait_leader()
        self.fail_disk(node, "space", (7, 8))


if __name__ == "__main__":
    unittest.main()
