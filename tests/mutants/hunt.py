"""Mutation score: breaks the code in known ways, one at a time, and asks whether the tests notice.

    hunt.py [--only NAME ...] [--everybody] [--seeds N] [-j J] [--write] [--work DIR]
    hunt.py --patch FILE ... [--seeds N] [-j J] [--work DIR]
    hunt.py --rules [--work DIR]
    hunt.py --check

A mutation is a file NAME.patch beside this one: three header lines and a diff.

    Breaks: what no longer holds, in a few words
    Rule: the number of the rule in the sources' comments, or what else says so
    Found by: sim, unit raft         all of these have to find it: "sim", "unit MODULE", or "unit"
                                     for the modules that it changes

For each, the patch is applied to a copy of the tree, what it needs is built there, and the hunt goes
on: the unit tests run until one fails, then the simulator runs seeds from three starting points and
stops at the first one that fails. Then the table is printed; --write puts each row into docs/testing.md too, as soon
as it is known: rows of what was hunted are replaced, the others stay.
--everybody asks also those who need not find it, to see whether they do by now. --patch hunts for any
patch, from `git diff` say, with the unit tests of what it changes and the simulator. --rules takes the table
of rules in docs/testing.md by its word: the one test of each row has to pass, and to fail under the row's mutation.

The control comes first: an unchanged tree has to survive the same hunt, or nothing that the hunt
finds means anything; a shorter one if not all are hunted. --check only looks whether every patch still
fits the code.

What it costs is mostly building. Each job has its own tree and build directory, kept from hunt to
hunt; only what a patch changes is compiled, and only the programs that are run are linked. With ccache
a mutant of last time is not compiled at all.

Exit codes: 0 all were found by those that have to, 1 one was not, or a patch does not fit or does not
build, 2 bad usage.
"""

import argparse
import collections
import concurrent.futures
import os
import queue
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import mistakes  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(HERE))
DOCUMENT = os.path.join(ROOT, "docs", "testing.md")
BEGIN = "<!-- mutants: written by `make mutants ARGS=--write` -->"
END = "<!-- mutants: end -->"

STARTS = (1, 100001, 200001)
SEEDS = 10000
CONTROL_SEEDS = 1000  # if only some are hunted
CONTROL = "control"
COLUMNS = ["mutation", "what it breaks", "rule", "seeds", "what the simulator sees", "unit test"]
# A mutant may never end. A case has so much of the processor: how slow the machine is, and what else runs on
# it, is no matter. By the clock only who waits for ever is ended.
UNIT_CPU_SECONDS = 60
UNIT_SECONDS = 900
# Criterion's runner dies, and names no case, if one of its cases is stopped for a while (SIGSTOP): that is no find.
UNIT_TRIES = 3
SUITE_SECONDS = 3600
SIMULATED = {"raft", "codec", "storage", "machine"}
NOT_TREE = re.compile(r"^(\.git|build.*|conclave-data|soak-failures|__pycache__|node_modules)$")

VIOLATION = re.compile(r'^seed (\d+) violates "(.*?)"', re.MULTILINE)
DEATH = re.compile(r"^seed (\d+) (?:dies|ended)", re.MULTILINE)
ASSERTION = re.compile(r"assertion failed: (.*) \([^()]*:\d+\)$", re.MULTILINE)
FAILED_CASE = re.compile(r"^\[FAIL\] (\w+::\w+)", re.MULTILINE)


class Broken(Exception):
    """A patch that cannot be hunted: unreadable, does not fit, does not build."""


