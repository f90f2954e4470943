"""The ledger of requests: every request's latency, split into causes that sum to it exactly.

A request's way: the link (network), protocol input on an interrupt CPU (softirq), then in the server the time until
its last byte is read: waking the thread that reads it (wakeup), the readiness call that told of it (readiness), and
whatever else the thread or its CPU did first (queue); then its read, compute and write, and the link again. Where one
thread reads a request and another works on it, all that passes between read and write without work is ``handover``.
"""

import hashlib
from array import array
from typing import TYPE_CHECKING, Final

from iosim.sim.request import Request
from iosim.stats import Latencies

if TYPE_CHECKING:
    from iosim.sim.sockets import Stream
    from iosim.sim.thread import Thread

PARTS = ("network", "softirq", "wakeup", "queue", "readiness", "read", "compute", "handover", "write")
NEVER: Final = 1 << 62
FLUSH_AT: Final = 65_536


Departure = tuple["Stream", int, list[Request]]
"""Bytes that leave for a client when the write that sends them is done: (stream, bytes, requests they complete)."""


class Ledger:
    """What was asked, what was answered, how long it took and why. Counts requests planned inside the window."""

    def __init__(self) -> None:
        self.window_from = 0
        self.window_to = NEVER
        self.issued = 0
        self.completed = 0
        self.dropped = 0
        self.failed = 0
        self.replies = 0
        """Replies that arrived inside the window, whenever they were asked for."""
        self.answered = 0
        """Replies ever."""
        self.last_done = 0
        self.handing_over = False
        """The program has made a call by which its threads hand work to each other: who writes a reply may not be who
        read or worked on its request. Others do not pay for finding that out."""
        self.parts = [0] * len(PARTS)
        self.latencies = Latencies()
        self._recent: list[int] = []
        self._hash = hashlib.sha256()

    def counts(self, planned: int) -> bool:
        """Was it planned inside the window?"""
        return self.window_from <= planned < self.window_to

    # --- the server's side, told by read and write

    @staticmethod
    def end_readiness_call(thread: "Thread") -> None:
        """The first call after a readiness call begins where that one returned."""
        if thread.ready_to < thread.ready_from:
            thread.ready_to = thread.scheduler.clock.now

    def was_read(self, stream: "Stream", count: int, thread: "Thread", now: int) -> int:
        """``count`` bytes of this stream are being read; how many requests that completes."""
        if thread.ready_to < thread.ready_from:
            thread.ready_to = now
        whole = 0
        assert stream.requests is not None
        for request in stream.requests:
            unread = request.unread
            if not unread:
                continue
            if unread > count:
                request.unread = unread - count
                break
            request.unread = 0
            whole += 1
            request.begun = now
            # between its arrival and now: the wake-up, the readiness call, and for the rest it has queued
            arrived = request.arrived
            queue = now - arrived
            if (until := thread.ran_at) > arrived:
                since = thread.wake_from
                request.wakeup = wakeup = until - (since if since > arrived else arrived)
                queue -= wakeup
            if (until := thread.ready_to) > arrived:
                since = thread.ready_from
                request.readiness = readiness = until - (since if since > arrived else arrived)
                queue -= readiness
            if queue < 0:  # preempted inside its readiness call: the switch back counts in both
                request.readiness += queue
                queue = 0
            request.queue = queue
            request.compute_ns = thread.compute_ns
            request.wait_ns = thread.wait_ns
            request.reader = thread
            count -= unread
            if not count:
                break
        return whole

    def is_written(self, stream: "Stream", count: int, thread: "Thread", now: int) -> None:
        """``count`` bytes of reply are being written; they leave when the call's work is done."""
        requests = stream.requests
        if not requests:
            raise RuntimeError("the program wrote to a client that has asked nothing")
        stream.in_flight += count
        finished = []
        left = count
        for request in requests:
            if request.write_from < 0:
                request.write_from = now
                if self.handing_over and self._was_handed_over(request, thread):
                    request.share_out(now)
                else:
                    request.compute_ns = thread.compute_ns - request.compute_ns
                    request.wait_ns = thread.wait_ns - request.wait_ns
            unwritten = request.unwritten
            if unwritten > left:
                request.unwritten = unwritten - left
                left = 0
                break
            left -= unwritten
            finished.append(request)
            if not left:
                break
        if left:
            raise RuntimeError(f"the program wrote {left} bytes more than its client asked for")
        if finished:
            del requests[: len(finished)]
        thread.departing = (stream, count, finished)

    @staticmethod
    def _was_handed_over(request: Request, thread: "Thread") -> bool:
        """Has anybody else worked on it? Another thread read it, or this one has asked for readiness since, or has not
        computed as much as the request needs."""
        return (
            request.reader is not thread
            or thread.ready_from > request.begun
            or thread.compute_ns - request.compute_ns < request.work_ns()
        )

    # --- the client's side

    def complete(self, request: Request, departed: int, done: int) -> None:
        """The client has its whole reply at ``done``, which may lie ahead of the clock; replies come in order."""
        self.answered += 1
        self.last_done = done
        if done >= self.window_to or done < self.window_from:
            return
        self.replies += 1
        planned = request.planned
        if planned < self.window_from:
            return
        self.completed += 1
        compute, waited, write_from = request.compute_ns, request.wait_ns, request.write_from
        parts = self.parts
        parts[0] += request.arrived - planned + done - departed
        parts[3] += request.queue + waited
        parts[5] += write_from - request.begun - compute - waited
        parts[8] += departed - write_from
        if part := request.wakeup:
            parts[2] += part
        if part := request.readiness:
            parts[4] += part
        if compute:
            parts[6] += compute
        if part := request.handover:
            parts[5] -= part
            parts[7] += part
        if softirq := request.softirq:
            parts[0] -= softirq
            parts[1] += softirq
        recent = self._recent
        recent.append(done - planned)
        if len(recent) == FLUSH_AT:
            self._flush()

    def close(self) -> bytes:
        """Book what is left; a digest of every latency in order. The parts sum to the whole."""
        self._flush()
        assert sum(self.parts) == self.latencies.sum_ns, "latency is more or less than its parts"
        return self._hash.digest()

    def _flush(self) -> None:
        self._hash.update(array("q", self._recent).tobytes())
        self.latencies.record(self._recent)
        self._recent.clear()
