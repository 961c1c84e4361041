"""Checks that what docs/testing.md says of the rules and of other systems' bugs is so: each rule from 1
to 44 has a row, its file names it, its test and its mutation exist, and every scenario's test does.

    rules.py [ROOT]
"""

import os
import re
import sys

RULES = range(1, 45)


def section(text, name):
    """The lines of the table between the two marks."""
    found = re.search(rf"<!-- {name}: begin -->\n(.*?)<!-- {name}: end -->", text, re.S)
    rows = [line for line in (found.group(1) if found else "").splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def tests_of(root):
    """Every unit test as "suite/name"."""
    names = set()
    for folder, _, files in os.walk(os.path.join(root, "tests", "unit")):
        for file in files:
            if file.endswith(".c"):
                with open(os.path.join(folder, file), encoding="utf-8") as source:
                    names.update("/".join(pair) for pair in
                                 re.findall(r"^Test\((\w+),\s*(\w+)", source.read(), re.M))
    return names


def names_rule(text, number):
    """True for "Rule 7" and for "Rules 6, 7 and 8"."""
    lists = re.findall(r"Rules? (\d+(?:(?:,\s|\sand\s)(?:\*\s)?\d+)*)", text)
    return any(str(number) in re.findall(r"\d+", one) for one in lists)


def check_row(root, row, tests):
    """What is wrong with a rule's row."""
    number, _, path, test, mutation = row
    file = os.path.join(root, path)
    if not os.path.isfile(file):
        yield f"rule {number}: there is no {path}"
    else:
        with open(file, encoding="utf-8") as source:
            if not names_rule(source.read(), int(number)):
                yield f"rule {number}: {path} does not name it"
    if test.strip("`") not in tests:
        yield f"rule {number}: there is no test {test}"
    if not os.path.isfile(os.path.join(root, "tests", "mutants", mutation + ".patch")):
        yield f"rule {number}: there is no mutation {mutation}"


def problems(root):
    with open(os.path.join(root, "docs", "testing.md"), encoding="utf-8") as document:
        text = document.read()
    tests = tests_of(root)
    rows = section(text, "rules")
    if [row[0] for row in rows] != [str(number) for number in RULES]:
        yield f"the table does not have each rule from 1 to {RULES[-1]} once, in order"
    for row in rows:
        yield from check_row(root, row, tests)
    scenarios = section(text, "scenarios")
    if not scenarios:
        yield "the table of scenarios is empty"
    for seen, named in scenarios:
        for test in re.findall(r"`([^`]+)`", named) or [""]:
            if test not in tests:
                yield f"{seen}: there is no test {test!r}"
    listed = " ".join(named for _, named in scenarios)
    for test in sorted(tests):
        if test.startswith("scenario/") and test not in listed:
            yield f"{test} is not in the table of scenarios"


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "..", "..")
    found = list(problems(root))
    for problem in found:
        print(f"docs/testing.md: {problem}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
