"""Each lint is itself shown bad input here, and must complain about it."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]

import format as formatting  # noqa: E402
import headers  # noqa: E402
import layers  # noqa: E402
import rules  # noqa: E402
import summary  # noqa: E402
import symbols  # noqa: E402


class Tree(unittest.TestCase):
    """A small tree of sources in a temporary directory."""

    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="conclave-lint-")
        self.addCleanup(shutil.rmtree, self.root)

    def write(self, path, text):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)
        return full


class Rules(Tree):
    ROW = "| {0} | what | raft/a.c | `log/rule_{0}` | breaks_{0} |\n"

    def complaints(self, rows=None, scenario="`scenario/a`"):
        """Of a tree in which all is well but for what is given."""
        numbers = list(rules.RULES)
        rows = [self.ROW.format(n) for n in numbers] if rows is None else rows
        self.write("docs/testing.md",
                   "<!-- rules: begin -->\n| rule |\n|---|\n" + "".join(rows) +
                   "<!-- rules: end -->\n<!-- scenarios: begin -->\n| seen |\n|---|\n"
                   f"| there | {scenario} |\n<!-- scenarios: end -->\n")
        self.write("raft/a.c", "/* Rules " + ", ".join(map(str, numbers)) + " */\n")
        self.write("tests/unit/raft/log.c", "".join(f"Test(log, rule_{n})\n" for n in numbers) +
                   "Test(scenario, a)\n")
        for n in numbers:
            self.write(f"tests/mutants/breaks_{n}.patch", "")
        return list(rules.problems(self.root))

    def row_with(self, old, new):
        rows = [self.ROW.format(n) for n in rules.RULES]
        return [rows[0].replace(old, new)] + rows[1:]

    def test_good_table_passes(self):
        self.assertEqual(self.complaints(), [])

    def test_missing_rule_is_found(self):
        self.assertEqual(len(self.complaints([self.ROW.format(n) for n in rules.RULES][1:])), 1)

    def test_missing_test_is_found(self):
        self.assertIn("there is no test", self.complaints(self.row_with("log/", "gone/"))[0])

    def test_missing_mutation_is_found(self):
        self.assertIn("no mutation", self.complaints(self.row_with("breaks_", "mends_"))[0])

    def test_missing_file_is_found(self):
        self.assertIn("there is no raft/b.c", self.complaints(self.row_with("a.c", "b.c"))[0])

    def test_file_that_does_not_name_the_rule_is_found(self):
        self.complaints()
        self.write("raft/a.c", "/* Rule 44 */\n")
        self.assertEqual(len(list(rules.problems(self.root))), 43)

    def test_missing_scenario_is_found(self):
        self.assertEqual(len(self.complaints(scenario="`scenario/b`")), 2)

    def test_scenario_with_real_nodes_is_known(self):
        self.write("tests/process/test_life.py", "class A:\n    def test_goes_on(self):\n")
        self.assertEqual(self.complaints(scenario="`scenario/a`, `life/test_goes_on`"), [])

    def promised(self, held):
        self.complaints()
        self.write("tests/process/test_life.py", "class A:\n    def test_goes_on(self):\n")
        self.write("docs/guarantees.md", f"| promise | held |\n|---|---|\n| **It holds** | {held} | none |\n")
        return list(rules.promise_problems(self.root))

    def test_promise_that_is_held_passes(self):
        self.assertEqual(self.promised("`raft`: `log/rule_1*`, `scenario/a`; `process`: `life/*`; "
                                       "`sim`: it `holds`; `mutant`: `breaks_*`"), [])

    def test_promise_that_nothing_holds_is_found(self):
        for held in ("`raft`: `gone/*`", "`process`: `life/test_ends`", "`sim`: x; `mutant`: `mends_1`"):
            found = self.promised(held)
            self.assertEqual(len(found), 1, held)
            self.assertIn("It holds: there is no", found[0])


class Layers(Tree):
    def complaints(self, **files):
        self.write("include/conclave.h", "#include <stdint.h>\n")
        self.write("base/error.h", '#include "conclave.h"\n')
        self.write("codec/peer.h", '#include "base/error.h"\n')
        self.write("raft/message.h", '#include "base/error.h"\n')
        for path, text in files.items():
            self.write(path.replace("__", "/").replace("_c", ".c").replace("_h", ".h"), text)
        return layers.check(self.root)

    def test_good_tree_passes(self):
        self.assertEqual(self.complaints(codec__a_c='#include "raft/message.h"\n'), [])

    def test_upward_include_is_found(self):
        found = self.complaints(raft__a_c='int x;\n#include "codec/peer.h"\n')
        self.assertEqual(found, ['raft/a.c:2: raft/ must not include "codec/peer.h"'])

    def test_sibling_include_is_found(self):
        self.assertEqual(len(self.complaints(transport__a_c='#include "codec/peer.h"\n')), 1)

    def test_program_sees_public_headers_only(self):
        self.assertEqual(len(self.complaints(cli__a_c='#include "base/error.h"\n')), 1)
        self.assertEqual(self.complaints(cli__a_c='#include "conclave.h"\n'), [])

    def test_clock_in_core_is_found(self):
        self.assertEqual(len(self.complaints(raft__a_c="#include <time.h>\n")), 1)

    def test_socket_in_storage_is_found(self):
        self.assertEqual(len(self.complaints(storage__a_c="#include <zmq.h>\n")), 1)

    def test_public_header_with_system_header_is_found(self):
        self.assertEqual(len(self.complaints(include__conclave_h="#include <sys/uio.h>\n")), 1)

    def test_include_from_own_folder_without_its_name_is_found(self):
        self.assertEqual(len(self.complaints(raft__a_c='#include "message.h"\n')), 1)

    def test_circle_is_found(self):
        found = self.complaints(raft__x_h='#include "raft/y.h"\n', raft__y_h='#include "raft/x.h"\n')
        self.assertEqual(found, ["circle of includes: raft/x.h -> raft/y.h -> raft/x.h"])

    def test_include_in_comment_is_ignored(self):
        self.assertEqual(self.complaints(raft__a_c='/*\n#include "codec/peer.h"\n*/\n'), [])

    def test_empty_tree_is_no_success(self):
        self.assertTrue(layers.check(tempfile.gettempdir() + "/nothing-here"))


class Symbols(Tree):
    def build(self, text):
        source = self.write("a.c", text)
        archive, library = os.path.join(self.root, "liba.a"), os.path.join(self.root, "liba.so")
        thing = os.path.join(self.root, "a.c.o")
        subprocess.run(["gcc", "-fPIC", "-c", source, "-o", thing], check=True)
        subprocess.run(["ar", "rcs", archive, thing], check=True)
        subprocess.run(["gcc", "-shared", thing, "-o", library], check=True)
        return symbols.check(library, [archive])

    def test_good_library_passes(self):
        self.assertEqual(self.build("int conclave_a(void) { return 1; }\n"), [])

    def test_foreign_name_is_found(self):
        found = self.build("int conclave_a(void) { return 1; }\nint helper(void) { return 2; }\n")
        self.assertEqual(len(found), 1)
        self.assertTrue(found[0].endswith("exports helper"))

    def test_exported_variable_is_found(self):
        self.assertEqual(len(self.build("int conclave_a = 1;\nint counter = 2;\n")), 1)

    def test_library_without_exports_is_found(self):
        self.assertEqual(len(self.build("static int a(void) { return 1; }\nint (*conclave)(void)"
                                        " __attribute__((visibility(\"hidden\"))) = a;\n")), 1)

    def test_use_of_exit_and_stdout_is_found(self):
        found = self.build("#include <stdio.h>\n#include <stdlib.h>\n"
                           "void conclave_a(void) { fputs(\"x\", stdout); exit(1); }\n")
        self.assertEqual(sorted(line.rsplit(" ", 1)[1] for line in found), ["exit", "stdout"])

    def test_use_of_sigaction_is_found(self):
        found = self.build("#include <signal.h>\n"
                           "void conclave_a(void) { (void)sigaction(SIGINT, 0, 0); }\n")
        self.assertEqual(len(found), 1)


class Headers(Tree):
    def complaints(self, text):
        self.write("a.h", text)
        return headers.check(self.root)

    def test_good_header_passes(self):
        self.assertEqual(self.complaints("#ifndef A\n#define A\nstruct a { int x; };\n#endif\n"), [])

    def test_missing_include_is_found(self):
        self.assertTrue(self.complaints("#ifndef A\n#define A\nuint64_t a(void);\n#endif\n"))

    def test_missing_guard_is_found(self):
        self.assertTrue(self.complaints("struct a { int x; };\n"))

    def test_gnu_extension_is_found(self):
        self.assertTrue(self.complaints("#ifndef A\n#define A\nstruct a { struct { int x; }; int b[0];"
                                        " };\n#endif\n"))

    @unittest.skipUnless(shutil.which("g++") or shutil.which("clang"), "no C++ compiler")
    def test_cplusplus_keyword_is_found(self):
        self.assertTrue(self.complaints("#ifndef A\n#define A\nstruct a { int class; };\n#endif\n"))


class Format(Tree):
    def setUp(self):
        super().setUp()
        shutil.copy(os.path.join(HERE, "..", "..", ".clang-format"), self.root)

    def test_formatted_file_passes(self):
        self.write("base/a.c", "int a(void)\n{\n    return 1;\n}\n")
        self.assertEqual(formatting.check(self.root), 0)

    def test_unformatted_file_is_found(self):
        self.write("base/a.c", "int a(void) { return 1; }\n")
        self.assertNotEqual(formatting.check(self.root), 0)

    def test_empty_tree_is_no_success(self):
        self.assertNotEqual(formatting.check(self.root), 0)


class Summary(Tree):
    def counts(self, *lines):
        log = self.write("log.json", "".join(line + "\n" for line in lines))
        run = subprocess.run([sys.executable, summary.__file__, log], capture_output=True, text=True)
        return run.stdout.splitlines()[-1], run.returncode

    def test_tap_cases_are_counted_one_by_one(self):
        line = ('{"name": "a", "result": "FAIL", "returncode": 0, "stdout": '
                '"1..3\\nok 1 - a\\nnot ok 2 - b\\nok 3 - c # SKIP why\\n"}')
        self.assertEqual(self.counts(line), ("1 passed, 1 failed, 1 skipped", 1))

    def test_crash_after_good_cases_is_a_failure(self):
        line = '{"name": "a", "result": "ERROR", "returncode": -11, "stdout": "1..1\\nok 1 - a\\n"}'
        self.assertEqual(self.counts(line), ("1 passed, 1 failed, 0 skipped", 1))

    def test_timeout_is_a_failure(self):
        line = '{"name": "a", "result": "TIMEOUT", "returncode": -15, "stdout": ""}'
        self.assertEqual(self.counts(line), ("0 passed, 1 failed, 0 skipped", 1))

    def test_nothing_run_is_a_failure(self):
        self.assertEqual(self.counts(), ("0 passed, 0 failed, 0 skipped", 1))

    def test_plain_program_is_one_case(self):
        line = '{"name": "a", "result": "OK", "returncode": 0, "stdout": "400 seeds passed"}'
        self.assertEqual(self.counts(line), ("1 passed, 0 failed, 0 skipped", 0))


if __name__ == "__main__":
    unittest.main()
