"""A lock of conclave: a lease, a place in a queue, and a watch for the entry ahead to go."""
import time

from conclave import Refused
from conclave_streams import EVENTS, NO_PUTS, watch

QUEUES = 1  # the space of their entries
NOT_FOUND, LEASE_EXPIRED = 1, 29


class Lost(Exception):
    """The lease is over: somebody else may hold by now."""


class Lock:
    """Hold it while held() is true. Send the token with whatever is done under the lock, and have lower ones refused."""

    def __init__(self, client, name, ttl_ms=10000, value=b"", slots=1):
        self.client, self.name, self.ttl = client, name, ttl_ms / 1000
        self.until = time.monotonic() + self.ttl  # the time counts from before it is asked for
        self.lease = client.grant(ttl_ms)
        self.revision, self.token, self.awaited = client.must(16, name, self.lease, value, slots)

    def held(self):
        return self.awaited == 0 and time.monotonic() < self.until

    def renew(self):
        """To be called every third of the time."""
        asked = time.monotonic()
        self.ask(7, self.lease)
        self.until = asked + self.ttl

    def ask(self, *command):
        try:
            return self.client.must(*command)
        except Refused as refused:
            if refused.code in (NOT_FOUND, LEASE_EXPIRED):
                raise Lost("the lease is over") from refused
            raise

    def acquire(self, timeout):
        """True when it holds; False if it still waits, and may be asked again."""
        deadline = time.monotonic() + timeout
        while self.awaited and time.monotonic() < deadline:
            self.wait(deadline)
            self.revision, _, self.awaited = self.ask(70, self.name, self.token)  # what is seen is confirmed
        return self.held()

    def wait(self, deadline):
        """Until the entry ahead is gone, which is told from the revision on that named it."""
        ahead = bytes(self.name) + b"\0" + self.awaited.to_bytes(8, "big")
        gone = watch(self.client.endpoints, ahead, ahead + b"\0", NO_PUTS, self.revision + 1, QUEUES)
        try:
            while (left := deadline - time.monotonic()) > 0:
                if self.until - time.monotonic() < self.ttl * 2 / 3:
                    self.renew()
                told = gone.next(min(left, self.ttl / 6))
                if told and told[0] == EVENTS:
                    return
        finally:
            gone.close()

    def release(self):
        """With the lease goes the entry."""
        self.awaited = None
        self.client.revoke(self.lease)
