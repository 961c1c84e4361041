"""Memory stays bounded whatever the others do: asserted in bytes, under more traffic than the bound."""

import os
import subprocess
import unittest

import cluster
from cluster import ClusterTest, wait_until

SHIM = os.environ.get("CONCLAVE_FAULTY_DISK", "")
SANITIZED = cluster.QUICK
MIB = 1 << 20
# What one process may hold of its own (files mapped by the store do not count): 256 MiB of log for a
# peer that is given a snapshot, and what the other limits in ARCHITECTURE.md and the allocator add.
BOUND = 400 * MIB
VALUE = 32768
# Twice the bound.
WRITES = 26000
OPTIONS = ["--snapshot-bytes", "8MiB"]


def own_memory(node):
    with open(f"/proc/{node.process.pid}/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    raise AssertionError("no RssAnon")


@unittest.skipIf(SANITIZED, "a sanitizer's memory is its own")
class Memory(ClusterTest):
    options = OPTIONS

    def assert_bounded(self, nodes, what):
        held = {node.name: own_memory(node) for node in nodes}
        print(f"{what}: " + ", ".join(f"{n} {b // MIB} MiB" for n, b in held.items()))
        for name, held_bytes in held.items():
            self.assertLess(held_bytes, BOUND, f"{name} {what}")

    def load(self, nodes, writes=WRITES, timeout=300):
        done = self.cluster.run("bench", "put", "--clients", "32", "--ops", writes, "--value-size",
                                VALUE, "--json", through=nodes, timeout=timeout)
        self.assertEqual(done.returncode, 0, done.stderr.decode())

    def test_with_a_follower_that_is_down(self):
        self.start_cluster()
        leader = self.cluster.wait_leader()
        down = self.cluster.others(leader)[0]
        down.kill()
        up = self.cluster.others(down)
        self.load(up)
        self.assert_bounded(up, "with a follower that is down")

    def test_with_a_follower_whose_disk_hangs(self):
        if not SHIM:
            self.skipTest("no shim in this build")
        self.start_cluster()
        leader = self.cluster.wait_leader()
        slow = self.cluster.others(leader)[0]
        trigger = os.path.join(self.cluster.dir, "trigger")
        slow.stop()
        slow.start(env={"LD_PRELOAD": SHIM, "FAULTY_DISK_TRIGGER": trigger,
                        "FAULTY_DISK_UNDER": slow.data})
        wait_until(lambda: (slow.status() or {}).get("healthy"), f"{slow.name} is back")
        with open(trigger, "w", encoding="utf-8") as file:
            file.write("stall")
        self.load(self.cluster.others(slow))
        self.assert_bounded(self.cluster.nodes, "with a disk that hangs")
        os.unlink(trigger)

    def test_with_a_lost_quorum_and_clients_that_try_again(self):
        self.start_cluster()
        leader = self.cluster.wait_leader()
        for node in self.cluster.others(leader):
            node.kill()
        for _ in range(3):
            clients = [subprocess.Popen(
                [cluster.PROGRAM, "bench", "put", "--clients", "64", "--ops", "20000",
                 "--value-size", str(VALUE), "--timeout", "3s", "--endpoints", leader.client],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                for _ in range(4)]
            self.cluster.processes.extend(clients)
            for _ in range(4):
                self.cluster.run("put", "key", "value", "--timeout", "1s", through=[leader])
            for client in clients:
                client.kill()
                client.wait()
        self.assert_bounded([leader], "with a lost quorum")
        self.assertTrue(leader.running)


if __name__ == "__main__":
    unittest.main()
