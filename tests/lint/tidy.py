"""Runs clang-tidy over every source file that the build compiles, several at a time.

    tidy.py BUILD_DIR [JOBS]

The checks, and the reasons of those left out, stand in .clang-tidy. Unit tests are not looked at: half
of what clang-tidy sees of them is Criterion's macros, and they would take most of the time. A file
whose text, headers included, did not change since it was last found clean is not looked at again.
The files that were committed last come first. With CONCLAVE_UNTIL, in seconds since the epoch, none is begun
later than that; if some are left because of it, and the others are clean, it ends with 77: skipped.
"""

import concurrent.futures
import hashlib
import json
import os
import subprocess
import sys
import time

# gcc's own switches that clang does not know, and what only slows it down here.
DROPPED = ("-Werror", "-fsanitize", "-fdiagnostics-color", "-MD", "-MQ", "-MF", "-D_FORTIFY_SOURCE",
           "-fno-sanitize")
SKIPPED = os.path.join("tests", "unit") + os.sep


def commands(root, build):
    """Yields (source, directory, compiler arguments) for each C file that is looked at."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as database:
        entries = json.load(database)
    seen = set()
    for entry in entries:
        source = os.path.normpath(os.path.join(entry["directory"], entry["file"]))
        if source in seen or not source.endswith(".c"):
            continue
        if os.path.relpath(source, root).startswith(SKIPPED):
            continue
        seen.add(source)
        arguments, skip = [], False
        for argument in entry["command"].split()[1:]:
            if skip:
                skip = False
            elif argument in ("-o", "-c", "-MQ", "-MF"):
                skip = argument != "-c"
            elif argument != entry["file"] and not argument.startswith(DROPPED):
                arguments.append(argument.replace('\\"', '"'))
        yield source, entry["directory"], arguments


def fingerprint(source, directory, arguments, rules):
    """A hash of all that clang-tidy would see; None if the file does not preprocess."""
    run = subprocess.run(["clang", "-E", *arguments, source], cwd=directory, capture_output=True)
    if run.returncode != 0:
        return None
    return hashlib.sha256(rules + repr(arguments).encode() + run.stdout).hexdigest()


def tidy(source, directory, arguments, rules, cache):
    key = fingerprint(source, directory, arguments, rules)
    mark = key and os.path.join(cache, key)
    if mark and os.path.exists(mark):
        return source, 0, ""
    run = subprocess.run(["clang-tidy", "--quiet", source, "--", *arguments], cwd=directory, capture_output=True, text=True)
    if run.returncode == 0 and mark:
        with open(mark, "w", encoding="utf-8"):
            pass
    return source, run.returncode, run.stdout + (run.stderr if run.returncode else "")


def newest_first(root, work):
    run = subprocess.run(["git", "log", "-n", "300", "--format=", "--name-only"], cwd=root, capture_output=True, text=True)
    ages = {}
    for line in run.stdout.splitlines() if run.returncode == 0 else []:
        ages.setdefault(os.path.join(root, line), len(ages))
    return sorted(work, key=lambda item: ages.get(item[0], len(ages)))


def tidy_in_time(until, item, rules, cache):
    """As tidy; the code is None if there was no time."""
    return (item[0], None, "") if time.time() >= until else tidy(*item, rules, cache)


def check(root, build, jobs):
    """The exit code."""
    rules = b""
    for folder in ("", "examples", "tests"):
        with open(os.path.join(root, folder, ".clang-tidy"), "rb") as config:
            rules += config.read()
    cache = os.path.join(build, "tidy-clean")
    os.makedirs(cache, exist_ok=True)
    work = newest_first(root, commands(root, build))
    until = float(os.environ.get("CONCLAVE_UNTIL", "inf"))
    bad = left = 0
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(tidy_in_time, until, item, rules, cache) for item in work]
        for future in concurrent.futures.as_completed(futures):
            source, code, output = future.result()
            if code is None:
                left += 1
            elif code != 0:
                bad += 1
                print(f"== {os.path.relpath(source, root)}\n{output}")
    print(f"{len(work)} files, {bad} with complaints" + (f", {left} not looked at: no time" if left else ""))
    if bad or not work:
        return 1
    return 77 if left else 0


def main():
    root = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
    jobs = int(sys.argv[2]) if len(sys.argv) > 2 else os.cpu_count() or 1
    return check(root, os.path.abspath(sys.argv[1]), jobs)


if __name__ == "__main__":
    sys.exit(main())
