"""The trap: what a program hands to its kernel, and what every call of the vocabulary is made of."""

from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

__all__ = ["Address", "Call", "Program", "T", "Trap"]

T = TypeVar("T")
Program = Callable[..., Coroutine[Any, Any, None]]
Address = tuple[str, int]
Call = tuple[str, tuple[Any, ...]]
"""What a kernel is handed at a trap: the call's name and its arguments."""
Trap = Generator[Call, T, T]
"""One trap: yields the call, is sent its result, returns it."""
