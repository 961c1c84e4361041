"""Older revisions, leases, time to live and transactions: by the program and while leaders are killed."""

import json
import time
import unittest

from cluster import ClusterTest, SharedClusterTest, wait_until


class Commands(SharedClusterTest):
    def run_code(self, code, *arguments):
        done = self.cluster.run(*arguments)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout

    def run_json(self, code, *arguments):
        done = self.cluster.run(*arguments, "--json")
        self.assertEqual(done.returncode, code, done.stderr)
        return [json.loads(line) for line in (done.stdout or done.stderr).splitlines()]

    def wait_alarms(self, alarms):
        """Followers, whose answers may be the first, apply later."""
        for command in ("status", "health"):
            wait_until(lambda c=command: self.run_json(0, c)[0]["alarms"] == alarms, f"{command}: {alarms}")

    def is_gone(self, key):
        return self.cluster.run("get", key, "-q").returncode == 1

    def test_get_and_ls_show_an_older_revision(self):
        first = self.run_json(0, "put", "old/a", "1")[0]["revision"]
        self.run_code(0, "put", "old/a", "2")
        self.run_code(0, "put", "old/b", "3")
        self.run_code(0, "del", "old/a")
        self.assertEqual(self.run_code(0, "get", "old/a", "--rev", str(first)), b"1")
        self.assertEqual(self.run_code(0, "get", "old/a", "--rev", str(first + 1)), b"2")
        self.run_code(1, "get", "old/a")
        self.assertEqual(self.run_code(0, "ls", "old/", "--rev", str(first)), b"old/a\n")
        self.assertEqual(self.run_code(0, "ls", "old/"), b"old/b\n")
        error = self.run_json(4, "get", "old/a", "--rev", "1000000")[0]["error"]
        self.assertEqual(error["code"], "STALE")

    def test_del_prints_what_it_deleted(self):
        self.run_code(0, "put", "prev", "what it was")
        self.assertEqual(self.run_code(0, "del", "prev", "--prev"), b"what it was")
        self.run_code(1, "del", "prev", "--prev")

    def test_a_key_with_a_time_to_live_goes_by_itself(self):
        self.run_code(0, "put", "short", "x", "--ttl", "300ms")
        self.run_code(0, "put", "stays", "x", "--ttl", "300ms")
        self.run_code(0, "put", "stays", "y")
        wait_until(lambda: self.is_gone("short"), "the key is gone")
        self.assertEqual(self.run_code(0, "get", "stays"), b"y")

    def test_a_lease_holds_keys_until_it_is_revoked(self):
        lease = self.run_code(0, "lease", "grant", "1h").decode().strip()
        self.run_code(0, "put", "held/1", "x", "--lease", lease)
        self.run_code(0, "put", "held/2", "x", "--lease", lease)
        shown = [info for info in self.run_json(0, "lease", "ls") if info["lease"] == int(lease)]
        self.assertEqual((shown[0]["ttl_ms"], shown[0]["keys"]), (3600000, 2))
        self.assertEqual(self.run_code(0, "lease", "ls", lease), b"held/1\nheld/2\n")
        self.run_code(0, "lease", "renew", lease)
        self.assertEqual(self.run_code(0, "lease", "revoke", lease), b"2\n")
        self.run_code(1, "get", "held/1")
        self.assertEqual(self.run_json(1, "lease", "renew", lease)[0]["error"]["code"],
                         "LEASE_EXPIRED")
        self.run_code(1, "put", "held/3", "x", "--lease", lease)

    def test_a_transaction_carries_out_one_list(self):
        self.assertEqual(self.run_code(0, "txn", "--if", "absent(t/a)", "--then", 'put t/a "two words"',
                                       "--then", "put t/b 1", "--else", "get t/a")[:4], b"put ")
        self.assertEqual(self.run_code(1, "txn", "--if", "absent(t/a)", "--then", "put t/a y",
                                       "--else", "get t/a"), b"get t/a two words\n")
        answer = self.run_json(0, "txn", "--if", "value(t/b)=1", "--if", "version(t/b)<2", "--then",
                               "del t/b", "--then", "ls t/")[0]
        self.assertTrue(answer["held"])
        self.assertEqual(answer["steps"][0], {"do": "del", "key": "t/b", "deleted": 1})
        self.assertEqual([item["key"] for item in answer["steps"][1]["items"]], ["t/a"])

    def run_text(self, code, text, *arguments):
        """A transaction as JSON on standard input."""
        if not isinstance(text, str):
            text = json.dumps(text)
        done = self.cluster.run("txn", *arguments, "--json", data=text.encode())
        self.assertEqual(done.returncode, code, done.stderr)
        return json.loads(done.stdout or done.stderr)

    def test_a_transaction_may_be_json(self):
        binary = {"b64": "AP8="}
        answer = self.run_text(0, {"if": ["absent(j/a)", {"compare": "topic", "topic": "j/none", "to": 0}],
                                   "then": [{"do": "put", "key": "j/a", "value": binary}, "put j/b \"x \\x00\"",
                                            {"do": "ls", "prefix": "j/", "limit": 1}],
                                   "else": ["get j/a"]})
        self.assertTrue(answer["held"])
        self.assertEqual(answer["steps"][0], {"do": "put", "key": "j/a", "revision": answer["revision"], "previous": 0})
        self.assertEqual(answer["steps"][2]["items"][0]["value"], binary)
        self.assertTrue(answer["steps"][2]["more"])
        self.assertEqual(self.run_code(0, "get", "j/a"), b"\0\xff")
        self.assertEqual(self.run_code(0, "get", "j/b"), b"x \0")
        answer = self.run_text(1, {"if": [{"compare": "value", "key": "j/a", "op": "!=", "to": binary}],
                                   "else": [{"do": "get", "key": "j/missing"}]}, "-")
        self.assertEqual(answer["steps"], [{"do": "get", "key": "j/missing", "item": None}])
        for text, place in (("", "line 1"), ("{}", "needs a step"), ({"then": ["steal a"]}, "then[0]: "),
                            ({"then": ["put a 1", {"do": "put", "key": "a", "value": ""}]}, "then[1]: ")):
            self.assertIn(place, self.run_text(2, text)["error"]["message"])
        self.run_text(2, {"then": ["get a"]}, "-", "--then", "get a")
        self.assertEqual(self.run_text(1, {"then": ["pub j/none x"]})["error"]["code"], "NOT_FOUND")

    def test_a_transaction_compares_topics(self):
        self.run_code(1, "txn", "--if", "topic(seen)", "--then", "get a")
        self.run_code(0, "topic", "create", "seen")
        for expected in (0, 1):
            self.run_code(0, "txn", "--if", "topic(seen)", "--if", f"seq(seen)={expected}", "--then", "pub seen m")
            self.run_code(1, "txn", "--if", f"seq(seen)={expected}", "--then", "pub seen m")
        self.run_code(0, "topic", "delete", "seen", "--yes")
        self.run_code(0, "txn", "--if", "no-topic(seen)", "--if", "seq(seen)=0", "--then", "get a")

    def test_the_store_tells_its_size_and_keeps_its_quota(self):
        used = self.run_json(0, "store")[0]
        self.assertFalse(used["full"])
        self.assertEqual(used["history"]["changes_max"], 100000)
        full = self.run_json(0, "store", "--quota", f"{used['bytes'] + 40}B")[0]
        self.assertEqual(full["quota"], used["bytes"] + 40)
        self.wait_alarms([])
        self.assertEqual(self.run_json(7, "put", "quota", "x" * 100)[0]["error"]["code"], "QUOTA")
        self.assertTrue(self.run_json(0, "store")[0]["full"])
        self.wait_alarms([{"alarm": "quota"}])
        self.assertIn(b"quota", self.run_code(0, "status"))
        self.assertEqual(self.run_json(7, "topic", "create", "quota")[0]["error"]["code"], "QUOTA")
        self.run_code(0, "store", "--quota", "0B")
        self.run_code(0, "put", "quota", "x" * 100)
        self.wait_alarms([])

    def test_topics_count_in_the_quota(self):
        self.run_code(0, "topic", "create", "counted")
        used = self.run_json(0, "store")[0]
        room = used["bytes"] + used["topic_bytes"] + 3 * (24 + 5 + 3000)  # each too large to share a block
        self.run_code(0, "store", "--quota", f"{room}B")
        for _ in range(3):
            self.run_code(0, "pub", "counted", "x" * 3000)
        self.assertEqual(self.run_json(7, "pub", "counted", "x")[0]["error"]["code"], "QUOTA")
        self.assertEqual(self.run_code(0, "topic", "trim", "counted", "3"), b"3\n")
        self.run_code(0, "pub", "counted", "x")
        self.run_code(0, "topic", "delete", "counted", "--yes")
        self.run_code(0, "store", "--quota", "0B")

    def test_messages_that_are_too_old_go_though_nobody_publishes(self):
        self.run_code(0, "topic", "create", "aged", "--retain", "300ms")
        self.run_code(0, "pub", "aged", "message")
        wait_until(lambda: self.run_json(0, "topic", "info", "aged")[0]["bytes"] == 0, "it is gone")
        self.assertEqual(self.run_json(0, "topic", "info", "aged")[0]["last"], 1)

    def test_wrong_usage_is_told_before_a_node_is_asked(self):
        for wrong in (["put", "a", "b", "--ttl", "soon"], ["put", "a", "b", "--ttl", "1s", "--lease", "1"],
                      ["lease", "grant", "1"], ["lease", "renew", "x"], ["lease", "steal", "1"],
                      ["txn", "--if", "rev(a)"], ["txn", "--if", "age(a)=1", "--then", "get a"],
                      ["txn", "--then", "put a"], ["txn", "--then", 'get "a'], ["txn"],
                      ["get", "a", "--rev", "x"], ["store", "--quota", "1"], ["get", "a", "--rev", "1", "--stale", "1s"]):
            self.run_code(2, *wrong)


