#!/usr/bin/env python3
"""Everything that the client can do, once, on a running cluster: tour.py [ENDPOINT,...]

Prints a line for each thing that it did, and ends with 1 where something was not as docs/protocol.md says.
"""
import os
import sys
import threading

from conclave import COMPARE_FAILED, OK, Client, Refused, prefix_end
from conclave_lock import Lock
from conclave_streams import DELETE, EVENTS, PROGRESS, PUT, STATE, STATE_FIRST, subscribe, watch

DEFAULT = "tcp://127.0.0.1:7501,tcp://127.0.0.1:7502,tcp://127.0.0.1:7503"
WAIT = float(os.environ.get("CONCLAVE_PATIENCE", "1")) * 30


def expect(holds, what):
    if not holds:
        sys.exit(f"tour: {what}")
    print(what, flush=True)


def until(stream, wanted):
    """What the stream tells, to the first thing for which wanted() is true."""
    told = []
    while not told or not wanted(told[-1]):
        told.append(stream.next(WAIT))
        if told[-1] is None:
            sys.exit(f"tour: nothing more came behind {told}")
    return told


def events(told):
    return [event for kind, _, what in told if kind == EVENTS for event in what]


def keys(client, base):
    key = base + bytes(range(256))  # any bytes
    first = client.put(key, b"\x00one\xff", if_revision=0)
    expect(client.get(key)[:4] == [key, b"\x00one\xff", first, first], "a key of 256 different bytes is put and got")
    try:
        client.put(key, b"again", if_revision=0)
        sys.exit("tour: it was created twice")
    except Refused as refused:
        expect((refused.code, refused.answer[1]) == (COMPARE_FAILED, first), "it is not created twice")
    second = client.put(key, b"two", if_revision=first)
    expect(client.get(key, at=first)[1] == b"\x00one\xff", "what it was before is still known")
    for number in range(250):
        client.put(base + b"list/%03d" % number, b"x" * 3000)
    start = base + b"list/"
    listed = [item[0] for item in client.range(start, prefix_end(start))]
    expect(listed == [start + b"%03d" % number for number in range(250)], "250 keys are listed in several answers")
    expect(client.delete_range(start, prefix_end(start)) == 250, "and deleted in one revision")
    expect(client.delete(key, if_revision=second) == 1 and client.get(key) is None, "the first one is deleted")


def transactions(client, base):
    a, b = base + b"a", base + b"b"
    client.put(a, b"10")
    move = ([[3, 0, a, b"10"], [2, 0, b, 0]], [[1, a, b"7"], [1, b, b"3"]], [[64, a]])
    held, answers = client.transaction(*move)
    expect(held and [code for code, *_ in answers] == [OK, OK], "a transaction moves 3 from a to b")
    held, answers = client.transaction(*move)
    expect(not held and answers[0][1][1][1] == b"7", "and the second time reads a instead")
    expect(client.get(a)[3] == client.get(b)[3], "both have one revision")


def leases(client, base):
    lease = client.grant(60000)
    client.put(base + b"1", b"", lease=lease)
    client.put(base + b"2", b"", lease=lease)
    client.renew(lease)
    expect(client.revoke(lease) == 2 and client.get(base + b"1") is None, "two keys end with their lease")


def watches(client, base):
    end, seen = prefix_end(base), []
    client.put(base + b"0", b"zero")
    stream = watch(client.endpoints, base, end, STATE_FIRST)
    told = until(stream, lambda told: told[0] == STATE)
    expect([item[1] for item in told[-1][2]] == [b"zero"], "a watch tells what there is")
    client.put(base + b"1", b"one")
    seen += events(until(stream, lambda told: told[0] == EVENTS))
    place = stream.position
    stream.close()
    client.transaction([], [[1, base + b"2", b"two"], [2, base + b"1"]])
    stream = watch(client.endpoints[1:] + client.endpoints[:1], base, end, position=place)
    stream.ask(7)
    seen += events(until(stream, lambda told: told[0] == PROGRESS and told[2] == 7))
    stream.close()
    expect([event[:3] for event in seen[:1]] == [[PUT, base + b"1", b"one"]], "and then what happens")
    expect(sorted(event[:3] for event in seen[1:]) == [[PUT, base + b"2", b"two"], [DELETE, base + b"1", None]]
           and seen[1][3] == seen[2][3], "another node goes on, with the two changes of one transaction")


def locks(client, base):
    name, order = base + b"lock\xff", []
    first = Lock(client, name)

    def contend():
        other = Client(*client.endpoints, timeout=WAIT)
        second = Lock(other, name)
        ready.set()
        if second.acquire(WAIT):
            order.append(second.token)
        second.release()
        other.close()

    ready = threading.Event()
    thread = threading.Thread(target=contend)
    thread.start()
    ready.wait(WAIT)
    expect(first.held() and not order, "who came first holds the lock")
    first.renew()
    first.release()
    thread.join(WAIT)
    expect(len(order) == 1 and order[0] > first.token, "who waited holds it next, with a higher token")


def topics(client, base):
    topic, sent = base + b"topic\x00", [b"%d" % number * 300 for number in range(400)]
    client.create_topic(topic, dedup_ms=600000)
    for at in range(0, 400, 100):
        client.publish(topic, *sent[at:at + 100], expect=at)
    stream = subscribe(client.endpoints, topic, window=32768)  # the node waits for credit again and again
    got = []
    while len(got) < 400:
        got += events(until(stream, lambda told: told[0] == EVENTS))
    expect([message[3] for message in got] == sent and [message[0] for message in got] == list(range(1, 401)),
           "400 messages are replayed, under credit")
    _, first, count = client.must(26, topic, [b"last"], None, [b"id"])
    answer = client.must(26, topic, [b"last"], None, [b"id"])
    expect((first, count, answer[2:]) == (401, 1, [0, [[0, 401]]]), "a message is not published twice under one id")
    expect(events(until(stream, lambda told: told[0] == EVENTS))[0][3:] == [b"last", b"id"], "and is told when it comes")
    stream.close()


def main():
    endpoints = (sys.argv[1] if len(sys.argv) > 1 else os.environ.get("CONCLAVE_ENDPOINTS", DEFAULT)).split(",")
    client = Client(*endpoints, timeout=WAIT)
    base = b"tour/" + os.urandom(6).hex().encode() + b"/"
    for part in (keys, transactions, leases, watches, locks, topics):
        part(client, base + part.__name__.encode() + b"/")
    client.delete_range(base, prefix_end(base))
    client.close()


if __name__ == "__main__":
    main()
