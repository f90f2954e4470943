"""Census: how often each call was entered, in memory that the server's processes and the clients share.

One row per thread, one 64-bit column per name of VOCABULARY. A thread writes to its own row only, so that counting
needs no lock; whoever reads adds the rows up. The memory is a memfd_create(2) file: it has no name in any folder, and
is gone with the last process that holds it, however that one ends.
"""

import os
from collections.abc import MutableSequence
from mmap import mmap
from typing import cast

from iosim.syscalls import VOCABULARY

ROWS = 1 << 16
"""Threads that one run may start; rows that nobody uses take no memory."""
ROW_BYTES = 8 * len(VOCABULARY)


class Census:
    """The counts of one run. ``Census()`` makes the memory, ``Census(fd)`` maps one that was inherited."""

    def __init__(self, fd: int | None = None) -> None:
        if fd is None:
            fd = os.memfd_create("iosim-census")
            os.ftruncate(fd, ROWS * ROW_BYTES)
        self.fd = fd
        self._cells = memoryview(mmap(fd, ROWS * ROW_BYTES)).cast("q")

    def new_row(self) -> MutableSequence[int]:
        """The zeroed row of one more thread, of any process that inherited ``fd``. RuntimeError beyond ROWS threads.

        Discussion: the file's offset says how many rows are taken. Processes share it as they share the open file, and
        lseek(2) moves it atomically, so that no lock can be left behind by a process that is killed.
        """
        end = os.lseek(self.fd, ROW_BYTES, os.SEEK_CUR) // 8
        if end > len(self._cells):
            raise RuntimeError(f"a real run may start {ROWS} threads, this program starts more: fewer --clients")
        return cast(MutableSequence[int], self._cells[end - len(VOCABULARY) : end])

    def close(self) -> None:
        """Let go of the memory; rows that were handed out must not be used any more."""
        os.close(self.fd)

    def counts(self) -> dict[str, int]:
        """Call → how often any thread entered it so far (calls never made are left out).

        A call that sleeps now is in it.
        """
        used = self._cells[: os.lseek(self.fd, 0, os.SEEK_CUR) // 8]
        sums = {name: sum(used[column :: len(VOCABULARY)]) for column, name in enumerate(VOCABULARY)}
        return {name: count for name, count in sums.items() if count}
