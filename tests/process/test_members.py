"""The members change while the cluster serves, and nothing that was acknowledged is lost."""

import json
import os
import shutil
import subprocess
import unittest

import cluster
import wire
from cluster import PROGRAM, ClusterTest, Node, run, wait_until


class Members(ClusterTest):
    def add_node(self, name):
        """A node that is no member yet."""
        node = Node(self.cluster, name)
        self.cluster.nodes.append(node)
        return node

    def join_command(self, node, *arguments):
        seeds = ",".join(n.client for n in self.cluster.nodes if n is not node and n.running)
        return ["join", "--data", node.data, "--name", node.name, "--listen", node.peer,
                "--listen-client", node.client, *arguments, seeds]

    def join(self, name, *arguments):
        node = self.add_node(name)
        done = run(*self.join_command(node, *arguments))
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        node.start()
        return node

    def members(self):
        done = self.cluster.run("member", "ls", "--json", "--timeout", "5s")
        if done.returncode:
            return {}
        return {m["name"]: m for m in json.loads(done.stdout)["members"]}

    def all_members(self):
        return wait_until(self.members, "the members are told")

    def voters(self):
        return sorted(name for name, m in self.members().items() if m["kind"] == "voter")

    def wait_voters(self, *names):
        wait_until(lambda: self.voters() == sorted(names), lambda: f"voters {names}: "
                   f"{self.members()}")

    def change(self, *arguments):
        return self.cluster.run("member", *arguments)

    def test_grow_and_shrink_under_load(self):
        self.start_cluster()
        spare = [self.add_node(name) for name in ("n4", "n5", "n6")]
        writer = wire.Writer([node.client for node in self.cluster.nodes])
        self.addCleanup(writer.close)

        def under_load(*arguments):
            """Runs the program while writes go on, and some more after it."""
            process = subprocess.Popen([PROGRAM, *arguments], stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE)
            self.cluster.processes.append(process)
            done = writer.run_until(lambda w: process.poll() is not None)
            self.assertTrue(done, f"{arguments} does not end")
            out, error = process.communicate()
            self.assertEqual(process.returncode, 0, error.decode() + out.decode())
            before = len(writer.acked)
            self.assertTrue(writer.run_until(lambda w: len(w.acked) > before + 100),
                            f"no writes after {arguments}")

        def member(*arguments):
            under_load("member", *arguments, "--endpoints", self.cluster.endpoints)

        for node, voters in zip(spare[:2], (("n1", "n2", "n3", "n4"),
                                            ("n1", "n2", "n3", "n4", "n5"))):
            under_load(*self.join_command(node))
            node.start()
            self.wait_voters(*voters)
        leader = self.cluster.wait_leader()
        member("remove", leader.name)
        wait_until(lambda: (leader.status() or {}).get("role") == "removed",
                   f"{leader.name} knows that it was removed")
        self.assertFalse(leader.view()["healthy"], "nobody listens to it")
        leader.stop()
        leader.start()
        wait_until(lambda: f"{leader.name} was removed from cluster" in leader.log_text(),
                   "it says so, and not where it listens")
        leader.stop()
        others = [node for node in self.cluster.nodes[:5] if node is not leader]
        self.wait_voters(*[node.name for node in others])
        under_load(*self.join_command(spare[2], "--learner"))
        spare[2].start()
        old = self.cluster.wait_leader(others)
        member("replace", old.name, "n6")
        self.wait_voters(*[node.name for node in others if node is not old], "n6")
        old.stop()
        rest = [node for node in self.cluster.nodes if node.running]
        self.cluster.wait_leader(rest)
        self.cluster.wait_caught_up(rest)
        for node in rest:
            missing = set(writer.acked) - set(self.cluster.keys("w/", through=[node]))
            self.assertEqual(len(missing), 0, f"{len(missing)} of {len(writer.acked)} acknowledged "
                                              f"keys are missing when read through {node.name}")

    def test_a_new_node_starts_again_before_it_has_caught_up_and_after_it_was_removed(self):
        self.start_cluster()
        self.cluster.put("greeting", b"hello")
        node = self.join("n4")
        node.kill()
        node.start()
        self.wait_voters("n1", "n2", "n3", "n4")
        self.cluster.wait_caught_up()
        self.assertEqual(self.cluster.get("greeting", through=[node]), b"hello")
        # Its own log does not say that it was removed: the others tell it.
        node.kill()
        wait_until(lambda: self.change("remove", "n4").returncode == 0, "n4 is removed")
        node.start()
        wait_until(lambda: (node.view() or {}).get("role") == "removed", "n4 hears of it")

    def test_a_blank_disk_under_a_known_name_is_refused(self):
        self.start_cluster()
        self.cluster.put("greeting", b"hello")
        # The cluster has written down who is who.
        wait_until(lambda: all(m["joined"] for m in self.all_members().values()), "all are known")
        leader = self.cluster.wait_leader()
        blank = self.cluster.others(leader)[0]
        others = self.cluster.others(blank)
        blank.kill()
        shutil.rmtree(blank.data)
        self.cluster.init(blank)
        blank.start()
        wait_until(lambda: any("another data directory" in n.log_text() for n in others), "who leads says so")
        wait_until(lambda: "knows this member by another data directory" in blank.log_text(),
                   "the node itself says so")
        wait_until(lambda: (blank.view() or {}).get("role") == "refused", "status shows it")
        self.assertFalse(blank.view()["healthy"])
        # Its first line does not say that all is well.
        self.assertIn("has a new directory and takes part once the others accept it", blank.last_life())
        self.assertNotIn("is ready", blank.last_life())
        # It helps nobody to a majority: with one more node gone nothing is committed.
        last = self.cluster.others(leader, blank)[0]
        last.kill()
        done = self.cluster.run("put", "alone", "x", "--timeout", "2s", through=[leader])
        self.assertNotEqual(done.returncode, 0)
        last.start()
        self.cluster.wait_leader([leader, last])
        # The way back: out, and in again under a new id.
        self.assertEqual(self.change("remove", blank.name).returncode, 0)
        blank.kill()
        shutil.rmtree(blank.data)
        done = run(*self.join_command(blank))
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        blank.start()
        self.wait_voters("n1", "n2", "n3")
        self.cluster.wait_caught_up()
        self.assertEqual(self.cluster.get("greeting", through=[blank]), b"hello")

    def test_a_member_added_first_and_joined_later(self):
        self.start_cluster()
        node = self.add_node("n4")
        done = self.change("add", f"n4={node.peer}+{node.client}")
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        wait_until(lambda: self.all_members().get("n4", {}).get("kind") == "learner", "it is a learner")
        self.assertFalse(self.all_members()["n4"]["joined"])
        # Nobody knows when it will have caught up: what did not happen is said, and why.
        self.assert_sentence(self.change("replace", "n1", "n4", "--timeout", "1s"), 4, "n1 by n4",
                             "has not caught up", "nothing was changed")
        done = run(*self.join_command(node))
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        node.start()
        self.wait_voters("n1", "n2", "n3", "n4")

    def test_what_cannot_be_is_refused_with_a_reason(self):
        self.start_cluster()
        self.assert_sentence(self.change("remove", "n9"), 1, "n9", "no member")
        self.assert_sentence(self.change("replace", "n1", "n2"), 2, "votes already")
        self.assert_sentence(self.change("replace", "n1", "n1"), 2, "itself")
        self.assert_sentence(self.change("replace", "n1", "n9"), 1, "the new one's name")
        self.assert_sentence(self.change("add", "n4=nowhere"), 2, "endpoint")
        self.assert_sentence(self.change("add", f"n 4={self.cluster.nodes[0].peer}"), 2, "name has 1 to 32")
        self.assert_sentence(self.cluster.run("leader", "transfer", "n9"), 2, "n9", "no other voter, or none of that name")
        self.assert_sentence(self.change("sing"), 2, "sing")
        self.assert_sentence(self.change("remove"), 2, "arguments")
        node = self.add_node("n2")
        node.data += "-again"
        self.assert_sentence(run(*self.join_command(node)), 2, "n2", "remove it first")
        self.assertFalse(os.path.exists(node.data))
        self.cluster.nodes.pop()
        self.wait_voters("n1", "n2", "n3")


if __name__ == "__main__":
    unittest.main()