class Mutation:
    """One patch: its name, its header, its text."""

    def __init__(self, name, text):
        self.name, self.text = name, text
        header, _, self.diff = text.partition("\n--- ")
        self.diff = "--- " + self.diff
        fields = dict(re.findall(r"^([A-Z][a-z ]+): +(.+)$", header, re.MULTILINE))
        for field in ("Breaks", "Rule", "Found by"):
            if field not in fields:
                raise Broken(f"{name}: no line '{field}: ...'")
        self.breaks, self.rule = fields["Breaks"], fields["Rule"]
        self.sim, self.units = False, []
        for finder in fields["Found by"].split(","):
            kind, _, module = finder.strip().partition(" ")
            if kind == "sim" and not module:
                self.sim = True
            elif kind == "unit":
                self.units += [module] if module else ["*"]
            else:
                raise Broken(f"{name}: '{finder.strip()}' is not 'sim', 'unit' or 'unit MODULE'")
        self.paths = re.findall(r"^\+\+\+ b/(\S+)", text, re.MULTILINE)
        if not self.paths:
            raise Broken(f"{name}: changes nothing")
        tested = [folder for folder in sorted(self.folders())
                  if os.path.isfile(os.path.join(ROOT, "tests", "unit", folder, "meson.build"))]
        if "*" in self.units and not tested:
            raise Broken(f"{name}: changes no folder that has unit tests")
        self.units = list(dict.fromkeys(module for unit in self.units
                                        for module in (tested if unit == "*" else [unit])))

    def modules(self):
        """Unit tests that may find it: those that have to, and those of the folders it changes."""
        return list(dict.fromkeys(self.units + sorted(self.folders() & SIMULATED)))

    @classmethod
    def of_patch(cls, path):
        """Any patch: the simulator and the unit tests of what it changes are asked."""
        with open(path, encoding="utf-8") as file:
            text = file.read()
        _, begin, diff = text.partition("--- a/")
        folders = {line.split("/")[0] for line in re.findall(r"^\+\+\+ b/(\S+)", text, re.MULTILINE)}
        finders = (["sim"] if folders & SIMULATED else []) + (["unit"] if folders - {"tests"} else [])
        if not begin or not finders:
            raise Broken(f"{path}: changes nothing that is tested")
        name = os.path.splitext(os.path.basename(path))[0]
        return cls(name, f"Breaks: {os.path.basename(path)}\nRule: –\nFound by: {', '.join(finders)}\n"
                         f"{begin}{diff}")

    def folders(self):
        return {path.split("/")[0] for path in self.paths}


def load(names):
    found = []
    for file in sorted(os.listdir(HERE)):
        name, end = os.path.splitext(file)
        if end == ".patch" and (not names or name in names):
            with open(os.path.join(HERE, file), encoding="utf-8") as patch:
                found.append(Mutation(name, patch.read()))
    return found


def apply(mutation, tree):
    """Patches the tree; what was there before is returned, by path."""
    before = {}
    for path in mutation.paths:
        full = os.path.join(tree, path)
        if not os.path.isfile(full):
            raise Broken(f"{mutation.name}: no file {path}")
        with open(full, "rb") as file:
            before[path] = file.read()
    run = subprocess.run(["patch", "-p1", "-F1", "-N", "-s", "--no-backup-if-mismatch", "-r", "-",
                          "-d", tree], input=mutation.diff, capture_output=True, text=True)
    if run.returncode:
        restore(before, tree)
        raise Broken(f"{mutation.name}: does not fit the code any more: bring "
                     f"tests/mutants/{mutation.name}.patch up to it\n{run.stdout}{run.stderr}")
    return before


def restore(before, tree):
    for path, content in before.items():
        with open(os.path.join(tree, path), "wb") as file:
            file.write(content)


def copy_tree(source, target, rewritten=lambda path, content: content):
    """Makes target equal to source; files that are equal are not touched, so builds stay short. What stands in
    the copy of a file, by its path in the tree, may be something else."""
    for where, folders, files in os.walk(source):
        folders[:] = [folder for folder in folders if not NOT_TREE.match(folder)]
        to = os.path.join(target, os.path.relpath(where, source))
        os.makedirs(to, exist_ok=True)
        for name in os.listdir(to):
            if name not in files and os.path.isfile(os.path.join(to, name)):
                os.remove(os.path.join(to, name))
        for name in files:
            here, there = os.path.join(where, name), os.path.join(to, name)
            with open(here, "rb") as file:
                content = rewritten(os.path.relpath(here, source), file.read())
            if os.path.isfile(there):
                with open(there, "rb") as file:
                    if file.read() == content:
                        continue
            with open(there, "wb") as file:
                file.write(content)
            shutil.copymode(here, there)


def read_simulator(output, errors, first):
    """(seeds it took, what was violated), or None if every seed passed."""
    match = VIOLATION.search(output)
    if match:
        return int(match.group(1)) - first + 1, match.group(2)
    match = DEATH.search(output)
    if match:
        assertion = ASSERTION.search(errors)
        return (int(match.group(1)) - first + 1,
                f"assertion `{assertion.group(1)}`" if assertion else "a seed does not end")
    return None


