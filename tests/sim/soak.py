"""Runs the simulator for hours on seeds that nobody has seen: a fresh random first seed each time.

    soak.py --sim PROGRAM [--sanitized PROGRAM] [--hours H | --seeds N] [--first S] [-j J]
            [--dir DIR] [--require-marks] [--write] [--continue]

The seeds run in chunks of different lengths of run. A part of the time they run in the build with
sanitizers, which is slower and sees more. A seed that fails is shrunk, and everything about it goes
into a file of DIR, a few for every rule that is broken; the search goes on behind it. With
--require-marks it is a failure too if a fault was never injected or a situation never reached. With
--write what ran is added to the list of seeds in docs/guarantees.md, one line for each commit, and how often
each fault and each situation was met is put into docs/marks.md, in place of what stood there.

What has run so far stands in soak-state.json of DIR until all of it is done. With --continue a soak goes on
where one that was stopped, or killed, ended, and its counts are those of both; only with the same commit.

The summary at the end, also after Ctrl-C or SIGTERM, says what ran and where the failures are; the last line is
`N passed, N failed, N skipped`: seeds. Ends with 1 if something failed, with 2 after bad usage.
"""

import argparse
import collections
import contextlib
import datetime
import json
import os
import re
import signal
import subprocess
import sys
import time

STEPS = (10000, 2000, 10000, 40000)  # of the chunks in turn
CHUNK = 1000  # seeds, of 10000 steps; longer runs are fewer
SANITIZED_PART = 0.25  # of the time
FILES_PER_RULE = 5
FAILURES_MAX = 100  # then something else is wrong
SHRINK_SECONDS = 1800
RULE = re.compile(r'^seed \d+ (?:violates "(.*?)"|(dies of signal \d+|ended its process))', re.MULTILINE)
SEEDS_MAX = 2 ** 62

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DOCUMENT = os.path.join(ROOT, "docs", "guarantees.md")
BEGIN, END = "<!-- seeds: written by `make soak WRITE=1` -->", "<!-- seeds: end -->"
MARKS_DOCUMENT = os.path.join(ROOT, "docs", "marks.md")
MARKS_BEGIN, MARKS_END = "<!-- marks: written by `make soak WRITE=1` -->", "<!-- marks: end -->"
KINDS = {"faults": "Faults", "actions": "What clients and operators do", "marks": "Situations"}
WORDS = re.compile(r'^ +X\((\w+), "(.*?)"\)', re.MULTILINE)
COLUMNS = ["day", "commit", "seeds", "of them with sanitizers", "failed"]
ROW = re.compile(r"^\| (\S+) \| (\S+) \| (\d+) \| (\d+) \| (\d+) \|$", re.MULTILINE)
ROWS_MAX = 20  # older ones are counted, and go


def commit():
    """What is checked out; with a + if it was changed since."""
    def git(*arguments):
        return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True).stdout.strip()
    return (git("rev-parse", "--short", "HEAD") or "?") + ("+" if git("status", "--porcelain", "-uno") else "")


