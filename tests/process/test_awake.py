"""Nodes with much to do have idle processors stay awake, and let them halt again when they rest."""

import os
import unittest

from cluster import ClusterTest, wait_until

DEVICE = "/dev/cpu_dma_latency"
POSSIBLE = os.access(DEVICE, os.W_OK)


def asks(node):
    """Whether its process asks the system for that."""
    directory = f"/proc/{node.process.pid}/fd"
    for entry in os.listdir(directory):
        try:
            if os.readlink(os.path.join(directory, entry)) == DEVICE:
                return True
        except FileNotFoundError:
            continue
    return False


class Awake(ClusterTest):
    def load(self):
        done = self.cluster.run("bench", "put", "--clients", "16", "--ops", "20000", "--json",
                                through=self.cluster.nodes)
        self.assertEqual(done.returncode, 0, done.stderr.decode())

    def loaded(self):
        """Whether all of them ask behind a load, which they do for a second more."""
        self.load()
        return all(asks(node) for node in self.cluster.nodes)

    @unittest.skipUnless(POSSIBLE, f"{DEVICE} may not be written here")
    def test_under_load_and_no_longer(self):
        self.start_cluster(steady=True)
        nodes = self.cluster.nodes
        self.assertEqual([node.name for node in nodes if asks(node)], [], "at rest")
        wait_until(self.loaded, "all of them ask")
        wait_until(lambda: not any(asks(node) for node in nodes), "all of them rest")

    def test_not_if_it_is_told_not_to(self):
        self.options = ("--keep-awake", "false")
        self.start_cluster(steady=True)
        self.load()
        self.assertEqual([node.name for node in self.cluster.nodes if asks(node)], [])

    def test_a_value_that_is_none_is_refused(self):
        self.start_cluster()
        node = self.cluster.nodes[0]
        node.stop()
        node.start("--keep-awake", "perhaps")
        self.assertEqual(node.wait_exit(), 2)
        self.assertIn("keep-awake", node.last_life())
