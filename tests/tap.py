"""Runs the unittest cases of the files named on the command line and prints TAP, one line a case.

    tap.py [-k PATTERN]... FILE.py...

Tracebacks and whatever the cases print go to stderr, so that stdout is TAP alone.
"""

import argparse
import fnmatch
import importlib.util
import os
import sys
import traceback
import unittest


class TapResult(unittest.TestResult):
    def __init__(self, out):
        super().__init__()
        self.out = out
        self.number = 0
        self.bad = False
        self.reported = False

    def say(self, ok, test, directive=""):
        self.number += 1
        name = test.id().split(".", 1)[-1]
        print(f"{'ok' if ok else 'not ok'} {self.number} - {name}{directive}", file=self.out,
              flush=True)
        if not ok:
            self.bad = True

    def explain(self, error):
        sys.stderr.write("".join(traceback.format_exception(*error)))
        sys.stderr.flush()

    def startTest(self, test):
        super().startTest(test)
        self.reported = False
        print(f"-- {test.id()}", file=sys.stderr, flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        if not self.reported:
            self.say(True, test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.explain(err)
        if not self.reported:
            self.say(False, test)
        self.reported = True

    def addError(self, test, err):
        self.addFailure(test, err)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.say(True, test, f" # SKIP {reason}")
        self.reported = True

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            print(f"-- in {subtest}", file=sys.stderr)
            self.addFailure(test, err)


def load(path):
    name = os.path.splitext(os.path.basename(path))[0]
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return unittest.defaultTestLoader.loadTestsFromModule(module)


def flatten(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flatten(test)
        else:
            yield test


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-k", action="append", default=[])
    parser.add_argument("files", nargs="+")
    arguments = parser.parse_args()

    tests = []
    for path in arguments.files:
        for test in flatten(load(path)):
            patterns = arguments.k
            if not patterns or any(fnmatch.fnmatch(test.id(), f"*{k}*") for k in patterns):
                tests.append(test)

    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what cases and their children print must not look like TAP
    print(f"TAP version 13\n1..{len(tests)}", file=out, flush=True)
    result = TapResult(out)
    # A suite, so that setUpClass and tearDownClass are called.
    unittest.TestSuite(tests).run(result)
    out.flush()
    return 1 if result.bad or result.number != len(tests) else 0


if __name__ == "__main__":
    sys.exit(main())
