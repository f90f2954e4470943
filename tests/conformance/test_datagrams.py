"""UDP: datagrams are received whole, cut off or not at all, and never merged."""

from errno import (
    EADDRINUSE,
    EAGAIN,
    ECONNREFUSED,
    EDESTADDRREQ,
    EINVAL,
    EMSGSIZE,
    ENOPROTOOPT,
    ENOTCONN,
    ENOTSOCK,
    EOPNOTSUPP,
    EPIPE,
)
from typing import TYPE_CHECKING

import pytest

from iosim.syscalls import (
    EPOLLET,
    EPOLLIN,
    EPOLLOUT,
    IPPROTO_TCP,
    POLLERR,
    POLLIN,
    POLLOUT,
    SO_RCVBUF,
    SO_REUSEPORT,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOL_SOCKET,
    TCP_NODELAY,
    Address,
    FdSet,
    accept4,
    bind,
    clone,
    close,
    connect,
    epoll_wait,
    getsockname,
    listen,
    read,
    recvfrom,
    select,
    sendto,
    setsockopt,
    shutdown,
    socket,
    write,
)

if TYPE_CHECKING:
    from tests.conformance.conftest import World


async def receiver(flags: int = 0, buffer_bytes: int = 0) -> tuple[int, Address]:
    """A datagram socket on a port of the kernel's choice, and its address."""
    fd = await socket(SOCK_DGRAM | flags)
    if buffer_bytes:
        await setsockopt(fd, SOL_SOCKET, SO_RCVBUF, buffer_bytes)
    await bind(fd, ("127.0.0.1", 0))
    return fd, await getsockname(fd)


async def drained(fd: int) -> list[bytes]:
    """All datagrams that wait at a non-blocking socket."""
    found = []
    try:
        while True:
            found.append((await recvfrom(fd))[0])
    except BlockingIOError:
        return found


# --- boundaries


@pytest.mark.usefixtures("world")
async def test_two_sends_are_two_receives() -> None:
    fd, address = await receiver()
    sender, source = await receiver()
    assert await sendto(sender, b"one", address) == 3
    assert await sendto(sender, b"three", address) == 5
    assert await recvfrom(fd) == (b"one", source)
    assert await recvfrom(fd) == (b"three", source)


@pytest.mark.usefixtures("world")
async def test_what_is_longer_than_the_buffer_is_lost() -> None:
    fd, address = await receiver()
    for data in (b"abcdef", b"next"):
        await sendto(fd, data, address)
    assert await recvfrom(fd, 4) == (b"abcd", address)
    assert (await recvfrom(fd))[0] == b"next"


async def test_an_empty_datagram_is_one(world: "World") -> None:
    fd, address = await receiver(SOCK_NONBLOCK)
    assert await sendto(fd, b"", address) == 0
    assert await world.ready(fd) == POLLIN
    assert await recvfrom(fd) == (b"", address)
    with world.fails(EAGAIN):  # that was no end of file
        await recvfrom(fd)


async def test_a_buffer_of_no_bytes_takes_a_datagram(world: "World") -> None:
    fd, address = await receiver(SOCK_NONBLOCK)
    await sendto(fd, b"gone", address)
    assert await read(fd, 0) == b""  # read looks at nothing then
    assert await recvfrom(fd, 0) == (b"", address)
    with world.fails(EAGAIN):
        await recvfrom(fd)


@pytest.mark.usefixtures("world")
async def test_read_is_recvfrom_without_the_address() -> None:
    fd, address = await receiver()
    await sendto(fd, b"abc", address)
    await sendto(fd, b"def", address)
    assert await read(fd, 2) == b"ab"
    assert await read(fd) == b"def"


async def test_the_largest_datagram(world: "World") -> None:
    fd, address = await receiver()
    with world.fails(EMSGSIZE):
        await sendto(fd, bytes(65_508), address)
    assert await sendto(fd, bytes(65_507), address) == 65_507
    assert len((await recvfrom(fd))[0]) == 65_507


@pytest.mark.usefixtures("world")
async def test_the_first_send_names_the_sender() -> None:
    fd, address = await receiver()
    sender = await socket(SOCK_DGRAM)
    assert (await getsockname(sender))[1] == 0
    await sendto(sender, b"question", address)
    _, source = await recvfrom(fd)
    assert source == ("127.0.0.1", (await getsockname(sender))[1])
    await sendto(fd, b"answer", source)
    assert await recvfrom(sender) == (b"answer", address)


# --- loss


