"""The hunt itself is shown mutants that the tests find, and ones that they do not."""

import os
import shutil
import stat
import sys
import tempfile
import types
import unittest
from unittest import mock

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import hunt  # noqa: E402
import mistakes  # noqa: E402

SOURCE = "one\ntwo\nthree\n"
PATCH = """Breaks: two
Rule: 8
Found by: {finders}
--- a/raft/a.c
+++ b/raft/a.c
@@ -1,3 +1,3 @@
 one
-two
+{line}
 three
"""
# Both find the word "wrong" in the mutated tree and nothing else.
RULES = """<!-- rules: begin -->
| rule | | where | a test | a mutation |
|---|---|---|---|---|
| 8 | two stays | raft/a.c | `log/keeps_two` | m |
| 9 | three stays | raft/a.c | `log/keeps_three` | m |
<!-- rules: end -->
"""
# Like Criterion's: only the first of the two looks at what is mutated.
ONE_UNIT = """#!/bin/sh
[ "$4" = log/keeps_nothing ] && { echo 'Tested: 0 | Passing: 0 | Failing: 0'; exit 0; }
if [ "$4" = log/keeps_two ] && grep -q wrong "$(dirname "$0")/../../../../tree/raft/a.c"; then
    echo 'Tested: 1 | Passing: 0 | Failing: 1'
    exit 1
fi
echo 'Tested: 1 | Passing: 1 | Failing: 0'
"""
SIMULATOR = """#!/bin/sh
grep -q wrong "$(dirname "$0")/../../../tree/raft/a.c" || {{ echo '9 passed, 0 failed'; exit 0; }}
echo "seed $(({seed} + $4)) violates \\"log matching\\" at 1 us, event 2:"
exit 1
"""
UNIT = """#!/bin/sh
grep -q wrong "$(dirname "$0")/../../../../tree/raft/a.c" || exit 0
echo '[FAIL] log::keeps_two: (0.1s)' >&2
exit 1
"""


def mutation(line="wrong", finders="sim, unit raft"):
    return hunt.Mutation("m", PATCH.format(line=line, finders=finders))


