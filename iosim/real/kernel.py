"""RealKernel: every call of the vocabulary, answered by this host's Linux.

*Models*: nothing; it asks. Descriptors are plain ints, as in C: no socket object stands between program and kernel.
*Differs from a C program*: (1) only 127.0.0.1 is bound and called, so that a real run stays on this machine; (2) every
socket has TCP_NODELAY (an accepted one inherits it from its listener), because a reply that waits for Nagle's algorithm
measures Nagle's algorithm; (3) SIGPIPE is ignored by Python; (4) a call that a signal interrupts goes on (PEP 475).
"""

from iosim.real.process_calls import FAILED, ProgramExit
from iosim.real.socket_calls import HOST
from iosim.real.sync_calls import SyncCalls

__all__ = ["FAILED", "HOST", "ProgramExit", "RealKernel"]


class RealKernel(SyncCalls):
    """Linux, one method per call of the vocabulary; signatures and documentation are those of ``iosim.syscalls``.

    ``new_counter`` gives the census row of one more thread: ``len(VOCABULARY)`` ints (default: a list). It is called in
    the thread that clones or forks, before it does; the row of a fork'ed child must therefore lie in shared memory if
    anyone else is to read it. ``failures`` keeps what the programs of clone'd threads raised: whoever drives one looks
    there.
    """
