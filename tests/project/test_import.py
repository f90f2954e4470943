"""``import iosim`` is light, and its public names are what they say."""

import subprocess
import sys

import iosim

HEAVY = ("pandas", "matplotlib", "scipy", "simpy", "pyarrow", "numpy", "pydantic", "typer", "rich")


def fresh(code: str) -> str:
    """What the code prints in an interpreter of its own."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def test_import_loads_nothing_heavy() -> None:
    assert fresh(f"import sys, iosim; print([name for name in {HEAVY} if name in sys.modules])") == "[]"


def test_a_server_program_loads_nothing_heavy() -> None:
    code = f"import sys, iosim.protocol; print([name for name in {HEAVY} if name in sys.modules])"
    assert fresh(code) == "[]"


def test_every_public_name_is_there() -> None:
    assert iosim.__all__ == list(iosim._HOME)
    assert all(getattr(iosim, name).__name__ == name for name in iosim.__all__)
    assert set(iosim.__all__) <= set(dir(iosim))


def test_run_is_the_function_whatever_was_imported_first() -> None:
    assert fresh("import iosim.run, iosim; print(callable(iosim.run))") == "True"
    assert fresh("import iosim; f = iosim.run; import iosim.run; print(iosim.run is f)") == "True"
    assert fresh("from iosim import run; from iosim.run import run as same; print(run is same)") == "True"


def test_an_unknown_name_lists_the_known_ones() -> None:
    assert fresh("import iosim\ntry: iosim.rnu\nexcept AttributeError as e: print(e)").startswith(
        "module 'iosim' has no attribute 'rnu'; it has: Costs, Load"
    )
