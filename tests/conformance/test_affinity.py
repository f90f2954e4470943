"""sched_setaffinity: on which CPUs a thread may run, and who inherits it."""

from collections.abc import Awaitable, Callable
from errno import EINVAL
from typing import TYPE_CHECKING

import pytest

from iosim.syscalls import clone, fork, read, sched_getaffinity, sched_setaffinity, wait, write

if TYPE_CHECKING:
    from tests.conformance.conftest import World


@pytest.mark.usefixtures("world")
async def test_a_thread_learns_where_it_may_run() -> None:
    everywhere = await sched_getaffinity()
    assert everywhere == sorted(everywhere)
    last = everywhere[-1]
    await sched_setaffinity([last])
    assert await sched_getaffinity() == [last]
    await sched_setaffinity(everywhere)
    assert await sched_getaffinity() == everywhere


async def test_cpus_that_are_not_there_do_not_count(world: "World") -> None:
    everywhere = await sched_getaffinity()
    for cpus in ([], [1000]):
        with world.fails(EINVAL):
            await sched_setaffinity(cpus)
    assert await sched_getaffinity() == everywhere
    await sched_setaffinity([everywhere[0], 1000])
    assert await sched_getaffinity() == [everywhere[0]]
    await sched_setaffinity(everywhere)


@pytest.mark.parametrize("start", [clone, fork])
async def test_it_is_of_one_thread_and_those_that_it_starts(
    world: "World", start: Callable[..., Awaitable[int]]
) -> None:
    told, tell = await world.pair()
    everywhere = await sched_getaffinity()

    async def child(moves: bool) -> None:
        if moves:
            await sched_setaffinity(everywhere)
        await write(tell, b"%d " % len(await sched_getaffinity()))

    await sched_setaffinity([everywhere[0]])
    await start(child, False)
    assert await read(told) == b"1 "
    await start(child, True)
    assert await read(told) == b"%d " % len(everywhere)
    assert await sched_getaffinity() == [everywhere[0]]
    await sched_setaffinity(everywhere)
    if start is fork:
        await wait()
        await wait()
