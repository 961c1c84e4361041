"""Whether watchers, subscribers and holders of locks were told the truth: all of it, once, in order."""

from history import NEVER, OK
from serial import states_at

EXPIRE = 3


def check_watched(history, watched):
    """Everything between its first and its last position, each revision once and as a whole."""
    last, told = watched.first - 1, {}
    for position, events in watched.batches:
        revisions = [event[3] for event in events]
        if revisions != sorted(revisions) or (revisions and revisions[0] <= last):
            yield f"{watched.name}: revisions {revisions} behind {last}"
        if revisions and revisions[-1] >= position:
            yield f"{watched.name}: position {position} is not behind revision {revisions[-1]}"
        for event in events:
            told.setdefault(event[3], []).append(event)
        last = max([last, position - 1])
    for revision in sorted(set(told) | {r for r in history.events if watched.first <= r < watched.position}):
        if told.get(revision) != history.events.get(revision) and revision <= history.revision:
            yield f"{watched.name}: revision {revision} is {history.events.get(revision)}, told {told.get(revision)}"
    at = states_at(history.events, {position - 1 for position, _ in watched.states})
    for position, state in watched.states:
        if at[position - 1] != state:
            wrong = {key for key in {*state, *at[position - 1]} if state.get(key) != at[position - 1].get(key)}
            yield f"{watched.name}: the state before {position} is another one in {sorted(wrong)[:5]}"


def check_topic(history, topic, messages):
    """messages: what is in the topic at the end."""
    if [sequence for sequence, _, _ in messages] != list(range(1, len(messages) + 1)):
        yield f"{topic!r}: its sequences are not 1 to {len(messages)}"
    revisions = [revision for _, revision, _ in messages]
    if revisions != sorted(revisions):
        yield f"{topic!r}: its revisions do not rise"
    at, wanted = {}, {}
    for sequence, revision, data in messages:
        if data in at:
            yield f"{topic!r}: {data!r} is there twice, as {at[data][0]} and {sequence}"
        at[data] = (sequence, revision)
    for publish in history.publishes:
        if publish.topic != topic:
            continue
        wanted.update((data, publish) for data in publish.messages)
        places = [at.get(data) for data in publish.messages]
        if publish.outcome == OK:
            sequences = [place and place[0] for place in places]
            revisions = {place and place[1] for place in places}
            if sequences != list(range(publish.first, publish.first + len(places))) or (
                    publish.revision and revisions != {publish.revision}):
                yield f"{topic!r}: acknowledged, and not where it was said to be: {publish}, {places}"
        elif publish.outcome == NEVER and any(places):
            yield f"{topic!r}: surely not carried out, and yet it is there: {publish}"
        elif any(places):
            numbers = [place and place[0] for place in places]
            if None in numbers or numbers != list(range(numbers[0], numbers[0] + len(numbers))) or len(
                    {revision for _, revision in places}) != 1:
                yield f"{topic!r}: there in part: {publish}, {places}"
            publish.revision = places[0][1] if places[0] else 0
    for data in set(at) - set(wanted):
        yield f"{topic!r}: {data!r} was published by nobody"


def check_subscribed(history, subscribed):
    """The one order, from the first message on, without a gap."""
    told, there = subscribed.messages, history.topics[subscribed.topic]
    for place, message in enumerate(told):
        if place >= len(there) or message != there[place]:
            yield f"{subscribed.name}: was told {message} where {there[place:place + 1]} is"
            return


def check_holds(holds):
    """Nobody holds while another one does, and tokens rise."""
    holds = sorted(holds, key=lambda hold: hold.start)
    for before, after in zip(holds, holds[1:]):
        if before.token == after.token and before.client == after.client:
            continue
        if after.start < before.end:
            yield f"two hold: {before}, {after}"
        if after.token <= before.token:
            yield f"the token did not rise: {before}, {after}"


def check_lives(history):
    """Nothing ends early, and the keys of one lease end together."""
    ends = {key: revision for revision, events in history.events.items()
            for kind, key, _, _ in events if kind == EXPIRE}
    leases = {}
    for life in history.lives:
        for start, end, there in life.looks:
            if not there and end < life.start + life.ttl_ms * 1_000_000:
                yield f"{life.key!r} was gone {(end - life.start) / 1e6:.0f} ms into its {life.ttl_ms} ms: {life}"
        if life.lease:
            leases.setdefault(life.lease, set()).add(ends.get(life.key))
    for lease, revisions in leases.items():
        if len(revisions) > 1:
            yield f"the keys of lease {lease} ended at {sorted(map(str, revisions))}"


def check(history):
    problems = []
    for topic, messages in history.topics.items():
        problems += check_topic(history, topic, messages)
    for watched in history.watched:
        problems += check_watched(history, watched)
    for subscribed in history.subscribed:
        problems += check_subscribed(history, subscribed)
    return problems + list(check_holds(history.holds)) + list(check_lives(history))