class Hunt(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="conclave-hunt-")
        self.addCleanup(shutil.rmtree, self.root)
        self.write("project/raft/a.c", SOURCE)
        self.program("work/build/tests/sim/conclave-sim", SIMULATOR.format(seed=4))
        self.program("work/build/tests/unit/raft/test_raft", UNIT)
        self.write("work/build/build.ninja", "")
        for module, name, value in ((hunt, "ROOT", os.path.join(self.root, "project")),
                                    (hunt.subprocess, "run", self.run_without_ninja)):
            patcher = mock.patch.object(module, name, value)
            patcher.start()
            self.addCleanup(patcher.stop)

    REAL_RUN = staticmethod(hunt.subprocess.run)

    def run_without_ninja(self, arguments, **more):
        return self.REAL_RUN(["true"] if arguments[0] == "ninja" else arguments, **more)

    def write(self, path, text):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)
        return full

    def program(self, path, text):
        os.chmod(self.write(path, text), stat.S_IRWXU)

    def hunt(self, mutant, everybody=False):
        worker = hunt.Worker(os.path.join(self.root, "work"),
                             types.SimpleNamespace(seeds=9, everybody=everybody))
        result = worker.hunt(mutant, 9)
        with open(os.path.join(worker.tree, "raft", "a.c"), encoding="utf-8") as file:
            self.assertEqual(file.read(), SOURCE)  # whatever happened, the tree is whole again
        return result

    def test_mutant_is_found_and_named(self):
        result = self.hunt(mutation())
        self.assertEqual(result.seeds, [5, 5, 5])
        self.assertEqual(list(result.violated), ["log matching"])
        self.assertEqual(result.units, {"raft": "log/keeps_two"})
        self.assertEqual(result.missing(), [])

    def test_mutant_that_breaks_nothing_survives(self):
        result = self.hunt(mutation(line="2"))
        self.assertIsNone(result.median())
        self.assertEqual(result.missing(), ["sim", "unit raft"])

    def test_only_those_that_have_to_find_it_are_missed(self):
        self.assertEqual(self.hunt(mutation(line="2", finders="unit raft")).missing(), ["unit raft"])

    def test_others_are_asked_when_everybody_is(self):
        mutant = mutation(finders="unit raft")
        self.assertEqual(self.hunt(mutant).seeds, [])
        self.assertEqual(self.hunt(mutant, everybody=True).seeds, [5, 5, 5])

    def test_patch_that_does_not_fit_is_named(self):
        self.write("project/raft/a.c", "one\nother\nlines\n")
        self.write("work/tree/raft/a.c", "one\nother\nlines\n")
        complaints = hunt.check([mutation()])
        self.assertEqual(len(complaints), 1)
        self.assertIn("tests/mutants/m.patch", complaints[0])

    def test_patch_that_the_document_does_not_know_is_named(self):
        known, now = hunt.table({}, []), hunt.table({}, [mutation()])
        self.assertEqual(hunt.stale(now, now), [])
        self.assertEqual(len(hunt.stale(known, now)), 1)
        self.assertIn("Not hunted yet: m", hunt.stale(known, now)[0])

    def test_patch_that_fits_is_no_complaint(self):
        self.assertEqual(hunt.check([mutation()]), [])

    def test_mutant_that_does_not_build_is_trouble(self):
        mutant = mutation()
        with mock.patch.object(hunt.Worker, "command", side_effect=hunt.Broken("m does not build")):
            self.assertEqual(self.hunt(mutant).trouble, "m does not build")

    def test_units_that_die_without_a_case_are_asked_again(self):
        died = os.path.join(self.root, "died")
        self.program("work/build/tests/unit/raft/test_raft",
                     f"#!/bin/sh\necho >>{died}\n[ $(wc -l <{died}) -lt 3 ] && kill -SEGV $$\nexit 0\n")
        self.assertEqual(self.hunt(mutation(finders="unit raft")).missing(), ["unit raft"])

    def test_program_that_cannot_run_is_trouble_and_no_find(self):
        self.program("work/build/tests/sim/conclave-sim", "#!/bin/sh\nexit 2\n")
        self.assertIn("ended with 2", self.hunt(mutation()).trouble)

    def test_unit_tests_are_limited_in_what_they_use_not_by_the_clock(self):
        self.program("work/build/tests/unit/raft/test_raft",
                     f'#!/bin/sh\n[ "$(ulimit -t)" = {hunt.UNIT_CPU_SECONDS} ]\n')
        self.assertEqual(self.hunt(mutation(line="2")).units, {"raft": None})

    def test_rule_whose_test_does_not_see_its_mutation_is_not_proved(self):
        self.write("project/tests/unit/raft/log.c",
                   "Test(log, keeps_two)\n{\n}\n\nTest(log, keeps_three)\n{\n}\n")
        self.write("project/tests/unit/raft/script.h", "Test(log, keeps_two)\n")
        self.program("work/build/tests/unit/raft/test_raft", ONE_UNIT)
        rows = list(hunt.rule_rows(RULES, hunt.ROOT))
        self.assertEqual(rows, [["8", "raft", "log/keeps_two", "m"], ["9", "raft", "log/keeps_three", "m"]])
        worker = hunt.Worker(os.path.join(self.root, "work"), types.SimpleNamespace())
        first, second = [[*row[:3], mutation()] for row in rows]
        self.assertEqual(hunt.prove_rules(worker, [first]), 0)
        self.assertEqual(hunt.prove_rules(worker, [first, second]), 1)
        with open(os.path.join(worker.tree, "raft", "a.c"), encoding="utf-8") as file:
            self.assertEqual(file.read(), SOURCE)

    def test_rule_whose_test_never_runs_is_not_proved(self):
        self.program("work/build/tests/unit/raft/test_raft", ONE_UNIT)
        worker = hunt.Worker(os.path.join(self.root, "work"), types.SimpleNamespace())
        self.assertEqual(hunt.prove_rules(worker, [["7", "raft", "log/keeps_nothing", mutation()]]), 1)

    def test_control_that_is_found_voids_the_hunt(self):
        options = types.SimpleNamespace(seeds=9, jobs=1, only=None, patch=None, write=True,
                                        work=os.path.join(self.root, "w"))
        found = hunt.Result(hunt.control())
        found.seeds = [3, None, None]
        with mock.patch.object(hunt, "Worker") as worker, mock.patch("builtins.print"):
            worker.return_value.hunt.return_value = found
            self.assertRaises(hunt.Broken, hunt.hunt_all, [mutation()], options)

    def test_rows_are_written_as_soon_as_they_are_known(self):
        options = types.SimpleNamespace(seeds=9, jobs=1, only=["m"], patch=None, write=True,
                                        work=os.path.join(self.root, "w"))
        found = hunt.Result(mutation())
        found.seeds = [3, 4, 5]
        with mock.patch.object(hunt, "Worker") as worker, mock.patch("builtins.print"), \
                mock.patch.object(hunt, "load"), mock.patch.object(hunt, "write_table") as write:
            worker.return_value.hunt.side_effect = [hunt.Result(hunt.control()), found, KeyboardInterrupt]
            self.assertRaises(KeyboardInterrupt, hunt.hunt_all, [mutation(), mutation()], options)
        self.assertEqual([call.args[0] for call in write.call_args_list], [[found]])

    def test_copy_follows_its_source(self):
        target = os.path.join(self.root, "copy")
        hunt.copy_tree(hunt.ROOT, target)
        before = os.stat(os.path.join(target, "raft/a.c")).st_mtime_ns
        hunt.copy_tree(hunt.ROOT, target)
        self.assertEqual(os.stat(os.path.join(target, "raft/a.c")).st_mtime_ns, before)
        self.write("copy/raft/a.c", "mutated\n")
        self.write("copy/raft/old.c", "gone\n")
        hunt.copy_tree(hunt.ROOT, target)
        with open(os.path.join(target, "raft/a.c"), encoding="utf-8") as file:
            self.assertEqual(file.read(), SOURCE)
        self.assertFalse(os.path.exists(os.path.join(target, "raft/old.c")))


    def test_last_start_runs_no_further_than_the_median_needs(self):
        self.program("work/build/tests/sim/conclave-sim", """#!/bin/sh
echo "$@" >>"$(dirname "$0")/calls"
[ "$4" -ge 200001 ] && exit 0
echo "seed $(($4 + 6)) violates \\"log matching\\" at 1 us, event 2:"
exit 1
""")
        result = self.hunt(mutation())
        self.assertEqual(result.seeds, [7, 7, None])
        self.assertEqual(result.median(), 7)
        with open(os.path.join(self.root, "work/build/tests/sim/calls"), encoding="utf-8") as calls:
            self.assertIn("--seeds 7 --first 200001", calls.read())

    def test_any_patch_is_hunted_by_all_that_it_concerns(self):
        self.write("project/tests/unit/raft/meson.build", "")
        patch = self.write("some.patch", "commit 1\n\ndiff --git a/raft/a.c b/raft/a.c\n--- a/raft/a.c"
                           + PATCH.format(line="wrong", finders="").partition("--- a/raft/a.c")[2])
        mutant = hunt.Mutation.of_patch(patch)
        self.assertEqual((mutant.name, mutant.sim, mutant.units), ("some", True, ["raft"]))
        result = self.hunt(mutant)
        self.assertEqual(result.seeds, [5, 5, 5])
        self.assertEqual(result.units, {"raft": "log/keeps_two"})

    def test_patch_of_nothing_that_is_tested_is_refused(self):
        patch = self.write("some.patch", "--- a/docs/a.md\n+++ b/docs/a.md\n@@ -1 +1 @@\n-a\n+b\n")
        self.assertRaises(hunt.Broken, hunt.Mutation.of_patch, patch)


