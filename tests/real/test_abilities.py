"""What this host allows: asked of the kernel, and said in one line where it is forbidden. The ban here is a real one:
a process of its own puts a seccomp filter on itself, as a container runtime does."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from iosim.cli import main
from iosim.programs import find, names
from iosim.real.abilities import PROBES, io_uring, linux_aio, obstacle, posix_aio

pytestmark = pytest.mark.real

BANNED = """\
import ctypes, errno, platform, struct, sys
from iosim.real import abilities, linux_aio, uring

def ban(*numbers):
    "A filter that answers EPERM to these system calls (seccomp(2), bpf: load the number; compare; return)."
    code = struct.pack("HBBI", 0x20, 0, 0, 0)
    for left, number in zip(range(len(numbers), 0, -1), numbers):
        code += struct.pack("HBBI", 0x15, left, 0, number)
    code += struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000) + struct.pack("HBBI", 0x06, 0, 0, 0x00050000 | errno.EPERM)
    text = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(text))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
    assert libc.prctl(22, 2, ctypes.create_string_buffer(program)) == 0  # PR_SET_SECCOMP, filter mode

ban(uring.SETUP, linux_aio.NUMBERS[platform.machine()]["io_setup"])
"""


def under_the_ban(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", BANNED + script], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("probe", [io_uring, linux_aio, posix_aio])
def test_a_probe_leaves_nothing_open(probe: Any) -> None:
    before = os.listdir("/proc/self/fd")
    answers = {probe() for _ in range(3)}
    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert len(answers) == 1


def test_calls_that_every_linux_has_need_no_probe() -> None:
    assert obstacle(["read", "epoll_wait", "sched_setaffinity"]) is None
    assert next(begin for begin in PROBES if "io_uring_enter".startswith(begin)) == "io_uring_"  # not that of io_submit


def test_a_filter_is_told_from_a_kernel_that_cannot() -> None:
    done = under_the_ban(
        "for call in ('io_uring_setup', 'io_submit', 'aio_read', 'read'): print(abilities.obstacle([call, 'read']))"
    )
    uring, aio, *others = done.stdout.splitlines()
    assert uring.startswith("io_uring is forbidden here by ")  # the filter, or already the kernel's setting
    assert aio == "Linux AIO is forbidden here by a seccomp filter"
    assert others == [str(posix_aio()), "None"]
    assert done.stderr == ""


@pytest.mark.parametrize("command", ["measure epoll_loop", "compare threads epoll_loop --world real"])
def test_a_model_that_is_forbidden_fails_in_one_line_before_anything_is_started(command: str) -> None:
    done = under_the_ban(
        "import subprocess; subprocess.Popen = None\n"  # whoever starts a process now fails in another way
        "abilities.PROBES['epoll_'] = abilities.linux_aio\n"  # as if epoll were made of it
        f"from iosim.cli import main; sys.exit(main({command.split()}))"
    )
    expected = "iosim: epoll_loop cannot be measured on this host: Linux AIO is forbidden here by a seccomp filter\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", expected)


def test_a_comparison_of_all_goes_on_without_those_that_are_forbidden() -> None:
    done = under_the_ban(
        "from iosim import cli; cli.names = lambda: ['linux_aio', 'threads']\n"
        "sys.exit(cli.main('compare all --world real --clients 1 --requests 20'.split()))"
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split()[0] for line in done.stdout.splitlines()[:2]]
    assert rows == ["model", "threads"]
    told = " ".join(done.stdout.split())
    assert "linux_aio: linux_aio cannot be measured on this host: Linux AIO is forbidden here by a secc" in told


def test_tests_of_a_model_that_is_forbidden_are_skipped_and_say_why() -> None:
    tests = Path(__file__).with_name("test_models.py")
    done = under_the_ban(
        "abilities.PROBES['select'] = abilities.linux_aio\nimport pytest\n"
        f"sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', '-k', 'select_loop', {str(tests)!r}]))"
    )
    assert "select_loop: Linux AIO is forbidden here by a seccomp filter" in done.stdout
    assert re.search(r"^1 skipped, \d+ deselected", done.stdout, re.MULTILINE)
    assert done.returncode == 0


def test_the_list_says_which_and_why() -> None:
    script = "abilities.PROBES['select'] = abilities.linux_aio\nfrom iosim.cli import main\n"
    page = under_the_ban(script + "main(['list'])").stdout
    rows = {words[0]: words[1] for line in page.splitlines() if len(words := line.split()) > 1}
    assert (rows["select_loop"], rows["poll_loop"]) == ("no", "yes")
    assert "not for real: Linux AIO is forbidden here by a seccomp filter" in " ".join(page.split())
    assert max(map(len, page.splitlines())) <= 80
    listed = {model["name"]: model for model in json.loads(under_the_ban(script + "main(['list', '--json'])").stdout)}
    assert listed["select_loop"]["obstacle"] == "Linux AIO is forbidden here by a seccomp filter"
    rings = [name for name in names() if name.startswith("uring")]
    assert [name for name, model in listed.items() if not model["measurable"]] == ["linux_aio", "select_loop", *rings]


def test_the_list_is_by_kind_and_names_every_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    kinds = [line.strip() for line in lines if line.startswith(" ") and not line.startswith("  ")][1:]
    assert kinds == [kind for kind in ("blocking", "non-blocking", "multiplexing", "signal-driven", "asynchronous")
                     if any(find(name).kind == kind for name in names())]  # fmt: skip
    assert {line.split()[0] for line in lines if line.startswith("   ") and line[3] != " "} == set(names())