def rewrite(path, begin, end, lines_of):
    """Puts the lines that lines_of makes of what stands between two marks of a document in its place."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    head, has_begin, rest = text.partition(begin)
    listed, has_end, tail = rest.partition(end)
    if not has_begin or not has_end:
        raise SystemExit(f"soak: no '{begin}' and '{end}' in {path}")
    lines = lines_of(listed)
    with open(path, "w", encoding="utf-8") as file:
        file.write(head + begin + "\n" + "\n".join(lines) + "\n" + end + tail)


def seed_lines(listed, day, of, seeds, sanitized, failed):
    """What ran is added to the list, newest first."""
    before = re.search(r"^Before these: (\d+) seeds, (\d+) failed\.$", listed, re.MULTILINE)
    old = [int(number) for number in before.groups()] if before else [0, 0]
    rows = [(day, of, seeds, sanitized, failed)]
    for found in ROW.findall(listed):
        row = found[:2] + tuple(int(number) for number in found[2:])
        if row[1] == of:
            rows[0] = (day, of, *(a + b for a, b in zip(rows[0][2:], row[2:])))
        else:
            rows.append(row)
    for row in rows[ROWS_MAX:]:
        old = [old[0] + row[2], old[1] + row[4]]
    rows = rows[:ROWS_MAX]
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    lines += ["", f"All together: {old[0] + sum(row[2] for row in rows)} seeds, "
              f"{old[1] + sum(row[4] for row in rows)} failed."]
    return lines + ([f"Before these: {old[0]} seeds, {old[1]} failed."] if old[0] else [])


def write_seeds(path, *ran):
    """Adds what ran to the list in a document: the day, the commit, seeds, of them with sanitizers, failed."""
    rewrite(path, BEGIN, END, lambda listed: seed_lines(listed, *ran))


def words():
    """How the simulator calls each fault, action and situation."""
    found = {}
    for kind, header in (("faults", "knobs.h"), ("actions", "decisions.h"), ("marks", "report.h")):
        with open(os.path.join(ROOT, "tests", "sim", header), encoding="utf-8") as file:
            found.update(((kind, name), text) for name, text in WORDS.findall(file.read()))
    return found


def mark_lines(ran, counts):
    """What was met how often. counts is by kind and name."""
    called, lines = words(), [ran]
    for kind, title in KINDS.items():
        lines += ["", f"## {title}", "", "| times | what |", "|---:|---|"]
        lines += [f"| {count} | {called.get((kind, name), name)} |"
                  for (of, name), count in counts.items() if of == kind]
    return lines


class Soak:
    def __init__(self, options):
        self.options = options
        self.next = options.first
        self.started = time.monotonic()
        self.spent = collections.Counter()  # seconds, by program
        self.passed = self.failed = self.events = self.cpu = self.sanitized = 0
        self.rules = collections.Counter()
        self.files = []
        self.counts = collections.Counter()  # by kind (faults, actions, situations) and name
        self.number = 0  # of the chunk
        self.whole = False  # nothing is left to do
        self.listed = (0, 0, 0)  # what the list of seeds has of it: seeds, with sanitizers, failed
        self.hours = 0.0  # of the parts before this one

    # --- In parts ---

    KEPT = ("next", "passed", "failed", "events", "cpu", "sanitized", "number", "listed", "files")

    def save(self):
        os.makedirs(self.options.dir, exist_ok=True)
        state = {name: getattr(self, name) for name in self.KEPT}
        state.update(commit=commit(), first=self.options.first, seeds=self.options.seeds, rules=self.rules,
                     spent=self.spent, hours=self.hours + (time.monotonic() - self.started) / 3600,
                     counts=[[*key, count] for key, count in self.counts.items()])
        path = self.state_path()
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(state, file)
        os.replace(path + ".new", path)  # a kill leaves the one before

    def load(self):
        """Goes on with what a soak that did not end has left; with nothing, if there is none."""
        try:
            with open(self.state_path(), encoding="utf-8") as file:
                state = json.load(file)
        except FileNotFoundError:
            return
        if state["commit"] != commit():
            raise SystemExit(f"soak: {self.state_path()} is of commit {state['commit']}: check that out to go on "
                             "with it, or leave --continue out")
        for name in self.KEPT:
            setattr(self, name, state[name])
        self.listed, self.hours = tuple(self.listed), state["hours"]
        self.options.first = state["first"]
        self.rules.update(state["rules"])
        self.spent.update(state["spent"])
        self.counts.update({(kind, name): count for kind, name, count in state["counts"]})

    def state_path(self):
        return os.path.join(self.options.dir, "soak-state.json")

    # --- Running ---

    def program(self):
        """The one that has had less than its part of the time."""
        options, total = self.options, sum(self.spent.values())
        if options.sanitized and self.spent[options.sanitized] < SANITIZED_PART * total:
            return options.sanitized
        return options.sim

    def over(self):
        if self.failed >= FAILURES_MAX:
            return True
        if self.options.seeds:
            return self.next >= self.options.first + self.options.seeds
        return time.monotonic() - self.started >= self.options.hours * 3600

    def chunk(self, number):
        program, steps = self.program(), STEPS[number % len(STEPS)]
        seeds = max(1, CHUNK * STEPS[0] // max(steps, STEPS[0]))
        if program == self.options.sanitized:
            seeds = max(1, seeds // 4)
        if self.options.seeds:
            seeds = min(seeds, self.options.first + self.options.seeds - self.next)
        begun = time.monotonic()
        run = subprocess.run([program, "--json", "--no-shrink", "--seeds", str(seeds), "--first",
                              str(self.next), "--steps", str(steps), "-j", str(self.options.jobs)],
                             capture_output=True, text=True, errors="replace")
        self.spent[program] += time.monotonic() - begun
        try:
            result = json.loads(run.stdout)
        except ValueError:
            self.store(program, self.next, steps, "the simulator itself ends",
                       f"status {run.returncode}\n{run.stdout}\n{run.stderr}")
            self.failed += 1
            self.next += seeds
            return
        self.add(result)
        ran = result["first_failed"] + 1 - self.next if result["failed"] else seeds
        self.sanitized += ran if program == self.options.sanitized else 0
        if not result["failed"]:
            self.next += seeds
            return
        self.failed += 1  # the first of the chunk; the others are met again behind it
        self.next = result["first_failed"] + 1
        self.failure(program, result, steps, run.stderr)

    def add(self, result):
        self.passed += result["passed"]
        self.events += result["events"]
        self.cpu += result["cpu_seconds"]
        for kind in KINDS:
            for name, count in result[kind].items():
                self.counts[kind, name] += count

    def failure(self, program, result, steps, errors):
        match = RULE.search(result["failure"])
        rule = (match.group(1) or match.group(2)) if match else "unknown"
        seed = result["first_failed"]
        print(f"seed {seed}, --steps {steps}: {rule}", flush=True)
        text = result["failure"] + errors
        if self.rules[rule] < FILES_PER_RULE:
            text += self.shrink(program, seed, steps)
        self.store(program, seed, steps, rule, text)

    def shrink(self, program, seed, steps):
        try:
            run = subprocess.run([program, "--seed", str(seed), "--steps", str(steps), "--shrink"],
                                 capture_output=True, text=True, errors="replace",
                                 timeout=SHRINK_SECONDS)
            return "\n" + run.stdout
        except subprocess.TimeoutExpired:
            return "\nnot shrunk in time\n"

    def store(self, program, seed, steps, rule, text):
        self.rules[rule] += 1
        if self.rules[rule] > FILES_PER_RULE:
            return
        os.makedirs(self.options.dir, exist_ok=True)
        path = os.path.join(self.options.dir, f"seed-{seed}-steps-{steps}.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"{program} --seed {seed} --steps {steps}\n{rule}\n\n{text}")
        self.files.append(path)

    # --- Telling ---

    def unreached(self):
        return sorted(name for (_, name), count in self.counts.items() if count == 0)

    def summary(self):
        hours = self.hours + (time.monotonic() - self.started) / 3600
        rate = self.events / self.cpu if self.cpu else 0
        print(f"seeds {self.options.first} to {self.next - 1} in {hours:.2f} h, {self.events} events, "
              f"{rate:.0f} events/s of one core")
        for program, seconds in self.spent.items():
            print(f"{seconds / 3600:8.2f} h  {program}")
        for rule, count in self.rules.most_common():
            print(f"{count:8}    failures: {rule}")
        for path in self.files:
            print(f"            {path}")
        missing = self.unreached()
        if missing:
            print("never reached: " + ", ".join(missing))
        if self.options.write:
            day, of = datetime.datetime.now(datetime.timezone.utc).date(), commit()
            seeds = self.next - self.options.first
            ran = (seeds, self.sanitized, self.failed)
            write_seeds(self.options.document, day, of, *(now - old for now, old in zip(ran, self.listed)))
            self.listed = ran
            ran = (f"{seeds} seeds from {self.options.first} on, {day}, commit {of}. "
                   f"Never met: {', '.join(missing) or 'nothing'}.")
            rewrite(self.options.marks_document, MARKS_BEGIN, MARKS_END, lambda _: mark_lines(ran, self.counts))
        if self.whole:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.state_path())
        else:
            self.save()
        failed = self.failed + (len(missing) if self.options.require_marks else 0)
        print(f"{self.passed} passed, {failed} failed, 0 skipped", flush=True)
        return 1 if failed or not self.passed else 0

    def run(self):
        for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell has made it ignore Ctrl-C
            signal.signal(number, signal.default_int_handler)
        if self.options.resume:
            self.load()
        print(f"first seed {self.options.first}", flush=True)
        if self.next != self.options.first:
            print(f"goes on with seed {self.next}", flush=True)
        try:
            while not self.over():
                self.chunk(self.number)
                self.number += 1
                self.save()
            self.whole = True
        except KeyboardInterrupt:
            print("stopped", flush=True)
        return self.summary()


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--sim", required=True, help="conclave-sim")
    parser.add_argument("--sanitized", help="conclave-sim of a build with sanitizers")
    parser.add_argument("--hours", type=float, default=8, help="how long (8)")
    parser.add_argument("--seeds", type=int, help="so many seeds instead")
    parser.add_argument("--first", type=int, help="the first seed (random)")
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--dir", default="soak-failures", help="where failures go (soak-failures)")
    parser.add_argument("--require-marks", action="store_true",
                        help="what was never reached is a failure")
    parser.add_argument("--write", action="store_true", help="add what ran to docs/guarantees.md and docs/marks.md")
    parser.add_argument("--continue", dest="resume", action="store_true", help="go on with what was stopped")
    parser.add_argument("--document", default=DOCUMENT, help=argparse.SUPPRESS)
    parser.add_argument("--marks-document", default=MARKS_DOCUMENT, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.first is None:
        options.first = int.from_bytes(os.urandom(6), "big") + 1
    if options.hours <= 0 or options.jobs < 1 or not 1 <= options.first < SEEDS_MAX:
        parser.error("--hours, --jobs and --first are positive")
    if options.seeds is not None and options.seeds < 1:
        parser.error("--seeds is at least 1")
    return options


if __name__ == "__main__":
    sys.exit(Soak(parse()).run())
