"""The driver of the real world: it takes a program's traps, has this host's kernel answer them, and counts them.

Discussion: this loop runs once per system call of a real server, so it holds nothing else: one table look-up gives the
bound method and the census column, and ``send`` or ``throw`` hands the answer back. Where ``os.read`` of one byte takes
0.75 us, ``await read(fd, 1)`` takes 1.2: trap, driver and kernel method add 0.45.
"""

from collections.abc import Coroutine, MutableSequence
from typing import TYPE_CHECKING, Any

from iosim.syscalls import VOCABULARY

if TYPE_CHECKING:
    from iosim.real.process_calls import ProcessCalls


def drive(
    kernel: "ProcessCalls", program: Coroutine[Any, Any, None], census: MutableSequence[int] | None = None
) -> None:
    """Run ``program`` to its end in this thread.

    ``census`` is the row of counts of this thread, one column per name of VOCABULARY (default: a new one of the
    kernel's). A call is counted when the thread enters the kernel, as strace(1) does: one that sleeps is in the count.
    What the program does not catch propagates, and so does ``ProgramExit``. TypeError if it awaits what is no call.
    """
    counts = kernel.new_counter() if census is None else census
    calls = {name: (getattr(kernel, name), column) for column, name in enumerate(VOCABULARY)}
    send, throw = program.send, program.throw
    try:
        trap = send(None)
        while True:
            try:
                name, arguments = trap
                call, column = calls[name]
            except (TypeError, ValueError, KeyError):
                trap = throw(
                    TypeError(f"the program awaited {trap!r}: only the calls of iosim.syscalls can be awaited")
                )
                continue
            counts[column] += 1
            try:
                result = call(*arguments)
            except Exception as error:
                trap = throw(error)
            else:
                trap = send(result)
    except StopIteration:
        return
