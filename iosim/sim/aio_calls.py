"""POSIX AIO, the calls.

Discussion: aio_read and its kin are functions of the C library. A program that calls them is not in the kernel (no
entry is paid) unless they start a thread, wake one, or sleep. The library's helper threads are threads like any other:
they are scheduled, sleep in read, and pay for their system calls. The census counts what the *program* calls, as that
of the real world does; strace(1) would show the helpers' calls too. A helper is C in any runtime, so its calls cost no
runtime's share.
"""

from collections.abc import Sequence
from errno import EAGAIN, EINPROGRESS, EINVAL, ESPIPE
from typing import cast

from iosim.costs import Costs
from iosim.machine import Machine
from iosim.sim.aio_library import (
    HELPER_CALLS,
    IDLE_NS,
    NEXT,
    PREAD,
    PWRITE,
    READ,
    WRITE,
    AioRequest,
    Library,
    Suspender,
    helper,
)
from iosim.sim.clock import Clock
from iosim.sim.files import Blocked, fail
from iosim.sim.linux_aio_calls import LinuxAioCalls, would_block
from iosim.sim.thread import Code, Thread
from iosim.sim.work import (
    AIO_CALL,
    AIO_ENTRY,
    AIO_FUNCTION,
    AIO_HANDED,
    AIO_REQUEST,
    AIO_WALK,
    CALL,
    CLONE,
    ENTRY,
    NO_WORK,
    REQUEST,
    WAKE,
    Work,
)
from iosim.syscalls import EPOLLIN, Aiocb


