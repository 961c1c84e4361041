#!/usr/bin/python3
"""Measures the figures that `conclave bench` alone does not give, and draws them.

    scripts/figures.py [--full] [--only NAME]... [--again] [--program FILE] [--out DIR] [--list]

Each figure is measured by itself and written to DIR/NAME.json (docs/figures) with the commands that made it, so
a run that was interrupted goes on where it stopped; --again measures anew. Then every figure that is there is
drawn by the charts of `conclave bench --html` (DIR/NAME.svg; needs chromium-headless-shell), and all of them are
put into DIR/README.md, each with what limited it. The scale is small unless --full is given: it is named in each.
`tail` with --full takes five minutes; the others together about ten.

The nodes' data is below $TMPDIR (/var/tmp), which should be on the disk that is to be measured.
"""

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import figures_draw

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COLOURS = ["#2f6fde", "#d9622b", "#2c9a63", "#9b4fc0", "#c2a015", "#c4325f"]
MIB = 1 << 20


def say(text):
    print(time.strftime("%H:%M:%S ") + text, flush=True)


def host_times():
    """(idle, all) of the machine's processors so far: idle is also what waits for the disk."""
    with open("/proc/stat", encoding="ascii") as file:
        times = [int(number) for number in file.readline().split()[1:9]]
    return times[3] + times[4], sum(times)


class Lab:
    """What all figures use: the program, its scale, and the commands that were given."""

    def __init__(self, program, full):
        self.program, self.full, self.commands = program, full, []

    def pick(self, small, full):
        return full if self.full else small

    def bench(self, *words, may_fail=False):
        """A report of bench --json."""
        words = [str(word) for word in words]
        self.commands.append("conclave bench " + " ".join(words))
        before = host_times()
        done = subprocess.run([self.program, "bench", *words, "--json", "--dir", tempfile.gettempdir()],
                              capture_output=True, check=False)
        if not done.stdout.strip() or (done.returncode != 0 and not may_fail):
            raise RuntimeError(f"{self.commands[-1]}: exit {done.returncode}, {done.stderr.decode()}")
        idle, total = (after - since for after, since in zip(host_times(), before))
        report = json.loads(done.stdout)
        for result in report.get("results", []):
            result["host_busy"] = 1 - idle / max(total, 1)
        return report

    def note(self, text):
        self.commands.append(text)


# --- what limits

def stage_sentence(result):
    stages = result.get("stages")
    if not stages:
        return "the way there and back"
    names = {"queue": "waiting in the leader", "replicate": "the other nodes and their disks",
             "apply": "the state machine", "reply": "the answers"}
    worst = max(names, key=lambda stage: stages[stage]["mean_us"])
    if worst == "replicate" and stages["wal"]["mean_us"] > 0.7 * stages["replicate"]["mean_us"]:
        return "the disk"
    return names[worst]


def limited_by(result, cores):
    """The bottleneck of a load, in a sentence."""
    nodes = sum(node["cpu_share"] for node in result.get("nodes", []))
    generator = result["generator"].get("cpu_us_per_op", 0) * result["ops_per_s"] / 1e6
    if nodes + generator > 0.85 * cores:
        return (f"processors: nodes {nodes:.2f} and load generator {generator:.2f} of {cores} cores; "
                f"inside the leader {stage_sentence(result)} takes longest")
    if result["host_busy"] > 0.85:
        return (f"processors: other programs had what nodes and load generator, {nodes + generator:.2f} of {cores} cores, "
                "did not")
    return f"{stage_sentence(result)}: {nodes + generator:.2f} of {cores} cores computed"


def roles(result):
    """(leader, mean of the others) of the nodes."""
    leaders = [node for node in result["nodes"] if node["leads"]]
    others = [node for node in result["nodes"] if not node["leads"]]
    mean = statistics.mean(node["cpu_us_per_op"] for node in others) if others else 0
    return (leaders[0]["cpu_us_per_op"] if leaders else 0), mean


def line(name, points, index, dash=None):
    made = {"name": name, "points": points, "colour": COLOURS[index % len(COLOURS)]}
    if dash:
        made["dash"] = dash
    return made


