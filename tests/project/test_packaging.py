"""The wheel and the source archive: what they hold, and that a model runs from the wheel outside the checkout."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LEFT_OUT = shutil.ignore_patterns(".*", "*.egg-info", "build", "dist", "results", "__pycache__")


def done(*command: str | Path, cwd: Path) -> str:
    """The command's standard output; it must succeed, and finds no iosim through the environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, so that a build leaves nothing in it."""
    folder = tmp_path_factory.mktemp("build") / "iosim"
    shutil.copytree(ROOT, folder, ignore=LEFT_OUT)
    return folder


@pytest.fixture(scope="module")
def archives(copy: Path) -> tuple[Path, Path]:
    """(source archive, wheel made from it)."""
    folder = copy.parent
    done(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", copy, cwd=folder)
    (archive,) = (folder / "dist").glob("*.tar.gz")
    (wheel,) = (folder / "dist").glob("*.whl")
    return archive, wheel


@pytest.fixture(scope="module")
def environment(archives: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean virtual environment, outside the checkout, with the wheel in it.

    Its dependencies are those of this environment, lent by a .pth file: that needs no package index, and a path that
    stands in a .pth file runs no .pth file of its own, so that this environment's editable iosim stays out of sight.
    """
    folder = tmp_path_factory.mktemp("clean") / "venv"
    done(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    done(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", archives[1],
         cwd=folder.parent)  # fmt: skip
    site = Path(done(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder.parent).strip())
    lent = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "lent.pth").write_text("\n".join(sorted(lent)))
    return folder


def test_packages_are_the_folders() -> None:
    setuptools: dict[str, Any] = PYPROJECT["tool"]["setuptools"]
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "iosim").rglob("*.py")}
    mapped = {name: folder for name, folder in setuptools["package-dir"].items() if "." in name}
    assert set(setuptools["packages"]) == folders | set(mapped)
    assert all((ROOT / folder).is_dir() for folder in mapped.values())


def test_the_wheel_has_one_top_level_name(archives: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(archives[1]) as wheel:
        names = wheel.namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {"iosim"}
    assert {"iosim/py.typed", "iosim/models/epoll_loop.py", "iosim/sim/kernel.py", "iosim/cli.py"} <= set(names)
    data = {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "iosim").rglob("*") if path.suffix in (".html", ".toml")
    }
    assert data <= set(names)


def test_the_source_archive_has_everything(archives: tuple[Path, Path], copy: Path) -> None:
    with tarfile.open(archives[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    ours = [
        path.relative_to(copy).as_posix()
        for folder in ("iosim", "models", "experiments", "tests")
        for path in (copy / folder).rglob("*")
        if path.is_file()
    ]
    assert {*ours, "pyproject.toml", "README.md", "LICENSE"} <= names


def test_a_model_runs_from_the_wheel(environment: Path, tmp_path: Path) -> None:
    iosim = environment / "bin" / "iosim"
    home = done(environment / "bin" / "python", "-c", "import iosim; print(iosim.__file__)", cwd=tmp_path)
    assert Path(home.strip()).is_relative_to(environment)
    listed = json.loads(done(iosim, "list", "--json", cwd=tmp_path))
    assert [model["name"] for model in listed] == sorted(path.stem for path in (ROOT / "models").glob("*.py"))
    run = json.loads(done(iosim, "run", "epoll_loop", "--duration", "20ms", "--json", cwd=tmp_path))
    assert run["model"] == "epoll_loop"
    assert run["requests"]["completed"] > 0
    assert not list(tmp_path.iterdir())