async def test_nobody_is_told_of_a_datagram_to_nobody(world: "World") -> None:
    gone, address = await receiver()
    await close(gone)
    sender, _ = await receiver(SOCK_NONBLOCK)
    assert await sendto(sender, b"hello?", address) == 6
    with world.fails(EAGAIN):
        await recvfrom(sender)
    assert await sendto(sender, b"hello?", address) == 6


@pytest.mark.usefixtures("world")
async def test_a_full_buffer_drops_the_latest_and_tells_nobody() -> None:
    fd, address = await receiver(SOCK_NONBLOCK, 4096)
    sent = [b"%d" % number for number in range(100)]
    for data in sent:
        assert await sendto(fd, data, address) == len(data)
    kept = await drained(fd)
    assert kept == sent[: len(kept)]
    assert 1 < len(kept) < 20  # a datagram of one byte takes hundreds
    await sendto(fd, b"room again", address)
    assert await drained(fd) == [b"room again"]


@pytest.mark.usefixtures("world")
async def test_a_buffer_counts_memory_and_a_larger_one_holds_more() -> None:
    held = {}
    for buffer_bytes, length in ((2304, 10), (16_384, 10), (16_384, 1400), (16_384, 20_000)):
        fd, address = await receiver(SOCK_NONBLOCK, buffer_bytes)
        for _ in range(100):
            await sendto(fd, bytes(length), address)
        held[buffer_bytes, length] = len(await drained(fd))
    assert held[2304, 10] * 5 < held[16_384, 10]
    assert held[16_384, 1400] * 2 < held[16_384, 10]
    assert held[16_384, 20_000] == 1  # an empty queue takes any


# --- waiting


@pytest.mark.usefixtures("world")
async def test_recvfrom_sleeps_until_a_datagram_comes(world: "World") -> None:
    fd, address = await receiver()
    other, _ = await receiver()

    async def patient() -> None:
        data, source = await recvfrom(fd)
        await sendto(fd, data + b"!", source)

    await clone(patient)
    await world.until_asleep()
    await sendto(other, b"wake up", address)
    assert (await recvfrom(other))[0] == b"wake up!"


async def test_one_datagram_wakes_one_sleeper_the_first(world: "World") -> None:
    fd, address = await receiver()
    awake: list[tuple[int, bytes]] = []

    async def sleeper(number: int) -> None:
        awake.append((number, (await recvfrom(fd))[0]))

    for number in range(3):
        await clone(sleeper, number)
        await world.until_asleep()
    for number in range(3):
        await sendto(fd, b"%d" % number, address)
        await world.until_asleep()
        assert awake[number:] == [(number, b"%d" % number)]


async def test_readiness(world: "World") -> None:
    fd, address = await receiver(SOCK_NONBLOCK)
    both = POLLIN | POLLOUT
    assert await world.ready(fd, both) == POLLOUT
    await sendto(fd, b"a", address)
    await sendto(fd, b"b", address)
    assert await world.ready(fd, both) == both
    readers, writers = FdSet(), FdSet()
    readers.add(fd)
    writers.add(fd)
    assert await select(readers, writers, 0) == ([fd], [fd])
    await recvfrom(fd)
    assert await world.ready(fd, both) == both  # one is left
    await recvfrom(fd)
    assert await world.ready(fd, both) == POLLOUT
    assert await select(readers, writers, 0) == ([], [fd])


async def test_an_unbound_socket_is_writable(world: "World") -> None:
    assert await world.ready(await socket(SOCK_DGRAM), POLLIN | POLLOUT) == POLLOUT


async def test_epoll_tells_of_a_level_and_of_every_edge(world: "World") -> None:
    fd, address = await receiver(SOCK_NONBLOCK)
    level = await world.interest(fd)
    edge = await world.interest(fd, events=EPOLLIN | EPOLLET)
    assert await world.now(level) == await world.now(edge) == []
    for data in (b"a", b"b"):
        await sendto(fd, data, address)
        assert await world.now(level) == await world.now(level) == [(fd, EPOLLIN)]
        assert await world.now(edge) == [(fd, EPOLLIN)]
        assert await world.now(edge) == []
    await recvfrom(fd)
    assert await world.now(level) == [(fd, EPOLLIN)]
    assert await world.now(edge) == []
    await recvfrom(fd)
    assert await world.now(level) == []
    out = await world.interest(fd, events=EPOLLIN | EPOLLOUT)
    assert await world.now(out) == [(fd, EPOLLOUT)]


async def test_a_datagram_ends_a_sleep_in_epoll_wait(world: "World") -> None:
    fd, address = await receiver()
    told, tell = await world.pair()

    async def sleeper() -> None:
        events = await epoll_wait(await world.interest(fd))
        await write(tell, b"woken" if events == [(fd, EPOLLIN)] else b"wrong")

    await clone(sleeper)
    await world.until_asleep()
    await sendto(fd, b"x", address)
    assert await read(told) == b"woken"


