"""The soak is shown simulators that pass, fail, die and see too little."""

import contextlib
import io
import os
import shutil
import stat
import sys
import tempfile
import types
import unittest
import unittest.mock

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import soak  # noqa: E402

# Fails in the seed BAD if that is in the chunk; called with --shrink it says so.
SIMULATOR = """#!/usr/bin/env python3
import json, sys
arguments = sys.argv[1:]
value = lambda name: int(arguments[arguments.index(name) + 1])
with open(__file__ + ".log", "a") as log:
    log.write(" ".join(arguments) + "\\n")
if "--shrink" in arguments:
    print("shrunk from 9 decisions")
    sys.exit(1)
first, seeds = value("--first"), value("--seeds")
bad = BAD if first <= BAD < first + seeds else 0
print(json.dumps({"passed": seeds - bool(bad), "failed": int(bool(bad)), "first_failed": bad,
                  "events": 10 * seeds, "cpu_seconds": 0.1, "faults": {"LOSS": 3},
                  "actions": {"REQUEST": 2}, "marks": {"LEADER": LEADERS},
                  "failure": f'seed {bad} violates "log matching" at 1 us, event 2:'}))
sys.exit(bool(bad))
"""


class SoakTest(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="conclave-soak-")
        self.addCleanup(shutil.rmtree, self.root)

    def simulator(self, bad=0, leaders=1, text=None, name="sim"):
        path = os.path.join(self.root, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text or SIMULATOR.replace("BAD", str(bad)).replace("LEADERS", str(leaders)))
        os.chmod(path, stat.S_IRWXU)
        return path

    def soak(self, sim, sanitized=None, seeds=3000, require_marks=False, document=None, resume=False):
        options = types.SimpleNamespace(sim=sim, sanitized=sanitized, seeds=seeds, first=1000, jobs=1,
                                        hours=1, dir=os.path.join(self.root, "failures"),
                                        require_marks=require_marks, write=bool(document),
                                        document=document, marks_document=self.marks(), resume=resume)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            code = soak.Soak(options).run()
        return code, out.getvalue()

    def failures(self):
        where = os.path.join(self.root, "failures")
        return sorted(set(os.listdir(where)) - {"soak-state.json"}) if os.path.isdir(where) else []

    def test_runs_every_seed_once_and_passes(self):
        code, text = self.soak(self.simulator())
        self.assertEqual(code, 0)
        self.assertIn("first seed 1000\n", text)
        self.assertIn("seeds 1000 to 3999 in", text)
        self.assertTrue(text.endswith("3000 passed, 0 failed, 0 skipped\n"), text)
        self.assertEqual(self.failures(), [])

    def test_a_failure_is_shrunk_and_stored_and_the_search_goes_on(self):
        code, text = self.soak(self.simulator(bad=1700))
        self.assertEqual(code, 1)
        self.assertIn("1    failures: log matching", text)
        self.assertIn("seeds 1000 to 3999 in", text)
        self.assertEqual(self.failures(), ["seed-1700-steps-10000.txt"])
        with open(os.path.join(self.root, "failures", self.failures()[0]), encoding="utf-8") as file:
            stored = file.read()
        self.assertIn('violates "log matching"', stored)
        self.assertIn("shrunk from 9 decisions", stored)
        with open(os.path.join(self.root, "sim.log"), encoding="utf-8") as log:
            calls = log.read()
        self.assertIn("--seed 1700 --steps 10000 --shrink", calls)
        self.assertIn("--first 1701 ", calls)

    def test_a_simulator_that_dies_is_a_failure(self):
        code, text = self.soak(self.simulator(text="#!/bin/sh\necho lost >&2\nexit 3\n"), seeds=100)
        self.assertEqual(code, 1)
        self.assertIn("failures: the simulator itself ends", text)
        self.assertEqual(len(self.failures()), 1)

    def test_few_files_of_one_rule_are_kept_and_too_many_failures_end_it(self):
        code, text = self.soak(self.simulator(text="#!/bin/sh\nexit 3\n"), seeds=10 ** 9)
        self.assertEqual(code, 1)
        self.assertEqual(len(self.failures()), soak.FILES_PER_RULE)
        self.assertIn(f"0 passed, {soak.FAILURES_MAX} failed, 0 skipped", text)

    def test_a_situation_never_reached_is_told_and_fails_if_that_is_asked(self):
        sim = self.simulator(leaders=0)
        code, text = self.soak(sim)
        self.assertEqual(code, 0)
        self.assertIn("never reached: LEADER\n", text)
        code, text = self.soak(sim, require_marks=True)
        self.assertEqual(code, 1)
        self.assertTrue(text.endswith("3000 passed, 1 failed, 0 skipped\n"), text)

    def test_the_sanitized_build_gets_its_part(self):
        code, text = self.soak(self.simulator(), self.simulator(name="asan"))
        self.assertEqual(code, 0)
        self.assertTrue(os.path.exists(os.path.join(self.root, "asan.log")))
        self.assertTrue(os.path.exists(os.path.join(self.root, "sim.log")))

    def document(self, listed=""):
        path = os.path.join(self.root, "guarantees.md")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"before\n{soak.BEGIN}\n{listed}\n{soak.END}\nbehind\n")
        return path

    def marks(self):
        path = os.path.join(self.root, "marks.md")
        if not os.path.exists(path):
            with open(path, "w", encoding="utf-8") as file:
                file.write(f"before\n{soak.MARKS_BEGIN}\nold\n{soak.MARKS_END}\nbehind\n")
        return path

    def test_what_was_met_is_told_with_its_count_in_place_of_the_last_time(self):
        self.soak(self.simulator(leaders=0), document=self.document(), seeds=2000)
        with open(self.marks(), encoding="utf-8") as file:
            text = file.read()
        self.assertTrue(text.startswith("before\n") and text.endswith("behind\n"), text)
        self.assertNotIn("old", text)
        self.assertIn("2000 seeds from 1000 on", text)
        self.assertIn("Never met: LEADER.", text)
        self.assertIn("\n| 6 | messages lost |\n", text)
        self.assertIn("\n| 4 | requests of clients |\n", text)
        self.assertIn("\n| 0 | leaders elected |\n", text)

    def test_what_ran_is_listed_and_added_up_by_commit(self):
        path = self.document()
        self.soak(self.simulator(bad=1700), self.simulator(name="asan"), document=path)
        self.soak(self.simulator(), document=path)
        with open(path, encoding="utf-8") as file:
            text = file.read()
        rows = soak.ROW.findall(text)
        self.assertEqual(len(rows), 1, text)
        self.assertEqual(rows[0][1], soak.commit())
        self.assertEqual(int(rows[0][2]), 6000)
        self.assertGreater(int(rows[0][3]), 0)
        self.assertEqual(int(rows[0][4]), 1)
        self.assertIn("All together: 6000 seeds, 1 failed.\n", text)
        self.assertTrue(text.startswith("before\n") and text.endswith("behind\n"), text)

    def stopped(self):
        """A simulator that is interrupted in its second chunk, once."""
        text = SIMULATOR.replace("BAD", "0").replace("LEADERS", "1")
        return self.simulator(text=text.replace('first, seeds = value', '''import os, signal
if value("--first") == 2000 and not os.path.exists(__file__ + ".stopped"):
    open(__file__ + ".stopped", "w").close()
    os.kill(os.getppid(), signal.SIGINT)
    sys.exit(1)
first, seeds = value''', 1))

    def test_one_that_was_stopped_goes_on_and_counts_both_parts(self):
        path, sim = self.document(), self.stopped()
        code, text = self.soak(sim, document=path)
        self.assertIn("stopped\nseeds 1000 to 1999 in", text)
        self.assertTrue(text.endswith("1000 passed, 0 failed, 0 skipped\n"), text)
        code, text = self.soak(sim, document=path, resume=True)
        self.assertEqual(code, 0)
        self.assertIn("first seed 1000\ngoes on with seed 2000\n", text)
        self.assertTrue(text.endswith("3000 passed, 0 failed, 0 skipped\n"), text)
        with open(path, encoding="utf-8") as file:
            self.assertEqual(int(soak.ROW.findall(file.read())[0][2]), 3000)
        with open(self.marks(), encoding="utf-8") as file:
            text = file.read()
        self.assertIn("3000 seeds from 1000 on", text)
        self.assertIn("\n| 9 | messages lost |\n", text)
        self.assertFalse(os.path.exists(os.path.join(self.root, "failures", "soak-state.json")))

    def test_one_of_another_commit_does_not_go_on(self):
        sim = self.stopped()
        self.soak(sim)
        with unittest.mock.patch.object(soak, "commit", lambda: "another"):
            with self.assertRaisesRegex(SystemExit, "is of commit"):
                self.soak(sim, resume=True)

    def test_with_nothing_stopped_it_begins(self):
        code, text = self.soak(self.simulator(), resume=True)
        self.assertEqual(code, 0)
        self.assertIn("seeds 1000 to 3999 in", text)

    def test_the_oldest_commits_are_counted_and_no_longer_listed(self):
        path = self.document()
        for number in range(soak.ROWS_MAX + 2):
            soak.write_seeds(path, "2026-01-01", f"c{number}", 100 + number, 0, int(number == 0))
        with open(path, encoding="utf-8") as file:
            text = file.read()
        self.assertEqual(len(soak.ROW.findall(text)), soak.ROWS_MAX)
        self.assertIn("Before these: 201 seeds, 1 failed.\n", text)
        total = sum(100 + number for number in range(soak.ROWS_MAX + 2))
        self.assertIn(f"All together: {total} seeds, 1 failed.\n", text)


if __name__ == "__main__":
    unittest.main()
