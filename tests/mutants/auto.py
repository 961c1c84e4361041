"""Mutants by rule, all of them: which are noticed by the simulator, which by the unit tests, which by nobody?

    auto.py [FILE.c ...] [--only REGEX] [--sample N [--seed S]] [--seeds N] [--list] [--write] [--work DIR]

operators.py makes the mutants, schemata.h compiles them in, all at once, into a copy of the tree; the
product's own sources and builds know nothing of it. Files: those of raft/ and storage/, if none are named.

First nothing is mutated: each seed of the simulator and each case of the unit tests runs once, and tells
which mutants would have changed anything in it. A seed in which a mutant changes nothing ends as it
did, so each mutant runs only those seeds, and those cases, in which it does: first seeds, until one
fails, then cases, until one fails. What nothing has noticed then is equivalent (equivalent.txt says
why, one line each), or a hole.

    --only REGEX     of lines as --list prints them
    --sample N       that many of them, drawn by --seed S (1)
    --seeds N        of the simulator, from 1 on (300)
    --units-first    the cases before the seeds: who wants to know survivors alone is faster so
    --cases N        of the unit tests, at most, for one mutant: the nearest (all)
    --seconds S      only cases that take no longer than that while nothing is mutated (all)
    --known          only those that were tried before, in whatever runs: for a table of all of them
    --left           only what nothing noticed the last time, and no reason is given for
    --again          also those whose outcome is known from the last time, in the work directory
    --write          the table goes into docs/testing.md

Results stay in the work directory (build-auto) and hold while the mutated file stays as it is: what was
found is found, what was not is tried again if there are more seeds, or with --again.

Exit codes: 0 nothing is left, 1 something is, or a line of equivalent.txt is about nothing or was found; 2 bad usage.
"""

import argparse
import collections
import concurrent.futures
import glob
import hashlib
import json
import os
import pickle
import random
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import hunt  # noqa: E402
import operators  # noqa: E402

ROOT = hunt.ROOT
EQUIVALENT = os.path.join(hunt.HERE, "equivalent.txt")
SCHEMATA = "tests/mutants/schemata.h"
FOLDERS = ("raft", "storage")
MODULES = {"codec": ("codec", "codec_kv")}  # unit tests of a folder, where they are not named like it
BEGIN = "<!-- auto: written by `make mutants-auto ARGS=--write` -->"
END = "<!-- auto: end -->"
RECORD_BYTES = 1 << 16  # schemata.h: MUTANTS_MAX
CPU_SECONDS = 1  # of one seed or case, or twenty times what it takes unmutated
DATA_BYTES = 3 << 30
WALL_TICKS = 30  # of a second each, or ten for each CPU second; a machine that stands still makes none
SAVED_EVERY = 20
TRIES = 3  # unmutated: real threads, on a machine that may stand still
NEAREST = 3  # cases that are tried at first, together; then thrice as many as were, and so on


class Ended:
    """How a program ended, and what it printed."""

    def __init__(self, code, output):
        self.code, self.output = code, output