def read_unit(output, code):
    """The name of the case that failed, or None."""
    match = FAILED_CASE.search(output)
    if match:
        return match.group(1).replace("::", "/")
    return None if code == 0 else f"ended with {code}"


def limit_processor():
    """For a program of unit tests: each of its cases is a process of its own, and inherits this."""
    resource.setrlimit(resource.RLIMIT_CPU, (UNIT_CPU_SECONDS, UNIT_CPU_SECONDS))


class Result:
    def __init__(self, mutation):
        self.mutation = mutation
        self.seeds = []  # of each starting point; None: not found
        self.most = None  # seeds from each starting point
        self.violated = collections.Counter()
        self.units = {}  # module: the case that failed, or None
        self.trouble = None
        self.seconds = collections.Counter()  # build, unit, sim

    def median(self):
        """Of the seeds it took; None if most starting points did not find it."""
        counts = [float("inf") if count is None else count for count in self.seeds]
        median = statistics.median(counts) if counts else float("inf")
        return None if median == float("inf") else int(median)

    def missing(self):
        """Who had to find it and did not."""
        missing = [f"unit {module}" for module in self.mutation.units if not self.units.get(module)]
        return (["sim"] if self.mutation.sim and self.median() is None else []) + missing


class Worker:
    """A copy of the tree and its build directory."""

    def __init__(self, directory, options):
        self.tree = os.path.join(directory, "tree")
        self.build = os.path.join(directory, "build")
        self.options = options
        # The trees of all jobs give the same objects.
        self.environment = dict(os.environ, CCACHE_BASEDIR=os.path.dirname(directory),
                                CCACHE_NOHASHDIR="1")
        copy_tree(ROOT, self.tree)
        if not os.path.isfile(os.path.join(self.build, "build.ninja")):
            self.command(["meson", "setup", self.build, self.tree, "-Doptimization=2", "-Ddebug=false",
                          "-Dwerror=false", "-Dwarning_level=0"], "cannot configure")

    def command(self, arguments, complaint):
        run = subprocess.run(arguments, capture_output=True, text=True, env=self.environment)
        if run.returncode:
            raise Broken(f"{complaint}: {' '.join(arguments)}\n{run.stdout[-3000:]}{run.stderr}")

    def simulate(self, result, seeds, jobs=1):
        program = os.path.join(self.build, "tests", "sim", "conclave-sim")
        for first in STARTS:
            if result.seeds.count(None) > len(STARTS) / 2:
                return  # the median is beyond the limit already
            found = [count for count in result.seeds if count is not None]
            # The last one can only be at least the greater of the other two, or less.
            limit = max(found) if len(found) == len(STARTS) - 1 else seeds
            run = subprocess.run([program, "--seeds", str(limit), "--first", str(first), "--no-shrink",
                                  "-j", str(jobs)], capture_output=True, text=True)
            found = read_simulator(run.stdout, run.stderr, first)
            if not found and run.returncode:
                raise Broken(f"the simulator ended with {run.returncode}\n{run.stdout[-2000:]}")
            result.seeds.append(found[0] if found else None)
            if found:
                result.violated[found[1]] += 1

    def test(self, result, module):
        program = os.path.join(self.build, "tests", "unit", module, "test_" + module)
        for left in reversed(range(UNIT_TRIES)):
            try:
                # Not --tap: with --fail-fast it says nothing.
                run = subprocess.run([program, "--jobs", "1", "--fail-fast", "--timeout",
                                      str(UNIT_SECONDS)], capture_output=True, text=True,
                                     errors="replace", timeout=SUITE_SECONDS, preexec_fn=limit_processor)
                result.units[module] = read_unit(run.stdout + run.stderr, run.returncode)
            except subprocess.TimeoutExpired:
                result.units[module] = "does not end"
            if not left or not (result.units[module] or "").startswith("ended with"):
                return

    def passes(self, module, test):
        """Whether this one unit test does, in the tree as it is."""
        self.command(["ninja", "-C", self.build, "-j", str(os.cpu_count() or 1),
                      f"tests/unit/{module}/test_{module}"], "does not build")
        program = os.path.join(self.build, "tests", "unit", module, "test_" + module)
        run = subprocess.run([program, "--jobs", "1", "--filter", test, "--timeout", str(UNIT_SECONDS)],
                             capture_output=True, text=True, errors="replace")
        return run.returncode == 0 and re.search(r"Passing:\D*[1-9]", run.stdout + run.stderr) is not None

    def timed(self, result, kind, function, *arguments):
        begun = time.monotonic()
        try:
            return function(*arguments)
        finally:
            result.seconds[kind] += time.monotonic() - begun

    def hunt(self, mutation, seeds, jobs=1):
        """jobs: processors that nobody else uses meanwhile."""
        result = Result(mutation)
        result.most = seeds
        before = {}
        try:
            before = apply(mutation, self.tree)
            modules = mutation.modules() if self.options.everybody else mutation.units
            simulated = mutation.sim or (self.options.everybody and mutation.folders() & SIMULATED)
            targets = ["tests/sim/conclave-sim"] if simulated else []
            targets += [f"tests/unit/{module}/test_{module}" for module in modules]
            self.timed(result, "build", self.command,
                       ["ninja", "-C", self.build, "-j", str(jobs)] + targets,
                       f"{mutation.name} does not build")
            for module in modules:
                self.timed(result, "unit", self.test, result, module)
            if simulated:
                self.timed(result, "sim", self.simulate, result, seeds, jobs)
        except Broken as broken:
            result.trouble = str(broken)
        finally:
            restore(before, self.tree)
        return result


