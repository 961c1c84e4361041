"""Most of the log is on disk alone: who was away gets it from there, or a snapshot where it is damaged."""

import os
import unittest

import cluster
from cluster import ClusterTest, wait_until

MIB = 1 << 20
# What is written while a node is away: many times what stays in memory, in several segments.
WRITES, VALUE = 800, 16384
OPTIONS = ["--log-memory", "1MiB", "--segment-size", "2MiB", "--snapshot-bytes", "1GiB"]


def segments(node):
    directory = os.path.join(node.data, "wal")
    return [os.path.join(directory, n) for n in sorted(os.listdir(directory)) if n.endswith(".wal")]


class LogMemory(ClusterTest):
    options = OPTIONS

    def leave_behind(self):
        """Returns the leader, and a node that is away while the others write."""
        self.start_cluster()
        leader = self.cluster.wait_leader()
        away = self.cluster.others(leader)[0]
        for i in range(20):
            self.cluster.put(f"before{i}", f"{i}".encode())
        self.cluster.wait_caught_up()
        away.kill()
        up = self.cluster.others(away)
        done = self.cluster.run("bench", "put", "--clients", "16", "--ops", WRITES, "--value-size",
                                VALUE, "--json", through=up, timeout=10 * cluster.DEADLINE)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        for i in range(20):
            self.cluster.put(f"away{i}", f"{i}".encode(), through=up)
        return self.cluster.wait_leader(among=up), away

    def assert_all_there(self, node):
        """As the node itself has it."""
        self.cluster.wait_caught_up()
        for prefix in ("before", "away"):
            self.assertEqual(len(self.cluster.keys(prefix, through=[node])), 20)
        for i in range(0, 20, 7):
            self.assertEqual(self.cluster.get(f"away{i}", through=[node]), f"{i}".encode())

    def test_who_was_away_gets_it_from_the_disk(self):
        _, away = self.leave_behind()
        away.start()
        self.assert_all_there(away)
        for node in self.cluster.nodes:
            self.assertEqual(node.events("snapshot_installed") + node.events("not_read"), [])

    def test_what_cannot_be_read_is_replaced_by_a_snapshot(self):
        leader, away = self.leave_behind()
        with open(segments(leader)[3], "r+b") as file:
            file.seek(MIB)
            file.write(b"\x5a" * 4096)
        away.start()
        wait_until(lambda: away.events("snapshot_installed"), "no snapshot came")
        self.assert_all_there(away)
        self.assertGreaterEqual(len(leader.events("log_unreadable")), 1)
        self.assertEqual(self.cluster.wait_leader().name, leader.name)
        # A start finds the damage, unless nothing needs that part any more.
        leader.stop()
        leader.start()
        self.assert_all_there(leader)


if __name__ == "__main__":
    unittest.main()
