"""A network of its own for each node, made of Linux namespaces, whose links can be cut one way.

The whole program runs in a namespace that nobody else sees (enter), with one bridge in it; all of it is gone when the
program is. Each node has a namespace behind that, with one address. A link from a to b is cut by telling a of a
hardware address of b that nobody has: what a sends is lost, and neither side is told.
"""

import os
import subprocess
import sys

HERE = "10.77.0.254"  # clients and everything that is no node
INSIDE = "CONCLAVE_TORTURE_NETWORK"
NOBODY = "02:00:00:00:00:01"  # a hardware address


def enter():
    """Begins this program anew in a namespace of its own; returns there. A sentence if that cannot be."""
    if os.environ.get(INSIDE):
        return None
    user = [] if os.getuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", *user, "--net", "--pid", "--mount-proc", "--fork", "--kill-child"]
    probe = "ip link add name hub type bridge && ip link add name v0 type veth peer name v1 && unshare --net true"
    try:
        done = subprocess.run([*command, "sh", "-ec", probe], capture_output=True, text=True, timeout=30)
    except OSError as error:
        return f"there is no unshare: {error}"
    if done.returncode:
        return f"no network of its own: {done.stderr.strip() or 'refused'}"
    os.environ[INSIDE] = "1"
    os.execvp(command[0], [*command, sys.executable, *sys.argv])


def ip(*arguments, inside=None):
    prefix = ["nsenter", f"--net=/proc/{inside}/ns/net"] if inside else []
    done = subprocess.run([*prefix, "ip", *arguments], capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


class Network:
    def __init__(self):
        assert os.environ.get(INSIDE), "not in a namespace of its own"
        ip("link", "set", "lo", "up")
        ip("link", "add", "name", "hub", "type", "bridge")
        ip("addr", "add", f"{HERE}/24", "dev", "hub")
        ip("link", "set", "hub", "up")
        self.holders, self.cuts = {}, set()

    def add(self, name):
        """A namespace; its address."""
        number = len(self.holders) + 1
        holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)
        holder.stdout.readline()  # it is there
        inside, address = holder.pid, f"10.77.0.{number}"
        self.holders[name] = (holder, address)
        ip("link", "add", "name", f"to-{number}", "type", "veth", "peer", "name", "eth0", "netns", str(inside))
        ip("link", "set", f"to-{number}", "master", "hub", "up")
        ip("link", "set", "lo", "up", inside=inside)
        ip("addr", "add", f"{address}/24", "dev", "eth0", inside=inside)
        ip("link", "set", "eth0", "up", inside=inside)
        return address

    def wrapper(self, name):
        """In front of a command that is to run there."""
        return ["nsenter", f"--net=/proc/{self.holders[name][0].pid}/ns/net"]

    def _side(self, name):
        """Where it is: process, device, address."""
        return (None, "hub", HERE) if name is None else (self.holders[name][0].pid, "eth0", self.holders[name][1])

    def cut(self, source, target):
        """What source sends to target is lost from now on; None: the clients."""
        if (source, target) not in self.cuts and source != target:
            inside, device, _ = self._side(source)
            address = self._side(target)[2]
            ip("neigh", "replace", address, "lladdr", NOBODY, "nud", "permanent", "dev", device, inside=inside)
            self.cuts.add((source, target))

    def mend(self):
        for source, target in sorted(self.cuts, key=str):
            inside, device, _ = self._side(source)
            ip("neigh", "del", self._side(target)[2], "dev", device, inside=inside)
        self.cuts.clear()

    def close(self):
        for holder, _ in self.holders.values():
            holder.stdin.close()
            holder.wait()