def rule_rows(document, root):
    """[rule, the folder of its test, the test, the mutation] of each row of the table of rules."""
    table = re.search(r"<!-- rules: begin -->\n(.*?)<!-- rules: end -->", document, re.S)
    for line in table.group(1).splitlines()[2:] if table else []:
        number, _, _, test, mutation = [cell.strip(" `") for cell in line.strip("|").split("|")]
        suite, name = test.split("/")
        unit = os.path.join(root, "tests", "unit")
        for folder, _, files in os.walk(unit):
            for file in [file for file in files if file.endswith(".c")]:
                with open(os.path.join(folder, file), encoding="utf-8") as source:
                    if re.search(rf"^Test\({suite},\s*{name}\b", source.read(), re.M):
                        yield [number, os.path.relpath(folder, unit).split(os.sep)[0], test, mutation]


def prove_rules(worker, rows):
    """Says of each [rule, folder, test, mutation] whether the test passes, and fails under the mutation.
    Returns how many do not."""
    whole = {test: worker.passes(module, test) for _, module, test, _ in rows}
    wrong = 0
    for number, module, test, mutation in rows:
        before = apply(mutation, worker.tree)
        try:
            survives = worker.passes(module, test)
        finally:
            restore(before, worker.tree)
        proved = whole[test] and not survives
        wrong += not proved
        print(f"rule {number:>2}: {test} {'passes' if whole[test] else 'FAILS'}, and under {mutation.name} "
              f"{'PASSES' if survives else 'fails'}", flush=True)
    print(f"{len(rows) - wrong} passed, {wrong} failed, 0 skipped")
    return wrong


def control():
    """A patch that changes nothing that a test could see."""
    return Mutation(CONTROL, "Breaks: nothing\nRule: none\nFound by: sim, unit raft, unit storage\n"
                    "--- a/raft/step.c\n+++ b/raft/step.c\n@@ -1,1 +1,2 @@\n+/* Mutated. */\n"
                    ' #include "raft/internal.h"\n')


def show_seeds(result, seeds):
    if not result.seeds:
        return "–"
    median = result.median()
    return str(median) if median is not None else f"> {seeds}"


def show_units(result):
    found = [case for case in result.units.values() if case]
    return ", ".join(f"`{case}`" for case in found) or "no"


def row(result, seeds):
    """The cells of a hunted mutation."""
    mutation = result.mutation
    violated = "; ".join(name for name, _ in result.violated.most_common()) or "–"
    return [mutation.name, mutation.breaks, mutation.rule, show_seeds(result, seeds), violated,
            show_units(result)]


def read_rows(text):
    """The rows of a table, by the name of the mutation."""
    rows = {}
    for line in text.splitlines():
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == len(COLUMNS) and cells[0] != COLUMNS[0] and not cells[0].startswith("---"):
            rows[cells[0]] = cells
    return rows