class AioCalls(LinuxAioCalls):
    """Asynchronous I/O: what LinuxAioCalls has, and aio(7)."""

    def __init__(self, clock: Clock, costs: Costs, machine: Machine) -> None:
        super().__init__(clock, costs, machine)
        self.libraries: dict[int, Library] = {}
        """glibc's state of each process that uses it."""
        self.helper_census = dict.fromkeys(HELPER_CALLS, 0)
        self.handlers[PREAD] = self.handlers[PWRITE] = self._helper_seeks
        self.handlers[READ] = self._helper_reads
        self.handlers[WRITE] = self._helper_writes
        self.handlers[NEXT] = self._helper_goes_on

    def thread_leaves(self, thread: Thread) -> None:
        super().thread_leaves(thread)
        if thread.process.pid not in self.processes:
            self.libraries.pop(thread.process.pid, None)

    # --- the program's calls

    def _outside(self) -> bool:
        """The call under way is a function of a library: nothing is paid that the handler does not say. True the
        first time, False when it goes on after a sleep."""
        first = not self.thread.resumed
        self.thread.resumed = True
        return first

    def _library(self) -> Library:
        pid = self.thread.process.pid
        if pid not in self.libraries:
            self.libraries[pid] = Library(self.readable)
        return self.libraries[pid]

    def aio_init(self, threads: int) -> None:
        self._outside()
        self.work = (CALL, 1, AIO_FUNCTION, 1, AIO_CALL, 1)
        library = self._library()
        if not library.used:
            library.most_threads = max(1, threads)

    def aio_read(self, request: Aiocb) -> None:
        self._enqueue(request, writes=False)

    def aio_write(self, request: Aiocb) -> None:
        self._enqueue(request, writes=True)

    def _enqueue(self, aiocb: Aiocb, writes: bool) -> None:
        self._outside()
        library = self._library()
        self.work = (CALL, 1, AIO_FUNCTION, 1, AIO_REQUEST, 1, AIO_WALK, library.walk_to(aiocb.fd))
        before: AioRequest | None = aiocb.kernel_state
        if before is not None and before.error == EINPROGRESS:
            raise fail(EINVAL)
        self.ledger.handing_over = True  # who reads is another thread
        request = aiocb.kernel_state = AioRequest(aiocb, writes)
        if library.enqueue(request):
            self.work += self._start_helper(library, request)
        elif library.run_list and library.run_list[-1] is request and library.idle:
            self.work += self._tell_idle_helper(library)

    def _start_helper(self, library: Library, request: AioRequest | None) -> Work:
        library.threads += 1
        self.start_thread(self.thread.process, cast(Code, helper(request)), self.thread, self.helper_census)
        return (ENTRY, 1, CLONE, 1, WAKE, 1)

    def _tell_idle_helper(self, library: Library) -> Work:
        """pthread_cond_signal: a futex call if somebody waits there."""
        if not library.work.waiters:
            return NO_WORK
        library.work.notify(EPOLLIN)
        return (ENTRY, 1, WAKE, 1)

    def aio_suspend(self, requests: Sequence[Aiocb], timeout_ms: int = -1) -> Blocked | None:
        first = self._outside()
        thread = self.thread
        thread.ready_from, thread.ready_to = self.clock.now, -1
        if not first:
            suspender: Suspender = thread.state
            suspender.leave()
            self.work = (AIO_ENTRY, len(requests))
            if not suspender.woken:
                raise fail(EAGAIN)
            return None
        library, walked = self._library(), 0
        under_way: list[AioRequest] = []
        for aiocb in requests:
            request: AioRequest | None = aiocb.kernel_state
            if request is None or request.error != EINPROGRESS:
                break
            walked += library.walk_to(request.fd)
            under_way.append(request)
        found = len(under_way)
        self.work = (
            CALL, 1, AIO_FUNCTION, 1, AIO_HANDED, len(requests), AIO_REQUEST, 1, AIO_WALK, walked, AIO_ENTRY, found,
        )  # fmt: skip
        if not found or found < len(requests):
            self.work += (AIO_ENTRY, found)
            return None
        self.work += (ENTRY, 1)
        if not timeout_ms:
            raise fail(EAGAIN)
        thread.state = suspender = Suspender(self.readable, under_way)
        self.wake_after_ms(thread, timeout_ms)
        return Blocked(suspender.futex, EPOLLIN)

    def aio_error(self, request: Aiocb) -> int:
        self._outside()
        self.ledger.end_readiness_call(self.thread)
        self.work = (CALL, 1, AIO_FUNCTION, 1, AIO_CALL, 1)
        state: AioRequest | None = request.kernel_state
        return 0 if state is None else state.error

    def aio_return(self, request: Aiocb) -> int:
        self._outside()
        self.work = (CALL, 1, AIO_FUNCTION, 1, AIO_CALL, 1)
        state: AioRequest | None = request.kernel_state
        if state is None:
            return 0
        if state.whole:
            self.work += (REQUEST, state.whole)
            state.whole = 0
        return state.result

    # --- the helpers' calls, which answer -errno as system calls do

    def _helper_seeks(self, request: AioRequest) -> int:
        """pread, pwrite: no file here has an offset."""
        self._outside()
        self.work = (ENTRY, 1)
        try:
            self.thread.table.get(request.fd)
        except OSError as error:
            return -(error.errno or 0)
        return -ESPIPE

    def _helper_reads(self, request: AioRequest) -> int | Blocked:
        entered: Work = (ENTRY, 1) if self._outside() else NO_WORK
        try:
            answer = would_block(self.read_into(request.fd, request.buffer))
        except OSError as error:
            self.work = entered
            return -(error.errno or 0)
        work = self.work
        if len(work) > 2 and work[-2] == REQUEST:  # whoever takes it over frames and answers it
            request.whole = work[-1]
            work = work[:-2]
        self.work = entered + work
        return answer

    def _helper_writes(self, request: AioRequest) -> int | Blocked:
        entered: Work = (ENTRY, 1) if self._outside() else NO_WORK
        try:
            answer = would_block(self.write(request.fd, bytes(request.buffer)))
        except OSError as error:
            self.work = entered
            return -(error.errno or 0)
        self.work = entered + self.work
        return answer

    def _helper_goes_on(self, request: AioRequest | None, result: int) -> AioRequest | Blocked | None:
        """Its request is done, if it had one: say so, and take the next; wait for one; or, after a wait, end."""
        thread, library = self.thread, self._library()
        work: Work = NO_WORK
        first = self._outside()
        if not first:
            library.idle -= 1
        elif request is not None:
            work = self._finish(library, request, result)
        if not library.run_list:
            self.work = work
            if not first:
                library.threads -= 1
                return None
            self.work += (ENTRY, 1)
            library.idle += 1
            self.wake_after(thread, IDLE_NS)
            return Blocked(library.work, EPOLLIN, exclusive=True)
        following = library.run_list.popleft()
        if library.run_list:
            if library.idle:
                work += self._tell_idle_helper(library)
            elif library.threads < library.most_threads:
                work += self._start_helper(library, None)
        self.work = work
        return following

    def _finish(self, library: Library, request: AioRequest, result: int) -> Work:
        """__aio_notify, __aio_remove_request."""
        work: Work = (AIO_REQUEST, 1)
        library.finish(request, result)
        for suspender in request.waiting:
            if not suspender.woken:
                suspender.woken = True
                suspender.futex.notify(EPOLLIN)
                work += (ENTRY, 1, WAKE, 1)
        request.waiting.clear()
        return work
