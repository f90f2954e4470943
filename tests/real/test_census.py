"""The census: rows that threads and processes take for themselves, and whose sum anyone can read."""

import os
import threading

import pytest

from iosim.real import census as module
from iosim.real.census import Census
from iosim.syscalls import VOCABULARY

pytestmark = pytest.mark.real

READ = VOCABULARY.index("read")


@pytest.fixture
def census() -> Census:
    return Census()


def test_a_row_per_thread_and_their_sum(census: Census) -> None:
    first, second = census.new_row(), census.new_row()
    assert len(first) == len(VOCABULARY)
    first[READ] += 2
    second[READ] += 3
    second[-1] += 1
    assert census.counts() == {"read": 5, VOCABULARY[-1]: 1}
    census.close()


def test_a_forked_process_counts_in_the_same_memory(census: Census) -> None:
    row = census.new_row()
    children = []
    for _ in range(5):
        child = os.fork()
        if not child:
            own = census.new_row()  # taken after the fork: no two may get the same
            for _ in range(1000):
                own[READ] += 1
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    row[READ] += 1
    assert census.counts() == {"read": 5001}
    assert Census(census.fd).counts() == {"read": 5001}
    census.close()


def test_threads_take_different_rows(census: Census) -> None:
    def count() -> None:
        for _ in range(50):
            census.new_row()[READ] += 1

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert census.counts() == {"read": 400}
    census.close()


def test_more_threads_than_rows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 2)
    census = Census()
    census.new_row()
    census.new_row()
    with pytest.raises(RuntimeError, match="may start 2 threads"):
        census.new_row()
    census.close()
