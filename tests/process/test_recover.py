"""A majority is lost for good: one node goes on alone, others join it, and old ones are refused."""

import json
import os
import shutil
import unittest

import cluster
import wire
from cluster import ClusterTest, Node, wait_until


class Recover(ClusterTest):
    def write(self, count, nodes):
        writer = wire.Writer([n.client for n in nodes])
        self.addCleanup(writer.close)
        self.assertTrue(writer.run_until(lambda w: len(w.acked) >= count), "writes in time")
        return writer

    def recover(self, node, *arguments):
        return cluster.run("recover", "--data", node.data, *arguments)

    def serve_alone(self, node):
        node.start()
        self.assertIs(self.cluster.wait_leader([node]), node)

    def join(self, name, seed):
        node = Node(self.cluster, name)
        self.cluster.nodes.append(node)
        done = cluster.run("join", "--data", node.data, "--name", name, "--listen", node.peer,
                           "--listen-client", node.client, seed.client)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        node.start()

        def votes():
            status = self.cluster.ask_status([seed])
            return any(n["name"] == name and n["voter"] for n in (status or {"nodes": []})["nodes"])
        wait_until(votes, f"{name} votes")
        return node

    def test_one_of_three_goes_on_and_two_new_nodes_join(self):
        self.start_cluster()
        acked = set(self.write(300, self.cluster.nodes).acked)
        self.cluster.put("before", b"value")
        self.cluster.wait_caught_up()
        before = self.cluster.status()["revision"]
        survivor, lost, returns = self.cluster.nodes
        for node in (lost, returns):
            node.kill()
        shutil.rmtree(lost.data)

        self.assert_sentence(self.recover(survivor, "--yes"), 2, "process")  # it runs
        survivor.stop()
        self.assert_sentence(self.recover(survivor), 2, "confirm", "--yes", "lost", "removed")
        kept = cluster.run("recover", "--data", survivor.data, "--json", "--yes")
        self.assertEqual(kept.returncode, 0, kept.stderr.decode())
        report = json.loads(kept.stdout)
        self.assertEqual(report["name"], survivor.name)
        self.assertEqual({m["name"] for m in report["removed"]}, {lost.name, returns.name})

        self.serve_alone(survivor)
        self.assertEqual(self.cluster.get("before", through=[survivor]), b"value")
        self.assertGreater(self.cluster.status([survivor])["revision"], before + 999999999)
        self.cluster.put("after", b"value", through=[survivor])

        # One that comes back is told that it does not belong any more, and changes nothing.
        returns.start()
        wait_until(lambda: '"refused"' in returns.log_text(), f"{returns.name} is refused")
        wait_until(lambda: "was removed" in returns.log_text(), "it says why")
        members = json.loads(self.cluster.run("member", "ls", "--json").stdout)["members"]
        self.assertEqual([member["name"] for member in members], [survivor.name])
        self.assertEqual(returns.view()["role"], "removed")
        self.assertIs(self.cluster.wait_leader([survivor]), survivor)
        returns.stop()

        self.cluster.nodes[:] = [survivor]
        fourth, fifth = self.join("n4", survivor), self.join("n5", survivor)
        self.cluster.wait_caught_up()
        for node in (fourth, fifth):
            self.assertEqual(self.cluster.get("after", through=[node]), b"value")
            found = set(self.cluster.keys(os.path.commonprefix(list(acked)), through=[node]))
            self.assertEqual(sorted(acked - found)[:5], [], f"acknowledged and not on {node.name}")
        survivor.kill()
        self.cluster.wait_leader([fourth, fifth])
        self.cluster.put("alone", b"no more", through=[fourth, fifth])

    def test_a_learner_can_be_recovered_too_and_says_what_it_was(self):
        self.nodes = 1
        self.start_cluster()
        first = self.cluster.nodes[0]
        learner = Node(self.cluster, "n2")
        done = cluster.run("join", "--data", learner.data, "--name", "n2", "--listen", learner.peer,
                           "--listen-client", learner.client, "--learner", first.client)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        self.assert_sentence(self.recover(learner, "--yes"), 2, "has not received anything")
        learner.start()
        self.cluster.put("key", b"value")
        wait_until(lambda: (learner.status() or {}).get("applied") == first.view()["applied"],
                   "the learner has it")
        first.kill()
        learner.stop()
        done = self.recover(learner, "--yes")
        self.assertEqual(done.returncode, 0)
        self.assertIn(b"LEARNER", done.stderr)
        self.cluster.nodes.append(learner)
        self.serve_alone(learner)
        self.assertEqual(self.cluster.get("key", through=[learner]), b"value")


class RecoverBehindSnapshots(Recover):
    """The same with logs that begin behind snapshots."""

    options = ["--snapshot-entries", "100", "--segment-size", "64KiB"]


if __name__ == "__main__":
    unittest.main()