def chart(title, what, lines, **options):
    return {"title": title, "what": what, "lines": lines, "dots": True, **options}


# --- loads by `bench` alone

def figure_cpu(lab):
    """Processor time of an operation on each node"""
    report = lab.bench("put", "--sweep=1,16,64,256,1000", "--duration", lab.pick("2s", "5s"), "--warmup", "1s",
                       "--keys", 10000)
    rows, cores = [], report["environment"]["cores"]
    for result in report["results"]:
        leader, follower = roles(result)
        rows.append({"clients": result["clients"], "ops_per_s": result["ops_per_s"], "leader_us": leader,
                     "follower_us": follower, "generator_us": result["generator"]["cpu_us_per_op"],
                     "all_us": result["nodes_cpu_us_per_op"] + result["generator"]["cpu_us_per_op"],
                     "p50_us": result["p50_us"], "p99_us": result["p99_us"]})
    lines = [line(name, [[row["clients"], row[key]] for row in rows], i)
             for i, (name, key) in enumerate((("leader", "leader_us"), ("follower", "follower_us"),
                                              ("load generator", "generator_us")))]
    return {"rows": rows, "bottleneck": limited_by(report["results"][-1], cores), "environment": report["environment"],
            "charts": [chart("Processor time", "of a put of 128 bytes, by clients", lines, log_x=True, log_y=True,
                             unit_x="clients", format_x="count", format_y="time",
                             ticks_x=[row["clients"] for row in rows])]}


