"""A short life of three nodes, each under valgrind: start, write, read, lose the leader, stop."""

import os
import unittest

from cluster import Cluster

WRAPPER = ["valgrind", "-q", "--error-exitcode=97", "--leak-check=full",
           "--errors-for-leak-kinds=definite", "--show-leak-kinds=definite"]


class UnderValgrind(unittest.TestCase):
    def test_a_short_life_without_an_error(self):
        options = ["--election-timeout", "3s", "--heartbeat", "500ms"]
        with Cluster(3, options) as cluster:
            for node in cluster.nodes:
                cluster.init(node)
                node.start(wrapper=WRAPPER)
            leader = cluster.wait_leader(timeout=120)
            for i in range(20):
                cluster.put(f"k{i}", os.urandom(100 * i))
            cluster.put("large", bytes(1 << 19))
            self.assertEqual(len(cluster.keys("k")), 20)
            self.assertEqual(leader.stop(120), 0, leader.log_text()[-5000:])
            cluster.wait_leader(cluster.others(leader), timeout=120)
            cluster.put("after", b"v", through=cluster.others(leader))
            leader.start(wrapper=WRAPPER)
            cluster.wait_caught_up(timeout=120)
            for node in cluster.nodes:
                self.assertEqual(node.stop(120), 0, node.log_text()[-5000:])


if __name__ == "__main__":
    unittest.main()
