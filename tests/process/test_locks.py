"""Locks and elections by the program, by a client written from docs/protocol.md, and while nodes die."""

import json
import signal
import subprocess
import time
import unittest

import cluster
import wire
from cluster import PROGRAM, ClusterTest, SharedClusterTest, wait_until

FOREVER = ["sh", "-c", "echo $CONCLAVE_LOCK_TOKEN; exec sleep 1000"]


class Locks(SharedClusterTest):
    def start(self, *arguments):
        """A lease that does not say how long it is outlives whatever the machine does meanwhile."""
        holds = arguments[0] == "lock" or (arguments[0] == "elect" and "--observe" not in arguments) or \
            arguments[:2] == ("presence", "join")
        ttl = ["--ttl", "10m"] if holds and "--ttl" not in arguments else []
        process = subprocess.Popen(
            [PROGRAM, *arguments[:1], "-e", self.cluster.endpoints, *ttl, *arguments[1:]],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.cluster.processes.append(process)
        return process

    def run_program(self, *arguments):
        """Flags stand in front of what follows `--`."""
        return cluster.run(*arguments[:1], "-e", self.cluster.endpoints, *arguments[1:])

    def hold(self, name, *flags):
        """A holder that has it; its token is read."""
        process = self.start("lock", *flags, name, "--", *FOREVER)
        line = process.stdout.readline()
        if line:
            return process, int(line)
        # A slow machine may let a short lease end before the program has begun.
        self.assertEqual(process.wait(), 125)
        return self.hold(name, *flags)

    def assert_held_by_others(self, *arguments):
        """Nobody gets it meanwhile, and who had the time to find out is told why."""
        def told():
            done = self.run_program("lock", *arguments, "--", "true")
            self.assertIn(done.returncode, (1, 3, 4))
            return done if done.returncode == 1 else None
        return wait_until(told, f"{arguments}: exit code 1").stderr

    def entries(self, name):
        done = self.run_program("lock", name, "--list", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def wait_queued(self, name, count):
        wait_until(lambda: len(self.entries(name)) == count, f"{count} in the queue of {name}")

    def end(self, process, number=signal.SIGTERM):
        process.send_signal(number)
        return process.wait(3 * cluster.DEADLINE * cluster.PATIENCE)

    def test_the_program_has_the_token_and_gives_its_exit_code(self):
        done = self.run_program("lock", "code", "--", "sh", "-c",
                                "echo $CONCLAVE_LOCK_TOKEN; exit 7")
        self.assertEqual(done.returncode, 7)
        first = int(done.stdout)
        done = self.run_program("lock", "code", "--", "sh", "-c", "echo $CONCLAVE_LOCK_TOKEN")
        self.assertEqual(done.returncode, 0)
        self.assertGreater(int(done.stdout), first)
        self.assertEqual(self.entries("code"), [], "it is released at once")
        self.assertEqual(self.run_program("lock", "code", "--", "no such program").returncode, 127)
        for arguments in (["lock", "code"], ["lock", "code", "--list", "--", "true"],
                          ["lock", "code", "--slots", "x", "--", "true"],
                          ["lock", "code", "--ttl", "1ms", "--", "true"],
                          ["lock", "code", "--on-lost", "cry", "--", "true"]):
            self.assertEqual(self.run_program(*arguments).returncode, 2, arguments)

    def test_who_comes_later_waits_or_gives_up_with_1(self):
        holder, token = self.hold("wait")
        self.assertIn(b"others hold 'wait'", self.assert_held_by_others("wait", "--timeout", "100ms"))
        self.wait_queued("wait", 1)
        waiting = self.start("lock", "wait", "--timeout", "600s", "--value", "second", "--", *FOREVER)
        self.wait_queued("wait", 2)
        third = self.start("lock", "wait", "--timeout", "600s", "--", *FOREVER)
        self.wait_queued("wait", 3)
        entries = self.entries("wait")
        self.assertEqual([e["holds"] for e in entries], [True, False, False])
        self.assertEqual((entries[0]["token"], entries[1]["value"]), (token, "second"))
        self.assertEqual(self.end(holder), 128 + signal.SIGTERM, "the program's own end")
        self.assertEqual(int(waiting.stdout.readline()), entries[1]["token"])
        self.assertEqual(self.end(waiting), 128 + signal.SIGTERM)
        self.assertEqual(int(third.stdout.readline()), entries[2]["token"], "in their order")
        self.end(third)

    def test_slots_let_several_hold_and_have_to_agree(self):
        one, _ = self.hold("slots", "--slots", "2")
        two, _ = self.hold("slots", "--slots", "2")
        self.assert_held_by_others("slots", "--slots", "2", "--timeout", "50ms")
        done = self.run_program("lock", "slots", "--slots", "3", "--", "true")
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"another number of slots", done.stderr)
        self.end(one)
        self.assertEqual(self.run_program("lock", "slots", "--slots", "2", "--", "true").returncode,
                         0)
        self.end(two)

    def test_a_holder_that_dies_loses_it_with_its_lease(self):
        holder, token = self.hold("dies", "--ttl", "1s")
        self.end(holder, signal.SIGKILL)
        done = self.run_program("lock", "dies", "--", "sh", "-c",
                                "echo $CONCLAVE_LOCK_TOKEN")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertGreater(int(done.stdout), token)

    def test_a_holder_that_slept_is_told_when_it_wakes(self):
        holder, token = self.hold("sleeps", "--ttl", "1s")
        holder.send_signal(signal.SIGSTOP)
        done = self.run_program("lock", "sleeps", "--", "sh", "-c",
                                "echo $CONCLAVE_LOCK_TOKEN")
        self.assertGreater(int(done.stdout), token, "the fencing token tells them apart")
        holder.send_signal(signal.SIGCONT)
        self.assertEqual(holder.wait(3 * cluster.DEADLINE * cluster.PATIENCE), 125)
        self.assertIn(b"was lost", holder.stderr.read())

    def test_a_holder_whose_entry_is_taken_away_is_told_at_once(self):
        holder, _ = self.hold("taken", "--ttl", "600s", "--grace", "1s")
        waiting = self.start("lock", "taken", "--timeout", "600s", "--", *FOREVER)
        self.wait_queued("taken", 2)
        done = self.run_program("lease", "revoke", str(self.entries("taken")[0]["lease"]))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(holder.wait(3 * cluster.DEADLINE * cluster.PATIENCE), 125, "long before its time is over")
        self.assertGreater(int(waiting.stdout.readline()), 0)
        self.end(waiting)

    def test_elections(self):
        leader = self.start("elect", "boss", "one")
        token = int(leader.stdout.readline())
        second = self.start("elect", "boss", "two", "--", *FOREVER)
        self.wait_queued("boss", 2)
        observer = self.start("elect", "boss", "--observe", "-n", "2")
        self.assertEqual(observer.stdout.readline(), b"%d one\n" % token)
        self.assertEqual(self.end(leader), 0)
        later = int(second.stdout.readline())
        self.assertGreater(later, token)
        self.assertEqual(observer.communicate(timeout=3 * cluster.DEADLINE * cluster.PATIENCE)[0], b"%d two\n" % later)
        done = self.run_program("elect", "boss", "--observe", "--no-wait", "--json")
        self.assertEqual(json.loads(done.stdout)["value"], "two")
        self.assertEqual(self.end(second), 128 + signal.SIGTERM)
        done = self.run_program("elect", "boss", "--observe", "--no-wait")
        self.assertEqual((done.returncode, done.stdout), (1, b""))

    def test_presence(self):
        watch = self.start("presence", "watch", "crew", "--json")
        self.assertEqual(json.loads(watch.stdout.readline())["type"], "synced")
        ann = self.start("presence", "join", "crew", "ann", "--value", "10.0.0.1")
        token = int(ann.stdout.readline())
        bob = self.start("presence", "join", "crew", "bob", "--", *FOREVER)
        later = int(bob.stdout.readline())
        self.assertGreater(later, token)
        done = self.run_program("presence", "ls", "crew", "--json")
        members = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([(m["token"], m["name"], m["value"]) for m in members],
                         [(token, "ann", "10.0.0.1"), (later, "bob", "")])
        done = self.run_program("presence", "watch", "crew", "-n", "2")
        self.assertEqual([line.split() for line in done.stdout.splitlines()],
                         [[b"join", b"%d" % token, b"ann", b"10.0.0.1"], [b"join", b"%d" % later, b"bob"]])
        self.assertEqual(self.end(ann), 0)
        self.assertEqual(self.end(bob), 128 + signal.SIGTERM)
        gone = self.start("presence", "join", "--ttl", "1s", "crew", "cy", "--", *FOREVER)
        gone.stdout.readline()  # nothing, if its second was over before it began
        self.end(gone, signal.SIGKILL)
        told = [json.loads(watch.stdout.readline()) for _ in range(6)]
        self.assertEqual([(t["type"], t["name"]) for t in told],
                         [("join", "ann"), ("join", "bob"), ("leave", "ann"), ("leave", "bob"),
                          ("join", "cy"), ("expire", "cy")])
        unnamed = self.run_program("presence", "join", "crew", "--", "true")
        self.assertEqual(unnamed.returncode, 0, unnamed.stderr)
        self.assertEqual(json.loads(watch.stdout.readline())["type"], "join")
        done = self.run_program("lock", "crew", "--", "true")
        self.assertEqual(done.returncode, 0, "nobody is there: the name is free")
        for arguments in (["join"], ["join", "g", "n", "more"], ["ls"], ["ls", "g", "x"], ["be", "g"],
                          ["watch", "g", "-n", "0"]):
            self.assertEqual(self.run_program("presence", *arguments).returncode, 2, arguments)

    def test_who_waits_can_be_told_to_end(self):
        holder, _ = self.hold("patience")
        waiting = self.start("lock", "patience", "--timeout", "600s", "--", "true")
        self.wait_queued("patience", 2)
        self.assertEqual(self.end(waiting), 128 + signal.SIGTERM)
        self.wait_queued("patience", 1)
        self.end(holder)

    def test_a_client_of_another_language(self):
        with wire.Connection(self.cluster.wait_leader().client) as connection:
            def call(kind, *body):
                code, answer = connection.call([(kind, wire.pack(list(body)))])[0]
                return code, wire.unpack(answer)
            leases = [call(wire.PROPOSE, 6, 60000)[1][1] for _ in range(2)]
            code, (_, first, awaited) = call(wire.PROPOSE, 16, "wire", leases[0], "a")
            self.assertEqual((code, awaited), (wire.OK, 0))
            code, (_, second, awaited) = call(wire.PROPOSE, 16, "wire", leases[1])
            self.assertEqual((code, awaited), (wire.OK, first))
            self.assertGreater(second, first)
            self.assertEqual(call(wire.PROPOSE, 18, "wire", second, "b")[0], wire.COMPARE_FAILED)
            self.assertEqual(call(wire.PROPOSE, 17, "wire", first)[1][1], 1)
            self.assertEqual(call(wire.READ, 70, "wire", second)[1][2], 0)
            self.assertEqual(call(wire.READ, 70, "wire", first)[0], wire.NOT_FOUND)
            self.assertEqual(call(wire.PROPOSE, 18, "wire", second, "b")[0], wire.OK)
            code, (_, slots, entries, following) = call(wire.READ, 71, "wire")
            self.assertEqual((slots, following), (1, None))
            self.assertEqual([entry[:3] for entry in entries], [[second, leases[1], b"b"]])


class Nodes(ClusterTest):
    def start_program(self, *arguments):
        process = subprocess.Popen(
            [PROGRAM, *arguments[:1], "-e", self.cluster.endpoints, *arguments[1:]],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.cluster.processes.append(process)
        return process

    def start_lock(self, name, *flags, command=FOREVER):
        process = self.start_program("lock", *flags, name, "--", *command)
        line = process.stdout.readline()
        return process if line else None, int(line or 0)

    def test_a_program_is_stopped_before_the_lease_of_its_lock_can_end(self):
        """Nobody answers: one is told to end and does, the other one has to be killed. Neither goes on
        for as long as the lease lasts, counted from when the last renewal can have been sent: on a
        machine that lets the program keep that time, and any does if it is long."""
        self.start_cluster()
        ttl = 2 * cluster.PATIENCE
        while not self.stopped_in_time(ttl):
            ttl *= 2
            self.assertLess(ttl, 100 * cluster.PATIENCE, "however long the lease is, it goes on for longer")

    def stopped_in_time(self, ttl):
        beat = "echo $CONCLAVE_LOCK_TOKEN; while :; do date +%s.%N; sleep 0.05; done"
        deaf = "trap 'echo told' TERM; " + beat
        flags = ["--ttl", f"{ttl * 1000:.0f}ms", "--grace", f"{ttl * 250:.0f}ms"]
        mild, _ = self.start_lock("mild", *flags, command=["sh", "-c", beat])
        hard, token = self.start_lock("hard", *flags, command=["sh", "-c", deaf])
        if not mild or not hard:
            return False
        for node in self.cluster.nodes:
            node.pause()
        paused = time.time()
        done = cluster.run("lock", "-e", self.cluster.endpoints, "other", "--timeout", "200ms", "--", "true")
        self.assertIn(done.returncode, (3, 4), "nobody can be asked: that is not 'others hold'")
        beats, errors = mild.communicate(timeout=3 * cluster.DEADLINE * cluster.PATIENCE)
        self.assertEqual(mild.returncode, 125)
        self.assertIn(b"the lock 'mild' was lost, and the program stopped", errors)
        in_time = float((beats.split() or [0])[-1]) < paused + ttl
        beats = hard.communicate(timeout=3 * cluster.DEADLINE * cluster.PATIENCE)[0].split()
        self.assertEqual(hard.returncode, 125)
        self.assertLessEqual(beats.count(b"told"), 1)
        in_time &= beats.count(b"told") == 1  # before it is killed
        last = max((float(word) for word in beats if word != b"told"), default=0)
        for node in self.cluster.nodes:
            node.resume()
        done = cluster.run("lock", "-e", self.cluster.endpoints, "hard", "--", "sh", "-c",
                           "date +%s.%N; echo $CONCLAVE_LOCK_TOKEN")
        self.assertEqual(done.returncode, 0, done.stderr)
        began, next_token = done.stdout.split()
        self.assertGreater(float(began), last)
        self.assertGreater(int(next_token), token)
        return in_time and last < paused + ttl

    def test_a_lock_lives_through_a_change_of_leader_and_is_lost_without_a_majority(self):
        self.start_cluster()
        first, first_token = self.start_lock("e", "--value", "one")
        observer = self.start_program("elect", "e", "--observe", "-n", "2")
        self.assertEqual(observer.stdout.readline(), b"%d one\n" % first_token)
        second = self.start_program("lock", "e", "--timeout", "600s", "--value", "two", "--", *FOREVER)
        leader = self.cluster.wait_leader()
        leader.kill()
        self.cluster.wait_leader(self.cluster.others(leader))
        first.terminate()
        next_token = int(second.stdout.readline())
        self.assertEqual(observer.communicate(timeout=3 * cluster.DEADLINE * cluster.PATIENCE)[0],
                         b"%d two\n" % next_token, "whichever node was lost")
        leader.start()
        ttl = 4
        while not (holder := self.lives_through_a_change(ttl)):
            ttl *= 2
            self.assertLess(ttl, 100 * cluster.PATIENCE, "however long the lease is, it is lost")
        leader = self.cluster.wait_leader()
        next(node for node in self.cluster.others(leader) if node.running).kill()
        self.assertEqual(holder.wait(3 * cluster.DEADLINE * cluster.PATIENCE), 125)
        errors = holder.stderr.read()
        self.assertIn(b"the lock 'l' was lost, and the program stopped", errors)

    def lives_through_a_change(self, ttl):
        """The holder of a lock that was renewed in time at the next leader, if there was the time for it.
        One of the nodes is down then."""
        for node in self.cluster.nodes:
            if not node.running:
                node.start()
        self.cluster.wait_caught_up()
        holder, _ = self.start_lock("l", "--ttl", f"{ttl * 1000:.0f}ms")
        leader = self.cluster.wait_leader()
        leader.kill()
        self.cluster.wait_leader(self.cluster.others(leader))
        done = cluster.run("lock", "-e", self.cluster.endpoints, "l", "--timeout", f"{ttl + 1:.0f}s", "--", "true")
        return holder if holder and done.returncode == 1 and holder.poll() is None else None


if __name__ == "__main__":
    unittest.main()
