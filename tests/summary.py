"""Counts single test cases from meson's JSON logs and prints the closing line.

    summary.py [--reports DIR] LOG.json...

A test program that speaks TAP counts case by case, another one as one case. A program that failed
although all its cases passed (it crashed afterwards, broke its plan, ran out of time) counts as one
failure more; so does each sanitizer report in DIR. The last line is `N passed, N failed, N skipped`.
Ends with 1 when something failed or nothing ran.
"""

import argparse
import json
import os
import re
import sys

CASE = re.compile(r"^(?P<not>not )?ok\b\s*\d*\s*-?\s*(?P<name>[^#]*)(?:#\s*(?P<directive>\w+))?")
PLAN = re.compile(r"^1\.\.\d+")
GOOD = ("OK", "EXPECTEDFAIL", "SKIP")


def cases(output):
    """Yields (name, result) of the TAP in a program's output; nothing if it is no TAP."""
    lines = output.splitlines()
    if not any(PLAN.match(line) for line in lines):
        return
    for line in lines:
        match = CASE.match(line)
        if match is None:
            continue
        directive = (match["directive"] or "").upper()
        if directive.startswith("SKIP"):
            result = "skipped"
        elif match["not"] and directive != "TODO":
            result = "failed"
        else:
            result = "passed"
        yield match["name"].strip(), result


def count(log, totals, failures):
    for line in log:
        if not line.strip():
            continue
        test = json.loads(line)
        bad = False
        some = False
        for name, result in cases(test.get("stdout") or ""):
            some = True
            totals[result] += 1
            if result == "failed":
                bad = True
                failures.append(f"{test['name']}: {name}")
        if test["result"] in GOOD:
            if not some:
                totals["skipped" if test["result"] == "SKIP" else "passed"] += 1
        elif not bad:
            totals["failed"] += 1
            failures.append(f"{test['name']}: {test['result']}, exit {test['returncode']}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--reports")
    parser.add_argument("logs", nargs="+")
    arguments = parser.parse_args()

    totals = {"passed": 0, "failed": 0, "skipped": 0}
    failures = []
    for path in arguments.logs:
        try:
            with open(path, encoding="utf-8", errors="replace") as log:
                count(log, totals, failures)
        except OSError as error:
            totals["failed"] += 1
            failures.append(f"no results: {error}")
    if arguments.reports and os.path.isdir(arguments.reports):
        for name in sorted(os.listdir(arguments.reports)):
            path = os.path.join(arguments.reports, name)
            if os.path.getsize(path) == 0:
                continue
            totals["failed"] += 1
            failures.append(f"sanitizer report {path}")
            with open(path, encoding="utf-8", errors="replace") as report:
                sys.stdout.write(report.read(20000))

    for failure in failures:
        print(f"FAILED {failure}")
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**totals))
    return 1 if totals["failed"] or not totals["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
