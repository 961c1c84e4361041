"""`inspect` of directories of real nodes, while they run and after: it reads, and changes nothing."""

import json
import os
import shutil
import unittest

import cluster
import wal_files
import wire
from cluster import ClusterTest, wait_until


class Inspect(ClusterTest):
    nodes = 1
    options = ("--snapshot-entries", "40", "--segment-size", "64KiB")

    def inspect(self, *arguments, code=0):
        done = cluster.run("inspect", *arguments)
        self.assertEqual(done.returncode, code, done.stdout.decode() + done.stderr.decode())
        return done.stdout.decode(), done.stderr.decode()

    def json(self, *arguments, code=0):
        return [json.loads(line) for line in self.inspect(*arguments, "--json", code=code)[0].splitlines()]

    def snapshots(self, node):
        where = os.path.join(node.data, "snapshots")
        return sorted(n for n in os.listdir(where) if n.endswith(".snap")) if os.path.isdir(where) else []

    def prepare(self):
        """A node with a snapshot and some entries behind it, stopped; what it is while it runs is looked at."""
        self.start_cluster()
        node, = self.cluster.nodes
        self.cluster.put("first", b"one")
        writer = wire.Writer([node.client])
        self.addCleanup(writer.close)
        self.assertTrue(writer.run_until(lambda w: len(w.acked) >= 60), "writes in time")
        wait_until(lambda: self.snapshots(node), "a snapshot is taken")
        self.cluster.put("last", b"\xff three")
        running, = self.json("meta", node.data)
        self.assertEqual(running["pid"], node.process.pid)
        self.assertIn("uses", self.inspect("integrity", node.data)[1], "it says that the node runs")
        self.assertEqual(node.stop(), 0)
        return node

    def test_directory(self):
        node = self.prepare()
        before = wal_files.contents(node.data)
        meta, = self.json("meta", node.data)
        self.assertEqual((meta["name"], meta["pid"]), ("n1", None))
        self.assertEqual([m["name"] for m in meta["configuration"]["members"]], ["n1"])
        self.look_at_entries(node, meta["log"])
        snapshots = self.json("snapshot", node.data)[0]["snapshots"]
        self.assertTrue(all(s["state"] == "whole" for s in snapshots))
        self.assertGreaterEqual(snapshots[0]["keys"], 20)
        self.assertEqual(snapshots[0]["tables"]["keys"]["records"], snapshots[0]["keys"])
        self.assertEqual(self.inspect("integrity", node.data)[0].splitlines()[-1], "OK")
        self.assertEqual(wal_files.contents(node.data), before, "nothing was changed")
        self.compare_with_a_copy(node, meta["log"])
        self.damage(node)

    def look_at_entries(self, node, log):
        files = os.listdir(os.path.join(node.data, "wal"))
        self.assertEqual(log["segments"] + log["prepared"], len(files))
        entries = [i for i in self.json("wal", node.data) if i["what"] == "entry"]
        indexes = [e["index"] for e in entries if not e["replaced"]]
        self.assertEqual(indexes, list(range(log["first"], log["last"] + 1)))
        put = next(e for e in entries if 'put "last" "\\xff three"' in e.get("text", ""))
        whole, = self.json("entry", put["index"], node.data)
        self.assertEqual(whole["text"], put["text"])
        self.assertIn("b64", whole["payload"])
        text, _ = self.inspect("wal", node.data, "--from", put["index"], "--limit", 1)
        self.assertEqual(text.count("put "), 1, text)
        self.inspect("entry", log["last"] + 1, node.data, code=1)

    def compare_with_a_copy(self, node, log):
        other = os.path.join(self.cluster.dir, "other")
        shutil.copytree(node.data, other)
        node.start()
        node.wait_healthy()
        node.stop()
        found, = self.json("diff", node.data, other)
        self.assertEqual((found["same_to"], found["differs"]), (log["last"], None))
        self.assertGreater(found["left"]["last"], found["right"]["last"])

    def damage(self, node):
        snapshot = os.path.join("snapshots", self.snapshots(node)[-1])
        segment = os.path.relpath(wal_files.segments(node.data)[0], node.data)
        offset = wal_files.entries(os.path.join(node.data, segment))[0][0]
        for path, at in ((segment, offset), ("vote", 60), (snapshot, 700), ("identity", 50)):
            with self.subTest(file=path):
                wal_files.flip(os.path.join(node.data, path), at)
                before = wal_files.contents(node.data)
                done = cluster.run("inspect", "integrity", "--json", node.data)
                self.assertEqual(done.returncode, 8)
                self.assertIn(path, (done.stdout + done.stderr).decode())
                if path != "identity":
                    found = json.loads(done.stdout)
                    self.assertEqual([d["file"] for d in found["damaged"]], [path])
                if path == segment:
                    self.assertEqual(found["damaged"][0]["offset"], offset)
                    self.assertIn(f"DAMAGED  {path}, offset {offset} to",
                                  self.inspect("wal", node.data, code=8)[0])
                self.assertEqual(wal_files.contents(node.data), before, "nothing was changed")
                wal_files.flip(os.path.join(node.data, path), at)
        os.remove(os.path.join(node.data, "vote"))
        os.truncate(os.path.join(node.data, segment), offset + 8)
        text, _ = self.inspect("integrity", node.data, code=8)
        self.assertIn("missing", text)

    def test_what_is_no_directory_of_a_node(self):
        self.cluster = cluster.Cluster(1)
        empty = os.path.join(self.cluster.dir, "empty")
        os.mkdir(empty)
        self.assertIn("not a node's directory", self.inspect("meta", empty, code=2)[1])
        self.assertIn("not a node's directory", self.inspect("diff", empty, empty + "/no", code=2)[1])
        os.mkfifo(os.path.join(empty, "identity"))
        self.assertIn("not a file", self.inspect("meta", empty, code=8)[1])
        self.inspect("entry", "0", empty, code=2)
        self.inspect("meta", empty, empty, code=2)
        self.inspect("meta", empty, "--limit", "3", code=2)
        self.assertEqual(os.listdir(empty), ["identity"], "nothing was made")


if __name__ == "__main__":
    unittest.main()
