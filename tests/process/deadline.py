"""How long to wait for what will surely come."""

import time


class Deadline:
    """Time as this process sees it pass: what it sleeps through itself, stopped or starved by others,
    is a moment to it, as it was to the nodes."""

    MOMENT = 10.0

    def __init__(self, seconds):
        self.left = seconds
        self.seen = time.monotonic()

    def passed(self):
        now = time.monotonic()
        self.left -= min(now - self.seen, self.MOMENT)
        self.seen = now
        return self.left <= 0
