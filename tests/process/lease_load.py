"""Many leases with keys, for the figures in docs/performance.md; no test of its own.

    lease_load.py ENDPOINT [--leases N] [--keys N] [--ttl MS]

Grants the leases over one connection, puts keys under each, renews each of them once, and lets all of them end
together. Meanwhile a put is sent as soon as the one before is answered: the longest wait of those is
what the end costs others. Prints a line of JSON. ENDPOINT is the leader's.
"""

import argparse
import json
import time

import wire

LEASE_GRANT, LEASE_RENEW, USAGE = 6, 7, 67
WINDOW = 4096  # operations in a frame


def in_frames(connection, commands):
    """Proposes all of them; their answers, in order, and the rate."""
    begun = time.monotonic()
    answers = []
    for at in range(0, len(commands), WINDOW):
        part = commands[at:at + WINDOW]
        replies = connection.call([(wire.PROPOSE, wire.pack(command)) for command in part], 60)
        assert all(reply and reply[0] == wire.OK for reply in replies), replies[0]
        answers += [wire.unpack(reply[1]) for reply in replies]
    return answers, len(commands) / (time.monotonic() - begun)


def leases_left(connection):
    (code, body), = connection.call([(wire.READ, wire.pack([USAGE]))], 60)
    assert code == wire.OK, code
    return wire.unpack(body)[4][4]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("endpoint")
    parser.add_argument("--leases", type=int, default=10000)
    parser.add_argument("--keys", type=int, default=10, help="of each lease")
    parser.add_argument("--ttl", type=int, default=20000, help="in ms; long enough for all that comes before the end")
    given = parser.parse_args()
    connection = wire.Connection(given.endpoint)
    figures = {"leases": given.leases, "keys": given.leases * given.keys}
    answers, figures["grants_per_s"] = in_frames(connection, [[LEASE_GRANT, given.ttl]] * given.leases)
    leases = [answer[1] for answer in answers]
    puts = [[wire.PUT, b"lease/%d/%d" % (lease, k), b"x" * 16, None, lease] for lease in leases for k in range(given.keys)]
    _, figures["puts_per_s"] = in_frames(connection, puts)
    _, figures["renews_per_s"] = in_frames(connection, [[LEASE_RENEW, lease] for lease in leases])
    waits, ends, count = [], None, 0
    while True:
        begun = time.monotonic()
        (code, _), = connection.call([(wire.PROPOSE, wire.put_command(b"beside", b"x"))], 60)
        assert code == wire.OK, code
        waits.append((time.monotonic() - begun) * 1000)
        count += 1
        if count % 20:
            continue
        left = leases_left(connection)
        if left < given.leases and ends is None:
            figures["put_ms_before"] = max(waits[:-20])
            ends, waits = time.monotonic(), waits[-20:]
        if left == 0:
            break
    figures["all_ended_s"] = time.monotonic() - ends
    figures["put_ms_meanwhile"] = max(waits)
    figures["put_ms_meanwhile_p50"] = sorted(waits)[len(waits) // 2]
    print(json.dumps({name: round(value, 2) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
