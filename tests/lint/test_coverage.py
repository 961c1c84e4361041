"""What counts the branches is shown a folder in which it is known which of them are taken."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import coverage  # noqa: E402

HEADER = """static inline int both(int a)
{
    return a ? 1 : 2;
}
"""
ONE = """#include "core/both.h"
#define ASSERT(condition) do { if (!(condition)) __builtin_abort(); } while (0)
int one(int a)
{
    ASSERT(a < 100);
    if (a > 10)
        return both(a);
    return 0;
}
"""
TWO = """#include "core/both.h"
int two(int a)
{
    return both(a);
}
"""
MAIN = """int one(int a);
int two(int a);
int main(int argc, char **argv)
{
    (void)argv;
    return one(argc > 5 ? 0 : 11) + two(0) == 3 ? 0 : 1;
}
"""


class CoverageTest(unittest.TestCase):
    def setUp(self):
        self.root = os.path.realpath(tempfile.mkdtemp(prefix="conclave-coverage-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.build = os.path.join(self.root, "build")
        self.objects = os.path.join(self.build, "core", "libcore.a.p")
        os.makedirs(self.objects)
        os.makedirs(os.path.join(self.root, "core"))
        for name, text in (("both.h", HEADER), ("one.c", ONE), ("two.c", TWO), ("main.c", MAIN)):
            with open(os.path.join(self.root, "core" if name != "main.c" else "", name), "w", encoding="utf-8") as file:
                file.write(text)
        for name in ("one.c", "two.c"):
            subprocess.run(["gcc", "--coverage", "-O0", "-I..", "-c", f"../core/{name}", "-o",
                            f"core/libcore.a.p/{name}.o"], cwd=self.build, check=True)
        self.program = os.path.join(self.build, "program")
        subprocess.run(["gcc", "--coverage", "../main.c", "core/libcore.a.p/one.c.o", "core/libcore.a.p/two.c.o",
                        "-o", self.program], cwd=self.build, check=True)

    def count(self, least=95):
        log = os.path.join(self.build, "log")
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            coverage.main(["--build", self.build, "--log", log, "--root", self.root, "--least", str(least), "core"])
        with open(log, encoding="utf-8") as file:
            return out.getvalue(), json.loads(file.read())["result"]

    def test_tells_what_is_never_taken_without_assertions(self):
        subprocess.run([self.program], check=True)
        text, result = self.count()
        self.assertRegex(text, r"core/one\.c +2 +1 +50\.0%   6\n")
        self.assertNotIn("main.c", text)
        self.assertEqual(result, "FAIL")

    def test_a_header_has_what_any_object_takes(self):
        subprocess.run([self.program], check=True)
        text, _ = self.count()
        self.assertRegex(text, r"core/both\.h +2 +2 +100\.0%\n")
        self.assertRegex(text, r"core/ +4 +3 +75\.0%\n")

    def test_as_much_as_is_asked_for_is_enough(self):
        subprocess.run([self.program], check=True)
        self.assertEqual(self.count(least=75)[1], "OK")
        self.assertEqual(self.count(least=76)[1], "FAIL")

    def test_what_no_program_ran_counts_as_never_taken(self):
        subprocess.run([self.program], check=True)
        os.unlink(os.path.join(self.objects, "one.c.gcda"))
        text, _ = self.count()
        self.assertRegex(text, r"core/one\.c +2 +0 +0\.0%   6\n")
        self.assertRegex(text, r"core/both\.h +2 +1 +50\.0%   3\n")

    def test_counters_of_something_else_are_an_error(self):
        subprocess.run([self.program], check=True)
        shutil.copy(os.path.join(self.objects, "two.c.gcda"), os.path.join(self.objects, "one.c.gcda"))
        with self.assertRaisesRegex(SystemExit, "cannot read"):
            self.count()

    def test_a_folder_without_counters_is_an_error(self):
        with self.assertRaisesRegex(SystemExit, "nothing"):
            coverage.main(["--build", self.build, "--log", os.devnull, "--root", self.root, "other"])


if __name__ == "__main__":
    unittest.main()