def run_once(arguments, environment, cpu):
    """How it ended; None: it had not after so many ticks."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            ["prlimit", f"--cpu={cpu}", f"--data={DATA_BYTES}", "--core=0", "--"] + arguments,
            stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
            env=dict(os.environ, MALLOC_PERTURB_="165", **environment))  # as `meson test` does
        exit_of = os.pidfd_open(process.pid)
        ended = any(select.select([exit_of], [], [], 1)[0] for _ in range(max(WALL_TICKS, 10 * cpu)))
        os.close(exit_of)
        if not ended:
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        output.seek(0)
        return Ended(code, output.read().decode(errors="replace")) if ended else None


def run(arguments, environment, cpu=CPU_SECONDS):
    """A program that may do anything: in its own process group, with limits. One that only waits has a second try."""
    ended = run_once(arguments, environment, cpu) or run_once(arguments, environment, cpu)
    return ended or Ended(-signal.SIGKILL, "does not end")


class Program:
    """Something that a mutant may be noticed by: runs of the simulator, or cases of a unit test."""

    def __init__(self, path, name):
        self.path, self.name = path, name
        with open(path, "rb") as file:
            self.hash = hashlib.sha256(file.read()).hexdigest()[:16]

    def command(self, item):
        raise NotImplementedError

    def run(self, item, environment, cpu=CPU_SECONDS):
        return run(self.command(item), environment, cpu)


class Simulator(Program):
    def command(self, item):
        return [self.path, "--seed", str(item)]

    @staticmethod
    def says(ended):
        found = hunt.read_simulator(ended.output, ended.output, 0)
        if found:
            return found[1]
        return "does not end" if ended.code == -signal.SIGKILL else f"ends with {ended.code}"


class Unit(Program):
    def items(self):
        listed = run([self.path, "--list"], {}).output
        suite, items = None, []
        for line in listed.splitlines():
            match = re.match(r"^(\w+): \d+ tests?", line)
            if match:
                suite = match.group(1)
                continue
            match = re.match(r"^[^\w]*(\w+)(.*)$", line)
            if match and suite and "skipped" not in match.group(2):
                items.append(f"{suite}/{match.group(1)}")
        if not items:
            raise hunt.Broken(f"{self.path} lists no cases: {listed[:500]}")
        return items

    def command(self, item):
        return [self.path, "--jobs", "1", "--filter", item]

    def run_all(self, items, environment, cpu):
        """How those cases ended, up to one that fails, and which that is; in one process: much of a case is its start."""
        ended = run([self.path, "--jobs", "1", "--fail-fast", "--filter", f"@({'|'.join(items)})"], environment, cpu)
        failed = re.search(r"\[(?:FAIL|CRASH)\] (\w+)::(\w+)", re.sub("\x1b\\[[0-9;]*m", "", ended.output))
        return ended, "/".join(failed.groups()) if failed else items[-1]


class Record:
    """Which mutants change something in which item of a program, and how long it takes."""

    def __init__(self, program, directory, count):
        self.program, self.count = program, count
        self.directory = os.path.join(directory, f"{program.name}-{program.hash}")
        os.makedirs(self.directory, exist_ok=True)
        self.index = os.path.join(self.directory, "seconds.json")
        self.seconds = {}
        if os.path.isfile(self.index):
            with open(self.index, encoding="utf-8") as file:
                self.seconds = json.load(file)
        self.items = collections.defaultdict(list)

    def take(self, items):
        began = time.monotonic()
        for item in items:
            name = str(item)
            path = os.path.join(self.directory, re.sub(r"\W", "-", name))
            if name not in self.seconds:
                with open(path, "wb") as file:
                    file.truncate(RECORD_BYTES)
                for _ in range(TRIES):
                    before = os.times()
                    ended = self.program.run(item, {"MUTANT_RECORD": path}, cpu=600)
                    after = os.times()
                    if ended.code == 0:
                        break
                if ended.code != 0:
                    raise hunt.Broken(f"{self.program.name} {item} fails though nothing is mutated:\n"
                                      f"{ended.output[-3000:]}")
                self.seconds[name] = (after.children_user + after.children_system -
                                      before.children_user - before.children_system)
                if time.monotonic() - began > 10:
                    self.save()
                    began = time.monotonic()
            with open(path, "rb") as file:
                content = file.read(self.count + 1)
            for match in re.finditer(b"\1", content):
                self.items[match.start()].append(item)
        self.save()

    def save(self):
        with open(self.index, "w", encoding="utf-8") as file:
            json.dump(self.seconds, file)

    def cpu(self, item):
        return max(CPU_SECONDS, int(20 * self.seconds[str(item)]))


def modules_of(paths):
    """The unit tests of the folders."""
    folders = sorted({path.split("/")[0] for path in paths})
    return [module for folder in folders for module in MODULES.get(folder, (folder,))]


class Build:
    """The copy of the tree that has all mutants, and its programs."""

    def __init__(self, work, paths):
        self.work = work
        self.tree, self.build = os.path.join(work, "tree"), os.path.join(work, "build")
        self.files, number = {}, 1
        for path in paths:
            self.files[path] = file_of(path, number, work)
            number = self.files[path].next
        self.count = number - 1
        if self.count >= RECORD_BYTES:
            raise hunt.Broken(f"{self.count} mutants at a time are too many")
        self.mutants = [mutant for file in self.files.values() for mutant in file.mutants]

    def command(self, arguments):
        made = subprocess.run(arguments, capture_output=True, text=True,
                              env=dict(os.environ, CCACHE_BASEDIR=self.work, CCACHE_NOHASHDIR="1"))
        if made.returncode:
            raise hunt.Broken(f"{' '.join(arguments)}\n{made.stdout[-3000:]}{made.stderr[-3000:]}")

    def make(self, jobs):
        hunt.copy_tree(ROOT, self.tree,
                       lambda path, content: self.files[path].schemata() if path in self.files else content)
        if not os.path.isfile(os.path.join(self.build, "build.ninja")):
            self.command(["meson", "setup", self.build, self.tree, "-Doptimization=1", "-Ddebug=false",
                          "-Dwerror=false", "-Dwarning_level=0",
                          f"-Dc_args=-w -include {os.path.join(self.tree, SCHEMATA)}"])
        units = [f"tests/unit/{module}/test_{module}" for module in modules_of(self.files)]
        self.command(["ninja", "-C", self.build, "-j", str(jobs), "tests/sim/conclave-sim"] + units)
        self.simulator = Simulator(os.path.join(self.build, "tests/sim/conclave-sim"), "sim")
        self.units = [Unit(os.path.join(self.build, unit), module)
                      for unit, module in zip(units, modules_of(self.files))]


class Results:
    """What is known of mutants, by what they are called; of a file that is as it was."""

    def __init__(self, work):
        self.path = os.path.join(work, "results.json")
        self.known, self.unsaved = {}, 0
        if os.path.isfile(self.path):
            with open(self.path, encoding="utf-8") as file:
                self.known = json.load(file)

    def of(self, mutant, text):
        found = self.known.get(operators.key(mutant), {})
        return dict(found) if found.get("file") == text else {"file": text}

    def put(self, mutant, result):
        self.known[operators.key(mutant)] = result
        self.unsaved += 1
        if self.unsaved >= SAVED_EVERY:
            self.save()

    def save(self):
        with open(self.path + ".new", "w", encoding="utf-8") as file:
            json.dump(self.known, file, indent=0, sort_keys=True)
        os.replace(self.path + ".new", self.path)
        self.unsaved = 0


def read_equivalent(path=EQUIVALENT):
    """{key: reason}"""
    reasons = {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip() or line.startswith("#"):
                continue
            parts = [part.strip() for part in line.split(" | ")]
            if len(parts) != 4 or not all(parts):
                raise hunt.Broken(f"{path}:{number}: not 'FILE | FUNCTION | BEFORE -> AFTER | REASON'")
            reasons[" | ".join(parts[:3])] = parts[3]
    return reasons


class Hunter:
    def __init__(self, build, options, results):
        self.build, self.options, self.results = build, options, results
        records = os.path.join(build.work, "records")
        self.sim = Record(build.simulator, records, build.count)
        self.units = [Record(unit, records, build.count) for unit in build.units]
        self.texts = {path: hashlib.sha256(file.text).hexdigest()[:16] for path, file in build.files.items()}

    def record(self):
        self.sim.take(range(1, self.options.seeds + 1))
        for record in self.units:
            if record.program.name in modules_of(self.options.files):
                record.take(record.program.items())

    def is_known(self, mutant, left):
        """Whether it was tried; left: and nothing noticed it."""
        known = self.results.of(mutant, self.texts[mutant.path])
        return len(known) > 1 and not (left and ("seed" in known or "case" in known))

    def seeds(self, mutant, result):
        """Runs those in which it changes anything, and that were not run yet."""
        known = result.get("seeds", 0)
        if "seed" in result or known >= self.options.seeds:
            return
        tried = 0
        for seed in self.sim.items[mutant.number]:
            tried += 1
            if seed <= known:
                continue
            ended = self.build.simulator.run(seed, {"MUTANT": str(mutant.number)}, self.sim.cpu(seed))
            if ended.code != 0:
                result.update(seed=seed, tried=tried, says=self.build.simulator.says(ended))
                return
        result.update(seeds=self.options.seeds, tried=tried)

    def cases(self, mutant, result):
        if "case" in result:
            return
        stem = os.path.splitext(os.path.basename(mutant.path))[0]
        items = [(record, item) for record in self.units for item in record.items[mutant.number]
                 if record.seconds[str(item)] <= self.options.seconds]
        # The nearest first: those about the file, and those that take least.
        items.sort(key=lambda each: (each[1].split("/")[0] not in stem, each[0].seconds[str(each[1])]))
        items = items[:self.options.cases]
        at = 0
        while at < len(items):
            record = items[at][0]
            some = [item for other, item in items[at:at + max(NEAREST, 3 * at)] if other is record]
            cpu = max(record.cpu(item) for item in some) + int(sum(record.seconds[str(item)] for item in some))
            ended, case = record.program.run_all(some, {"MUTANT": str(mutant.number)}, cpu)
            if ended.code != 0:
                result["case"] = case
                return
            at += len(some)
        result["cases"] = len(items)

    def hunt(self, mutant):
        result = self.results.of(mutant, self.texts[mutant.path])
        if self.options.again and "seed" not in result and "case" not in result:
            result = {"file": result["file"]}
        steps = [self.seeds, self.cases]
        if self.options.units_first:
            steps.reverse()
        for step in steps:
            step(mutant, result)
            if "seed" in result or (self.options.units_first and "case" in result):
                break
        return result


def describe(result):
    if "seed" in result:
        return f"simulator, seed {result['seed']}, the {result['tried']}. in which it matters: {result['says']}"
    if "case" in result:
        return f"unit {result['case']}"
    return f"SURVIVES {result.get('tried', 0)} seeds and {result.get('cases', 0)} cases that it matters in"


def outcome(mutant, result, reasons):
    if "seed" in result:
        return "simulator"
    if "case" in result:
        return "units"
    return "equivalent" if operators.key(mutant) in reasons else "left"


def table(outcomes):
    """outcomes: {path: Counter}"""
    columns = ["mutants", "simulator", "units", "equivalent", "left"]
    lines = ["| file | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    total = collections.Counter()
    for path, counts in [*outcomes.items(), ("all", total)]:
        if path != "all":
            counts["mutants"] = sum(counts[column] for column in columns[1:])
            total.update(counts)
        lines.append(f"| {path} | " + " | ".join(str(counts[column]) for column in columns) + " |")
    return "\n".join(lines)


def write(text):
    with open(hunt.DOCUMENT, encoding="utf-8") as file:
        document = file.read()
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise hunt.Broken(f"no '{BEGIN}' and '{END}' in {hunt.DOCUMENT}")
    with open(hunt.DOCUMENT, "w", encoding="utf-8") as file:
        file.write(f"{head}{BEGIN}\n{text}\n{END}{tail}")


def show(mutant):
    return (f"{mutant.path}:{mutant.line}: {mutant.operator}: {operators.key(mutant)}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("files", metavar="FILE.c", nargs="*")
    parser.add_argument("--only", metavar="REGEX", type=re.compile)
    parser.add_argument("--sample", metavar="N", type=int)
    parser.add_argument("--seed", metavar="S", type=int, default=1)
    parser.add_argument("--seeds", metavar="N", type=int, default=300)
    parser.add_argument("--units-first", action="store_true")
    parser.add_argument("--cases", metavar="N", type=int, default=sys.maxsize)
    parser.add_argument("--seconds", metavar="S", type=float, default=float("inf"))
    parser.add_argument("--known", action="store_true")
    parser.add_argument("--left", action="store_true")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("-j", "--jobs", metavar="J", type=int, default=1)
    parser.add_argument("--work", metavar="DIR", default=os.path.join(ROOT, "build-auto"))
    options = parser.parse_args()
    usual = [os.path.relpath(path, ROOT) for folder in FOLDERS
             for path in sorted(glob.glob(os.path.join(ROOT, folder, "*.c")))]
    options.files = [os.path.relpath(path, ROOT) for path in options.files]
    for path in options.files:
        if not os.path.isfile(os.path.join(ROOT, path)):
            parser.error(f"no file {path}")
    # The same build for whichever of the usual ones.
    options.built = usual if set(options.files) <= set(usual) else options.files
    options.files = options.files or usual
    if min(options.seeds, options.jobs, options.sample or 1) < 1:
        parser.error("numbers are at least 1")
    return options


def chosen(build, options):
    mutants = [mutant for mutant in build.mutants if mutant.path in options.files and
               (not options.only or options.only.search(show(mutant)))]
    if options.sample and options.sample < len(mutants):
        mutants = sorted(random.Random(options.seed).sample(mutants, options.sample),
                         key=lambda mutant: mutant.number)
    return mutants


def hunt_all(hunter, mutants, reasons):
    """{path: Counter of outcomes}; the complaints."""
    outcomes = {mutant.path: collections.Counter() for mutant in mutants}
    complaints, writing = [], threading.Lock()

    def one(mutant):
        result = hunter.hunt(mutant)
        with writing:
            hunter.results.put(mutant, result)
            came = outcome(mutant, result, reasons)
            outcomes[mutant.path][came] += 1
            if came == "left":
                complaints.append(f"left: {show(mutant)}")
            elif came != "equivalent" and operators.key(mutant) in reasons:
                complaints.append(f"listed as equivalent and found: {show(mutant)}")
            print(f"{show(mutant)}: {'equivalent' if came == 'equivalent' else describe(result)}", flush=True)

    try:
        with concurrent.futures.ThreadPoolExecutor(hunter.options.jobs) as pool:
            try:
                for future in [pool.submit(one, mutant) for mutant in mutants]:
                    future.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    finally:
        hunter.results.save()
    return outcomes, complaints


def file_of(path, number, work):
    """operators.File, remembered: clang takes its time."""
    with open(os.path.join(ROOT, path), "rb") as file, open(operators.__file__, "rb") as rules:
        name = hashlib.sha256(file.read() + rules.read() + str(number).encode()).hexdigest()[:24]
    remembered = os.path.join(work, "files", name)
    if os.path.isfile(remembered):
        with open(remembered, "rb") as file:
            return pickle.load(file)
    made = operators.File(path, number)
    os.makedirs(os.path.dirname(remembered), exist_ok=True)
    with open(remembered, "wb") as file:
        pickle.dump(made, file)
    return made


def main():
    options = parse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is known is kept
    try:
        reasons = read_equivalent()
        build = Build(options.work, options.built)
        mutants = chosen(build, options)
        if options.list:
            print("\n".join(map(show, mutants)))
            return 0
        names = set(map(operators.key, build.mutants))
        stale = [f"about nothing that is there: {name}" for name in reasons
                 if name.split(" | ")[0] in options.files and name not in names]
        build.make(options.jobs)
        hunter = Hunter(build, options, Results(options.work))
        if options.known or options.left:
            mutants = [mutant for mutant in mutants if hunter.is_known(mutant, options.left) and
                       not (options.left and operators.key(mutant) in reasons)]
        hunter.record()
        outcomes, complaints = hunt_all(hunter, mutants, reasons)
        text = table(outcomes)
        print("\n".join(["", *stale, *complaints, "", text]))
        if options.write:
            write(f"{options.seeds} seeds.\n\n{text}")
    except (hunt.Broken, operators.Unreadable) as broken:
        print(broken)
        return 1
    bad = len(stale) + len(complaints)
    print(f"{len(mutants) - len(complaints)} passed, {bad} failed, 0 skipped")
    return 1 if bad or not mutants else 0


if __name__ == "__main__":
    sys.exit(main())
