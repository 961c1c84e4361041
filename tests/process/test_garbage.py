"""Bytes that no client and no node would send, on both ports: the cluster does not even blink."""

import os
import random
import socket
import struct
import time
import unittest

import msgpack
import zmq

import cluster
import wire
from cluster import SharedClusterTest, wait_until

ZMTP_GREETING = (b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL" + bytes(16) + b"\x00"
                 + bytes(31))


def zmtp_ready(socket_type=b"DEALER"):
    def name_value(name, value):
        return bytes([len(name)]) + name + struct.pack(">I", len(value)) + value

    body = b"\x05READY" + name_value(b"Socket-Type", socket_type) + name_value(b"Identity", b"")
    return b"\x04" + bytes([len(body)]) + body


class Garbage(SharedClusterTest):
    @classmethod
    def prepare(cls):
        cls.cluster.put("before", b"1")

    def setUp(self):
        self.before = self.cluster.status()
        self.random = random.Random(20260101)

    def tearDown(self):
        """Same processes, same leader, same term; it still works."""
        for node in self.cluster.nodes:
            self.assertTrue(node.running, f"{node.name} died; {node.log_text()[-2000:]}")
        # It may still have a heap of nonsense to read.
        after = wait_until(self.healthy, lambda: f"all nodes answer: {self.cluster.status()}")
        self.assertEqual(after["leader"], self.before["leader"])
        self.assertEqual([n["term"] for n in after["nodes"]],
                         [n["term"] for n in self.before["nodes"]])
        for node in self.cluster.nodes:
            key = f"after/{self.id()}/{node.name}"
            self.cluster.put(key, b"v", through=[node])
            self.assertEqual(self.cluster.get(key, through=[node]), b"v")
        self.assertEqual(self.cluster.get("before"), b"1")

    def healthy(self):
        status = self.cluster.status()
        return status if status and all(n["healthy"] for n in status["nodes"]) else None

    def ports(self):
        for node in self.cluster.nodes:
            yield node.peer_port
            yield node.client_port

    def raw(self, port, data):
        """Sends bytes over plain TCP and waits for the other side's answer or close."""
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.settimeout(0.5)  # for those who say nothing
            try:
                connection.sendall(data)
                while connection.recv(4096):
                    pass
            except OSError:
                pass

    def zmq_send(self, port, frames_list, kind=zmq.DEALER):
        """Sends messages as a real ZeroMQ client; each is a list of frames."""
        context = zmq.Context()
        try:
            sender = context.socket(kind)
            sender.setsockopt(zmq.LINGER, 1000)
            sender.setsockopt(zmq.SNDTIMEO, 5000)
            sender.connect(f"tcp://127.0.0.1:{port}")
            for frames in frames_list:
                sender.send_multipart(frames)
            sender.close()
        finally:
            context.term()

    def test_random_bytes_over_tcp(self):
        for port in self.ports():
            for size in (1, 10, 64, 1000, 100000):
                self.raw(port, self.random.randbytes(size))

    def test_http_request(self):
        for port in self.ports():
            self.raw(port, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")

    def test_connections_that_say_nothing(self):
        held = [socket.create_connection(("127.0.0.1", port), timeout=5)
                for port in self.ports() for _ in range(20)]
        self.cluster.put("while held", b"v")
        for connection in held:
            connection.close()

    def test_greeting_then_random_bytes(self):
        for port in self.ports():
            self.raw(port, ZMTP_GREETING + self.random.randbytes(500))
            self.raw(port, ZMTP_GREETING[:30])

    def test_handshake_then_random_frames(self):
        for port in self.ports():
            for _ in range(3):
                frames = b"".join(bytes([self.random.randrange(4), len(part)]) + part
                                  for part in (self.random.randbytes(self.random.randrange(200))
                                               for _ in range(30)))
                self.raw(port, ZMTP_GREETING + zmtp_ready() + frames)

    def test_frame_that_claims_to_be_huge(self):
        for port in self.ports():
            for claimed in (3 << 20, 1 << 40, (1 << 63) - 1):
                self.raw(port, ZMTP_GREETING + zmtp_ready() + b"\x02" + struct.pack(">Q", claimed)
                         + bytes(5000))

    def test_foreign_socket_types(self):
        for port in self.ports():
            for kind in (b"PUB", b"PULL", b"ROUTER", b"REQ", b"nonsense"):
                self.raw(port, ZMTP_GREETING + zmtp_ready(kind))

    def test_oversized_message(self):
        for port in self.ports():
            self.zmq_send(port, [[bytes(3 << 20)]])

    def test_random_payloads(self):
        for port in self.ports():
            self.zmq_send(port, [[self.random.randbytes(self.random.randrange(300))]
                                 for _ in range(300)])

    def test_many_parts(self):
        for port in self.ports():
            self.zmq_send(port, [[b""] * 50, [b"x"] * 200, [b"", b"", b""]])

    def test_claims_of_endless_arrays_and_maps(self):
        bombs = [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff",
                 b"\x91" * 100000, b"\x81\x01" * 50000, b"\xdc\xff\xff" + b"\x01" * 100,
                 b"\x92\x01\xdd\xff\xff\xff\xff", b"\x92\x01\x93\x01\x01\xc6\xff\xff\xff\xff",
                 b"\x97\x01\x00\xdd\xff\xff\xff\xff", b"\xc1", b""]
        for port in self.ports():
            self.zmq_send(port, [[bomb] for bomb in bombs])

    def test_well_formed_messages_of_nobody(self):
        """MessagePack that is nearly a peer message or a request."""
        values = [0, 1, 2, -1, 2 ** 53, 2 ** 64 - 1, None, True, b"", b"x", "x", [], {}, 1.5]
        messages = []
        for _ in range(400):
            message = [self.random.choice(values) for _ in range(self.random.randrange(1, 14))]
            if self.random.random() < 0.7:
                message[0] = 1
            if self.random.random() < 0.5:
                message.append([self.random.choice(values) for _ in range(3)])
            messages.append([msgpack.packb(message)])
        for port in self.ports():
            self.zmq_send(port, messages)

    def test_forged_peer_messages_of_another_cluster(self):
        """Vote requests and appends of a high term, from a cluster that is not this one."""
        real = int(self.before["cluster"], 16)
        ids = [n["id"] for n in self.before["nodes"]]
        messages = []
        for group in (0, 1):
            for kind in range(1, 8):
                for term in (2, 10 ** 6, 2 ** 63):
                    messages.append([1, group, (real + 1) % 2 ** 53, ids[0], ids[1], 7, kind, term,
                                     0, 0, 0, 0, []])
                    messages.append([1, group, (real + 1) % 2 ** 53, ids[1], ids[2], 7, 1, kind,
                                     term, 0, 0, 0, 0, []])
        for node in self.cluster.nodes:
            self.zmq_send(node.peer_port, [[msgpack.packb(m)] for m in messages])

    def test_flood_of_requests_without_reading_replies(self):
        """A client that never reads costs the others nothing."""
        context = zmq.Context()
        try:
            for node in self.cluster.nodes:
                sender = context.socket(zmq.DEALER)
                sender.setsockopt(zmq.LINGER, 0)
                sender.setsockopt(zmq.SNDHWM, 100)
                sender.setsockopt(zmq.RCVHWM, 1)
                sender.connect(node.client)
                frame = wire.pack([1] + [[i, wire.STATUS, None] for i in range(100)])
                deadline = time.monotonic() + 1.0
                while time.monotonic() < deadline:
                    try:
                        sender.send(frame, zmq.DONTWAIT)
                    except zmq.Again:
                        time.sleep(0.01)
            self.cluster.put("during the flood", b"v")
        finally:
            context.destroy(linger=0)

    def test_client_that_takes_anothers_routing_id(self):
        context = zmq.Context()
        try:
            node = self.cluster.wait_leader()
            for identity in (b"same", b"\x00\x01\x02\x03\x04", os.urandom(255)):
                for _ in range(3):
                    one = context.socket(zmq.DEALER)
                    one.setsockopt(zmq.LINGER, 0)
                    one.setsockopt(zmq.ROUTING_ID, identity if identity[0] else b"x" + identity)
                    one.connect(node.client)
                    one.send(wire.pack([1, [1, wire.LEADER, None]]))
                    wait_until(lambda s=one: s.poll(100), "an answer")
        finally:
            context.destroy(linger=0)


if __name__ == "__main__":
    unittest.main()
