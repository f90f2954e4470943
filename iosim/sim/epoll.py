"""epoll(7) as fs/eventpoll.c does it. It knows no clock.

*Models*: an interest list, a registration that stands in its file's wait queue for life, a ready list,
level-triggered items that return to its tail and are polled again, edge-triggered ones that do not, ONESHOT,
EXCLUSIVE, one waiter woken per event.
*Does not model*: wake-up sources, busy polling, chains of more than one epoll in another.
"""

import errno
from collections import deque
from typing import Final

from iosim.sim.files import STATE_CHANGE, Blocked, File, Watcher, fail
from iosim.syscalls import EPOLLERR, EPOLLET, EPOLLEXCLUSIVE, EPOLLHUP, EPOLLIN, EPOLLONESHOT, EPOLLOUT

ALWAYS: Final = EPOLLERR | EPOLLHUP | STATE_CHANGE
PRIVATE: Final = EPOLLET | EPOLLEXCLUSIVE | EPOLLONESHOT
PUBLIC: Final = ~PRIVATE
FLEETING: Final = EPOLLET | EPOLLONESHOT
"""Their items do not go back to the ready list."""
EXCLUSIVE_OK: Final = EPOLLIN | EPOLLOUT | ALWAYS | EPOLLET | EPOLLEXCLUSIVE


class Item:
    """One registration (struct epitem)."""

    __slots__ = ("epoll", "events", "exclusive", "fd", "file", "listed")

    def __init__(self, epoll: "Epoll", fd: int, file: File, events: int) -> None:
        self.epoll = epoll
        self.fd = fd
        self.file = file
        self.events = events
        self.exclusive = bool(events & EPOLLEXCLUSIVE)
        self.listed = False

    def notify(self, events: int) -> bool:
        """ep_poll_callback: list the item if anybody asked for these events, and wake one waiter."""
        if not events & self.events & ~PRIVATE:
            return False
        epoll = self.epoll
        if not self.listed:
            self.listed = True
            epoll.ready.append(self)
        sleeping = bool(epoll.waiters)
        if sleeping or epoll.watcher.sleepers:
            epoll.notify(EPOLLIN)
        return self.exclusive and sleeping

    def moved_to(self, file: File) -> None:
        self.file = file

    def poll(self) -> int:
        """ep_item_poll: which of the wanted events hold; nothing while a ONESHOT item is masked."""
        return self.file.mask() & self.events & ~PRIVATE


class Epoll(File):
    """One epoll descriptor (struct eventpoll)."""

    __slots__ = ("items", "ready", "sleep")

    def __init__(self, watcher: Watcher) -> None:
        super().__init__(watcher)
        self.items: dict[int, Item] = {}
        self.ready: deque[Item] = deque()
        self.sleep = Blocked(self, EPOLLIN, exclusive=True)

    def mask(self) -> int:
        """ep_eventpoll_poll: items that are not ready any more leave the ready list on the way to the first that is."""
        while self.ready:
            if self.ready[0].poll():
                return EPOLLIN
            self.ready.popleft().listed = False
        return 0

    def add(self, fd: int, file: File, events: int) -> None:
        """EPOLL_CTL_ADD: into the interest list and the file's wait queue; polled once. Raises EEXIST, EINVAL."""
        if events & EPOLLEXCLUSIVE and (events & ~EXCLUSIVE_OK or isinstance(file, Epoll)):
            raise fail(errno.EINVAL)
        if fd in self.items:
            raise fail(errno.EEXIST)
        item = self.items[fd] = Item(self, fd, file, events | ALWAYS)
        file.add_waiter(item)
        self._list_if_ready(item)

    def modify(self, fd: int, events: int) -> None:
        """EPOLL_CTL_MOD: other events, polled once; a masked ONESHOT item lives again. Raises ENOENT, EINVAL."""
        item = self._item(fd)
        if events & EPOLLEXCLUSIVE or item.events & EPOLLEXCLUSIVE:
            raise fail(errno.EINVAL)
        item.events = events | ALWAYS
        self._list_if_ready(item)

    def delete(self, fd: int) -> None:
        """EPOLL_CTL_DEL. Raises ENOENT."""
        self.forget(self._item(fd))

    def forget(self, item: Item) -> None:
        """Drop a registration. Where it is listed it stays as one that wants nothing, until somebody comes by: to look
        for it would take as long as the list, and servers close thousands at once (tests/bench)."""
        del self.items[item.fd]
        item.file.remove_waiter(item)
        item.events = 0

    def harvest(self, maxevents: int) -> tuple[list[tuple[int, int]], int]:
        """ep_send_events: walk the ready list from its head, poll each item, return at most ``maxevents`` events, and
        how many items were listed and polled but not ready any more."""
        ready = self.ready
        found: list[tuple[int, int]] = []
        rechecked = 0
        for _ in range(len(ready)):
            item = ready.popleft()
            wanted = item.events
            if not (events := item.file.mask() & wanted & PUBLIC):
                item.listed = False
                if wanted:  # it is registered still
                    rechecked += 1
                continue
            found.append((item.fd, events))
            if not wanted & FLEETING:
                ready.append(item)
            else:
                item.listed = False
                if wanted & EPOLLONESHOT:
                    item.events = wanted & PRIVATE
            maxevents -= 1
            if not maxevents:
                break
        return found, rechecked

    def release(self) -> None:
        """The last descriptor of this epoll is closed: its registrations leave their files."""
        for item in self.items.values():
            item.file.remove_waiter(item)
        self.items.clear()
        self.ready.clear()

    def _item(self, fd: int) -> Item:
        if fd not in self.items:
            raise fail(errno.ENOENT)
        return self.items[fd]

    def _list_if_ready(self, item: Item) -> None:
        if item.poll() and not item.listed:
            item.listed = True
            self.ready.append(item)
            self.notify(EPOLLIN)