def sweep(lab, key, values, words, unit):
    """Rows and two charts of loads that differ in one thing."""
    rows, lines, last, environment = [], {}, None, None
    for value in values:
        size = value if key == "value-size" else 128
        for clients, carried in ((1, 1), (64, min(64, 16 * MIB // size))):  # what a leader holds is bounded
            report = lab.bench("put", f"--{key}", value, "--clients", carried, "--duration",
                               lab.pick("1s", "3s"), "--warmup", "500ms", *words)
            result = last = report["results"][0]
            environment = report["environment"]
            leader, follower = roles(result)
            rows.append({unit: value, "clients": carried, "ops_per_s": result["ops_per_s"],
                         "p50_us": result["p50_us"], "p99_us": result["p99_us"], "leader_us": leader,
                         "follower_us": follower, "bottleneck": limited_by(result, environment["cores"])})
            for name, figure in (("ops/s", "ops_per_s"), ("p50", "p50_us"), ("p99", "p99_us")):
                lines.setdefault((name, clients), []).append([value, result[figure]])
    return rows, lines, last, environment


def load_charts(lines, title, unit, log_x, format_x, values):
    names = {1: "1 client", 64: "64 clients"}  # or as many as 16 MiB of values take
    rates = [line(names[clients], lines[("ops/s", clients)], i) for i, clients in enumerate((1, 64))]
    times = [line(f"{name}, {names[clients]}", lines[(name, clients)], i, "5 4" if name == "p50" else None)
             for i, clients in enumerate((1, 64)) for name in ("p50", "p99")]
    common = {"log_x": log_x, "unit_x": unit, "format_x": format_x, "ticks_x": values, "log_y": True}
    return [chart(title, "puts a second", rates, format_y="short", **common),
            chart(title, "latency", times, format_y="time", **common)]


def figure_nodes(lab):
    """Clusters of 1, 3, 5 and 7 nodes on this machine"""
    values = [1, 3, 5, 7]
    rows, lines, last, environment = sweep(lab, "nodes", values, ["--keys", 10000], "nodes")
    return {"rows": rows, "environment": environment, "bottleneck": limited_by(last, environment["cores"]),
            "charts": load_charts(lines, "Nodes", "nodes", False, "plain", values)}


def figure_sizes(lab):
    """Values from 16 bytes to 1 MiB"""
    most = MIB - 2048  # a command with its key fits 1 MiB
    values = [16, 128, 1024, 8192, 65536, most] if not lab.full else [16, 64, 256, 1024, 4096, 16384, 65536, 262144, most]
    rows, lines, last, environment = sweep(lab, "value-size", values, ["--keys", 256], "bytes")
    for row in rows:
        row["mib_per_s"] = round(row["ops_per_s"] * row["bytes"] / MIB, 2)
    return {"rows": rows, "environment": environment, "bottleneck": limited_by(last, environment["cores"]),
            "charts": load_charts(lines, "Size of values", "bytes of a value", True, "bytes",
                                  values if not lab.full else values[::2])}


def figure_failover(lab):
    """From a client's last success to its next, the leader killed with SIGKILL"""
    report = lab.bench("failover", "--runs", lab.pick(3, 10), "--duration", "3s", "--warmup", "500ms", "--clients", 16,
                       "--keys", 10000)
    result = report["results"][0]
    gaps = sorted(run["failover_ms"] for run in result["runs"])
    runs = [[i + 1, gap * 1000] for i, gap in enumerate(gaps)]
    return {"rows": [{"runs": len(gaps), "median_ms": statistics.median(gaps), "worst_ms": gaps[-1],
                      "election_timeout_ms": 500, "errors": result["errors"]}],
            "environment": report["environment"],
            "bottleneck": "the election timeout (500 ms and up to as much again) where nobody tells of the death; a "
                          "connection that the dead leader's kernel closed tells at once",
            "charts": [chart("Failover", "nothing acknowledged, run by run", [line("gap", runs, 0)], unit_x="run",
                             format_x="plain", format_y="time")]}


def figure_tail(lab):
    """The far percentiles at half of the maximum load"""
    top = lab.bench("put", "--clients", 256, "--duration", lab.pick("2s", "5s"), "--warmup", "1s", "--keys", 10000)
    rate = int(top["results"][0]["ops_per_s"] / 2)
    report = lab.bench("put", "--rate", rate, "--clients", 2048, "--duration", lab.pick("10s", "300s"), "--warmup",
                       "2s", "--keys", 10000)
    result = report["results"][0]
    seconds = [s for s in result["series"] if s["ops"] > 0]
    lines = [line(name, [[s["second"] + 0.5, s[key]] for s in seconds], i)
             for i, (name, key) in enumerate((("p50", "p50_us"), ("p99", "p99_us"), ("slowest", "max_us")))]
    row = {key: result[key] for key in ("ops_per_s", "p50_us", "p99_us", "p999_us", "p9999_us", "max_us", "errors",
                                        "missed", "seconds")}
    row = {"maximum": top["results"][0]["ops_per_s"], "rate": rate, **row,
           "p999_over_p50": round(result["p999_us"] / result["p50_us"], 2)}
    shares = [[1 / (1 - share), us] for share, us in result["percentiles"] if share < 1]
    common = {"format_y": "time", "log_y": True, "dots": False}
    charts = [chart("Half of the maximum load", "latency, second by second", lines, unit_x="seconds", format_x="plain",
                    **common),
              chart("Half of the maximum load", "latency of the slowest one in so many",
                    [line("put", shares, 0)], log_x=True, unit_x="one in", format_x="short", **common)]
    return {"rows": [row], "environment": report["environment"], "charts": charts,
            "bottleneck": limited_by(result, report["environment"]["cores"])}


def figure_coordination(lab):
    """Transactions, watches, locks and topics"""
    report = lab.bench("txn", "watch", "lock", "pub", "sub", "--duration", lab.pick("2s", "5s"), "--warmup", "500ms",
                       "--backlog", lab.pick(20000, 200000))
    rows = []
    for result in report["results"]:
        row = {"workload": result["workload"], "clients": result["clients"],
               **{key: result[key] for key in ("ops_per_s", "p50_us", "p99_us", "p999_us", "errors", "fairness")},
               "bottleneck": limited_by(result, report["environment"]["cores"])}
        for extra in ("listeners", "source_per_s", "replay_per_s"):
            if extra in result:
                row[extra] = result[extra]
        rows.append(row)
    return {"rows": rows, "environment": report["environment"], "bottleneck": "see each", "charts": []}


def figure_model(lab):
    """The model of the write path, each point predicted from the others"""
    save = os.path.join(tempfile.mkdtemp(prefix="conclave-model-"), "points.json")
    words = ["model", "--check", "--save", save, "--duration", lab.pick("1s", "3s"), "--predict", "fsync=2ms",
             "--predict", "rtt=1ms,cores=8", "--predict", "rtt=30ms,cores=8,nodes=5", "--predict", "clients=5000"]
    try:
        report = lab.bench(*words)
        with open(save, encoding="utf-8") as file:
            environment = json.load(file)["reports"][0]["environment"]
    finally:
        shutil.rmtree(os.path.dirname(save))
    rows = [{**{key: point[key] for key in ("clients", "size", "nodes")}, "measured": point["measured"]["ops_per_s"],
             "predicted": point["ops_per_s"], "p50_measured": point["measured"]["p50_us"],
             "p50_predicted": point["p50_us"], "p99_measured": point["measured"]["p99_us"],
             "p99_predicted": point["p99_us"], "bottleneck": point["bottleneck"]} for point in report["points"]]
    ordered = sorted((row["measured"], row["predicted"]) for row in rows)
    lines = [line("left out and predicted", [list(pair) for pair in ordered], 0),
             line("measured", [[ordered[0][0], ordered[0][0]], [ordered[-1][0], ordered[-1][0]]], 1, "5 4")]
    return {"rows": rows, "environment": environment,
            "parameters": report["parameters"], "check_errors": report["check_errors"],
            "predictions": report["predictions"], "bottleneck": "see each",
            "charts": [chart("Model", "puts a second, predicted from the other points, by measured", lines, log_x=True,
                             log_y=True, unit_x="measured puts a second", format_x="short", format_y="short")]}


# --- figures for which nodes are started by hand

def cluster_module(lab):
    """tests/process/cluster.py with this program; it reads the environment when it is imported."""
    os.environ["CONCLAVE"] = lab.program
    sys.path.insert(0, os.path.join(ROOT, "tests", "process"))
    kept, tempfile.tempdir = tempfile.tempdir, None  # its locks on ports are where those of the tests are
    import cluster  # pylint: disable=import-outside-toplevel
    tempfile.tempdir = kept
    return cluster


def resident(node):
    with open(f"/proc/{node.process.pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1)) * 1024


def private(node):
    """Memory that is the process's own: without the mapped file of the store, which the kernel may drop."""
    with open(f"/proc/{node.process.pid}/status", encoding="ascii") as file:
        return int(re.search(r"RssAnon:\s+(\d+)", file.read()).group(1)) * 1024


def memory_row(state, running, leader):
    others = [node for node in running.nodes if node.running and node is not leader]
    return {"state": state, "leader_mib": round(resident(leader) / MIB, 1),
            "leader_own_mib": round(private(leader) / MIB, 1),
            "followers_mib": round(statistics.mean(resident(node) for node in others) / MIB, 1),
            "followers_own_mib": round(statistics.mean(private(node) for node in others) / MIB, 1)}


def figure_memory(lab):
    """Memory of a node at rest, with a million keys, and with a follower down under load"""
    module = cluster_module(lab)
    keys, seconds = lab.pick(100000, 1000000), lab.pick(5, 60)
    with module.Cluster(3) as running:
        lab.note("three nodes of `conclave serve` with default settings")
        running.start()
        environment = lab.bench("put", "--target", running.endpoints, "--ops", 1)["environment"]
        leader = running.leader()
        rows = [memory_row("at rest", running, leader)]
        lab.bench("put", "--target", running.endpoints, "--ops", keys, "--keys", keys, "--clients", 256)
        running.wait_caught_up(timeout=300)
        rows.append(memory_row(f"{keys} keys of 128 bytes", running, leader))
        down = running.others(leader)[0]
        down.kill()
        lab.note("kill -9 of a follower")
        result = lab.bench("put", "--target", running.endpoints, "--duration", f"{seconds}s", "--warmup", 0,
                           "--clients", 256, "--keys", 10000)
        rows.append(memory_row(f"a follower down for {seconds} s under load", running, leader))
        rows[-1]["puts"] = result["acked"]
        began = time.monotonic()
        down.start()
        running.wait_caught_up(timeout=300)
        rows.append(memory_row("the follower back", running, leader))
        rows[-1]["caught_up_s"] = round(time.monotonic() - began, 2)
    return {"rows": rows, "environment": environment, "charts": [],
            "bottleneck": "the pages of the store that are mapped, which the kernel takes back when it needs them; the "
                          "rest (own) is the log kept for followers and the history of answers"}


def fill(lab, running, total):
    """Writes so many bytes in values of 64 KiB."""
    size = 65536
    return lab.bench("put", "--target", running.endpoints, "--ops", total // size, "--keys", total // size,
                     "--value-size", size, "--clients", 16, "--prefix", "fill/")


def figure_snapshot(lab):
    """A follower gets the whole state as a snapshot while the cluster serves"""
    module = cluster_module(lab)
    total, rate = lab.pick(128 * MIB, 1024 * MIB), 2000
    before, after = lab.pick(3, 10), lab.pick(10, 60)
    # A log so short that what the follower lacks is not in it any more.
    options = ["--snapshot-bytes", f"{total // 8 // MIB}MiB"]
    with module.Cluster(3, ["--log-level=info", *options]) as running:
        lab.note("conclave serve " + " ".join(options))
        running.start()
        leader = running.leader()
        down = running.others(leader)[0]
        down.kill()
        lab.note("kill -9 of a follower")
        environment = fill(lab, running, total)["environment"]
        small = lab.bench("put", "--target", running.endpoints, "--rate", rate, "--duration", f"{before}s", "--warmup",
                          "500ms", "--keys", 10000)["results"][0]
        words = ["put", "--target", running.endpoints, "--rate", str(rate), "--duration", f"{after}s", "--warmup", "0",
                 "--keys", "10000", "--json"]
        lab.note("conclave bench " + " ".join(words[:-1]) + "   (and the follower is started)")
        load = subprocess.Popen([lab.program, "bench", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            wanted = running.status()["nodes"]
            commit = max(node["commit"] for node in wanted if node["healthy"])
            began = time.monotonic()
            down.start()
            module.wait_until(lambda: (down.status() or {"applied": 0})["applied"] >= commit, "the follower caught up",
                              timeout=300, pause=0.1)
            took = time.monotonic() - began
            output, errors = load.communicate(timeout=after + 120)
        finally:
            if load.poll() is None:
                load.kill()
                load.wait()
        if load.returncode != 0:
            raise RuntimeError(errors.decode())
        during = json.loads(output)["results"][0]
        by_snapshot = "snapshot" in down.log_text()
    lines = [line(name, [[s["second"] + 0.5, s[key]] for s in during["series"]], i)
             for i, (name, key) in enumerate((("p50", "p50_us"), ("p99", "p99_us"), ("slowest", "max_us")))]
    row = {"state_mib": total // MIB, "installed_s": round(took, 2), "by_snapshot": by_snapshot,
           "mib_per_s": round(total / MIB / took, 1), "rate": rate, "p99_before_us": small["p99_us"],
           "p99_during_us": max(s["p99_us"] for s in during["series"][:max(1, int(took))]),
           "p50_before_us": small["p50_us"], "p50_during_us": during["p50_us"], "missed": during["missed"],
           "errors": during["errors"]}
    return {"rows": [row], "environment": environment,
            "bottleneck": "the disk that all nodes of this machine share: it reads the state, writes and syncs the "
                          "snapshot and the new store while the log is synced for every batch",
            "charts": [chart("Snapshot under load", "latency, second by second; the follower starts at 0", lines,
                             dots=False, log_y=True, unit_x="seconds", format_x="plain", format_y="time",
                             marks=[{"at": took, "what": "installed", "row": 0}])]}


def figure_start(lab):
    """The start of a node with a long log"""
    module = cluster_module(lab)
    total = lab.pick(128 * MIB, 1024 * MIB)
    options = ["--snapshot-bytes", "16GiB", "--snapshot-entries", "1000000000"]
    with module.Cluster(1, options) as running:
        lab.note("conclave serve " + " ".join(options))
        running.start()
        environment = fill(lab, running, total)["environment"]
        node, rows = running.nodes[0], []
        for how in ("kill -9", "stopped"):
            if how == "stopped":
                node.stop()
            else:
                node.kill()
            lab.note(f"{how}, and started again")
            logs = [os.path.join(where, name) for where, _, names in os.walk(node.data) for name in names]
            began = time.monotonic()
            node.start()
            module.wait_until(lambda: running.leader() is node, "the node serves", timeout=300, pause=0.01)
            rows.append({"ended_by": how, "written_mib": total // MIB,
                         "directory_mib": sum(os.path.getsize(path) for path in logs if os.path.exists(path)) // MIB,
                         "serves_after_s": round(time.monotonic() - began, 2),
                         "resident_mib": round(resident(node) / MIB, 1)})
    return {"rows": rows, "environment": environment, "charts": [],
            "bottleneck": "reading the log and checking its sums, from the page cache here; then an election of one"}


FIGURES = {"cpu": figure_cpu, "nodes": figure_nodes, "sizes": figure_sizes, "failover": figure_failover,
           "memory": figure_memory, "snapshot": figure_snapshot, "start": figure_start,
           "coordination": figure_coordination, "model": figure_model, "tail": figure_tail}


# --- all of it

def measure(name, lab, path):
    lab.commands = []
    began, started = time.monotonic(), time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    figure = FIGURES[name](lab)
    figure.update(title=FIGURES[name].__doc__, commands=lab.commands, started=started,
                  scale="full" if lab.full else "small", seconds=round(time.monotonic() - began, 1))
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(figure, file, indent=1)
    os.replace(path + ".new", path)
    say(f"{name}: {figure['seconds']:.0f} s; limited by {figure['bottleneck']}")


def done_before(path, full):
    if not os.path.exists(path):
        return False
    with open(path, encoding="utf-8") as file:
        return json.load(file)["scale"] == ("full" if full else "small")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--full", action="store_true", help="a million keys, 1 GiB, five minutes of tail")
    parser.add_argument("--only", action="append", choices=list(FIGURES), help="repeatable")
    parser.add_argument("--skip", action="append", choices=list(FIGURES), default=[], help="repeatable")
    parser.add_argument("--again", action="store_true", help="also what was measured at this scale before")
    parser.add_argument("--program", default=os.path.join(ROOT, "build", "cli", "conclave"))
    parser.add_argument("--out", default=os.path.join(ROOT, "docs", "figures"))
    parser.add_argument("--list", action="store_true", help="the figures' names")
    options = parser.parse_args()
    if options.list:
        for name, figure in FIGURES.items():
            print(f"{name:14}{figure.__doc__}")
        return 0
    if not os.access(options.program, os.X_OK):
        print(f"figures: {options.program} is not there: build it first (make)", file=sys.stderr)
        return 2
    tempfile.tempdir = os.environ.get("TMPDIR", "/var/tmp")
    os.makedirs(options.out, exist_ok=True)
    failed = 0
    for name in options.only or FIGURES:
        path = os.path.join(options.out, name + ".json")
        if name in options.skip or (not options.again and done_before(path, options.full)):
            say(f"{name}: left out" if name in options.skip else f"{name}: was measured; --again measures it anew")
            continue
        say(f"{name}: {FIGURES[name].__doc__}")
        try:
            measure(name, Lab(os.path.abspath(options.program), options.full), path)
        except (RuntimeError, AssertionError, OSError, KeyError, subprocess.SubprocessError) as error:
            failed += 1
            say(f"{name}: FAILED: {error!r}")
    if not figures_draw.draw(options.out, list(FIGURES)):
        say("no chromium-headless-shell: nothing is drawn (scripts/setup.sh test)")
    say(f"{options.out}/README.md")
    return 1 if failed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
