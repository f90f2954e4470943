"""Each kernel has one method per call of the vocabulary, of the same name and signature."""

import inspect
from importlib import import_module
from typing import Any, get_args

import pytest

from iosim import syscalls


def kernel_class(path: str) -> type:
    module, name = path.split(":")
    try:
        kernel: type = getattr(import_module(module), name)
    except ModuleNotFoundError:
        pytest.skip("the simulated world is not built yet")
    return kernel


@pytest.mark.parametrize("call", syscalls.VOCABULARY)
@pytest.mark.parametrize("kernel", ["iosim.real.kernel:RealKernel", "iosim.sim.kernel:SimKernel"])
def test_a_kernel_s_method_has_the_signature_of_the_call(kernel: str, call: str) -> None:
    method = inspect.signature(getattr(kernel_class(kernel), call))
    word = inspect.signature(getattr(syscalls, call))
    assert list(method.parameters.values())[1:] == list(word.parameters.values())
    assert without_blocked(method.return_annotation) == answer(word.return_annotation)


def without_blocked(annotation: Any) -> Any:
    """A simulated handler may also say that the call sleeps: T | Blocked → T."""
    rest = [member for member in get_args(annotation) if getattr(member, "__name__", "") != "Blocked"]
    if len(rest) == len(get_args(annotation)):
        return annotation
    (result,) = rest
    return None if result is type(None) else result


def answer(annotation: Any) -> Any:
    """Trap[T] → T."""
    call, _, result = get_args(annotation)
    assert call == syscalls.Call
    return None if result is type(None) else result


def test_the_vocabulary_lists_every_call() -> None:
    calls = {
        name
        for name, value in vars(syscalls).items()
        if inspect.isgeneratorfunction(value) and value.__module__.startswith(syscalls.__name__) and name != "bits_set"
    }
    assert calls == set(syscalls.VOCABULARY)
    assert len(syscalls.VOCABULARY) == len(calls)