class Elections(ClusterTest):
    TTL = 2

    def test_a_key_outlives_a_leader_that_sleeps_and_who_wakes_ends_no_lease(self):
        """By the time of the one that sleeps, all that it knew of is over when it wakes (etcd 15247)."""
        nodes = self.start_cluster()
        old = nodes.wait_leader()
        begun = time.monotonic()
        self.assertEqual(nodes.run("put", "held", "x", "--ttl", f"{self.TTL}s").returncode, 0)
        renewed, lease = 0, ""

        def granted():
            nonlocal renewed, lease
            renewed = time.monotonic()
            done = nodes.run("lease", "grant", f"{self.TTL}s")
            self.assertEqual(done.returncode, 0, done.stderr)
            lease = done.stdout.decode().strip()
            # On a slow machine it may be over already.
            return nodes.run("put", "kept", "x", "--lease", lease).returncode == 0
        wait_until(granted, "a key with a lease")
        old.pause()
        awake = nodes.others(old)

        def answer(*arguments, through):
            """Of a node that leads: there is one in the end."""
            done = wait_until(lambda: (d := nodes.run(*arguments, through=through)).returncode in (0, 1) and d,
                              f"{arguments} is answered")
            return done.returncode == 0

        def renew(through):
            """Whether it is there still; it may be over, but no sooner than its time after it was last renewed."""
            nonlocal renewed
            asked = time.monotonic()
            if answer("lease", "renew", lease, through=through):
                renewed = asked
                return True
            self.assertGreaterEqual(time.monotonic() - renewed, self.TTL)
            return False

        # Whoever leads now goes on with the time that is left.
        while answer("get", "held", "-q", through=awake):
            renew(awake)
        self.assertGreaterEqual(time.monotonic() - begun, self.TTL)
        renew(awake)
        term = nodes.wait_leader(awake).view()["term"]
        old.resume()
        wait_until(lambda: (old.status() or {"term": 0})["term"] >= term, "it knows that its time is over")
        if renew(nodes.nodes):
            there = answer("get", "kept", "-q", through=nodes.nodes)
            self.assertTrue(there or time.monotonic() - renewed >= self.TTL)


if __name__ == "__main__":
    unittest.main()
