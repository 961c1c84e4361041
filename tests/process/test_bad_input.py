"""Wrong command lines, wrong endpoints, taken ports: each its exit code and a sentence."""

import json
import os
import socket
import unittest

from cluster import Cluster, ClusterTest, free_port, run


class Usage(unittest.TestCase):
    def assert_usage(self, *arguments, words=(), env=None):
        done = run(*arguments, env=env)
        text = done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, 2, f"{arguments}: {done.stdout!r} {text}")
        self.assertEqual(done.stdout, b"")
        self.assertTrue(text.strip())
        for word in words:
            self.assertIn(word, text)

    def test_no_command(self):
        self.assert_usage()

    def test_unknown_command_proposes_the_near_one(self):
        self.assert_usage("statsu", words=["statsu", "status"])

    def test_unknown_flag_is_named(self):
        for command in ("up", "init", "serve", "put", "get", "ls", "del", "status", "health"):
            with self.subTest(command):
                self.assert_usage(command, "--no-such-flag", words=["--no-such-flag"])
        self.assert_usage("bench", "put", "--no-such-flag", words=["no-such-flag"])

    def test_missing_and_extra_operands(self):
        self.assert_usage("put", "k")
        self.assert_usage("get")
        self.assert_usage("get", "a", "b", words=["b"])
        self.assert_usage("del")

    def test_flag_without_its_value(self):
        self.assert_usage("get", "k", "--endpoints")

    def test_bad_values(self):
        self.assert_usage("get", "k", "--timeout", "soon", words=["soon"])
        self.assert_usage("get", "k", "--timeout", "-1s")
        self.assert_usage("put", "k", "v", "--if-rev", "seven", words=["seven"])
        self.assert_usage("up", "-n", "0")
        self.assert_usage("up", "-n", "many", words=["many"])
        self.assert_usage("bench", "put", "--clients", "0")
        self.assert_usage("bench", "nothing-of-this-name")

    def test_bad_endpoints(self):
        for endpoint in ("nonsense", "tcp://", "tcp://127.0.0.1", "tcp://127.0.0.1:99999",
                         "http://127.0.0.1:80", ","):
            with self.subTest(endpoint):
                self.assert_usage("get", "k", "--endpoints", endpoint)

    def test_bad_environment(self):
        self.assert_usage("get", "k", env={"CONCLAVE_ENDPOINTS": "nonsense"})

    def test_missing_file_for_a_value(self):
        self.assert_usage("put", "k", "@/no/such/file", words=["/no/such/file"])

    def test_errors_of_usage_are_json_too(self):
        done = run("get", "k", "--json", "--timeout", "soon")
        self.assertEqual(done.returncode, 2)
        self.assertEqual(json.loads(done.stderr)["error"]["code"], "INVALID")


class Init(ClusterTest):
    def init(self, *arguments):
        self.cluster = self.cluster or Cluster(3)
        node = self.cluster.nodes[0]
        return run("init", "--data", node.data, *arguments)

    def setUp(self):
        self.cluster = Cluster(3)

    def test_bad_members(self):
        good = self.cluster.members
        bad = ["", "n1", "n1=", "n1=nonsense", "n1=tcp://127.0.0.1:99999", "=tcp://127.0.0.1:1",
               good + "," + good.split(",")[0],  # one twice
               good.replace("n1=", "n 1=", 1),
               ",".join(f"n{i}=tcp://127.0.0.1:{20000 + i}" for i in range(1, 11)),  # ten voters
               f"n1=tcp://127.0.0.1:25001,n2=tcp://127.0.0.1:25001"]  # one address for two
        for members in bad:
            with self.subTest(members):
                done = self.init("--name", "n1", "--members", members)
                self.assert_sentence(done, 2)
                self.assertFalse(os.path.exists(os.path.join(self.cluster.nodes[0].data, "identity")))

    def test_name_that_is_no_member(self):
        self.assert_sentence(self.init("--name", "n9", "--members", self.cluster.members), 2, "n9")

    def test_missing_flags(self):
        self.assert_sentence(self.init("--members", self.cluster.members), 2, "name")
        done = run("init", "--name", "n1", "--members", self.cluster.members)
        self.assert_sentence(done, 2, "data")

    def test_directory_with_something_else_in_it(self):
        node = self.cluster.nodes[0]
        os.makedirs(node.data)
        with open(os.path.join(node.data, "thesis.tex"), "w", encoding="utf-8") as file:
            file.write("x")
        done = self.init("--name", "n1", "--members", self.cluster.members)
        self.assert_sentence(done, 2, node.data)
        self.assertEqual(os.listdir(node.data), ["thesis.tex"])

    def test_directory_that_is_a_file(self):
        node = self.cluster.nodes[0]
        with open(node.data, "w", encoding="utf-8"):
            pass
        done = self.init("--name", "n1", "--members", self.cluster.members)
        self.assertIn(done.returncode, (2, 8))
        self.assertTrue(done.stderr.strip())


class Serve(ClusterTest):
    def setUp(self):
        self.cluster = Cluster(3)
        self.node = self.cluster.nodes[0]
        self.cluster.init(self.node)

    def test_port_in_use_is_named(self):
        for port in (self.node.peer_port, self.node.client_port):
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", port))
                taken.listen()
                done = run("serve", "--data", self.node.data)
                self.assert_sentence(done, 2, str(port))

    def test_bad_tuning(self):
        for flag, value in (("--election-timeout", "soon"), ("--election-timeout", "0ms"),
                            ("--heartbeat", "10s"), ("--segment-size", "huge"),
                            ("--log-level", "shout")):
            with self.subTest(flag):
                done = run("serve", "--data", self.node.data, flag, value)
                self.assert_sentence(done, 2, value if value not in ("0ms", "10s") else "")

    def test_a_lone_node_of_three_answers_status_and_stops_cleanly(self):
        self.node.start()
        self.assertFalse(self.node.view()["healthy"])
        self.assert_ends(4, "put", "k", "v", "--timeout", "1s", through=[self.node])
        self.assertEqual(self.node.stop(), 0)


class Unreachable(unittest.TestCase):
    def setUp(self):
        self.endpoint = f"tcp://127.0.0.1:{free_port()}"

    def test_every_command_says_so_with_exit_3(self):
        for command in (("put", "k", "v"), ("get", "k"), ("ls", ""), ("del", "k"), ("status",)):
            with self.subTest(command):
                done = run(*command, "--endpoints", self.endpoint, "--timeout", "500ms")
                self.assertEqual(done.returncode, 3, done.stderr)
                self.assertIn(self.endpoint.encode(), done.stderr)

    def test_as_json(self):
        done = run("get", "k", "--json", "--endpoints", self.endpoint, "--timeout", "500ms")
        self.assertEqual(done.returncode, 3)
        error = json.loads(done.stderr)["error"]
        self.assertEqual(error["code"], "UNREACHABLE")
        self.assertTrue(error["hint"])

    def test_a_service_that_speaks_something_else(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            endpoint = f"tcp://127.0.0.1:{other.getsockname()[1]}"
            done = run("get", "k", "--endpoints", endpoint, "--timeout", "500ms")
            self.assertEqual(done.returncode, 3, done.stderr)

    def test_health_is_not_0(self):
        done = run("health", "--endpoints", self.endpoint, "--timeout", "500ms")
        self.assertEqual(done.returncode, 3, done.stderr)


if __name__ == "__main__":
    unittest.main()
