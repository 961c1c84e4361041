"""The continuous audit: a node whose state was altered behind its back ends, and the others say which."""

import os
import shutil
import subprocess
import unittest

import cluster
from cluster import ClusterTest, wait_until

ALTER_STORE = os.environ["CONCLAVE_ALTER_STORE"]


class Audit(ClusterTest):
    def start(self, steady=True):
        self.start_cluster(steady)
        self.cluster.put("watched", b"value")
        self.cluster.put("other", b"value")
        self.cluster.wait_caught_up()

    def altered(self, node, what):
        """The node runs again, with one byte of its store changed while it was down."""
        node.stop()
        done = subprocess.run([ALTER_STORE, os.path.join(node.data, "machine"), "watched", what],
                              stdin=subprocess.DEVNULL, capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        node.start()
        node.wait_healthy()
        self.cluster.wait_caught_up()

    def assert_stops(self, node):
        self.assertEqual(node.wait_exit(), 8)
        text = node.last_life()
        self.assertIn("differs from what a majority", text)
        self.assertIn("machine directory", text, "it says what to do")

    def follower(self):
        return self.cluster.others(self.cluster.wait_leader())[0]

    def test_healthy_nodes_agree_up_to_what_they_applied(self):
        self.start()
        done = self.cluster.run("bench", "put", "--clients", "4", "--ops", "3000", "--json")
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        self.cluster.wait_caught_up()
        applied = self.cluster.nodes[0].view()["applied"]

        def audited():
            return all((n.status() or {"audited": 0})["audited"] >= applied
                       for n in self.cluster.nodes)
        wait_until(audited, "every node found that all applied the same")
        for node in self.cluster.nodes:
            self.assertIsNone(node.view()["deviating"])
            self.assertNotIn("audit_", node.log_text())

    def test_an_altered_revision_shows_with_the_next_conditional_command(self):
        self.start()
        node = self.follower()
        others = self.cluster.others(node)
        self.altered(node, "revision")
        done = self.cluster.run("put", "watched", "new", "--if-rev", "999999", through=others)
        self.assertEqual(done.returncode, 1, done.stderr.decode())
        self.assert_stops(node)
        self.cluster.put("goes", b"on", through=others)

        # It says so again until its state is made anew, and others know it, too: the first time it may
        # have ended before its last word was sent.
        def told():
            node.start()
            self.assert_stops(node)
            return [n for n in others if n.view()["deviating"] == node.name]
        for other in wait_until(told, "others say who deviates"):
            self.assertIn(node.name, [event["peer"] for event in other.events("audit_deviates")])
        shutil.rmtree(os.path.join(node.data, "machine"))
        node.start()
        node.wait_healthy()
        self.cluster.wait_caught_up()
        applied = node.view()["applied"]
        wait_until(lambda: (node.status() or {"audited": 0})["audited"] >= applied,
                   f"{node.name} agrees with the others")
        self.assertEqual(self.cluster.get("watched", through=[node]), b"value")

        def forgotten():
            return all(n.view()["deviating"] is None for n in self.cluster.nodes)
        wait_until(forgotten, "nobody says any more that it deviates")

    def test_an_altered_value_shows_when_it_is_overwritten(self):
        self.start()
        node = self.follower()
        self.altered(node, "value")
        self.cluster.put("other", b"new")
        self.cluster.wait_caught_up()
        self.cluster.put("watched", b"new", through=self.cluster.others(node))
        self.assert_stops(node)

    def test_a_leader_that_deviates_ends_and_another_one_leads(self):
        self.start(steady=False)
        leader = self.cluster.wait_leader()
        others = self.cluster.others(leader)
        self.altered(leader, "value")
        def leads_again():
            """It lost the lead when it was stopped."""
            self.cluster.run("leader", "transfer", leader.name)
            return self.cluster.leader() is leader
        wait_until(leads_again, "it leads again")
        self.cluster.run("put", "watched", "new")
        self.assert_stops(leader)
        self.cluster.wait_leader(others)
        self.cluster.put("goes", b"on", through=others)

    def test_two_of_two_that_differ_say_so_and_go_on(self):
        self.nodes = 2
        self.start()
        node = self.follower()
        leader = self.cluster.others(node)[0]
        self.altered(node, "value")
        self.cluster.put("watched", b"new")
        for each in (node, leader):
            wait_until(lambda n=each: "audit_split" in n.log_text(), f"{each.name} says so")
        self.cluster.put("goes", b"on")
        self.assertTrue(node.running and leader.running)


if __name__ == "__main__":
    unittest.main()
