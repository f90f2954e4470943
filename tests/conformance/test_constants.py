"""The vocabulary's flags are this kernel's."""

import fcntl
import os
import select
import socket

import pytest

from iosim import syscalls

NAMES = {
    **{
        name: getattr(socket, name)
        for name in vars(syscalls)
        if name.startswith(("SOCK_", "SOL_", "SO_", "SHUT_", "IPPROTO_", "TCP_"))
    },
    "O_NONBLOCK": os.O_NONBLOCK,
    "EFD_NONBLOCK": os.EFD_NONBLOCK,
    "EFD_SEMAPHORE": os.EFD_SEMAPHORE,
    **{name: getattr(fcntl, name) for name in ("F_GETFL", "F_SETFL")},
    **{
        name: getattr(select, name)
        for name in vars(syscalls)
        if name.startswith(("POLL", "EPOLL")) and not name.startswith("EPOLL_")
    },
}


@pytest.mark.parametrize("name", NAMES)
def test_a_flag_has_the_kernels_value(name: str) -> None:
    assert getattr(syscalls, name) == NAMES[name]
