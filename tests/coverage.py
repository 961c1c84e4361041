"""Counts the branches of folders that the programs which ran have taken, file by file.

    coverage.py --build DIR --log FILE [--least PERCENT] FOLDER...

DIR is a build with -Dcoverage=true, which has counters in the objects of raft/ and storage/ alone. gcov
reads those objects one at a time, with little memory and time: what a program that was killed has left
half written ends this with an error, and not the machine.

Left out are lines with `ASSERT(`: such a branch is never taken while the program keeps its own promises,
and running out of memory is one (base/fatal.h). Nothing else is, no file and no line by its name. An
inline function of a header counts as taken where any of the objects takes it.

Prints a table for each folder, with the lines that have a branch never taken, and writes one result a
folder into the log, as meson does: tests/summary.py counts them. Ends with 1 if nothing can be said.
"""

import argparse
import collections
import glob
import itertools
import json
import os
import re
import resource
import subprocess
import sys

MEMORY_MAX = 1 << 30  # bytes for one object; it takes a hundredth
SECONDS_MAX = 120
LEFT_OUT = re.compile(r"\bASSERT\(")


def objects(build, folder):
    """What the compiler wrote for each source file of a folder."""
    return sorted(glob.glob(os.path.join(build, folder, "*.p", "*.gcno")))


def run_gcov(notes):
    """What gcov knows of one object. Without counters no program with it ran: it says so, and counts 0."""
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    command = ["gcov", "--json-format", "--stdout", "--branch-probabilities", os.path.basename(notes)]
    run = subprocess.run(command, cwd=os.path.dirname(notes), capture_output=True, text=True, errors="replace",
                         timeout=SECONDS_MAX, preexec_fn=limit)
    said = [line for line in run.stderr.splitlines() if "cannot open data file" not in line]
    if run.returncode != 0 or said:
        raise SystemExit(f"coverage: gcov cannot read {notes}: {run.returncode}\n" + "\n".join(said))
    return json.loads(run.stdout)


def count(build, folders, root):
    """By file and line: how often each branch was taken."""
    taken = collections.defaultdict(dict)
    for notes in itertools.chain.from_iterable(objects(build, folder) for folder in folders):
        known = run_gcov(notes)
        for file in known["files"]:
            where = os.path.join(known["current_working_directory"], file["file"])
            path = os.path.relpath(os.path.realpath(where), root)
            if path.partition(os.sep)[0] not in folders:
                continue
            lines = collections.defaultdict(list)
            for line in file["lines"]:
                lines[line["line_number"]] += [branch["count"] for branch in line["branches"]]
            for number, counts in lines.items():
                before = taken[path].get(number, [0] * len(counts))
                if len(before) != len(counts):
                    raise SystemExit(f"coverage: {path}:{number} has different branches in different objects")
                taken[path][number] = [old + new for old, new in zip(before, counts)]
    return taken


def leave_out(taken, root):
    for path, lines in taken.items():
        with open(os.path.join(root, path), encoding="utf-8") as file:
            for number, text in enumerate(file, 1):
                if LEFT_OUT.search(text):
                    lines.pop(number, None)


def percent(covered, branches):
    return 100 * covered / branches if branches else 100.0


def row(name, branches, covered, missing=()):
    lines = ",".join(map(str, missing))
    return f"{name:<36}{branches:>9}{covered:>9}{percent(covered, branches):>8.1f}%   {lines}".rstrip()


def table(folder, taken):
    """Prints it; the percentage of all."""
    total = total_covered = 0
    print(f"\n{'File':<36}{'Branches':>9}{'Taken':>9}{'Cover':>9}   Lines with a branch never taken")
    for path in sorted(taken):
        counts = [one for line in taken[path].values() for one in line]
        covered = sum(1 for one in counts if one > 0)
        missing = sorted(number for number, line in taken[path].items() if 0 in line)
        total, total_covered = total + len(counts), total_covered + covered
        if counts:
            print(row(path, len(counts), covered, missing))
    print(row(f"{folder}/", total, total_covered), flush=True)
    return percent(total_covered, total) if total else 0.0


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--build", required=True, help="the build directory")
    parser.add_argument("--log", required=True, help="where the results go")
    parser.add_argument("--least", type=float, default=95, help="so much is asked for (95)")
    parser.add_argument("--root", default=os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                        help=argparse.SUPPRESS)
    parser.add_argument("folders", nargs="+")
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parse(arguments)
    root = os.path.realpath(options.root)
    results = []
    taken = count(options.build, options.folders, root)
    leave_out(taken, root)
    for folder in options.folders:
        inside = {path: lines for path, lines in taken.items() if path.startswith(folder + os.sep)}
        if not inside:
            raise SystemExit(f"coverage: nothing in {options.build} counts the branches of {folder}/")
        covered = table(folder, inside)
        results.append({"name": f"coverage of {folder}/, at least {options.least:g} %: {covered:.1f} %",
                        "result": "OK" if covered >= options.least else "FAIL", "returncode": int(covered < options.least)})
    with open(options.log, "w", encoding="utf-8") as log:
        log.writelines(json.dumps(result) + "\n" for result in results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
