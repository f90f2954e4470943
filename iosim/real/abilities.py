"""Abilities: can this host run a model for real? Asked once per run of iosim, cheaply, and what was opened is closed.

Most calls can be made on any Linux. For the others there is a probe, by how their names begin: it makes the call once
where that harms nobody, and says in a few words why it failed.
"""

import ctypes
import errno
import os
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from iosim.programs import Model
from iosim.real import linux_aio as aio
from iosim.real import uring

URING_DISABLED = Path("/proc/sys/kernel/io_uring_disabled")
SECCOMP_FILTER = "Seccomp:\t2"


def io_uring() -> str | None:
    """io_uring_setup(2) of one entry."""
    params = ctypes.create_string_buffer(uring.PARAMS.size)
    try:
        os.close(uring.call(uring.SETUP, 1, ctypes.addressof(params)))
    except OSError as error:
        disabled = URING_DISABLED.read_text().strip() if URING_DISABLED.exists() else "0"
        if error.errno == errno.EPERM and disabled != "0":
            return f"io_uring is forbidden here by kernel.io_uring_disabled = {disabled}"
        return _refusal("io_uring", error)
    return None


def linux_aio() -> str | None:
    """io_setup(2) of one event."""
    context = ctypes.c_ulong()
    try:
        aio.call("io_setup", 1, ctypes.addressof(context))
    except OSError as error:
        return _refusal("Linux AIO", error)
    aio.call("io_destroy", context.value)
    return None


def posix_aio() -> str | None:
    """aio_read(3) is in the C library, or in the one beside it (glibc before 2.34)."""
    for name in (None, "librt.so.1"):
        try:
            if hasattr(ctypes.CDLL(name), "aio_read"):
                return None
        except OSError:
            continue
    return "this C library has no POSIX AIO"


PROBES: dict[str, Callable[[], str | None]] = {"io_uring_": io_uring, "io_": linux_aio, "aio_": posix_aio}
"""How calls begin → the probe; the first that fits."""
_ask = cache(lambda probe: probe())


def obstacle(calls: Iterable[str]) -> str | None:
    """Why this host cannot make one of these calls, in a few words; None if it can make all of them."""
    if not sys.platform.startswith("linux"):
        return f"a real run needs Linux, this is {sys.platform}"
    probes = [next((probe for begin, probe in PROBES.items() if call.startswith(begin)), None) for call in calls]
    reasons: list[str | None] = [_ask(probe) for probe in dict.fromkeys(probes) if probe is not None]
    return next((reason for reason in reasons if reason), None)


def require(model: Model) -> None:
    """RuntimeError in one line when this host cannot run that model for real."""
    if reason := obstacle(model.calls):
        raise RuntimeError(f"{model.name} cannot be measured on this host: {reason}")


def _refusal(what: str, error: OSError) -> str:
    """A filter may say EPERM, or pretend with ENOSYS that the kernel has no such call."""
    if error.errno in (errno.EPERM, errno.ENOSYS) and SECCOMP_FILTER in Path("/proc/self/status").read_text():
        return f"{what} is forbidden here by a seccomp filter"
    if error.errno == errno.ENOSYS:
        return f"this kernel has no {what}"
    return f"{what} is refused here: {os.strerror(error.errno or 0)}"
