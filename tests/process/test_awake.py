"""Nodes with much to do have idle processors stay awake, and let them halt again when they rest."""

import os
import subprocess
import unittest

import cluster
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
    def begin_load(self):
        endpoints = ",".join(node.client for node in self.cluster.nodes)
        load = subprocess.Popen([cluster.PROGRAM, "bench", "put", "--clients", "16", "--duration", "300s",
                                 "--target", endpoints], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, env=cluster.clean_environment())
        self.addCleanup(load.wait)
        self.addCleanup(load.kill)
        return load

    def end_load(self, load):
        self.assertIsNone(load.poll(), "the load goes on")
        load.kill()
        load.wait()

    @unittest.skipUnless(POSSIBLE, f"{DEVICE} may not be written here")
    def test_under_load_and_no_longer(self):
        self.start_cluster(steady=True)
        nodes = self.cluster.nodes
        wait_until(lambda: not any(asks(node) for node in nodes), "all of them rest")
        load = self.begin_load()
        asked = set()

        def all_asked():
            asked.update(node.name for node in nodes if asks(node))
            return len(asked) == len(nodes)
        wait_until(all_asked, lambda: f"all of them ask: {asked} did")
        self.end_load(load)
        wait_until(lambda: not any(asks(node) for node in nodes), "all of them rest again")

    @unittest.skipUnless(POSSIBLE, f"{DEVICE} may not be written here")
    def test_not_one_that_is_told_not_to(self):
        self.start_cluster(steady=True)
        silent = self.cluster.wait_leader()
        silent.stop()
        silent.start("--keep-awake", "false")
        silent.wait_healthy()
        others = self.cluster.others(silent)
        load = self.begin_load()
        wait_until(lambda: any(asks(node) for node in others), "another one asks")
        before = silent.view()["applied"]
        wait_until(lambda: silent.view()["applied"] > before + 10000, "it has as much to do")
        self.assertFalse(asks(silent))
        self.end_load(load)

    def test_a_value_that_is_none_is_refused(self):
        self.start_cluster()
        node = self.cluster.nodes[0]
        node.stop()
        node.start("--keep-awake", "perhaps")
        self.assertEqual(node.wait_exit(), 2)
        self.assertIn("keep-awake", node.last_life())
