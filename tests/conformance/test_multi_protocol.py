"""The model multi_protocol, asked by a program in each of its protocols."""

from typing import TYPE_CHECKING

from iosim.programs import find
from iosim.protocol import pack_request, write_all
from iosim.syscalls import SOCK_DGRAM, Address, bind, clone, getsockname, read, recvfrom, sendto, socket

if TYPE_CHECKING:
    from tests.conformance.conftest import World


async def names(first: int, count: int) -> list[Address]:
    """Of the sockets that the server has made since: its descriptors follow the listener's."""
    found = []
    for fd in range(first, first + count):
        try:
            found.append(await getsockname(fd))
        except OSError:  # the epoll descriptor
            continue
    return found


async def test_one_loop_answers_on_every_port_and_by_udp(world: "World") -> None:
    server = find("multi_protocol").server
    listener, address = await world.listener()
    asker = await socket(SOCK_DGRAM)
    await bind(asker, ("127.0.0.1", 0))

    async def run() -> None:
        await server(listener, ports=3)

    await clone(run)
    await world.until_asleep()
    datagrams, *others = await names(asker + 1, 5)
    assert datagrams == address  # the same number twice, as DNS has it
    assert len({address[1]} | {port for _, port in others}) == 3
    streams = [await world.client(("127.0.0.1", port)) for _, port in (address, *others)]
    for length in (100, 5000, 1):
        for stream in streams:
            await write_all(stream, pack_request(64, length, 0))
            assert await world.read_exactly(stream, length) == bytes(length)
        await sendto(asker, pack_request(64, length, 0), address)
        await sendto(asker, pack_request(64, 7, 0), address)
        assert await recvfrom(asker) == (bytes(length), address)
        assert (await recvfrom(asker))[0] == bytes(7)


async def test_requests_of_all_protocols_at_once(world: "World") -> None:
    server = find("multi_protocol").server
    listener, address = await world.listener()
    stream = await world.client(address)
    asker = await socket(SOCK_DGRAM)
    await write_all(stream, pack_request(64, 10, 0) * 3)

    async def run() -> None:
        await server(listener)

    await clone(run)
    await world.until_asleep()
    for length in (3, 2, 1):
        await sendto(asker, pack_request(64, length, 0), address)
    assert [len((await recvfrom(asker))[0]) for _ in range(3)] == [3, 2, 1]
    assert await world.read_exactly(stream, 30) == bytes(30)
    assert await read(asker, 0) == b""
