"""What was acknowledged survives the death of leaders, of all nodes, and a leader that sleeps."""

import json
import os
import signal
import subprocess
import threading
import time
import unittest

import cluster
import wire
from cluster import ELECTION_TIMEOUT_MS, PROGRAM, QUICK, ClusterTest, wait_until

KILLS = 2 if QUICK else 5
BENCH_OPS = 4000 if QUICK else 20000
SLEEP_S = float(os.environ.get("CONCLAVE_SLEEP", "4"))


class Failover(ClusterTest):
    def writer(self, nodes=None, **options):
        nodes = nodes or self.cluster.nodes
        writer = wire.Writer([node.client for node in nodes], **options)
        self.addCleanup(writer.close)
        return writer

    def assert_all_there(self, acked, nodes=None):
        """Every acknowledged key is in the cluster, read through each node's endpoint."""
        for node in nodes or self.cluster.nodes:
            found = set()
            prefix = os.path.commonprefix(list(acked))
            found.update(self.cluster.keys(prefix, through=[node]))
            missing = sorted(set(acked) - found)
            self.assertEqual(missing[:5], [], f"{len(missing)} of {len(acked)} acknowledged keys "
                                              f"are missing when read through {node.name}")
        # The values too, in frames of many reads.
        keys = sorted(acked)
        with wire.Connection((nodes or self.cluster.nodes)[0].client) as connection:
            for first in range(0, len(keys), 500):
                part = keys[first:first + 500]
                replies = connection.call_settled([(wire.READ, wire.get_query(key)) for key in part])
                for key, reply in zip(part, replies):
                    self.assertIsNotNone(reply, f"no answer for {key!r}")
                    self.assertEqual(reply[0], wire.OK, f"{key!r}: {reply}")
                    self.assertEqual(wire.unpack(reply[1])[1][1], acked[key])

    def kill_leader(self, writer, more):
        """Kills the leader while the writer goes on; returns when `more` further writes were
        acknowledged, with the gap that the writer saw."""
        leader = self.cluster.wait_leader()
        before = len(writer.acked)
        self.assertTrue(writer.run_until(lambda w: len(w.acked) >= before + more))
        leader.kill()
        at = len(writer.ack_times)
        before = len(writer.acked)
        resumed = writer.run_until(lambda w: len(w.acked) >= before + more)
        self.assertTrue(resumed, "writes did not resume after the leader was killed")
        times = writer.ack_times[max(at - 1, 0):]
        return leader, max(b - a for a, b in zip(times, times[1:]))

    def test_acknowledged_writes_survive_killed_leaders(self):
        self.start_cluster()
        writer = self.writer()
        gaps = []
        for _ in range(KILLS):
            leader, gap = self.kill_leader(writer, 200)
            gaps.append(gap)
            leader.start()
            leader.wait_healthy()
        print("gap at each kill:", ", ".join(f"{gap * 1000:.0f} ms" for gap in gaps),
              f"(two election timeouts: {2 * ELECTION_TIMEOUT_MS} ms)")
        self.cluster.wait_caught_up()
        self.assert_all_there(writer.acked)

    def test_bench_survives_killed_leaders(self):
        self.start_cluster()
        bench = subprocess.Popen(
            [PROGRAM, "bench", "put", "--endpoints", self.cluster.endpoints, "--clients", "32",
             "--ops", str(BENCH_OPS), "--value-size", "128", "--json"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.cluster.processes.append(bench)
        output = []
        reader = threading.Thread(target=lambda: output.extend(bench.communicate()))
        reader.start()
        kills = 0
        while bench.poll() is None and kills < KILLS:
            time.sleep(0.1)
            leader = self.cluster.leader()
            if leader is None:
                continue
            leader.kill()
            kills += 1
            leader.start()
        reader.join(3 * cluster.DEADLINE * cluster.PATIENCE)
        self.assertIsNotNone(bench.poll(), "bench does not end")
        self.assertEqual(bench.returncode, 0, output[1].decode(errors="replace"))
        report = json.loads(output[0])
        print(f"{kills} kills during bench: {json.dumps(report)}")
        self.cluster.wait_caught_up()
        counts = {node.name: len(self.cluster.keys("", through=[node]))
                  for node in self.cluster.nodes}
        print("keys read through each node:", counts)
        self.assertEqual(set(counts.values()), {BENCH_OPS})

    def test_every_node_has_everything_when_it_leads(self):
        self.start_cluster()
        writer = self.writer()
        self.assertTrue(writer.run_until(lambda w: len(w.acked) >= 500))
        led = set()
        for _ in range(20):
            leader = self.cluster.wait_leader()
            if leader.name not in led:
                led.add(leader.name)
                self.assert_all_there(writer.acked, [leader])
            if len(led) == 3:
                break
            self.cluster.wait_caught_up()
            leader.kill()
            self.cluster.wait_leader(self.cluster.others(leader))
            leader.start()
        self.assertGreaterEqual(len(led), 2)

    def test_nothing_acknowledged_is_lost_when_all_are_killed(self):
        self.start_cluster()
        writer = self.writer()
        for _ in range(1 if QUICK else 3):
            before = len(writer.acked)
            self.assertTrue(writer.run_until(lambda w, n=before: len(w.acked) >= n + 500))
            for node in self.cluster.nodes:
                node.signal(signal.SIGKILL)
            for node in self.cluster.nodes:
                node.process.wait()
            for node in self.cluster.nodes:
                node.start()
            self.cluster.wait_leader()
            writer.move_on()
        self.cluster.wait_caught_up()
        self.assert_all_there(writer.acked)

    def test_sleeping_leader_gives_no_stale_read(self):
        self.start_cluster()
        self.read_from_a_leader_that_sleeps(wire.READ)

    def test_sleeping_leader_gives_no_stale_read_by_a_lease(self):
        self.options = [*self.options, "--leases", "true"]
        self.start_cluster()
        self.read_from_a_leader_that_sleeps(wire.READ_LEASE)

    def read_from_a_leader_that_sleeps(self, kind):
        old = self.cluster.wait_leader()
        key = b"counter"
        acked = [0]  # the last acknowledged value; only the writing thread changes it
        stop = threading.Event()
        errors, stale = [], []
        answered = [0]

        def longer(patience):
            """What a slow machine does in its time is not lost for ever."""
            return min(2 * patience, 30 * cluster.PATIENCE)

        def write():
            endpoints = [node.client for node in self.cluster.nodes]
            value, turn, patience = 1, 0, 0.5
            connection = wire.Connection(old.client)
            while not stop.is_set():
                reply = connection.put(key, b"%d" % value, patience)
                if reply and reply[0] == wire.OK:
                    acked[0] = value
                    value += 1
                    patience = 0.5
                    continue
                if reply is None:
                    patience = longer(patience)
                connection.close()
                turn += 1
                named = reply[1].get("endpoint") if reply and isinstance(reply[1], dict) else ""
                connection = wire.Connection(named or endpoints[turn % len(endpoints)])
                time.sleep(0.02)
            connection.close()

        def read():
            connection, patience = wire.Connection(old.client), 0.5
            while not stop.is_set():
                floor = acked[0]
                reply = connection.get(key, patience, kind)
                if reply is None:  # it sleeps
                    patience = longer(patience)
                    connection.close()
                    connection = wire.Connection(old.client)
                elif reply[0] == wire.OK:
                    patience = 0.5
                    answered[0] += 1
                    if int(reply[1]) < floor:
                        stale.append((floor, int(reply[1])))
                elif reply[0] == wire.NOT_FOUND:
                    if floor:
                        stale.append((floor, None))
                elif reply[0] not in wire.SURELY_NOT:
                    errors.append(reply)
            connection.close()

        threads = [threading.Thread(target=write)] + [threading.Thread(target=read)
                                                      for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: acked[0] >= 20, "writes are acknowledged")
            for _ in range(1 if QUICK else 2):
                old.pause()
                new = self.cluster.wait_leader(self.cluster.others(old))
                term = new.view()["term"]
                before = acked[0]
                wait_until(lambda n=before: acked[0] >= n + 20,
                           "writes go on while the old leader sleeps")
                # It must sleep for longer than its own patience, whatever the election took.
                time.sleep(SLEEP_S)
                old.resume()
                wait_until(lambda: (old.status() or {"term": 0})["term"] >= term,
                           "the old leader knows that its time is over")
                before = acked[0]
                wait_until(lambda n=before: acked[0] >= n + 20, "writes go on afterwards")
        finally:
            stop.set()
            old.resume()
            for thread in threads:
                thread.join()
        print(f"{acked[0]} writes, {answered[0]} reads answered by the old leader's endpoint")
        self.assertEqual(errors, [])
        self.assertEqual(stale, [], "stale reads: (acknowledged before the read, read)")

    def test_no_quorum_is_told_and_heals(self):
        self.start_cluster()
        self.cluster.put("a", b"1")
        survivor, *dead = self.cluster.nodes
        for node in dead:
            node.kill()
        done = self.cluster.run("put", "b", "2", "--timeout", "3s")
        self.assertIn(done.returncode, (3, 4, 5), done.stderr)
        self.assertTrue(done.stderr.strip())
        done = self.assert_ends(4, "get", "a", "--timeout", "2s")  # and is not answered
        self.assertEqual(done.stdout, b"")
        self.assertNotIn(b"applied", done.stderr, "a read has nothing to apply")
        status = self.cluster.status()
        self.assertEqual([n["name"] for n in status["nodes"]], ["n1", "n2", "n3"])
        self.assertEqual([n["healthy"] for n in status["nodes"]][1:], [False, False])
        self.assertGreater(status["nodes"][0]["pid"], 0)
        self.assertNotEqual(self.cluster.run("health", "--timeout", "2s").returncode, 0)
        for node in dead:
            node.start()
        self.cluster.wait_leader()
        self.assertEqual(self.cluster.get("a"), b"1")
        self.assertTrue(survivor.running)

    def test_clean_stop_loses_nothing(self):
        self.start_cluster()
        writer = self.writer()
        self.assertTrue(writer.run_until(lambda w: len(w.acked) >= 500))
        codes = [node.stop() for node in self.cluster.nodes]
        self.assertEqual(codes, [0, 0, 0])
        for node in self.cluster.nodes:
            node.start()
        self.cluster.wait_leader()
        self.assert_all_there(writer.acked)


if __name__ == "__main__":
    unittest.main()
