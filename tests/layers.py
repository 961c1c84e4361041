"""Checks the layers: which folder may include what, and that no include goes round in a circle.

    layers.py ROOT

The table below is the architecture. A folder may include its own headers, and of the project only
what the table names for it; system headers beyond C's own are named too, so that for example no file
outside storage can come to depend on a file system call by the way. Ends with 1 and one line for
every include that breaks it.
"""

import fnmatch
import os
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)

PUBLIC = ["conclave.h", "conclave_base.h", "conclave_client.h", "conclave_machine.h", "conclave_node.h",
          "conclave_kv.h", "conclave_lease.h", "conclave_lock.h", "conclave_group.h", "conclave_inspect.h",
          "conclave_presence.h",
          "conclave_propose.h", "conclave_topic.h", "conclave_txn.h", "conclave_watch.h"]
BASE = ["base/*"] + PUBLIC
MODEL = ["raft/message.h", "raft/entries.h", "raft/configuration.h"]

# folder: what it may include besides its own headers, lowest layer first.
LAYERS = {
    "include": PUBLIC,
    "base": PUBLIC,
    "raft": BASE,
    "codec": BASE + MODEL,
    "storage": BASE + MODEL,
    # The built-in key-value machine and the client speak one encoding: codec/kv*.h, codec/topic.h.
    "machine": BASE + ["codec/kv*.h", "codec/session.h", "codec/topic.h", "codec/group.h", "codec/coord.h", "codec/watch.h"],
    "transport": BASE,
    "client": BASE + ["codec/*", "transport/*"],
    # Looks at a directory from outside.
    "inspect": BASE + MODEL + ["codec/*", "storage/*", "machine/kv_state.h", "machine/tables_digest.h"],
    "actors": BASE + ["raft/*", "codec/*", "storage/*", "machine/*", "transport/*", "client/*"],
    # Users of the library: nothing that an embedder could not include.
    "bench": PUBLIC,
    "cli": PUBLIC + ["bench/*"],
    "examples": PUBLIC,
}

# C11's own headers without those that reach outside (time, signal, locale, threads, stdio) are free
# for everybody. The library's folders get the others one by one; programs may use what they like.
FREE = {
    "assert.h", "ctype.h", "errno.h", "inttypes.h", "limits.h", "stdalign.h", "stdarg.h",
    "stdatomic.h", "stdbool.h", "stddef.h", "stdint.h", "stdlib.h", "stdnoreturn.h", "string.h",
}
SYSTEM = {
    "include": {"stdbool.h", "stddef.h", "stdint.h"},
    "base": {"stdio.h", "time.h", "endian.h", "fcntl.h", "unistd.h", "sys/*", "linux/*", "msgpack.h", "msgpack/*"},
    "raft": set(),  # pure: no clock, no files, no threads, no output
    "codec": {"stdio.h"},
    "storage": {"stdio.h", "dirent.h", "endian.h", "fcntl.h", "unistd.h", "sys/*", "xxhash.h", "zstd.h", "pthread.h"},
    "machine": {"pthread.h", "sched.h", "stdio.h", "dirent.h", "endian.h", "fcntl.h", "unistd.h", "sys/*", "lmdb.h", "xxhash.h"},
    "transport": {"stdio.h", "pthread.h", "zmq.h", "uthash.h", "utlist.h", "time.h", "poll.h", "unistd.h", "sys/*", "netdb.h",
                  "arpa/*", "netinet/*"},
    "client": {"stdio.h", "zmq.h", "poll.h", "sys/epoll.h", "unistd.h"},
    "inspect": {"stdio.h", "xxhash.h"},
    "actors": {"stdio.h", "xxhash.h", "time.h", "zmq.h", "pthread.h", "signal.h", "unistd.h", "sys/*"},
}
PROGRAMS = {"bench", "cli", "examples"}


def includes(path):
    """Yields (line, is_system, name) of every #include in a file."""
    with open(path, encoding="utf-8") as source:
        text = source.read()
    # Blank out comments, keeping the line numbers.
    text = COMMENT.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)
    for match in INCLUDE.finditer(text):
        line = text.count("\n", 0, match.start(2)) + 1
        yield line, match.group(1) == "<", match.group(2)


def matches(name, patterns):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def sources(root, folder):
    for where, folders, names in os.walk(os.path.join(root, folder)):
        folders[:] = [name for name in folders if name != "node_modules"]
        for name in sorted(names):
            if name.endswith((".c", ".h")):
                yield os.path.relpath(os.path.join(where, name), root)


def resolve(root, name):
    """The file that a quoted include means: includes are written from the root."""
    for candidate in (name, os.path.join("include", name)):
        if os.path.isfile(os.path.join(root, candidate)):
            return candidate
    return None


def check_file(root, folder, path, graph):
    for line, is_system, name in includes(os.path.join(root, path)):
        where = f"{path}:{line}"
        if is_system:
            free = folder in PROGRAMS or (folder != "include" and name in FREE)
            if not free and not matches(name, SYSTEM.get(folder, set())):
                yield f"{where}: <{name}> is not for {folder}/"
            continue
        target = resolve(root, name)
        if target is None:
            yield f"{where}: \"{name}\" does not exist; includes are written from the root"
            continue
        graph.setdefault(path, []).append(target)
        if not name.startswith(folder + "/") and not matches(name, LAYERS[folder]):
            yield f"{where}: {folder}/ must not include \"{name}\""


def find_circle(graph):
    """One circle of includes as a list of files, or None."""
    state = {}

    def visit(path, trail):
        state[path] = "open"
        for target in graph.get(path, []):
            if state.get(target) == "open":
                return trail[trail.index(target):] + [target]
            if target not in state:
                circle = visit(target, trail + [target])
                if circle:
                    return circle
        state[path] = "done"
        return None

    for path in sorted(graph):
        if path not in state:
            circle = visit(path, [path])
            if circle:
                return circle
    return None


def check(root):
    """Every complaint about the tree, as a list of lines."""
    complaints = []
    graph = {}
    for folder in LAYERS:
        for path in sources(root, folder):
            complaints.extend(check_file(root, folder, path, graph))
    circle = find_circle(graph)
    if circle:
        complaints.append("circle of includes: " + " -> ".join(circle))
    if not graph:
        complaints.append(f"no source file found under {root}")
    return complaints


def main():
    complaints = check(sys.argv[1])
    for complaint in complaints:
        print(complaint)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