class Reading(unittest.TestCase):
    def test_unit_alone_is_the_modules_that_are_changed(self):
        text = PATCH.format(line="x", finders="unit")
        self.assertEqual(hunt.Mutation("m", text).units, ["raft"])
        self.assertFalse(hunt.Mutation("m", text).sim)
        both = hunt.Mutation("m", PATCH.format(line="x", finders="sim, unit raft, unit"))
        self.assertEqual((both.sim, both.units), (True, ["raft"]))
        self.assertRaises(hunt.Broken, hunt.Mutation, "m", text.replace("raft/a.c", "docs/a.md"))

    def test_header_is_wanted(self):
        text = PATCH.format(line="x", finders="sim")
        self.assertRaises(hunt.Broken, hunt.Mutation, "m", text.replace("Rule: 8\n", ""))
        self.assertRaises(hunt.Broken, hunt.Mutation, "m", text.replace("sim", "luck"))
        self.assertRaises(hunt.Broken, hunt.Mutation, "m", text.partition("---")[0])

    def test_assertion_is_named(self):
        found = hunt.read_simulator("seed 8 dies of signal 6 (an assertion or a bad access)\n",
                                    "conclave: assertion failed: f(x) < 3 (raft/a.c:12)\n", 3)
        self.assertEqual(found, (6, "assertion `f(x) < 3`"))

    def test_crash_without_a_failed_case_is_found(self):
        self.assertEqual(hunt.read_unit("", -6), "ended with -6")
        self.assertIsNone(hunt.read_unit("", 0))

    def test_median_needs_most_starting_points(self):
        result = hunt.Result(mutation())
        for seeds, median in (([1, 9, None], 9), ([1, None, None], None), ([7, 1, 3], 3), ([], None)):
            result.seeds = seeds
            self.assertEqual(result.median(), median)

    def written(self, old, results, mutations):
        """What is in the document after a hunt."""
        with tempfile.NamedTemporaryFile("w+", suffix=".md") as document:
            document.write(f"before\n{hunt.BEGIN}\n{old}\n{hunt.END}\nafter\n")
            document.flush()
            with mock.patch.object(hunt, "DOCUMENT", document.name):
                hunt.write_table(results, 9, mutations)
            with open(document.name, encoding="utf-8") as written:
                return written.read()

    def test_table_replaces_only_itself(self):
        result = hunt.Result(mutation())
        result.seeds, result.units = [1, 2, 3], {"raft": None}
        text = self.written("old", [result], [mutation()])
        self.assertTrue(text.startswith(f"before\n{hunt.BEGIN}\n"))
        self.assertTrue(text.endswith(f"\n{hunt.END}\nafter\n"))
        self.assertIn("| m | two | 8 | 2 | – | no |", text)
        self.assertIn("1 mutations: 0 found by all that have to find them, 1 by the simulator, 0 by", text)
        self.assertIn("\nSurvived: m.\n", text)
        self.assertNotIn("old", text)

    def test_rows_that_were_not_hunted_stay_and_those_without_patch_go(self):
        others = [hunt.Mutation(name, PATCH.format(line="x", finders="sim, unit raft")) for name in "kmn"]
        result = hunt.Result(others[1])
        result.seeds, result.units = [4, 4, 4], {"raft": "a/b"}
        result.violated["one | other"] += 3
        old = "\n".join(f"| {name} | of old | 1 | 7 | x \\| y | `c/d` |" for name in "kml")
        old += "\n| n | the simulator was not asked | 1 | – | – | `c/d` |"
        text = self.written(old, [result], others)
        self.assertIn("| k | two | 8 | 7 | x \\| y | `c/d` |\n| m | two | 8 | 4 | one \\| other | `a/b` |\n\n",
                      text)
        self.assertIn("2 mutations: 2 found by all that have to find them, 2 by the simulator, 2 by", text)
        self.assertIn("\nNot hunted yet: n.\n", text)
        self.assertNotIn("| l |", text)
        self.assertNotIn("Survived", text)


