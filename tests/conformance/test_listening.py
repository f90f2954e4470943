"""Listeners: bind, listen, connect, accept4, the accept queue and who is served."""

from errno import (
    EADDRINUSE,
    EAGAIN,
    EALREADY,
    EBADF,
    ECONNREFUSED,
    ECONNRESET,
    EINPROGRESS,
    EINVAL,
    EISCONN,
    ENOTSOCK,
)
from typing import TYPE_CHECKING

import pytest

from iosim.syscalls import (
    POLLHUP,
    POLLIN,
    POLLOUT,
    SOCK_NONBLOCK,
    accept4,
    bind,
    clone,
    close,
    connect,
    epoll_create,
    getsockname,
    listen,
    read,
    shutdown,
    socket,
    write,
)

if TYPE_CHECKING:
    from tests.conformance.conftest import World


@pytest.mark.usefixtures("world")
async def test_port_0_lets_the_kernel_choose() -> None:
    one, two = await socket(), await socket()
    assert await getsockname(one) == ("0.0.0.0", 0)
    await bind(one, ("127.0.0.1", 0))
    await bind(two, ("127.0.0.1", 0))
    (host, first), (_, second) = await getsockname(one), await getsockname(two)
    assert host == "127.0.0.1"
    assert 0 < first != second


async def test_a_port_has_one_owner(world: "World") -> None:
    _, address = await world.listener()
    other = await socket()
    with world.fails(EADDRINUSE):
        await bind(other, address)
    await bind(other, ("127.0.0.1", 0))  # the failure left it as it was
    with world.fails(EINVAL):
        await bind(other, ("127.0.0.1", 0))


async def test_a_port_is_free_again_after_close(world: "World") -> None:
    listener, address = await world.listener()
    await close(listener)
    again = await socket()
    await bind(again, address)
    assert await getsockname(again) == address


async def test_a_connection_holds_its_port(world: "World") -> None:
    listener, address = await world.listener()
    client = await world.client(address)
    conn = await accept4(listener)
    await close(listener)
    for fd in (client, conn):
        with world.fails(EADDRINUSE):
            await bind(await socket(), await getsockname(fd))


async def test_a_socket_whose_connection_has_ended_may_be_bound_anew(world: "World") -> None:
    client, conn = await world.pair()
    await close(conn)
    with world.fails(EINVAL):
        await bind(client, ("127.0.0.1", 0))
    await shutdown(client)
    await bind(client, ("127.0.0.1", 0))  # Linux gave its port back


async def test_getsockname_of_both_ends(world: "World") -> None:
    listener, address = await world.listener()
    client = await world.client(address)
    conn = await accept4(listener)
    assert await getsockname(conn) == address
    host, port = await getsockname(client)
    assert host == "127.0.0.1"
    assert port not in (0, address[1])


async def test_accept_needs_a_listener(world: "World") -> None:
    fd = await socket()
    with world.fails(EINVAL):
        await accept4(fd)
    client, _conn = await world.pair()
    with world.fails(EINVAL):
        await accept4(client)
    await close(fd)
    with world.fails(EBADF):
        await accept4(fd)


async def test_accept_of_nobody(world: "World") -> None:
    listener, _ = await world.listener(flags=SOCK_NONBLOCK)
    with world.fails(EAGAIN):
        await accept4(listener)


async def test_connections_are_accepted_in_order(world: "World") -> None:
    listener, address = await world.listener()
    clients = [await world.client(address) for _ in range(3)]
    for number, client in enumerate(clients):
        await write(client, b"%d" % number)
    for number in range(3):
        assert await read(await accept4(listener)) == b"%d" % number


async def test_a_client_may_write_before_it_is_accepted(world: "World") -> None:
    listener, address = await world.listener()
    client = await world.client(address)
    assert await write(client, b"early") == 5
    await close(client)
    conn = await accept4(listener)  # its end does not take it out of the queue
    assert await read(conn) == b"early"
    assert await read(conn) == b""


async def test_listen_again_changes_the_backlog_alone(world: "World") -> None:
    listener, address = await world.listener(backlog=1)
    client = await world.client(address)
    await listen(listener, 8)
    clients = [await world.client(address) for _ in range(5)]
    assert len({client, *clients}) == 6
    for _ in range(6):
        await accept4(listener)


async def test_a_connected_socket_cannot_listen(world: "World") -> None:
    client, conn = await world.pair()
    for fd in (client, conn):
        with world.fails(EINVAL):
            await listen(fd)


async def test_nobody_listens(world: "World") -> None:
    listener, address = await world.listener()
    await close(listener)
    client = await socket()
    with world.fails(ECONNREFUSED):
        await connect(client, address)


async def test_a_bound_port_that_does_not_listen_refuses(world: "World") -> None:
    bound = await socket()
    await bind(bound, ("127.0.0.1", 0))
    with world.fails(ECONNREFUSED):
        await connect(await socket(), await getsockname(bound))


