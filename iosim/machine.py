"""Machine: the simulated server and the way to it."""

from typing import Literal

from pydantic import Field

from iosim.checked import Checked


class Machine(Checked):
    """What the simulated server is. All keywords, every value checked.

    *Models*: CPUs with a run queue each, a time slice, loopback or one network interface.
    *Does not model*: caches shared between CPUs, EEVDF's lag, interrupt coalescing, loss.
    """

    cpus: int = Field(1, ge=1, le=4096, description="CPUs of the server")
    slice_ns: int = Field(
        2_800_000, ge=1000, description="time slice; EEVDF's base slice of 0.70 ms x (1 + log2 min(cpus, 8)) and ticks "
        "make 2.8 to 4 ms of it"
    )  # fmt: skip
    network: Literal["loopback", "nic"] = Field(
        "loopback",
        description="who pays for protocol input: the sender's CPU (loopback) or the interrupt's CPU (nic)",
    )
    latency_ns: int = Field(0, ge=0, le=10**10, description="one-way latency of the link")
    bandwidth_bit_per_s: float = Field(100e9, gt=0, le=1e13, description="of the link, each way")
    irq_cpu: int = Field(0, ge=0, description="nic: the CPU that takes the interrupts")
    nofile: int = Field(20_000_000, ge=3, description="RLIMIT_NOFILE of every process")
    sigpending: int = Field(
        62_500, ge=0, description="RLIMIT_SIGPENDING of every process; the default of 16 GB of memory"
    )
    somaxconn: int = Field(4096, ge=1, description="net.core.somaxconn")
    receive_buffer_bytes: int = Field(131_072, ge=2304, description="per connection")
    send_buffer_bytes: int = Field(16_384 * 4, ge=4608, description="per connection")
