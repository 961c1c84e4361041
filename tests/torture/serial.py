"""Whether the order that the cluster claims, by its revisions, explains everything that clients saw, in real time.

Strict serializability over all keys and topics: every answer is that of the state at its revision, a change is there as
a whole and once, and no revision goes back in real time. What surely was not carried out is nowhere.
"""

from history import NEVER, OK, UNKNOWN

PUT = 1


def states_at(events, wanted):
    """{revision: state} after it, for the revisions that are wanted."""
    found, state, place = {}, {}, 0
    revisions = sorted(events)
    for revision in sorted(wanted):
        while place < len(revisions) and revisions[place] <= revision:
            for kind, key, value, _ in events[revisions[place]]:
                if kind == PUT:
                    state[key] = value
                else:
                    state.pop(key, None)
            place += 1
        found[revision] = dict(state)
    return found


def written(events):
    """What a revision changed, or None if it changed one key twice."""
    changes = {key: value if kind == PUT else None for kind, key, value, _ in events}
    return changes if len(changes) == len(events) else None


def check_answers(history):
    """Each answer is that of the claimed state."""
    ops = [op for op in history.ops if op.outcome == OK and op.revision >= 0]
    states = states_at(history.events, {op.revision - op.changed for op in ops})
    for op in ops:
        if op.revision > history.revision:
            yield f"answered by a revision behind the end, {history.revision}: {op}"
            continue
        before = states[op.revision - op.changed]
        if op.held != all(before.get(key) == value for key, value in op.compares.items()):
            yield f"the compares were judged otherwise than by the state before: {op}"
        for key, value in op.got.items():
            if before.get(key) != value:
                yield f"{key!r} was {before.get(key)!r}: {op}"
        for key, there in op.existed.items():
            if (key in before) != there:
                yield f"{key!r} was {'not ' if there else ''}there: {op}"
        if op.changed and written(history.events.get(op.revision, [])) != op.writes:
            yield f"revision {op.revision} is {history.events.get(op.revision)}: {op}"
        if not op.changed and op.held and op.writes and not op.existed:
            yield f"it changed nothing: {op}"


def check_origin(history, own):
    """Every change is one operation's, each made once; own(key): whether the operations alone change this key."""
    changed = {op.revision: op for op in history.ops if op.changed}
    by_value, deletes = {}, {}
    for op in history.ops:
        for key, value in op.writes.items():
            if value is not None:
                by_value[value] = op
            elif op.outcome == UNKNOWN:
                deletes[key] = deletes.get(key, 0) + 1
    made = {}
    for revision, events in sorted(history.events.items()):
        if not any(own(key) for _, key, _, _ in events) or revision in changed:
            op = changed.get(revision)
        else:
            values = {value for kind, _, value, _ in events if kind == PUT}
            op = by_value.get(next(iter(values))) if len(values) == 1 else None
            if not values and len(events) == 1:
                key = events[0][1]
                deletes[key] = deletes.get(key, 0) - 1
                if deletes[key] < 0:
                    yield f"revision {revision} deleted {key!r}, which nobody can have asked for"
                continue
            if op is None:
                yield f"revision {revision} is nobody's: {events}"
            elif op.outcome == NEVER:
                yield f"revision {revision}: surely not carried out, and yet it was: {op}"
            elif op.outcome == OK:
                yield f"revision {revision}: carried out again, or elsewhere than it was answered: {op}"
            elif written(events) != op.writes:
                yield f"revision {revision} is a part of it, {events}: {op}"
        if op is not None:
            if id(op) in made:
                yield f"carried out at {made[id(op)]} and at {revision}: {op}"
            made[id(op)] = revision
            op.revision = op.revision or revision


def old(thing):
    """By how much what it saw may be older than now, in nanoseconds."""
    return getattr(thing, "stale_ms", 0) * 1_000_000


def check_time(things):
    """No revision goes back in real time. things have start, end, outcome, revision, changed, and perhaps stale_ms."""
    known = [thing for thing in things if thing.revision > 0 and thing.outcome in (OK, UNKNOWN)]
    ended = sorted((thing for thing in known if thing.outcome == OK and not old(thing)), key=lambda thing: thing.end)
    place, newest = 0, None
    for thing in sorted(known, key=lambda thing: thing.start - old(thing)):
        while place < len(ended) and ended[place].end < thing.start - old(thing):
            if newest is None or ended[place].revision > newest.revision:
                newest = ended[place]
            place += 1
        changes = thing.changed or thing.outcome == UNKNOWN
        if newest and (thing.revision <= newest.revision if changes else thing.revision < newest.revision):
            yield f"revision {thing.revision} after {newest.revision} had been answered: {thing}, behind {newest}"


def check_together(history):
    """Messages and changes of one transaction are one revision, or neither is there."""
    for publish in history.publishes:
        if publish.op and publish.op.writes and publish.outcome != NEVER and publish.revision != publish.op.revision:
            yield f"published at revision {publish.revision} in a transaction at {publish.op.revision}: {publish}"


def check(history, own=lambda key: True):
    """Behind told.check, which knows where messages are whose publish was not answered."""
    problems = list(check_answers(history)) + list(check_origin(history, own)) + list(check_together(history))
    return problems + list(check_time([*history.ops, *history.publishes]))
