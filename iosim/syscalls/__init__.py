"""The vocabulary: one typed function per system call. It is all that a program knows of its kernel.

``await`` means *trap into the kernel*. Whether the thread sleeps there, or gets EAGAIN, or is answered at
once, is the kernel's business: the simulated one (``iosim.sim``) or this host's (``iosim.real``). Every call
raises ``OSError`` with the errno that its manual page names.

Discussion: each call is a generator of one yield that ``types.coroutine`` lets a program await, so that every call
has its own result type and a trap costs half of what an object with ``__await__`` does. A program is therefore an
ordinary coroutine, and a kernel drives it with ``send`` and ``throw``.
"""

from iosim.syscalls import aio, processes, readiness, ring, signals, sockets, sync, trap
from iosim.syscalls.aio import *
from iosim.syscalls.processes import *
from iosim.syscalls.readiness import *
from iosim.syscalls.ring import *
from iosim.syscalls.signals import *
from iosim.syscalls.sockets import *
from iosim.syscalls.sync import *
from iosim.syscalls.trap import *

__all__ = ["VOCABULARY"]
__all__ += aio.__all__
__all__ += processes.__all__
__all__ += readiness.__all__
__all__ += ring.__all__
__all__ += signals.__all__
__all__ += sockets.__all__
__all__ += sync.__all__
__all__ += trap.__all__

VOCABULARY: tuple[str, ...] = (
    *sockets.CALLS, *readiness.CALLS, *processes.CALLS, *signals.CALLS, *aio.CALLS, *ring.CALLS, *sync.CALLS,
)  # fmt: skip
"""Every call, in census order; a kernel has one method of the same name and signature for each."""
