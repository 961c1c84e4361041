"""Exactly once: conditional increments while leaders are killed are counted exactly."""

import os
import subprocess
import time
import unittest

import cluster
from cluster import QUICK, ClusterTest

INCREMENTS = os.environ["CONCLAVE_INCREMENTS"]
SECONDS = 3.5 if QUICK else 7.5
COUNTERS = 20


class Sessions(ClusterTest):
    def increments(self, disturb):
        """Runs the increments and calls disturb(leader) once in a while meanwhile; the counters:
        name, acknowledged, unknown, value."""
        self.start_cluster()
        process = subprocess.Popen(
            [INCREMENTS, self.cluster.endpoints, str(COUNTERS), "1"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.cluster.processes.append(process)
        end = time.monotonic() + SECONDS
        disturbed = 0
        while time.monotonic() < end or not disturbed:
            time.sleep(0.5)
            leader = self.cluster.leader()
            if leader is None:
                continue
            disturb(leader)
            disturbed += 1
        output, errors = process.communicate(timeout=3 * cluster.DEADLINE * cluster.PATIENCE)
        self.assertEqual(process.returncode, 0, errors.decode(errors="replace"))
        counters = [line.split() for line in output.decode().splitlines()]
        self.assertEqual(len(counters), COUNTERS)
        counters = [(name, int(ok), int(unknown), int(value))
                    for name, ok, unknown, value in counters]
        print(f"{disturbed} times disturbed, {sum(ok for _, ok, _, _ in counters)} increments "
              f"acknowledged, {sum(unknown for _, _, unknown, _ in counters)} unknown")
        self.assertGreater(min(ok for _, ok, _, _ in counters), 0)
        return counters

    def assert_exact(self, counters):
        for name, acknowledged, unknown, value in counters:
            self.assertEqual(unknown, 0, name)
            self.assertEqual(value, acknowledged, f"{name} counts {value} for "
                                                  f"{acknowledged} acknowledged increments")

    def test_increments_are_exact_while_leaders_are_killed(self):
        def kill(leader):
            leader.kill()
            leader.start()
            leader.wait_healthy()
        self.assert_exact(self.increments(kill))

    def test_increments_are_exact_while_leaders_sleep(self):
        def pause(leader):
            leader.pause()
            time.sleep(1.5)
            leader.resume()
            leader.wait_healthy()
        self.assert_exact(self.increments(pause))


if __name__ == "__main__":
    unittest.main()
