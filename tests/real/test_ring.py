"""io_uring on this host: what one request costs in calls, and where the kernel's thread shows."""

import errno
import os
import time

import pytest

from iosim.load import Load
from iosim.real.kernel import RealKernel
from iosim.real.measure import measure
from iosim.real.meters import cpu_time_ns
from iosim.syscalls import IORING_SETUP_SQPOLL

pytestmark = pytest.mark.real

REQUESTS = 100


@pytest.fixture(autouse=True)
def allowed() -> None:
    """Skips where the host forbids io_uring."""
    kernel = RealKernel()
    try:
        kernel.close(kernel.io_uring_setup(1, 0).fd)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EPERM):
            pytest.skip(str(error))
        raise


@pytest.mark.parametrize(("model", "enters"), [("uring", 2), ("uring_multishot", 2), ("uring_sqpoll", 1)])
def test_calls_per_request_of_one_client(model: str, enters: int) -> None:
    """What twice as many requests take more, so that connecting and closing do not count. In one pair of three: where
    this host takes the CPU away between a reply and the wait behind it, the next request is there already, and saves
    that call."""
    more: list[int] = []
    while enters * REQUESTS not in more:
        assert len(more) < 3, more
        once, twice = (
            measure(model, Load(clients=1, think_ns=1_000_000, think="constant", requests=requests)).syscalls
            for requests in (REQUESTS, 2 * REQUESTS)
        )
        more.append(twice["io_uring_enter"] - once["io_uring_enter"])


def test_the_polling_thread_is_in_the_cpu_time_of_its_process() -> None:
    kernel = RealKernel()
    before_ns = cpu_time_ns([os.getpid()])
    ring = kernel.io_uring_setup(8, IORING_SETUP_SQPOLL, 10_000)
    try:
        ring.prep_nop("once")
        kernel.io_uring_enter(ring, 1)
        for _ in range(100):
            time.sleep(0.05)
            if cpu_time_ns([os.getpid()]) - before_ns > 50_000_000:
                return
        raise AssertionError("the polling thread's time is missing")
    finally:
        kernel.close(ring.fd)
