"""The hunt for mutants by rule is shown programs that notice some of them."""

import collections
import os
import shutil
import sys
import tempfile
import types
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import auto  # noqa: E402
import hunt  # noqa: E402
import operators  # noqa: E402

# As the simulator and a unit test are asked. A mutant matters in seeds from its number on; seed 5 notices number 2,
# case a/b number 3; number 9 matters nowhere.
PROGRAM = """#!/bin/sh
case "$1" in
--list) printf 'a: 2 tests\\n|-- a\\n`-- b\\n'; exit 0;;
--seed) item=$2;;
*) for item in "$@"; do :; done;;
esac
if [ -n "$MUTANT_RECORD" ]; then
    for number in 1 2 3; do
        [ "$1" != --seed ] || [ "$item" -ge $number ] || continue
        printf '\\001' | dd of="$MUTANT_RECORD" bs=1 seek=$number conv=notrunc 2>/dev/null
    done
    exit 0
fi
echo "$MUTANT $item" >>"$0.log"
case "$MUTANT $item" in
'2 5') echo 'seed 5 violates "log matching" at 1 us'; exit 1;;
'3 a/b'|'3 @('*a/b*')') echo '[FAIL] a::b: (0.00s)'; exit 1;;
esac
exit 0
"""


def mutant(number):
    return operators.Mutant("raft/a.c", number, "f", "delete", f"s{number}", "deleted", number)


class Auto(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="conclave-auto-")
        self.addCleanup(shutil.rmtree, self.root)
        for name in ("sim", "unit"):
            path = os.path.join(self.root, name)
            with open(path, "w", encoding="utf-8") as file:
                file.write(PROGRAM)
            os.chmod(path, 0o700)
        build = types.SimpleNamespace(
            work=self.root, count=9, files={"raft/a.c": types.SimpleNamespace(text=b"x")},
            simulator=auto.Simulator(os.path.join(self.root, "sim"), "sim"),
            units=[auto.Unit(os.path.join(self.root, "unit"), "raft")])
        self.options = types.SimpleNamespace(files=["raft/a.c"], seeds=6, units_first=False, cases=9, seconds=9, again=False, jobs=1)
        self.hunter = auto.Hunter(build, self.options, auto.Results(self.root))
        self.hunter.record()

    def runs(self, program):
        try:
            with open(os.path.join(self.root, program + ".log"), encoding="utf-8") as file:
                return file.read().splitlines()
        except FileNotFoundError:
            return []

    def test_runs_seeds_in_which_a_mutant_matters_until_one_notices_it(self):
        result = self.hunter.hunt(mutant(2))
        self.assertEqual((result["seed"], result["tried"], result["says"]), (5, 4, "log matching"))
        self.assertEqual(self.runs("sim"), ["2 2", "2 3", "2 4", "2 5"])
        self.assertEqual(self.runs("unit"), [])

    def test_asks_the_units_what_no_seed_notices(self):
        result = self.hunter.hunt(mutant(3))
        self.assertEqual((result.get("seed"), result["tried"], result["case"]), (None, 4, "a/b"))

    def test_runs_nothing_for_what_matters_nowhere(self):
        result = self.hunter.hunt(mutant(9))
        self.assertEqual(auto.outcome(mutant(9), result, {}), "left")
        self.assertEqual(self.runs("sim") + self.runs("unit"), [])

    def test_keeps_what_it_found_and_tries_the_rest_with_more_seeds(self):
        for number in (1, 2):
            self.hunter.results.put(mutant(number), self.hunter.hunt(mutant(number)))
        before = len(self.runs("sim"))
        self.options.seeds = 7
        self.hunter.record()
        self.hunter.hunt(mutant(2))
        self.assertEqual(len(self.runs("sim")), before)
        self.hunter.hunt(mutant(1))
        self.assertEqual(self.runs("sim")[before:], ["1 7"])

    def test_forgets_what_it_found_in_another_text(self):
        self.hunter.results.put(mutant(2), dict(self.hunter.hunt(mutant(2)), file="of another text"))
        self.assertNotIn("seed", self.hunter.results.of(mutant(2), self.hunter.texts["raft/a.c"]))

    def test_counts_outcomes_and_complains_of_what_is_left_or_wrongly_listed(self):
        reasons = {operators.key(mutant(1)): "why", operators.key(mutant(2)): "wrong"}
        outcomes, complaints = auto.hunt_all(self.hunter, [mutant(number) for number in (1, 2, 3, 9)], reasons)
        self.assertEqual(outcomes["raft/a.c"], collections.Counter(equivalent=1, simulator=1, units=1, left=1))
        self.assertEqual([complaint.split(":")[0] for complaint in complaints],
                         ["listed as equivalent and found", "left"])
        self.assertIn("| all | 4 | 1 | 1 | 1 | 1 |", auto.table(outcomes))

    def test_believes_nothing_if_a_program_fails_unmutated(self):
        self.hunter.sim.program.command = lambda item: ["false"]
        with self.assertRaises(hunt.Broken):
            self.hunter.sim.take([8])

    def test_takes_no_equivalent_without_a_reason(self):
        path = os.path.join(self.root, "equivalent.txt")
        for line, good in (("a.c | f | x -> y | why\n", True), ("a.c | f | x -> y\n", False), ("a.c | f | x -> y | \n", False)):
            with open(path, "w", encoding="utf-8") as file:
                file.write("# Why.\n" + line)
            if good:
                self.assertEqual(auto.read_equivalent(path), {"a.c | f | x -> y": "why"})
            else:
                self.assertRaises(hunt.Broken, auto.read_equivalent, path)


if __name__ == "__main__":
    unittest.main()