def was_hunted(mutation, rows):
    """False also if the simulator had not to find it yet when it was."""
    return mutation.name in rows and not (mutation.sim and rows[mutation.name][3] == "–")


def found_by_all(mutation, cells):
    """Whether all that have to find it did, by its row."""
    simulator = cells[3].isdigit() or not mutation.sim
    return simulator and (cells[5].count("`") >= 2 * len(mutation.units))


def table(rows, mutations):
    """All rows of these mutations, and below who survived or has none."""
    hunted = [mutation for mutation in mutations if was_hunted(mutation, rows)]
    lines = [COLUMNS, ["---"] * len(COLUMNS)]
    # What is broken, and what forbids it, says the patch of today.
    lines += [[mutation.name, mutation.breaks, mutation.rule] + rows[mutation.name][3:]
              for mutation in hunted]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in lines]
    lines[1] = lines[1].replace(" ", "")
    passed = [mutation for mutation in hunted if found_by_all(mutation, rows[mutation.name])]
    sim = sum(rows[mutation.name][3].isdigit() for mutation in hunted)
    unit = sum("`" in rows[mutation.name][5] for mutation in hunted)
    lines += ["", f"{len(hunted)} mutations: {len(passed)} found by all that have to find them, {sim} by "
              f"the simulator, {unit} by the unit tests."]
    for what, names in (("Survived", [mutation.name for mutation in hunted if mutation not in passed]),
                        ("Not hunted yet",
                         [mutation.name for mutation in mutations if mutation not in hunted])):
        lines += [f"{what}: {', '.join(names)}."] if names else []
    return "\n".join(lines)


def write_table(results, seeds, mutations):
    """What was hunted replaces its rows; the others stay, unless their patch is gone."""
    with open(DOCUMENT, encoding="utf-8") as file:
        document = file.read()
    head, begin, rest = document.partition(BEGIN)
    before, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"hunt: no '{BEGIN}' and '{END}' in {DOCUMENT}")
    rows = read_rows(before)
    rows.update((result.mutation.name, row(result, seeds)) for result in results)
    caption = (f"From each of the starting points {', '.join(map(str, STARTS))}; every row is of the last hunt "
               "of its mutation.\n")
    document = f"{head}{BEGIN}\n{caption}\n{table(rows, mutations)}\n{END}{tail}"
    with open(DOCUMENT, "w", encoding="utf-8") as file:
        file.write(mistakes.put(document, mistakes.read(), rows, mutations))


def check_document(mutations):
    """Whether the simulator found all that has to be among them, by the document, and whether its table is
    of these mutations."""
    with open(DOCUMENT, encoding="utf-8") as file:
        document = file.read()
    written = document.partition(BEGIN)[2].partition(END)[0]
    rows = read_rows(written)
    return (mistakes.complaints(mistakes.read(), rows, mutations, document, SEEDS)
            + stale(written, table(rows, mutations)))


def stale(written, expected):
    """One line if what is written is not the table, and the first line that it lacks."""
    lacks = [line for line in expected.splitlines() if line not in written.splitlines()]
    return [f"{os.path.relpath(DOCUMENT, ROOT)}: the table is not of the patches that there are; it lacks: {lacks[0]}"] \
        if lacks else []


def check(mutations):
    """Whether every patch fits: one line for each that does not."""
    complaints = []
    with tempfile.TemporaryDirectory(prefix="conclave-mutants-") as tree:
        for mutation in mutations:
            for path in mutation.paths:
                os.makedirs(os.path.dirname(os.path.join(tree, path)), exist_ok=True)
                if os.path.isfile(os.path.join(ROOT, path)):
                    shutil.copy(os.path.join(ROOT, path), os.path.join(tree, path))
            try:
                restore(apply(mutation, tree), tree)
            except Broken as broken:
                complaints.append(str(broken))
    return complaints


def report(result, options):
    if result.trouble:
        print(f"{result.mutation.name}: {result.trouble}", flush=True)
        return
    violated = ", ".join(f"{name} ({count})" for name, count in result.violated.most_common())
    units = ", ".join(f"{module}: {case or 'not found'}" for module, case in result.units.items())
    missing = "".join(f"  NOT FOUND by {who}" for who in result.missing())
    if result.mutation.name == CONTROL:
        missing = ""
    seconds = sum(result.seconds.values())
    shown = show_seeds(result, result.most)
    print(f"{result.mutation.name:36} {shown:>8} {result.seeds} "
          f"{violated or '-'}; {units or '-'}  {seconds:.0f} s{missing}", flush=True)


