"""SO_REUSEPORT: several listeners on one port, and a hash that picks one of them, busy or not."""

from contextlib import suppress
from errno import EADDRINUSE, ECONNREFUSED
from typing import TYPE_CHECKING

from iosim.syscalls import (
    SO_REUSEPORT,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOL_SOCKET,
    Address,
    accept4,
    bind,
    close,
    connect,
    getsockname,
    listen,
    read,
    recvfrom,
    sendto,
    setsockopt,
    socket,
    write,
)

if TYPE_CHECKING:
    from tests.conformance.conftest import World

ANY_PORT: Address = ("127.0.0.1", 0)
MANY = 200


async def bound(address: Address = ANY_PORT, *, type: int = SOCK_NONBLOCK, reuse: bool = True) -> tuple[int, Address]:
    """A socket bound to that address, with or without SO_REUSEPORT, and its address."""
    fd = await socket(type)
    if reuse:
        await setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, 1)
    await bind(fd, address)
    return fd, await getsockname(fd)


async def sharing(count: int) -> tuple[list[int], Address]:
    """So many listeners on one port."""
    first, address = await bound()
    listeners = [first] + [(await bound(address))[0] for _ in range(count - 1)]
    for fd in listeners:
        await listen(fd, MANY)
    return listeners, address


async def accepted(listener: int) -> list[int]:
    """All connections in its accept queue."""
    found = []
    try:
        while True:
            found.append(await accept4(listener))
    except BlockingIOError:
        return found


async def test_a_port_is_shared_only_if_all_agree_before_they_bind(world: "World") -> None:
    for first, second in ((False, True), (True, False), (False, False)):
        owner, address = await bound(reuse=first)
        for listening in (False, True):
            if listening:
                await listen(owner)
            with world.fails(EADDRINUSE):
                await bound(address, reuse=second)
    one, address = await bound()
    two, same = await bound(address)
    await listen(one)
    await listen(two)
    assert same == address
    with world.fails(EADDRINUSE):
        await bound(address, reuse=False)


async def test_a_connection_keeps_its_port_shared_or_not(world: "World") -> None:
    for reuse in (True, False):
        listener, address = await bound(reuse=reuse)
        await listen(listener)
        _client = await world.client(address)
        conn = await accept4(listener)
        await close(listener)
        with world.fails(EADDRINUSE):
            await bound(address, reuse=False)
        if reuse:
            await listen((await bound(address))[0])
        else:
            with world.fails(EADDRINUSE):
                await bound(address)
        await close(conn)


async def test_each_connection_is_in_one_queue_and_all_listeners_have_a_share(world: "World") -> None:
    listeners, address = await sharing(4)
    for number in range(MANY):
        await write(await world.client(address), b"%03d" % number)
    await world.until_asleep()
    shares = [[await read(conn) for conn in await accepted(fd)] for fd in listeners]
    assert sorted(name for share in shares for name in share) == [b"%03d" % number for number in range(MANY)]
    assert all(share == sorted(share) for share in shares)  # each queue in order of arrival
    assert all(MANY / 10 < len(share) < MANY / 2 for share in shares)  # 50 each, if the hash is fair


async def test_a_listener_that_nobody_serves_keeps_its_half(world: "World") -> None:
    """The stuck listener: the hash does not ask who is idle, and nobody takes over what stands in a queue."""
    (served, stuck), address = await sharing(2)
    taken = 0
    for _ in range(MANY):
        await world.client(address)
        taken += len(await accepted(served))  # at once: this worker is always idle
    await world.until_asleep()
    taken += len(await accepted(served))
    assert MANY / 4 < taken < MANY * 3 / 4
    assert len(await accepted(stuck)) == MANY - taken
    assert await accepted(served) == await accepted(stuck) == []


async def test_who_closes_resets_its_queue_and_leaves_the_rest_to_the_others(world: "World") -> None:
    (stays, goes), address = await sharing(2)
    clients = [await world.client(address) for _ in range(MANY)]
    await world.until_asleep()
    conns = await accepted(stays)
    await close(goes)
    for conn in conns:
        await write(conn, b"served")
    await world.nonblocking(*clients)
    served = reset = 0
    for client in clients:
        try:
            served += await read(client) == b"served"
        except ConnectionResetError:
            reset += 1
    assert (served, served + reset) == (len(conns), MANY)
    assert 0 < reset < MANY
    again = [await world.client(address) for _ in range(20)]
    await world.until_asleep()
    assert len(await accepted(stays)) == len(again)  # all to the one that is left
    await close(stays)
    with world.fails(ECONNREFUSED):
        await connect(await socket(), address)


async def test_who_does_not_listen_gets_nothing(world: "World") -> None:
    listener, address = await bound()
    await bound(address)
    await listen(listener)
    for _ in range(20):
        await world.client(address)
    await world.until_asleep()
    assert len(await accepted(listener)) == 20


async def test_datagrams_of_one_sender_go_to_one_socket(world: "World") -> None:
    kind = SOCK_DGRAM | SOCK_NONBLOCK
    one, address = await bound(type=kind)
    two, _ = await bound(address, type=kind)
    with world.fails(EADDRINUSE):
        await bound(address, type=kind, reuse=False)
    counts = {one: 0, two: 0}
    for _ in range(40):
        sender = await socket(SOCK_DGRAM)
        for data in (b"a", b"b"):
            await sendto(sender, data, address)
        got = []
        for fd in (one, two):
            with suppress(BlockingIOError):
                got.append((await recvfrom(fd))[0])
                got.append((await recvfrom(fd))[0])
                counts[fd] += 1
        assert got == [b"a", b"b"]
    assert all(5 <= count <= 35 for count in counts.values())
