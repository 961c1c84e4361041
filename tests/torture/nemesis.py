"""What goes wrong with the nodes, one thing after another, all drawn from the seed."""

import collections
import random
import signal
import time

import cluster
import conclave

TRANSFER = 11


class Nemesis:
    """log: what was done, as (seconds, sentence)."""

    def __init__(self, run, cluster, network):
        self.run, self.cluster, self.network = run, cluster, network
        self.random = random.Random(f"{run.seed} nemesis")
        self.started, self.log, self.replaced, self.counts = time.monotonic(), [], 0, collections.Counter()
        self.faults = [(4, self.kill), (2, self.kill_all), (6, self.pause), (1, self.restart), (2, self.transfer),
                       (1, self.replace)]
        if network:
            self.faults += [(5, self.isolate), (4, self.one_way), (3, self.halves), (2, self.bridge), (2, self.flap)]

    def say(self, sentence):
        self.log.append((time.monotonic() - self.started, sentence))
        if self.run.verbose:
            print(f"{self.log[-1][0]:8.3f} {sentence}", flush=True)

    def wait(self, low, high):
        self.run.over.wait(self.random.uniform(low, high))

    def one_after_another(self, until):
        weights, faults = zip(*self.faults)
        while time.monotonic() < until:
            self.look()
            fault = self.random.choices(faults, weights)[0]
            self.counts[fault.__name__] += 1
            fault()
            self.wait(0.2, 1.5)

    def look(self):
        """What stopped and was not told to is a problem, and starts again."""
        for node in self.cluster.nodes:
            if not node.running:
                self.run.problems.append(f"{node.name} ended by itself with {node.process.returncode}")
                node.start(wrapper=self.cluster.wrapper(node))

    def some(self):
        """A node, the leader as likely as all others."""
        leader = self.leader() if self.random.random() < 0.6 else None
        return leader or self.random.choice(self.cluster.nodes)

    def leader(self):
        """As whoever is asked thinks; None: nobody said so soon."""
        connection = conclave.Connection(self.random.choice(self.cluster.nodes).client)
        connection.send(1, conclave.LEADER, None)
        replies = connection.receive(0.3)
        connection.close()
        name = replies[0][2].get("leader") if replies and replies[0][1] == 0 else ""
        return next((node for node in self.cluster.nodes if node.name == name), None)

    def minority(self):
        nodes = self.cluster.nodes
        first = self.some()
        others = [node for node in nodes if node is not first]
        return [first, *self.random.sample(others, self.random.randint(0, (len(nodes) - 1) // 2 - 1))]

    # ------------------------------------------------------------ processes

    def kill(self, nodes=None):
        nodes = nodes or self.minority()
        self.say(f"kill -9 {' '.join(node.name for node in nodes)}")
        for node in nodes:
            node.kill()
        self.wait(0.0, 2.5)
        for node in nodes:
            node.start(wrapper=self.cluster.wrapper(node))

    def kill_all(self):
        self.kill(list(self.cluster.nodes))

    def pause(self):
        nodes = self.minority() if self.random.random() < 0.8 else list(self.cluster.nodes)
        self.say(f"SIGSTOP {' '.join(node.name for node in nodes)}")
        for node in nodes:
            node.pause()
        self.wait(0.1, 3.0)
        for node in nodes:
            node.resume()

    def restart(self):
        node = self.some()
        self.say(f"SIGTERM {node.name}")
        node.signal(signal.SIGTERM)
        code = node.wait_exit()
        if code != 0:
            self.run.problems.append(f"{node.name} ended with {code} when it was told to end")
        node.start(wrapper=self.cluster.wrapper(node))

    def transfer(self):
        leader = self.leader()
        if not leader:
            return
        self.say(f"transfer from {leader.name}")
        connection = conclave.Connection(leader.client)
        connection.send(1, TRANSFER, b"")
        connection.receive(1.0)
        connection.close()

    def replace(self):
        """A node that nobody knew takes the place of another one, which is gone for good."""
        if self.replaced >= 2:
            return
        self.replaced += 1
        old = self.some()
        new = self.cluster.another()
        self.say(f"{new.name} replaces {old.name}")
        seed = next(node for node in self.cluster.nodes if node is not old)
        done = cluster.run("join", "--data", new.data, "--name", new.name, "--listen", new.peer, "--listen-client",
                           new.client, "--timeout", "20s", seed.client)
        if done.returncode != 0:
            self.say(f"join: exit {done.returncode}: {done.stderr.decode().strip()}")
            return
        self.cluster.nodes.append(new)
        new.start(wrapper=self.cluster.wrapper(new))
        done = self.cluster.run("member", "remove", old.name, "--yes", "--timeout", "20s")
        self.say(f"remove {old.name}: exit {done.returncode} {done.stderr.decode().strip()}")
        if done.returncode == 0 or not self.is_member(old):  # what was not answered may have been done
            self.cluster.nodes.remove(old)
            old.kill()
            self.cluster.gone.append(old)

    def is_member(self, node):
        """As soon as a majority can tell."""
        others = [other for other in self.cluster.nodes if other is not node]
        done = cluster.wait_until(lambda: (ran := self.cluster.run("member", "ls", "--json", "--timeout", "5s",
                                                                   through=others)).returncode == 0 and ran,
                                  "a list of the members", 60)
        return f'"{node.name}"'.encode() in done.stdout

    # ------------------------------------------------------------ the network

    def cut(self, pairs, sentence, low=0.2, high=4.0):
        self.say(sentence)
        for source, target in pairs:
            self.network.cut(source and source.name, target and target.name)
        if high > 1 and self.random.random() < 0.4:
            self.wait(0.0, 1.0)
            self.random.choice((self.kill, self.pause, self.restart, self.transfer))()
        self.wait(low, high)
        self.network.mend()

    def between(self, some, others):
        return [pair for a in some for b in others for pair in ((a, b), (b, a))]

    def isolate(self):
        node = self.some()
        others = [other for other in self.cluster.nodes if other is not node]
        clients = [None] if self.random.random() < 0.3 else []
        self.cut(self.between([node], others + clients), f"{node.name} alone{', without clients' * bool(clients)}")

    def one_way(self):
        node = self.some()
        others = [other for other in self.cluster.nodes if other is not node]
        if self.random.random() < 0.5:
            self.cut([(node, other) for other in others], f"nobody hears {node.name}")
        else:
            self.cut([(other, node) for other in others], f"{node.name} hears nobody")

    def halves(self):
        nodes = self.random.sample(self.cluster.nodes, len(self.cluster.nodes))
        size = self.random.randint(1, len(nodes) // 2)
        self.cut(self.between(nodes[:size], nodes[size:]), f"{' '.join(node.name for node in nodes[:size])} apart")

    def bridge(self):
        """Two sides that only one node can talk to."""
        nodes = self.random.sample(self.cluster.nodes, len(self.cluster.nodes))
        side = (len(nodes) - 1) // 2
        self.cut(self.between(nodes[1:1 + side], nodes[1 + side:]), f"only {nodes[0].name} reaches all")

    def flap(self):
        node = self.some()
        others = [other for other in self.cluster.nodes if other is not node]
        for _ in range(self.random.randint(2, 6)):
            self.cut(self.between([node], others), f"{node.name} flaps", 0.05, 0.6)
            self.wait(0.05, 0.3)
