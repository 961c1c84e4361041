"""`conclave bench` as users run it: its own nodes, a running cluster, the report in all its forms.

Nothing here asks how fast anything is.
"""

import csv
import html.parser
import io
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import unittest
import zlib

import cluster
from cluster import PROGRAM, run

LIBRARIES = "/usr/share/gocode/src"


def browser():
    return next((path for name in ("chromium-headless-shell", "chromium")
                 for path in [shutil.which(name)] if path), None)


def pixels(path):
    """The set of colours of a PNG's rows as they are stored, which differ unless it is blank."""
    with open(path, "rb") as file:
        data = file.read()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, image = 8, b""
    while at < len(data):
        size = int.from_bytes(data[at:at + 4], "big")
        if data[at + 4:at + 8] == b"IDAT":
            image += data[at + 8:at + 8 + size]
        at += 12 + size
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    raw = zlib.decompress(image)
    row = len(raw) // height
    return width, height, {raw[i * row:(i + 1) * row] for i in range(height)}


class Page(html.parser.HTMLParser):
    """The table of results of the page, cell by cell, and how many charts there are."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.charts, self.faults, self._cell = [], 0, 0, False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "tr":
            self.rows.append([])
        self._cell = tag in ("td", "th")
        if self._cell:
            self.rows[-1].append("")
        self.charts += tag == "svg"
        self.faults += tag == "line" and attributes.get("class") == "fault"

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data):
        if self._cell:
            self.rows[-1][-1] += data


class BenchTest(unittest.TestCase):
    """A directory of the test's own, in which the nodes of `bench` live."""

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="conclave-bench-test-")
        self.addCleanup(shutil.rmtree, self.dir, True)

    def bench(self, *arguments, code=0):
        done = run("bench", *arguments, "--dir", self.dir, timeout=10 * cluster.DEADLINE)
        self.assertEqual(done.returncode, code, done.stderr.decode(errors="replace"))
        return done

    def report(self, *arguments, **options):
        return json.loads(self.bench(*arguments, "--json", **options).stdout)

    def report_with_marks(self, marks, *arguments):
        """Of a run that is long enough for a slow machine to have somebody who leads when he is to be
        killed, and what was done told: `marks` of each result."""
        for seconds in (2, 4, 8, 16, 32, 64):
            done = run("bench", *arguments, "--duration", f"{seconds}s", "--warmup", "0", "--json", "--dir", self.dir,
                       timeout=10 * cluster.DEADLINE)
            report = json.loads(done.stdout) if done.returncode == 0 else {"results": []}
            made = [[mark["what"].split()[0] for mark in result["marks"]] for result in report["results"]]
            if len(made) == len(marks) and all(m[:len(wanted)] == wanted for m, wanted in zip(made, marks)):
                return report
        self.fail(f"exit code {done.returncode}, {made}, {done.stderr!r}")

    def path(self, name):
        return os.path.join(self.dir, name)


