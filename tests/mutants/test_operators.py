"""Mutants by rule, made of a program of a few lines: it is compiled once, and every one of them is tried."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import operators  # noqa: E402

SOURCE = """
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define ASSERT(condition) ((condition) ? (void)0 : abort())
enum { LIMIT = 3 + 1 };

static uint64_t some_min(uint64_t a, uint64_t b) { return a < b ? a : b; }
static uint64_t some_max(uint64_t a, uint64_t b) { return a > b ? a : b; }

static bool fits(uint64_t a, uint64_t b)
{
    return a <= LIMIT && b < LIMIT;
}

static uint64_t sum(uint64_t a, uint64_t b)
{
    uint64_t total = a;
    ASSERT(a < 100);
    if (!fits(a, b))
        return 0;
    for (uint64_t i = 0; i < b; i++) {
        if (i == 1)
            continue;
        total += i;
    }
    switch (a) {
    case 1:
        total = some_max(total, b);
        break;
    default:
        total = total * 2;
        break;
    }
    free(NULL);
    if (a > 50)
        total++;
    return total + some_min(a, b) * 10;
}

int main(void)
{
    for (uint64_t a = 0; a < 6; a++)
        for (uint64_t b = 0; b < 6; b++)
            printf("%llu ", (unsigned long long)sum(a, b));
    return 0;
}
"""

LAST = "10 of `return total + some_min(a, b) * 10;`"


class Operators(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = tempfile.mkdtemp(prefix="conclave-operators-")
        with open(os.path.join(cls.root, "sum.c"), "w", encoding="utf-8") as file:
            file.write(SOURCE)
        cls.file = operators.File("sum.c", root=cls.root)
        with open(os.path.join(cls.root, "mutated.c"), "wb") as file:
            file.write(cls.file.schemata())
        for name in ("sum", "mutated"):
            subprocess.run(["cc", "-std=c11", "-D_GNU_SOURCE", "-w", "-include",
                            os.path.join(operators.ROOT, "tests", "mutants", "schemata.h"), "-o", name,
                            name + ".c"], cwd=cls.root, check=True)
        cls.right = cls.run_one("sum")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.root)

    @classmethod
    def run_one(cls, name, **environment):
        # main's own mutants may go on for ever.
        run = subprocess.run(["prlimit", "--cpu=1", "--core=0", "--", os.path.join(cls.root, name)], capture_output=True,
                             env=dict(os.environ, **environment), check=False)
        return run.returncode, run.stdout[:4096]

    def named(self, function, before, after):
        found = [mutant for mutant in self.file.mutants
                 if (mutant.function, mutant.before, mutant.after) == (function, before, after)]
        self.assertEqual(len(found), 1, f"{before} -> {after}")
        return found[0]

    def test_without_one_alive_nothing_changes(self):
        self.assertEqual(self.run_one("mutated"), self.right)

    def test_are_numbered_and_have_names_of_their_own(self):
        self.assertEqual([mutant.number for mutant in self.file.mutants],
                         list(range(1, len(self.file.mutants) + 1)))
        self.assertEqual(len(set(map(operators.key, self.file.mutants))), len(self.file.mutants))

    def test_of_every_operator_are_found(self):
        for function, before, after in (
                ("fits", "a <= LIMIT", "<"), ("fits", "b < LIMIT", "<="), ("fits", "b < LIMIT", "true"),
                ("fits", "a <= LIMIT && b < LIMIT", "||"), ("sum", "fits(a, b)", "false"),
                ("sum", "i == 1", "true"), ("sum", "continue of `if (i == 1)`", "deleted"), ("sum", "total += i", "-="),
                ("sum", "total += i", "deleted"), ("sum", "break of `total = some_max(total, b);`", "deleted"), ("sum", "some_max", "some_min"),
                ("sum", "some_min", "some_max"), ("sum", "total + some_min(a, b) * 10", "-"),
                ("sum", "some_min(a, b) * 10", "+"), ("sum", LAST, "one more"), ("sum", LAST, "one less"),
                ("sum", "a", "one more"), ("sum", "total + some_min(a, b) * 10", "0")):
            number = self.named(function, before, after).number
            self.assertNotEqual(self.run_one("mutated", MUTANT=str(number)), self.right, f"{before} -> {after}")

    def test_leave_assertions_constants_and_what_only_frees_as_they_are(self):
        for mutant in self.file.mutants:
            self.assertNotIn("free", mutant.before)
            self.assertNotIn("100", mutant.before)
            self.assertNotIn("3 + 1", mutant.before)

    def test_that_a_run_does_not_record_change_nothing_in_it(self):
        record = os.path.join(self.root, "record")
        with open(record, "wb") as file:
            file.truncate(1 << 16)
        self.assertEqual(self.run_one("mutated", MUTANT_RECORD=record), self.right)
        with open(record, "rb") as file:
            seen = file.read()
        unseen = [mutant for mutant in self.file.mutants if not seen[mutant.number]]
        self.assertTrue(unseen)  # nothing here is above 50
        for mutant in unseen:
            self.assertEqual(self.run_one("mutated", MUTANT=str(mutant.number)), self.right, mutant)
        self.assertEqual(sum(seen), len(self.file.mutants) - len(unseen))


if __name__ == "__main__":
    unittest.main()
