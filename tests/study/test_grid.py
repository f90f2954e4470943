"""Which points a study has."""

from iosim.costs import Costs
from iosim.shapes import MODELS
from iosim.study_grid import FULL, QUICK, grid, measured_points, steady_rate_per_s, why_not


def test_every_measured_point_is_a_point_of_the_grid() -> None:
    for plan in (FULL, QUICK):
        points, _ = grid(plan, 2000.0)
        found = {(p.load.clients, p.load.active, p.kind) for p in points if p.model == "epoll_loop"}
        assert set(plan.measured) <= found


def test_every_model_is_measured_somewhere() -> None:
    for plan in (FULL, QUICK):
        assert {p.model for p in measured_points(plan, grid(plan, 2000.0)[0])} == set(MODELS)


def test_one_connection_is_one_point_whatever_the_activity() -> None:
    points, _ = grid(FULL, 2000.0, ["threads"])
    assert [p.load.active for p in points if p.load.clients == 1 and p.kind == "steady"] == [1.0]
    assert len({p.label for p in points}) == len(points)


def test_what_a_model_cannot_do_is_left_out_with_a_reason() -> None:
    assert why_not("blocking", 1) is None
    assert "one connection at a time" in str(why_not("blocking", 2))
    assert why_not("prefork", 128) is None
    assert "process for every open connection" in str(why_not("prefork", 129))
    assert "1024 descriptors" in str(why_not("select_loop", 1001))
    points, skips = grid(FULL, 2000.0)
    assert {p.load.clients for p in points if p.model == "blocking"} == {1}
    assert {(skip.model, skip.where) for skip in skips} == {
        ("blocking", "10, 100 and 900 connections"),
        ("prefork", "900 connections"),
    }


def test_prefork_has_a_worker_for_every_connection() -> None:
    points, _ = grid(FULL, 2000.0, ["prefork"])
    assert all(point.params == {"workers": point.load.clients} for point in points)


def test_the_steady_rate_is_one_that_every_model_can_carry() -> None:
    assert steady_rate_per_s(FULL, Costs()) == 2000
    slow = steady_rate_per_s(FULL, Costs(request_ns=1_000_000))
    assert 300 < slow < 400
    assert slow % 10 == 0
    assert set(MODELS) == set(FULL.repeated)
