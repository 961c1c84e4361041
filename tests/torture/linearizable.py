"""Whether a history is linearizable, by search: Wing and Gong's, with Lowe's memory of what was tried.

Nothing of what the cluster says of its own order is believed. Keys that no operation has in common are looked at apart
(Herlihy and Wing: linearizability is local). An operation without an answer may take effect at any time after it was
sent, or never, which is the same as last.
"""

import time

from history import OK, UNKNOWN


PUT = 1


class Undecided(Exception):
    """The search was given up."""


def step(state, op):
    """The state after op, or None where op cannot have been answered as it was."""
    held = all(state.get(key) == value for key, value in op.compares.items())
    if op.outcome == OK:
        if held != op.held or any(state.get(key) != value for key, value in op.got.items()):
            return None
        if any((key in state) != there for key, there in op.existed.items()):
            return None
    if not held or not op.writes:
        return state
    after = {key: value for key, value in state.items() if key not in op.writes}
    after.update((key, value) for key, value in op.writes.items() if value is not None)
    return after


class Event:
    """The call or the return of an operation, in a list from which both can be taken and put back."""

    __slots__ = ("op", "bit", "returns", "before", "after")

    def __init__(self, op, bit, returns=None):
        self.op, self.bit, self.returns, self.before, self.after = op, bit, returns, None, None


def event_list(ops):
    """The head of the list. Calls know their returns; operations without an answer return at the end."""
    times = []
    for number, op in enumerate(ops):
        returns = Event(op, 1 << number)
        times.append((op.end if op.outcome == OK else float("inf"), 1, number, returns))
        times.append((op.start, 0, number, Event(op, 1 << number, returns)))
    head = last = Event(None, 0)
    for *_, event in sorted(times, key=lambda entry: entry[:3]):
        last.after, event.before = event, last
        last = event
    return head


def lift(call):
    for event in (call, call.returns):
        event.before.after = event.after
        if event.after:
            event.after.before = event.before


def unlift(call):
    for event in (call.returns, call):
        event.before.after = event
        if event.after:
            event.after.before = event


def search(ops, deadline):
    """None: there is an order. Else the longest one that was found before no operation fitted any more."""
    head = event_list(ops)
    answered = sum(1 << number for number, op in enumerate(ops) if op.outcome == OK)
    state, done, taken, tried, longest, looks = {}, 0, [], set(), [], 0
    event = head.after
    while answered & ~done:
        looks += 1
        if looks % 4096 == 0 and time.monotonic() > deadline:
            raise Undecided()
        if event.returns:
            after = step(state, event.op)
            known = (done | event.bit, frozenset(after.items())) if after is not None else None
            if known and known not in tried:
                tried.add(known)
                taken.append((event, state))
                state, done = after, done | event.bit
                lift(event)
                event = head.after
                if len(taken) > len(longest):
                    longest = [call.op for call, _ in taken]
                continue
            event = event.after
            continue
        if not taken:
            return longest
        event, state = taken.pop()
        done &= ~event.bit
        unlift(event)
        event = event.after
    return None


def check_group(ops, seconds=5.0, written=()):
    """The problem of the operations on one group of keys, or None. Undecided after so many seconds.

    written: values that are known to have been there. It is a hint alone: most operations without an answer did
    nothing, and an order without them is one of the history; if there is none it is looked for with all of them.
    """
    ops = [op for op in ops if op.outcome in (OK, UNKNOWN)]
    deadline = time.monotonic() + seconds
    seen = {value for op in ops if op.outcome == OK for value in op.got.values()}.union(written)
    likely = [op for op in ops if op.outcome == OK or any(value in seen for value in op.writes.values())]
    if search(likely, deadline) is None:
        return None
    longest = search(ops, deadline)
    if longest is None:
        return None
    placed = set(map(id, longest))
    next_ones = sorted((op for op in ops if id(op) not in placed and op.outcome == OK), key=lambda op: op.end)[:4]
    return "\n    ".join([f"no order of {len(ops)} operations; {len(longest)} could be placed, the last ones", *map(
        str, longest[-6:]), "and not one of", *map(str, next_ones)])


def check(history, seconds=5.0):
    """Problems of all groups, and how many of these could not be decided."""
    groups, problems, undecided = {}, [], 0
    written = {value for events in history.events.values() for kind, _, value, _ in events if kind == PUT}
    for op in history.ops:
        if op.stale_ms == 0:
            groups.setdefault(op.group, []).append(op)
    for group, ops in sorted(groups.items()):
        try:
            if problem := check_group(ops, seconds, written):
                problems.append(f"{group}: not linearizable: {problem}")
        except Undecided:
            undecided += 1
    return problems, undecided
