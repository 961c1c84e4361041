"""Checks that what docs/testing.md says of the rules and of other systems' bugs is so: each rule from 1
to 44 has a row, its file names it, its test and its mutation exist, and every scenario's test does. And
that all tests and mutations that docs/guarantees.md names for a promise exist.

    rules.py [ROOT]
"""

import fnmatch
import os
import re
import sys

RULES = range(1, 45)


def section(text, name):
    """The lines of the table between the two marks."""
    found = re.search(rf"<!-- {name}: begin -->\n(.*?)<!-- {name}: end -->", text, re.S)
    rows = [line for line in (found.group(1) if found else "").splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def tests_of(root, module=""):
    """Every unit test, or those of a module, as "suite/name"."""
    names = set()
    for folder, _, files in os.walk(os.path.join(root, "tests", "unit", module)):
        for file in files:
            if file.endswith(".c"):
                with open(os.path.join(folder, file), encoding="utf-8") as source:
                    names.update("/".join(pair) for pair in
                                 re.findall(r"^Test\((\w+),\s*(\w+)", source.read(), re.M))
    return names


def process_tests_of(root):
    """Every test with real nodes as "file/name"."""
    names, where = set(), os.path.join(root, "tests", "process")
    for file in os.listdir(where) if os.path.isdir(where) else []:
        suite = re.fullmatch(r"test_(\w+)\.py", file)
        if suite:
            with open(os.path.join(where, file), encoding="utf-8") as source:
                names.update(f"{suite.group(1)}/{name}" for name in
                             re.findall(r"^ +def (test_\w+)", source.read(), re.M))
    return names


def mutations_of(root):
    where = os.path.join(root, "tests", "mutants")
    return {file[:-len(".patch")] for file in os.listdir(where) if file.endswith(".patch")}


def named_of(root, kind):
    """What a promise may name of a kind of test; None: that is only told in words."""
    if kind == "mutant":
        return mutations_of(root)
    if kind == "process":
        return process_tests_of(root)
    if kind == "torture":
        where = os.path.join(root, "tests", "torture")
        return {file[:-len(".py")] for file in os.listdir(where)} if os.path.isdir(where) else set()
    return tests_of(root, kind) if os.path.isdir(os.path.join(root, "tests", "unit", kind)) else None


def promise_problems(root):
    path = os.path.join(root, "docs", "guarantees.md")
    if not os.path.isfile(path):
        return
    with open(path, encoding="utf-8") as document:
        rows = re.findall(r"^\| \*\*(.+?)\*\*.*?\| (.+?) \|", document.read(), re.M)
    for promise, held in rows:
        for part in held.split("; "):
            kind, colon, names = part.partition(": ")
            there = named_of(root, kind.strip("`")) if colon and kind.startswith("`") else None
            for name in re.findall(r"`([^`]+)`", names) if there is not None else []:
                if not fnmatch.filter(there, name):
                    yield f"docs/guarantees.md: {promise}: there is no {kind.strip('`')} {name!r}"


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
    tests |= process_tests_of(root)
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
    found = [f"docs/testing.md: {problem}" for problem in problems(root)]
    found += promise_problems(root)
    for problem in found:
        print(problem)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