# --- a peer


async def test_a_connected_socket_hears_its_peer_only(world: "World") -> None:
    peer, address = await receiver()
    fd, other = await socket(SOCK_DGRAM | SOCK_NONBLOCK), await socket(SOCK_DGRAM)
    await connect(fd, address)
    name = await getsockname(fd)
    assert name[0] == "127.0.0.1"
    assert await write(fd, b"to the peer") == 11
    assert await recvfrom(peer) == (b"to the peer", name)
    await sendto(other, b"from another", name)
    with world.fails(EAGAIN):
        await read(fd)
    await sendto(peer, b"from the peer", name)
    assert await recvfrom(fd) == (b"from the peer", address)
    await sendto(fd, b"to another", await getsockname(other))  # it may still send elsewhere
    assert (await recvfrom(other))[0] == b"to another"
    await connect(fd, await getsockname(other))
    await write(fd, b"to the new peer")
    assert (await recvfrom(other))[0] == b"to the new peer"


async def test_a_connected_socket_learns_that_nobody_is_there_one_call_later(world: "World") -> None:
    gone, address = await receiver()
    await close(gone)
    fd = await socket(SOCK_DGRAM | SOCK_NONBLOCK)
    await connect(fd, address)
    for call in (write(fd, b"again?"), recvfrom(fd)):
        assert await write(fd, b"hello?") == 6
        assert await world.ready(fd, POLLIN | POLLOUT) == POLLOUT | POLLERR
        with world.fails(ECONNREFUSED):
            await call
        assert await world.ready(fd, POLLIN | POLLOUT) == POLLOUT
    with world.fails(EAGAIN):
        await recvfrom(fd)
    back = await socket(SOCK_DGRAM)
    await bind(back, address)
    await write(fd, b"there you are")
    assert (await recvfrom(back))[0] == b"there you are"


async def test_a_sleeper_learns_it_too(world: "World") -> None:
    gone, address = await receiver()
    await close(gone)
    fd = await socket(SOCK_DGRAM)
    await connect(fd, address)
    told, tell = await world.pair()

    async def sleeper() -> None:
        with world.fails(ECONNREFUSED):
            await recvfrom(fd)
        await write(tell, b"refused")

    await clone(sleeper)
    await world.until_asleep()
    await write(fd, b"hello?")
    assert await read(told) == b"refused"


# --- what cannot be


async def test_ports_of_udp_and_tcp_are_apart(world: "World") -> None:
    _, address = await world.listener()
    fd = await socket(SOCK_DGRAM)
    await bind(fd, address)
    other = await socket(SOCK_DGRAM)
    with world.fails(EADDRINUSE):
        await bind(other, address)
    with world.fails(EINVAL):
        await bind(fd, ("127.0.0.1", 0))
    await close(fd)
    await bind(other, address)


async def test_a_datagram_socket_does_not_listen(world: "World") -> None:
    fd, address = await receiver()
    with world.fails(EOPNOTSUPP):
        await listen(fd)
    with world.fails(EOPNOTSUPP):
        await accept4(fd)
    with world.fails(EDESTADDRREQ):
        await write(fd, b"to whom?")
    with world.fails(EINVAL):
        await sendto(fd, b"x", (address[0], 0))
    with world.fails(ENOTCONN):
        await shutdown(fd)


async def test_streams_do_not_take_datagrams(world: "World") -> None:
    _, address = await receiver()
    stream = await socket()
    with world.fails(EPIPE):
        await sendto(stream, b"x", address)
    with world.fails(ENOTCONN):
        await recvfrom(stream)
    epoll = await world.interest()
    with world.fails(ENOTSOCK):
        await recvfrom(epoll)
    with world.fails(ENOTSOCK):
        await sendto(epoll, b"x", address)


async def test_options(world: "World") -> None:
    datagrams, _ = await receiver()
    listener, _ = await world.listener()
    for fd in (listener, *await world.pair(), await socket()):
        await setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, 1)
        await setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, 1)
        with world.fails(ENOPROTOOPT):
            await setsockopt(fd, IPPROTO_TCP, 999, 1)
    await setsockopt(datagrams, SOL_SOCKET, SO_REUSEPORT, 1)
    for level, option in ((SOL_SOCKET, 999), (IPPROTO_TCP, TCP_NODELAY)):
        with world.fails(ENOPROTOOPT):
            await setsockopt(datagrams, level, option, 1)
    with world.fails(ENOTSOCK):
        await setsockopt(await world.interest(), SOL_SOCKET, SO_REUSEPORT, 1)
