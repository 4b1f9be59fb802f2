"""What is done one after the other, now or later, by one thread, which sleeps until there is something."""

import heapq
import itertools
import sys
import threading
import time
import traceback


class Timeline:
    """Calls in the order of their times."""

    def __init__(self):
        self.ready = threading.Condition()
        self.heap, self.order = [], itertools.count()
        threading.Thread(target=self.run, daemon=True).start()

    def soon(self, call, *arguments):
        self.after(0, call, *arguments)

    def after(self, seconds, call, *arguments):
        with self.ready:
            heapq.heappush(self.heap, (time.monotonic() + seconds, next(self.order), call, arguments))
            self.ready.notify()

    def run(self):
        while True:
            with self.ready:
                while not self.heap or self.heap[0][0] > time.monotonic():
                    self.ready.wait(self.heap[0][0] - time.monotonic() if self.heap else None)
                _, _, call, arguments = heapq.heappop(self.heap)
            try:
                call(*arguments)
            except Exception:  # noqa: BLE001: one pod's trouble is not that of the others; told
                traceback.print_exc(file=sys.stderr)
