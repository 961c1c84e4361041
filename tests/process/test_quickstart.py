"""What a newcomer does in the first five minutes, and what scripts rely on: exit codes and JSON."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import unittest

import cluster
import wire
from cluster import PROGRAM, SharedClusterTest, free_ports, run, wait_until

VALUE_MAX = (1 << 20) - 2048
KEY_MAX = 480


class Commands(SharedClusterTest):
    def run_json(self, *arguments, code=0, data=None):
        done = self.cluster.run(*arguments, "--json", data=data)
        self.assertEqual(done.returncode, code, done.stderr)
        return json.loads(done.stdout if code == 0 else done.stderr)

    def test_put_then_get(self):
        done = self.cluster.run("put", "greeting", "hello")
        self.assertEqual(done.returncode, 0, done.stderr)
        done = self.cluster.run("get", "greeting")
        self.assertEqual((done.returncode, done.stdout.rstrip(b"\n")), (0, b"hello"))

    def test_missing_key_is_exit_1_without_output(self):
        done = self.cluster.run("get", "no such key")
        self.assertEqual((done.returncode, done.stdout), (1, b""))

    def test_every_byte_value_survives(self):
        value = bytes(range(256)) * 3 + b"\n\0\n"
        self.cluster.put("binary", value)
        self.assertEqual(self.cluster.get("binary"), value)

    def test_empty_value_is_not_a_missing_key(self):
        self.cluster.put("empty", b"")
        self.assertEqual(self.cluster.get("empty"), b"")

    def test_largest_value(self):
        value = os.urandom(VALUE_MAX)
        self.cluster.put("large", value)
        self.assertEqual(self.cluster.get("large"), value)

    def test_value_one_byte_too_large_is_refused(self):
        done = self.cluster.run("put", "large+1", "-", data=bytes(VALUE_MAX + 1))
        self.assertEqual(done.returncode, 7, done.stderr)
        self.assertIn(b"limit", done.stderr)
        self.assertIsNone(self.cluster.get("large+1"))

    def test_largest_key_and_one_byte_more(self):
        key = "k" * KEY_MAX
        self.cluster.put(key, b"v")
        self.assertEqual(self.cluster.get(key), b"v")
        done = self.cluster.run("put", key + "k", "v")
        self.assertEqual(done.returncode, 7, done.stderr)
        self.assertIn(b"480", done.stderr)

    def test_value_from_file(self):
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"from a file\n\0")
            file.flush()
            done = self.cluster.run("put", "file", f"@{file.name}")
            self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.cluster.get("file"), b"from a file\n\0")

    def test_ls_is_in_order_of_bytes_and_of_the_prefix_alone(self):
        for key in ("ls/b", "ls/a", "ls/a/1", "lsx", "ls"):
            self.cluster.put(key, b"v")
        self.assertEqual(self.cluster.keys("ls/"), [b"ls/a", b"ls/a/1", b"ls/b"])
        done = self.cluster.run("ls", "nothing-begins-so/")
        self.assertEqual((done.returncode, done.stdout), (0, b""))

    def test_ls_over_many_pages(self):
        names = [b"page/%05d" % i for i in range(3000)]
        writer = wire.Writer([n.client for n in self.cluster.nodes], prefix=b"page/")
        try:
            self.assertTrue(writer.run_until(lambda w: len(w.acked) >= len(names)))
        finally:
            writer.close()
        listed = self.cluster.keys("page/")
        self.assertEqual(listed, sorted(listed))
        self.assertLessEqual(set(writer.acked), set(listed))

    def test_del_removes_and_says_whether_it_was_there(self):
        self.cluster.put("gone", b"v")
        self.assertEqual(self.cluster.run("del", "gone").returncode, 0)
        self.assertIsNone(self.cluster.get("gone"))
        self.assertEqual(self.cluster.run("del", "gone").returncode, 1)

    def test_del_prefix_asks_for_yes(self):
        for i in range(5):
            self.cluster.put(f"many/{i}", b"v")
        done = self.cluster.run("del", "--prefix", "many/")
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertEqual(len(self.cluster.keys("many/")), 5)
        done = self.cluster.run("del", "--prefix", "many/", "--yes")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.cluster.keys("many/"), [])

    def test_put_if_absent_and_if_rev(self):
        first = self.cluster.run("put", "cas", "1", "--if-absent")
        self.assertEqual(first.returncode, 0, first.stderr)
        self.assertEqual(self.cluster.run("put", "cas", "2", "--if-absent").returncode, 1)
        self.assertEqual(self.cluster.get("cas").rstrip(b"\n"), b"1")
        revision = self.run_json("get", "cas")["mod_revision"]
        done = self.cluster.run("put", "cas", "3", "--if-rev", revision)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.cluster.run("put", "cas", "4", "--if-rev", revision).returncode, 1)
        self.assertEqual(self.cluster.get("cas").rstrip(b"\n"), b"3")

    def test_get_json_carries_revisions_and_bytes(self):
        self.cluster.put("json", b"one")
        first = self.run_json("get", "json")
        self.assertEqual((first["key"], first["value"], first["version"]), ("json", "one", 1))
        self.cluster.put("json", b"\xff\x00")
        second = self.run_json("get", "json")
        self.assertEqual(second["value"], {"b64": "/wA="})
        self.assertEqual(second["create_revision"], first["create_revision"])
        self.assertGreater(second["mod_revision"], first["mod_revision"])
        self.assertEqual(second["version"], 2)

    def test_errors_are_json_when_json_is_asked_for(self):
        error = self.run_json("get", "no such key", code=1)["error"]
        self.assertEqual(error["code"], "NOT_FOUND")
        self.assertTrue(error["message"])

    def test_status_json(self):
        status = self.cluster.status()
        self.assertRegex(status["cluster"], "^[0-9a-f]{16}$")
        self.assertIn(status["leader"], ("n1", "n2", "n3"))
        self.assertIsInstance(status["revision"], int)
        self.assertEqual([n["name"] for n in status["nodes"]], ["n1", "n2", "n3"])
        for view, node in zip(status["nodes"], self.cluster.nodes):
            self.assertLessEqual({"name", "id", "role", "term", "commit", "applied", "pid", "client",
                                  "peer", "healthy"}, set(view))
            self.assertEqual(view["pid"], node.process.pid)
            self.assertEqual((view["client"], view["peer"]), (node.client, node.peer))
            self.assertTrue(view["healthy"])
        self.assertEqual([n["role"] for n in status["nodes"]].count("leader"), 1)
        self.assertEqual(len({n["term"] for n in status["nodes"]}), 1)

    def test_status_and_health_for_people(self):
        done = wait_until(lambda: b"leader" in (d := self.cluster.run("status")).stdout and d, "the leader answers")
        self.assertEqual(done.returncode, 0, done.stderr)
        for name in (b"n1", b"n2", b"n3"):
            self.assertIn(name, done.stdout)
        wait_until(lambda: self.cluster.run("health").returncode == 0, "healthy")

    def test_endpoints_from_the_environment(self):
        self.cluster.put("env", b"v")
        done = run("get", "env", env={"CONCLAVE_ENDPOINTS": self.cluster.endpoints})
        self.assertEqual((done.returncode, done.stdout), (0, b"v"))

    def test_one_endpoint_is_enough_whoever_leads(self):
        for node in self.cluster.nodes:
            self.cluster.put(f"through/{node.name}", b"v", through=[node])
        for node in self.cluster.nodes:
            self.assertEqual(len(self.cluster.keys("through/", through=[node])), 3)

    def test_dead_endpoint_among_good_ones(self):
        dead = f"tcp://127.0.0.1:{cluster.free_port()}"
        done = run("put", "dead-first", "v", "--endpoints", f"{dead},{self.cluster.endpoints}")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_bench_reports_figures(self):
        done = self.cluster.run("bench", "put", "--clients", "16", "--ops", "2000", "--value-size",
                                "128", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        text = json.dumps(report)
        for word in ("p50", "p99"):
            self.assertIn(word, text)


class Up(unittest.TestCase):
    """`up` as typed, but with a directory and ports of the test's own."""

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="conclave-up-")
        self.addCleanup(shutil.rmtree, self.dir, True)
        self.first = free_ports(3)
        self.client = free_ports(3)
        self.feed = free_ports(3)
        self.endpoints = ",".join(f"tcp://127.0.0.1:{self.client + i}" for i in range(3))

    def start(self):
        self.log = open(os.path.join(self.dir, "up.log"), "ab+")
        self.addCleanup(self.log.close)
        self.up = subprocess.Popen(
            [PROGRAM, "up", "-n", "3", "--dir", os.path.join(self.dir, "data"),
             "--peer-port", str(self.first), "--client-port", str(self.client),
             "--feed-port", str(self.feed)],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.addCleanup(self.end, self.up)
        wait_until(lambda: run("health", "--endpoints", self.endpoints, "--timeout", "5s").returncode == 0,
                   lambda: "healthy; " + self.log_text()[-3000:])

    def end(self, process):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(3 * cluster.DEADLINE * cluster.PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def log_text(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def status(self):
        """Once all nodes have answered."""
        def answered():
            done = run("status", "--json", "--endpoints", self.endpoints, "--timeout", "5s")
            status = json.loads(done.stdout) if done.stdout.strip() else {"nodes": []}
            good = status["nodes"] and status["leader"] and all(node["pid"] for node in status["nodes"])
            return status if good else None
        return wait_until(answered, "every node answers")

    def stop(self):
        pids = [node["pid"] for node in self.status()["nodes"]]
        self.up.send_signal(signal.SIGINT)
        code = self.up.wait(3 * cluster.DEADLINE * cluster.PATIENCE)
        self.assertEqual(code, 0, self.log_text()[-3000:])
        for pid in pids:
            self.assertFalse(os.path.exists(f"/proc/{pid}"), f"node {pid} outlived `up`")

    def test_up_write_kill_read_stop_and_up_again(self):
        self.start()
        wait_until(lambda: "conclave put" in self.log_text(), "it tells how to reach the cluster")
        done = run("put", "k", "v", "--endpoints", self.endpoints)
        self.assertEqual(done.returncode, 0, done.stderr)

        before = self.status()
        leader = next(n for n in before["nodes"] if n["name"] == before["leader"])
        os.kill(leader["pid"], signal.SIGKILL)
        done = run("get", "k", "--endpoints", self.endpoints)
        self.assertEqual((done.returncode, done.stdout.rstrip(b"\n")), (0, b"v"), done.stderr)
        done = run("put", "k2", "v2", "--endpoints", self.endpoints)
        self.assertEqual(done.returncode, 0, done.stderr)

        self.up.send_signal(signal.SIGINT)
        self.up.wait(3 * cluster.DEADLINE * cluster.PATIENCE)
        self.start()
        for key, value in (("k", b"v"), ("k2", b"v2")):
            done = run("get", key, "--endpoints", self.endpoints)
            self.assertEqual((done.returncode, done.stdout.rstrip(b"\n")), (0, value))
        self.stop()


class Help(unittest.TestCase):
    def test_help_names_every_command(self):
        done = run("--help")
        self.assertEqual(done.returncode, 0)
        for command in (b"up", b"init", b"join", b"serve", b"put", b"get", b"ls", b"del", b"status",
                        b"health", b"bench"):
            self.assertRegex(done.stdout, rb"(?m)^\s+" + command + rb"\b")

    def test_each_command_has_help(self):
        for command in ("up", "init", "join", "serve", "put", "get", "ls", "del", "status", "health",
                        "bench"):
            with self.subTest(command):
                done = run(command, "--help")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn(command.encode(), done.stdout)

    def test_version(self):
        done = run("--version")
        self.assertEqual(done.returncode, 0)
        self.assertTrue(re.search(rb"\d+\.\d+\.\d+", done.stdout))


if __name__ == "__main__":
    unittest.main()
