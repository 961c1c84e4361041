"""What clients did and saw. Times are of one monotonic clock, in nanoseconds; revisions are the cluster's."""

import dataclasses
import json

OK = "ok"  # answered: revision, held and got say what
NEVER = "never"  # refused, or not reached: surely not carried out
UNKNOWN = "unknown"  # not answered: carried out or not, at any time after start


@dataclasses.dataclass
class Op:
    """Under compares on values writes are carried out, all at once; got is what was there before them.

    None as a value stands for a key that is not there. A delete tells only whether the key was there: existed.
    """

    client: int
    what: str
    start: int
    end: int = 0
    outcome: str = UNKNOWN
    group: str = ""  # keys of different groups are never in one op
    compares: dict = dataclasses.field(default_factory=dict)
    writes: dict = dataclasses.field(default_factory=dict)
    held: bool = True
    got: dict = dataclasses.field(default_factory=dict)
    existed: dict = dataclasses.field(default_factory=dict)
    revision: int = 0  # -1: it was not told
    stale_ms: int = 0  # what it read may be so old

    @property
    def changed(self):
        """It was answered, and it changed something."""
        return self.outcome == OK and self.held and bool(self.writes) and all(self.existed.values())

    def __str__(self):
        parts = [f"client {self.client} {self.what} [{self.start / 1e9:.6f}, {self.end / 1e9:.6f}] {self.outcome}"]
        parts += [f"{name}={value}" for name in ("compares", "writes", "got", "existed")
                  if (value := getattr(self, name))]
        return " ".join(parts + [f"held={self.held}", f"revision={self.revision}"])


@dataclasses.dataclass
class Publish:
    client: int
    topic: bytes
    messages: list
    start: int
    end: int = 0
    outcome: str = UNKNOWN
    revision: int = 0
    first: int = 0
    op: Op = None  # of which it was a part
    changed = True


@dataclasses.dataclass
class Watched:
    """What one watcher was told: batches of (position, events), from the first position on.

    An event is (kind, key, value, revision). states: (position, {key: value}).
    """

    name: str
    first: int = 0
    batches: list = dataclasses.field(default_factory=list)
    states: list = dataclasses.field(default_factory=list)
    position: int = 0
    resyncs: int = 0


@dataclasses.dataclass
class Subscribed:
    """What one subscriber was told: messages as (sequence, revision, data)."""

    name: str
    topic: bytes
    messages: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Held:
    """From start to end somebody was sure to hold a lock."""

    client: int
    token: int
    start: int
    end: int


@dataclasses.dataclass
class Lived:
    """A key that was to live for so long, and every look at it: (start, end, whether it was there)."""

    key: bytes
    start: int  # when the life that counts was asked for
    ttl_ms: int
    lease: int = 0
    looks: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class History:
    ops: list = dataclasses.field(default_factory=list)
    publishes: list = dataclasses.field(default_factory=list)
    watched: list = dataclasses.field(default_factory=list)
    subscribed: list = dataclasses.field(default_factory=list)
    holds: list = dataclasses.field(default_factory=list)
    lives: list = dataclasses.field(default_factory=list)
    events: dict = dataclasses.field(default_factory=dict)  # revision: [(kind, key, value, revision), ...]
    revision: int = 0  # up to which events are known
    topics: dict = dataclasses.field(default_factory=dict)  # name: [(sequence, revision, data), ...]

    def save(self, path):
        def plain(value):
            if isinstance(value, bytes):
                return value.decode("latin-1")
            if isinstance(value, dict):
                return {str(plain(key)): plain(item) for key, item in value.items()}
            if isinstance(value, (list, tuple)):
                return [plain(item) for item in value]
            return value

        with open(path, "w", encoding="utf-8") as file:
            json.dump(plain(dataclasses.asdict(self)), file, indent=1)
