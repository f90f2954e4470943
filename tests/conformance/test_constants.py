"""The vocabulary's flags are this kernel's."""

import fcntl
import os
import select
import signal
import socket

import pytest

from iosim import syscalls

RLIMIT_SIGPENDING = 11
"""asm-generic/resource.h; Python has no name for it."""
NAMES = {
    **{
        name: getattr(socket, name)
        for name in vars(syscalls)
        if name.startswith(("SOCK_", "SOL_", "SO_", "SHUT_", "IPPROTO_", "TCP_"))
    },
    "O_NONBLOCK": os.O_NONBLOCK,
    **{name: getattr(fcntl, name) for name in vars(syscalls) if name.startswith("F_")},
    "EFD_NONBLOCK": os.EFD_NONBLOCK,
    "EFD_SEMAPHORE": os.EFD_SEMAPHORE,
    "O_ASYNC": os.O_ASYNC,
    "RLIMIT_SIGPENDING": RLIMIT_SIGPENDING,
    **{name: getattr(signal, name) for name in ("SIGIO", "SIGRTMIN", "SIG_BLOCK", "SIG_UNBLOCK", "SIG_SETMASK")},
    **{
        name: getattr(select, name)
        for name in vars(syscalls)
        if name.startswith(("POLL", "EPOLL")) and not name.startswith("EPOLL_")
    },
}


@pytest.mark.parametrize("name", NAMES)
def test_a_flag_has_the_kernels_value(name: str) -> None:
    assert getattr(syscalls, name) == NAMES[name]