class Bench(BenchTest):
    def test_report_has_the_figures_of_every_workload(self):
        workloads = ["put", "get", "mixed", "txn", "pub"]
        report = self.report(*workloads, "--ops", "600", "--clients", "8", "--keys", "100",
                             "--threads", "2", "--validate", "--dist", "zipf")
        self.assertEqual([r["workload"] for r in report["results"]], workloads)
        for result in report["results"]:
            self.assertEqual((result["acked"], result["errors"], result["mismatches"]), (600, 0, 0))
            self.assertGreater(result["validated"], 0)
            self.assertGreaterEqual(result["client_p99_worst_us"], result["client_p99_median_us"])
            self.assertTrue(0 < result["fairness"] <= 1)
            self.assertEqual(len(result["nodes"]), 3)
            figures = [result[name] for name in ("p50_us", "p90_us", "p99_us", "p999_us", "p9999_us", "max_us")]
            self.assertEqual(figures, sorted(figures))
            self.assertGreater(result["ops_per_s"], 0)
            self.assertEqual(sum(second["ops"] for second in result["series"]), 600)
            self.assertEqual(result["percentiles"][-1][0], 1.0)
        stages = report["results"][0]["stages"]
        self.assertGreater(stages["samples"], 0)
        for stage in ("queue", "wal", "replicate", "apply", "reply"):
            self.assertGreater(stages[stage]["mean_us"], 0, stage)
        environment = report["environment"]
        for name in ("kernel", "cores", "memory_bytes", "file_system", "fdatasync_p99_us"):
            self.assertTrue(environment[name], name)
        self.assertEqual(report["targets"][0]["fsync"], "yes")
        self.assertEqual(os.listdir(self.dir), [], "it removes what it made")

    def test_listeners_are_told_everything_and_locks_have_one_holder(self):
        report = self.report("watch", "lock", "sub", "--ops", "60", "--clients", "4", "--listeners", "3",
                             "--backlog", "500", "--nodes", "1", "--validate")
        watch, lock, queue, sub = report["results"]
        self.assertEqual([r["workload"] for r in report["results"]], ["watch", "lock", "lock-queue", "sub"])
        for result in (watch, sub):
            self.assertEqual((result["acked"], result["errors"], result["mismatches"]), (180, 0, 0), "each at each")
            self.assertEqual(result["validated"], 180)
            self.assertGreater(result["source_per_s"], 0)
            self.assertGreater(result["p50_us"], 0)
        self.assertGreater(sub["replay_per_s"], 0)
        for result in (lock, queue):
            self.assertEqual((result["acked"], result["errors"]), (60, 0))
            self.assertGreater(result["p50_us"], 0)
        self.assertEqual((queue["validated"], queue["mismatches"]), (60, 0))

    def test_proposals_are_counted_once_by_every_node(self):
        result = self.report("propose", "--ops", "20000", "--clients", "500")["results"][0]
        self.assertEqual((result["acked"], result["errors"], result["mismatches"]), (20000, 0, 0))
        self.assertEqual((result["validated"], result["clients"]), (20000, 500))
        self.assertGreater(result["p50_us"], 0)
        self.assertEqual(os.listdir(self.dir), [], "it removes what it made")
        done = self.bench("propose", "--target", "tcp://127.0.0.1:1", code=3)
        self.assertIn(b"within the program", done.stderr)
        done = self.bench("propose", "--value-size", "7", code=3)
        self.assertIn(b"8 bytes", done.stderr)

    def test_model_is_fitted_to_reports_and_predicts(self):
        report = self.report("put", "--ops", "300", "--sweep=1,4,16", "--nodes", "1")
        with open(self.path("points.json"), "w", encoding="utf-8") as file:
            json.dump(report, file)
        done = run("bench", "model", "--fit", self.path("points.json"), "--check", "--json", "--predict",
                   "fsync=20ms,clients=1", "--predict", "rate=1000000000", "--predict", "fsync=20us,clients=1")
        self.assertEqual(done.returncode, 0, done.stderr)
        model = json.loads(done.stdout)
        self.assertEqual(len(model["points"]), 3)
        self.assertGreater(model["predictions"][0]["p50_us"], model["predictions"][2]["p50_us"], "the sync is in it")
        self.assertFalse(model["predictions"][1]["carried"])
        done = run("bench", "model", "--fit", self.path("none"))
        self.assertEqual(done.returncode, 2)

    def test_runs_give_medians_and_intervals(self):
        report = self.report("put", "--ops", "200", "--clients", "4", "--runs", "3", "--nodes", "1")
        self.assertEqual(report["acked"], 600, "one result alone stands at the top too")
        rates = sorted(one["ops_per_s"] for one in report["results"][0]["runs"])
        self.assertEqual(len(rates), 3)
        self.assertEqual(report["ops_per_s"], rates[1])
        self.assertEqual(report["results"][0]["intervals"]["ops_per_s"], [rates[0], rates[2]])
        self.assertAlmostEqual(report["confidence"], 0.75)

    def test_open_loop_begins_what_is_due(self):
        report = self.report("put", "--rate", "200", "--duration", "1s", "--warmup", "100ms", "--sweep=0.5,1",
                             "--nodes", "1")
        for result, rate in zip(report["results"], (100, 200)):
            self.assertEqual((result["mode"], result["rate"]), ("open", rate))
            # All that was due was begun, or said to be missed: an operation at the edge may be either.
            self.assertAlmostEqual(result["acked"] + result["missed"], rate, delta=1)

    def test_failover_and_recover_tell_how_long_they_took(self):
        report = self.report_with_marks([["kill-leader", "restart"], ["kill-follower", "restart", "caught"]],
                                        "failover", "recover", "--clients", "8")
        failover, recover = report["results"]
        self.assertEqual((failover["errors"], recover["errors"]), (0, 0))
        self.assertGreater(failover["failover_ms"], 0)
        self.assertGreater(recover["recover_ms"], 0)
        self.assertEqual(len(recover["marks"]), 3)

    def test_baseline_and_rules_decide_the_exit_code(self):
        load = ("put", "--ops", "300", "--clients", "4", "--nodes", "1")
        before = self.report(*load)
        baseline = self.path("before.json")
        for factor, code in ((1000, 1), (0.001, 0)):
            changed = json.loads(json.dumps(before))
            changed["results"][0]["ops_per_s"] *= factor
            with open(baseline, "w", encoding="utf-8") as file:
                json.dump(changed, file)
            done = self.bench(*load, "--baseline", baseline, "--fail-if", "ops_per_s<-50%",
                              "--fail-if", "errors>0", code=code)
            self.assertIn(b"put on self", done.stderr)
        self.bench(*load, "--baseline", self.path("none"), code=2)

    def test_csv_has_a_line_for_each_result(self):
        done = self.bench("put", "--ops", "100", "--sweep=1,2", "--nodes", "1", "--csv", "-")
        rows = list(csv.DictReader(io.StringIO(done.stdout.decode())))
        self.assertEqual([(row["target"], row["workload"], row["clients"], row["acked"]) for row in rows],
                         [("self", "put", "1", "100"), ("self", "put", "2", "100")])

    def test_interrupt_ends_it_in_order(self):
        bench = subprocess.Popen([PROGRAM, "bench", "put", "--duration", "600s", "--warmup", "0", "--nodes", "1",
                                  "--progress", "--dir", self.dir],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(bench.kill)
        first = bench.stderr.readline()
        self.assertIn(b"ops/s", first)
        bench.send_signal(signal.SIGINT)
        output, errors = bench.communicate(timeout=3 * cluster.DEADLINE * cluster.PATIENCE)
        self.assertEqual(bench.returncode, 0, errors)
        self.assertIn(b"interrupted", output)
        self.assertEqual(os.listdir(self.dir), [])

    def test_running_cluster_is_left_as_it_was(self):
        with cluster.Cluster(1) as running:
            running.start()
            report = self.report("put", "--target", running.endpoints, "--ops", "100", "--clients", "4")
            self.assertEqual(report["acked"], 100)
            self.assertEqual(len(running.keys("bench/")), 100)
            self.assertTrue(running.nodes[0].running)

    def test_peer_that_is_not_installed_is_named_with_its_packages(self):
        done = run("bench", "put", "--target", "etcd", "--ops", "10", "--dir", self.dir, env={"PATH": self.dir})
        self.assertEqual(done.returncode, 3)
        self.assertIn(b"apt-get install etcd-server", done.stderr)


class Peers(BenchTest):
    """Side by side with Debian's servers, where they are installed (scripts/setup.sh peers)."""

    OPS, LISTENERS = 40, 3

    def check(self, target, workloads, *words):
        for word in words:
            if not shutil.which(word, path=os.environ.get("PATH", "") + ":/usr/sbin") and \
                    not os.path.isdir(os.path.join(LIBRARIES, word)):
                self.skipTest(f"{word} is not installed: scripts/setup.sh peers")
        report = self.report(*workloads, "--target", "self", "--target", target, "--ops", str(self.OPS), "--clients", "8",
                             "--keys", "50", "--listeners", str(self.LISTENERS), "--backlog", "100", "--validate")
        made = [made for w in workloads for made in ([w, "lock-queue"] if w == "lock" else [w])]
        self.assertEqual([(r["target"], r["workload"]) for r in report["results"]],
                         [(t, w) for w in made for t in ("self", target)])
        for result in report["results"]:
            told = self.LISTENERS if result["workload"] in ("watch", "sub") else 1
            self.assertEqual((result["acked"], result["errors"], result.get("mismatches", 0)), (self.OPS * told, 0, 0), result)
            self.assertEqual(result.get("validated", 0) > 0, result["workload"] != "lock")
            self.assertEqual(sum(second["ops"] for second in result["series"]), self.OPS * told)
            self.assertGreater(result["client_p99_worst_us"], 0)

    def test_etcd(self):
        self.check("etcd", ["put", "get", "txn", "watch", "lock"], "etcd", "go", "go.etcd.io/etcd/clientv3")

    def test_nats(self):
        self.check("nats", ["put", "get", "pub", "sub"], "nats-server", "go", "github.com/nats-io/nats.go")


class InABrowser(BenchTest):
    """The page of --html, looked at by Chromium without a network."""

    def look(self, *arguments):
        command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
                   "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND",
                   f"--user-data-dir={self.path('profile')}", "--enable-logging=stderr", *arguments,
                   "file://" + self.path("page.html")]
        done = subprocess.run(command, capture_output=True, timeout=3 * cluster.DEADLINE * cluster.PATIENCE,
                              env={**os.environ, "HOME": self.dir})
        log = done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, 0, log)
        self.assertEqual(re.findall(r".*CONSOLE.*", log), [], "the page complains")
        return done.stdout.decode()

    def test_page_shows_the_report(self):
        if not browser():
            self.skipTest("chromium-headless-shell is not installed: scripts/setup.sh test")
        killed = ["kill-leader", "restart"]
        report = self.report_with_marks([[], [], killed], "put", "failover", "--sweep=1,8",
                                        "--html", self.path("page.html"))
        with open(self.path("page.html"), encoding="ascii") as page:
            source = page.read()
        self.assertEqual(re.findall(r"""(?:src|href)=["'](?!data:)""", source), [], "it needs other files")
        page = Page(self.look("--dump-dom"))
        table = page.rows[1:]
        self.assertEqual(len(table), len(report["results"]))
        for row, result in zip(table, report["results"]):
            self.assertEqual(row[:2], [result["target"], result["workload"]])
            self.assertEqual(row[3], f"{int(result['ops_per_s'] + 0.5):,}")
            self.assertRegex(row[4], r"^[0-9.]+ (us|ms|s)$")
        self.assertGreaterEqual(page.charts, 6)
        self.assertGreaterEqual(page.faults, 4, "what was done to the nodes is marked")
        self.look("--window-size=1100,1600", "--screenshot=" + self.path("page.png"))
        width, height, rows = pixels(self.path("page.png"))
        self.assertEqual((width, height), (1100, 1600))
        self.assertGreater(len(rows), 200, "the screenshot is nearly blank")


if __name__ == "__main__":
    unittest.main()