class Mistakes(unittest.TestCase):
    TABLES = [("Of others", [mistakes.Mistake("two is gone", ["m", "n"])]), ("Ours", [mistakes.Mistake(None, ["n"])])]

    def complaints(self, tables=None, seeds="7", finders="sim, unit raft", document=None):
        mutations = [hunt.Mutation(name, PATCH.format(line="x", finders=finders)) for name in "mn"]
        rows = {name: [name, "two", "8", seeds, "x | y", "no"] for name in "mn"}
        tables = tables or self.TABLES
        text = mistakes.put(f"a{mistakes.BEGIN}old{mistakes.END}z", tables, rows, mutations)
        return text, mistakes.complaints(tables, rows, mutations, text if document is None else document, 9)

    def test_list_is_read(self):
        with tempfile.NamedTemporaryFile("w+") as file:
            file.write("# head\n\n== Of others\ntwo is gone | m, n\n\n== Ours\nn\n")
            file.flush()
            self.assertEqual(mistakes.read(file.name), self.TABLES)

    def test_tables_are_those_of_the_rows(self):
        text, wrong = self.complaints()
        self.assertEqual(wrong, [])
        self.assertIn("| two is gone | m | 7 | x \\| y | n |\n\nOurs:\n", text)
        self.assertIn("| two | n | 7 | x \\| y |\n<!-- mistakes: end -->z", text)
        self.assertTrue(text.startswith("a<!-- mistakes: written"))
        self.assertNotIn("old", text)

    def test_what_the_simulator_did_not_find_is_a_complaint(self):
        for seeds in ("–", "> 9", "10"):
            self.assertEqual(len(self.complaints(seeds=seeds)[1]), 2)
        self.assertIn("need not be found", self.complaints(finders="unit raft")[1][0])

    def test_mutation_that_is_not_there_is_a_complaint(self):
        self.assertIn("no mutation l", self.complaints([("T", [mistakes.Mistake("w", ["l"])])])[1][0])

    def test_table_of_other_rows_is_a_complaint(self):
        self.assertEqual(len(self.complaints(document=self.complaints(seeds="6")[0])[1]), 1)


if __name__ == "__main__":
    unittest.main()
