#!/usr/bin/env python3
"""Follows a topic by the feed of a node, a plain ZeroMQ SUB socket, and fetches what that left out.

    feed.py FEED CLIENT TOPIC [FIRST [COUNT]]
    feed.py tcp://127.0.0.1:7601 tcp://127.0.0.1:7501 jobs

prints sequence and data of each message from FIRST (1) on, each once and in order. Needs pyzmq and
msgpack; docs/protocol.md says what goes over the wire."""

import itertools
import sys
import time

import msgpack
import zmq

OK, READ, TOPIC_READ = 0, 2, 82
QUIET_MS = 3000  # nothing came for so long: perhaps the last message was left out


class Follower:
    def __init__(self, feed, client, topic, position=1):
        self.topic, self.client, self.position = topic, client, position
        self.ids, self.node = itertools.count(1), None
        self.sub = zmq.Context.instance().socket(zmq.SUB)
        self.sub.setsockopt(zmq.SUBSCRIBE, topic + b"\0")
        self.sub.connect(feed)

    def ask(self, *query):
        """The answer to a query, however often it has to be asked."""
        while True:
            if not self.node:
                self.node = zmq.Context.instance().socket(zmq.DEALER)
                self.node.setsockopt(zmq.LINGER, 0)
                self.node.connect(self.client)
            number = next(self.ids)
            self.node.send(msgpack.packb([1, [number, READ, msgpack.packb(query)]]))
            while self.node.poll(1000):
                for request, code, body in msgpack.unpackb(self.node.recv())[1:]:
                    if request == number and code == OK:
                        return msgpack.unpackb(body)
                    if request == number and isinstance(body, bytes):  # the machine itself says no
                        raise LookupError(f"code {code}")
                    if request == number:
                        time.sleep(0.1)  # no leader at the moment
                        break
                else:
                    continue
                break
            else:
                self.node.close()
                self.node = None

    def fetch(self, end=None):
        """Messages from the position on, before `end` or all there are, by the ordinary protocol."""
        while end is None or self.position < end:
            _, _, first, newest, _, messages = self.ask(TOPIC_READ, self.topic, 0, self.position)
            if first > self.position:
                print(f"messages {self.position} to {first - 1} were dropped", file=sys.stderr)
                self.position = first
            for sequence, _, _, data, _ in messages:
                self.position = sequence + 1
                yield sequence, data
            if self.position >= newest:
                return

    def messages(self):
        yield from self.fetch()  # the socket is connected already: what comes now waits there
        while True:
            if not self.sub.poll(QUIET_MS):
                yield from self.fetch()
                continue
            name, header, data = self.sub.recv_multipart()
            sequence, _revision, _time_ms, *_id = msgpack.unpackb(header)
            if name != self.topic + b"\0":
                continue  # of a topic whose name goes on behind a zero byte
            if sequence > self.position:
                yield from self.fetch(sequence)  # a gap
            if sequence == self.position:
                self.position += 1
                yield sequence, data


def main():
    feed, client, topic, *rest = sys.argv[1:]
    first, count = (int(text) for text in (rest + ["1", "0"][len(rest):]))
    follower = Follower(feed, client, topic.encode(), first)
    for number, (sequence, data) in enumerate(follower.messages(), 1):
        print(sequence, data.decode(errors="replace"), flush=True)
        if number == count:
            return


if __name__ == "__main__":
    main()