async def test_connect_twice(world: "World") -> None:
    listener, address = await world.listener()
    client = await world.client(address)
    with world.fails(EISCONN):
        await connect(client, address)
    conn = await accept4(listener)
    with world.fails(EISCONN):
        await connect(conn, address)
    with world.fails(EISCONN):
        await connect(listener, address)


async def test_a_nonblocking_connect(world: "World") -> None:
    listener, address = await world.listener()
    client = await socket(SOCK_NONBLOCK)
    with world.fails(EINPROGRESS):
        await connect(client, address)
    assert await world.ready(client, POLLOUT, 2000) == POLLOUT
    await connect(client, address)  # the second call tells how it ended, once
    with world.fails(EISCONN):
        await connect(client, address)
    await write(client, b"hello")
    assert await read(await accept4(listener)) == b"hello"


async def test_a_nonblocking_connect_that_is_reset(world: "World") -> None:
    listener, address = await world.listener()
    client = await socket(SOCK_NONBLOCK)
    with world.fails(EINPROGRESS):
        await connect(client, address)
    assert await world.ready(client, POLLOUT, 2000) == POLLOUT
    await close(listener)
    with world.fails(ECONNRESET):
        await connect(client, address)


async def test_a_nonblocking_connect_that_is_refused(world: "World") -> None:
    listener, address = await world.listener()
    await close(listener)
    client = await socket(SOCK_NONBLOCK)
    with world.fails(EINPROGRESS):
        await connect(client, address)
    assert await world.ready(client, POLLOUT, 2000) & (POLLOUT | POLLHUP) == POLLOUT | POLLHUP
    with world.fails(ECONNREFUSED):
        await connect(client, address)


async def test_what_a_refused_socket_says(world: "World") -> None:
    listener, address = await world.listener()
    await close(listener)
    client = await socket(SOCK_NONBLOCK)
    with world.fails(EINPROGRESS):
        await connect(client, address)
    assert await world.ready(client, POLLOUT, 2000)
    with world.fails(EINVAL):
        await listen(client)
    with world.fails(ECONNREFUSED):
        await read(client)
    assert await read(client) == b""  # the error is told once


async def test_a_client_may_leave_before_it_is_accepted(world: "World") -> None:
    listener, address = await world.listener()
    client = await socket(SOCK_NONBLOCK)
    with world.fails(EINPROGRESS):
        await connect(client, address)
    assert await world.ready(client, POLLOUT, 2000)
    await close(client)
    assert await world.ready(listener) == POLLIN
    assert await read(await accept4(listener)) == b""


@pytest.mark.parametrize("backlog", [0, 1, 4])
async def test_listen_n_admits_n_plus_1(world: "World", backlog: int) -> None:
    listener, address = await world.listener(backlog)
    admitted = []
    for _ in range(backlog + 3):
        client = await socket(SOCK_NONBLOCK)
        with world.fails(EINPROGRESS):
            await connect(client, address)
        admitted.append(bool(await world.ready(client, POLLOUT, 30)))
    assert admitted == [True] * (backlog + 1) + [False] * 2
    with world.fails(EALREADY):  # its SYN was dropped; it will try again after a second
        await connect(client, address)
    await world.nonblocking(listener)
    for _ in range(backlog + 1):
        await accept4(listener)
    with world.fails(EAGAIN):
        await accept4(listener)


async def test_a_listener_is_readable_while_somebody_waits(world: "World") -> None:
    listener, address = await world.listener()
    assert await world.ready(listener) == 0
    await world.client(address)
    await world.client(address)
    for _ in range(2):
        assert await world.ready(listener, POLLIN | POLLOUT) == POLLIN
        await accept4(listener)
    assert await world.ready(listener) == 0


async def test_closing_a_listener_resets_who_waits_there(world: "World") -> None:
    listener, address = await world.listener()
    client = await world.client(address)
    await close(listener)
    with pytest.raises(ConnectionResetError):
        await read(client)


async def test_accepting_workers_are_served_in_the_order_they_went_to_sleep(world: "World") -> None:
    listener, address = await world.listener()

    async def worker(number: int) -> None:
        await write(await accept4(listener), b"%d" % number)

    for number in range(3):
        await clone(worker, number)
        await world.until_asleep()
    assert [await read(await world.client(address)) for _ in range(3)] == [b"0", b"1", b"2"]


async def test_as_many_workers_wake_as_there_are_connections(world: "World") -> None:
    listener, address = await world.listener()

    async def worker(number: int) -> None:
        await write(await accept4(listener), b"%d" % number)

    for number in range(3):
        await clone(worker, number)
        await world.until_asleep()
    clients = [await world.client(address) for _ in range(3)]
    assert sorted([await read(client) for client in clients]) == [b"0", b"1", b"2"]  # who is quicker takes the older
    assert await world.ready(listener) == 0


async def test_calls_for_sockets_refuse_other_files(world: "World") -> None:
    epoll = await epoll_create()
    for call in (listen(epoll), accept4(epoll), getsockname(epoll), bind(epoll, ("127.0.0.1", 0))):
        with world.fails(ENOTSOCK):
            await call
