"""Giving the lead away: by command, before a clean stop, because the disk hangs."""

import json
import os
import unittest

import cluster
import wire
from cluster import ClusterTest, wait_until

SHIM = os.environ.get("CONCLAVE_FAULTY_DISK", "")


class Leadership(ClusterTest):
    def writer(self):
        writer = wire.Writer([node.client for node in self.cluster.nodes])
        self.addCleanup(writer.close)
        return writer

    def write(self, writer, count):
        before = len(writer.acked)
        self.assertTrue(writer.run_until(lambda w: len(w.acked) >= before + count),
                        f"{len(writer.acked) - before} of {count} writes in time")

    def assert_readable(self, writer):
        found = set(self.cluster.keys(writer.prefix.decode()))
        self.assertEqual(sorted(set(writer.acked) - found)[:5], [], "acknowledged keys are missing")

    def term(self):
        return max(node["term"] for node in self.cluster.status()["nodes"])

    def test_the_lead_goes_to_the_node_that_is_named(self):
        self.start_cluster(steady=True)
        for _ in range(2):
            for target in self.cluster.nodes:
                leader, term = self.cluster.wait_leader(), self.term()
                done = self.cluster.run("leader", "transfer", target.name)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(done.stdout.decode().strip(), target.name)
                self.assertIs(self.cluster.wait_leader(), target)
                self.assertEqual(self.term(), term + (leader is not target), "one election")
        done = self.cluster.run("leader", "--json")
        self.assertEqual(json.loads(done.stdout)["leader"], self.cluster.nodes[-1].name)

    def test_the_lead_goes_to_anybody(self):
        self.start_cluster(steady=True)
        leader = self.cluster.wait_leader()
        done = self.cluster.run("leader", "transfer")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIs(self.cluster.wait_leader(), self.cluster.node(done.stdout.decode().strip()))
        self.assertIsNot(self.cluster.wait_leader(), leader)

    def test_a_transfer_that_cannot_be_says_why_and_the_leader_stays(self):
        self.start_cluster()
        self.assert_sentence(self.cluster.run("leader", "transfer", "nobody"), 2, "nobody")
        self.assert_sentence(self.cluster.run("leader", "give"), 2, "give")
        down = self.cluster.others(self.cluster.wait_leader())[0]
        down.kill()

        def tried():
            """Whether there was time to find out before somebody else took the lead."""
            leader, term = self.cluster.wait_leader(), self.term()
            done = self.cluster.run("leader", "transfer", down.name)
            if done.returncode == 4 and down.name in done.stderr.decode():
                self.cluster.put("key", b"value")  # it takes writes again
                return self.term() == term and self.cluster.wait_leader() is leader
            self.assertIn(done.returncode, (4, 5), done.stderr)
            return False
        wait_until(tried, "it says that the node does not follow, and the leader stays")

    def test_transfers_under_load_lose_nothing(self):
        self.start_cluster(steady=True)
        writer = self.writer()
        self.write(writer, 100)
        for _ in range(5):
            done = self.cluster.run("leader", "transfer")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.write(writer, 100)
        self.assert_readable(writer)

    def test_a_leader_that_is_stopped_hands_over_first(self):
        self.start_cluster(steady=True)
        writer = self.writer()
        gaps = []
        for _ in range(3):
            self.write(writer, 200)
            leader, term = self.cluster.wait_leader(), self.term()
            at = len(writer.ack_times)
            leader.signal(cluster.signal.SIGTERM)
            self.write(writer, 200)
            times = writer.ack_times[at - 1:]
            gaps.append(max(b - a for a, b in zip(times, times[1:])))
            self.assertEqual(leader.wait_exit(), 0)
            target = self.cluster.node(leader.events("transfer")[-1]["target"])
            self.assertIs(self.cluster.wait_leader(), target, "who was named took the lead")
            self.assertEqual(self.term(), term + 1, "one election, won at once")
            leader.start()
            leader.wait_healthy()
        print("gap at each stop:", ", ".join(f"{gap * 1000:.0f} ms" for gap in gaps))
        self.assert_readable(writer)

    def test_a_node_without_others_stops_at_once(self):
        self.start_cluster()
        leader = self.cluster.wait_leader()
        for node in self.cluster.others(leader):
            node.kill()
        self.assertEqual(leader.stop(), 0)

    def test_the_lead_returns_to_the_higher_priority(self):
        self.start_cluster()
        preferred = self.cluster.nodes[0]
        for node in self.cluster.others(preferred):
            node.stop()
            node.start("--priority", "50")
            node.wait_healthy()
        self.cluster.run("leader", "transfer", self.cluster.nodes[1].name)
        wait_until(lambda: self.cluster.leader() is preferred, "the preferred node leads")
        self.assert_sentence(cluster.run("serve", "--data", preferred.data, "--priority", "101"), 2,
                             "100")

    def test_lease_reads_are_answered_with_and_without_leases(self):
        self.options = [*self.options, "--leases", "true"]
        self.start_cluster()
        for value in (b"one", b"two"):
            self.cluster.put("key", value)
            for node in self.cluster.nodes:
                done = self.cluster.run("get", "key", "--lease", through=[node])
                self.assertEqual((done.returncode, done.stdout.strip()), (0, value), done.stderr)
            self.cluster.options = []  # the next time around they promise nothing
            for node in self.cluster.nodes:
                node.stop()
                node.start()
                node.wait_healthy()
        self.assert_sentence(self.cluster.run("get", "key", "--lease", "--stale", "1s"), 2,
                             "--stale")

    def test_stale_reads_say_their_age_and_end_with_their_bound(self):
        self.start_cluster()
        self.cluster.put("key", b"value")
        leader = self.cluster.wait_leader()
        reader = self.cluster.others(leader)[0]

        def get(bound):
            return self.cluster.run("get", "key", "--json", "--stale", bound, through=[reader])

        # Nobody has read anything here: the node asked the leader by itself how old its state is.
        self.cluster.wait_caught_up()

        def known_without_the_others():
            for node in self.cluster.others(reader):
                node.kill()  # nobody can be asked from now on
            done = get("1h")
            if done.returncode == 0:
                return done
            for node in self.cluster.others(reader):  # it had only begun to ask
                node.start()
                node.wait_healthy()
            return None
        done = wait_until(known_without_the_others, "the reader knows how old its state is")
        self.assert_ends(4, "get", "key", "--timeout", "1s", through=[reader])
        answer = json.loads(done.stdout)
        self.assertEqual(answer["value"], "value")
        self.assertGreater(answer["age_ms"], 0)
        self.assertGreaterEqual(json.loads(get("1h").stdout)["age_ms"], answer["age_ms"])
        done = self.assert_ends(4, "get", "key", "--stale", "1ms", "--timeout", "1s", through=[reader])
        self.assert_sentence(done, 4, "older")
        self.assert_sentence(get("soon"), 2, "soon")

    @unittest.skipUnless(SHIM, "no shim in this build")
    def test_a_leader_whose_disk_hangs_gives_the_lead_away(self):
        self.start_cluster()
        trigger = os.path.join(self.cluster.dir, "trigger")
        node = self.cluster.wait_leader()
        node.stop()
        node.start(env={"LD_PRELOAD": SHIM, "FAULTY_DISK_TRIGGER": trigger,
                        "FAULTY_DISK_UNDER": node.data})
        node.wait_healthy()
        writer = self.writer()
        others = self.cluster.others(node)

        def gave_it_away():
            """Whether it still led when its disk hung: on a slow machine others may come before it."""
            self.cluster.run("leader", "transfer", node.name)
            self.write(writer, 100)
            with open(trigger, "w", encoding="utf-8") as file:
                file.write("stall")
            self.assertTrue(writer.run_until(lambda w: self.cluster.leader(others) in others),
                            "nobody else leads")
            self.write(writer, 200)
            self.assertTrue(node.running)
            os.unlink(trigger)
            self.cluster.wait_caught_up()
            return "disk_stalled" in node.log_text()
        wait_until(gave_it_away, "it notices its disk and gives the lead away")
        self.assert_readable(writer)


if __name__ == "__main__":
    unittest.main()
