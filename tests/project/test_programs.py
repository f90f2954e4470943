"""Models are found by name and by path, read from their own file, and read again when it has changed."""

import os
from pathlib import Path

import pytest

from iosim.programs import bind_params, find, models, names

TEXT = '''"""First line
of the thesis.

Kind: blocking. Manual pages: read(2), epoll(7) EPOLLET. At most 3.
Timing-dependent calls: read, write (because they
may, or may not).
"""

async def server(listener: int, *, workers: int = 8, rate: float = 0.5, name: str = "x", deep: bool = False,
                 timeout_ms: int = -1) -> None:
    pass
'''


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(TEXT)
    return path


def test_every_model_is_found_by_name_and_by_path() -> None:
    assert [model.name for model in models()] == names()
    assert {"blocking", "threads", "prefork", "nonblocking", "select_loop", "poll_loop", "epoll_loop"} <= set(names())
    by_name = find("epoll_loop")
    assert find(by_name.path) == find(str(by_name.path)) == by_name
    assert find(by_name.path).server is by_name.server


def test_a_file_tells_what_it_is(mine: Path) -> None:
    model = find(mine)
    assert model.name == "mine"
    assert model.path == mine
    assert model.thesis == "First line of the thesis."
    assert model.kind == "blocking"
    assert model.manual_pages == ("read(2)", "epoll(7) EPOLLET")
    assert model.timing_dependent == ("read", "write")
    assert model.params == {
        "workers": (int, 8),
        "rate": (float, 0.5),
        "name": (str, "x"),
        "deep": (bool, False),
        "timeout_ms": (int, -1),
    }


def test_a_file_need_not_say_anything(mine: Path) -> None:
    mine.write_text("async def server(listener): pass")
    model = find(mine)
    assert (model.thesis, model.kind, model.manual_pages, model.timing_dependent) == ("", "", (), ())
    assert model.params == {}


def test_the_calls_that_a_file_names_are_known(mine: Path) -> None:
    assert (find(mine).calls, find(mine).reuse_port) == ((), False)
    mine.write_text("from iosim.syscalls import EPOLLIN, SO_REUSEPORT, read as receive, accept4\n" + TEXT)
    assert (find(mine).calls, find(mine).reuse_port) == (("accept4", "read"), True)
    assert find("blocking").calls == ("accept4", "read", "close")  # write stands in a helper of the protocol's


def test_an_edited_file_is_read_again(mine: Path) -> None:
    before = find(mine)
    assert find(mine).server is before.server
    mine.write_text(TEXT.replace("workers: int = 8", "workers: int = 16"))
    os.utime(mine, ns=(1, 2_000_000_000))
    assert find(mine).params["workers"] == (int, 16)


def test_params_are_converted_and_completed(mine: Path) -> None:
    model = find(mine)
    text = {"workers": "3", "rate": "0.25", "deep": "yes", "timeout_ms": "-5"}
    assert bind_params(model, text) == {"workers": 3, "rate": 0.25, "name": "x", "deep": True, "timeout_ms": -5}
    assert bind_params(model, {"workers": 3})["workers"] == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"wrkers": 1}, "mine has no parameter 'wrkers'; it knows: workers, rate, name, deep, timeout_ms"),
        ({"workers": "2.5"}, "mine.workers: came '2.5', expected a valid integer (as its default, 8)"),
        ({"workers": -1}, "mine.workers: came -1, expected 0 or more (its default is 8)"),
        ({"rate": "nan"}, "mine.rate: came 'nan', expected a finite number (as its default, 0.5)"),
        ({"deep": "perhaps"}, "mine.deep: came 'perhaps', expected a valid boolean (as its default, False)"),
    ],
)
def test_a_wrong_parameter_is_told_in_one_line(mine: Path, given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match="mine") as told:
        bind_params(find(mine), given)
    assert str(told.value) == message
