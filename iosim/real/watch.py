"""Watch: waits for what the two processes have to say, until a deadline, and turns what goes wrong into one line."""

import re
import select
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iosim.real.census import Census
from iosim.real.meters import group_members
from iosim.real.processes import Child

GRACE_S = 0.5
"""When the clients lose the server, it may still be about to say why."""
_FRAME = re.compile(r'File "(?P<path>[^"]+)", line (?P<line>\d+),? in (?P<function>\S+)')


class Watch:
    """Over one server and its clients, until ``deadline_s`` of the monotonic clock. Every error is a RuntimeError of
    one line."""

    def __init__(self, model: Path, server: Child, clients: Child, census: Census, deadline_s: float) -> None:
        self._model = model
        self._server, self._clients = server, clients
        self._census = census
        self._deadline_s = deadline_s

    def answer(self, awaited: Child) -> Mapping[str, Any]:
        """The next message of that process."""
        started_s = time.monotonic()
        while (left_s := self._deadline_s - time.monotonic()) > 0:
            _wait_for([self._server, self._clients], left_s)
            for child in (self._server, self._clients):  # the server first: its error explains that of the clients
                said = self._messages(child)
                for message in said:
                    if "error" in message:
                        self._fail(child, message["error"])
                if child is awaited and said:
                    return said[0]
        waited_s = time.monotonic() - started_s
        where = self._stands_at()
        stands = f"{where}: the program stands there and makes no call; " if where else ""
        raise RuntimeError(f"{stands}the real run was ended after {waited_s:.1f} s without a result (its time limit)")

    def check(self, silent: bool) -> None:
        """Raise if a worker has failed, or if the server is ``silent`` because it hangs in its own code."""
        if raised := self._raised_in_worker():
            raise RuntimeError(raised)
        if silent:
            before = self._census.counts()
            where = self._stands_at()
            if where and self._census.counts() == before:
                raise RuntimeError(f"{where}: the program stands there, answers nothing and makes no call (no await?)")

    def _messages(self, child: Child) -> list[dict[str, Any]]:
        lines = child.lines()
        if lines is not None:
            return lines
        who = "server" if child is self._server else "clients"
        last = child.stderr.strip().rpartition("\n")[2] or child.ended_how()
        return [{"error": f"the process of the {who} ended: {last}"}]

    def _fail(self, child: Child, error: str) -> None:
        if child is self._clients:
            _wait_for([self._server], GRACE_S)
            error = next((said["error"] for said in self._messages(self._server) if "error" in said), error)
        raise RuntimeError(self._raised_in_worker() or error)

    def _raised_in_worker(self) -> str | None:
        """What a forked worker wrote when its program raised: its traceback is all that it leaves."""
        _, found, trace = self._server.stderr.partition("Traceback (most recent call last):\n")
        if not found:
            return None
        error = next((line for line in trace.splitlines() if not line.startswith(" ")), "it says no more")
        return f"{self._place(trace, last=True) or self._model.name}: {error}"

    def _stands_at(self) -> str | None:
        """``model.py:LINE`` where a thread of the server is; None when all of them are in the kernel."""
        return self._place(self._server.stacks(group_members(self._server.pid)), last=False)

    def _place(self, text: str, *, last: bool) -> str | None:
        places = [
            f"{self._model.name}:{one['line']}" for one in _FRAME.finditer(text) if one["path"] == str(self._model)
        ]
        return places[-1 if last else 0] if places else None


def _wait_for(children: list[Child], seconds: float) -> None:
    poll = select.poll()
    for child in children:
        poll.register(child.out, select.POLLIN)
    poll.poll(seconds * 1000)
