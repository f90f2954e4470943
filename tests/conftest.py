"""For every test: what this host forbids is skipped, with the reason."""

import pytest

from iosim.programs import find, names
from iosim.real.abilities import obstacle


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A real test of a model (its parameter is called name or model) that this host cannot run for real."""
    callspec = getattr(item, "callspec", None)
    if callspec is None or item.get_closest_marker("real") is None:
        return
    for parameter in ("name", "model"):
        asked = callspec.params.get(parameter)
        if asked in names() and (reason := obstacle(find(asked).calls)):
            pytest.skip(f"{asked}: {reason}")