def hunt_all(mutations, options):
    """The results, in the order of the mutations."""
    spare = os.cpu_count() or 1  # processors for one that hunts alone
    workers, writing = queue.SimpleQueue(), threading.Lock()
    for number in range(options.jobs):
        workers.put(Worker(os.path.join(options.work, str(number)), options))

    def one(mutation, seeds=options.seeds, jobs=spare if options.jobs == 1 else 1):
        worker = workers.get()
        try:
            result = worker.hunt(mutation, seeds, jobs)
        finally:
            workers.put(worker)
        report(result, options)
        if options.write and not result.trouble and mutation.name != CONTROL:
            with writing:  # at once: a hunt may be stopped, and what it found stays
                write_table([result], options.seeds, load(None))
        return result

    some = options.only or options.patch
    print("first the tree as it is, built anew, with all that may find something: some minutes",
          flush=True)
    unharmed = one(control(), min(options.seeds, CONTROL_SEEDS) if some else options.seeds, spare)
    if unharmed.trouble or any(unharmed.seeds) or any(unharmed.units.values()):
        raise Broken("the control did not survive: mend the tree first")
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        return list(pool.map(one, mutations))


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", metavar="NAME", action="append", help="this mutation; may be repeated")
    parser.add_argument("--patch", metavar="FILE", action="append",
                        help="any patch instead; may be repeated")
    parser.add_argument("--everybody", action="store_true",
                        help="also hunt with those who need not find it")
    parser.add_argument("--seeds", metavar="N", type=int, default=SEEDS,
                        help=f"from each starting point ({SEEDS})")
    parser.add_argument("-j", "--jobs", metavar="J", type=int, default=1, help="mutations at a time (1)")
    parser.add_argument("--write", action="store_true", help="put the table into docs/testing.md")
    parser.add_argument("--work", metavar="DIR", default=os.path.join(ROOT, "build-mutants"),
                        help="where to copy and build (build-mutants)")
    parser.add_argument("--rules", action="store_true",
                        help="only see whether the test of each rule fails under its mutation")
    parser.add_argument("--check", action="store_true", help="only see whether the patches fit")
    options = parser.parse_args()
    if options.seeds < 1 or options.jobs < 1:
        parser.error("--seeds and --jobs are at least 1")
    if options.write and options.patch:
        parser.error("--write takes mutations of this directory")
    if options.only and options.patch:
        parser.error("--only and --patch exclude one another")
    return parser, options


def main():
    parser, options = parse()
    try:
        mutations = ([Mutation.of_patch(path) for path in options.patch] if options.patch
                     else load(options.only))
        for name in options.only or []:
            if name not in [mutation.name for mutation in mutations]:
                parser.error(f"no tests/mutants/{name}.patch")
        complaints = check(mutations)
        if options.check and not options.only:
            complaints += check_document(mutations)
        if complaints or options.check:
            print("\n".join(complaints) if complaints else f"{len(mutations)} patches fit the code")
            return 1 if complaints or not mutations else 0
        if options.rules:
            with open(DOCUMENT, encoding="utf-8") as document:
                rows = [[*row[:3], load([row[3]])[0]] for row in rule_rows(document.read(), ROOT)]
            worker = Worker(os.path.join(options.work, "0"), options)
            return 1 if prove_rules(worker, rows) or not rows else 0
        started = time.monotonic()
        results = hunt_all(mutations, options)
    except Broken as broken:
        print(broken)
        return 1
    hunted = [result for result in results if not result.trouble]
    text = table({result.mutation.name: row(result, options.seeds) for result in hunted},
                 [result.mutation for result in hunted])
    print(f"\n{text}\n{time.monotonic() - started:.0f} s: " +
          ", ".join(f"{kind} {sum(result.seconds[kind] for result in results):.0f} s"
                    for kind in ("build", "unit", "sim")))
    survivors = [result.mutation.name for result in results if result.trouble or result.missing()]
    if survivors:
        print("survived: " + ", ".join(survivors))
    print(f"{len(results) - len(survivors)} passed, {len(survivors)} failed, 0 skipped")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
