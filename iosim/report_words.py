"""The words of a study's report, made from its numbers: what holds on this host."""

from typing import TYPE_CHECKING

from iosim.study_table import causes_in, disturbed, medians, noise_floor, ratios
from iosim.units import duration_text

if TYPE_CHECKING:
    import pandas as pd

    from iosim.report import Findings


class Words:
    """Sentences. Every figure says whether it was measured or simulated; measured is preferred."""

    def __init__(self, findings: "Findings") -> None:
        self.findings = findings
        self.medians = medians(findings.table)

    @property
    def common_connections(self) -> int:
        """The largest number of connections that every model but ``blocking`` was run with."""
        sim = self.findings.table[self.findings.table.world == "sim"]
        models = sim.model.nunique()
        counts = sim.groupby("connections").model.nunique()
        return int(counts[counts >= models - 1].index.max())

    def summary(self) -> list[tuple[str, str]]:
        """(subject, sentence), three to five of them."""
        told = [
            ("CPU time", self.cpu()),
            ("Capacity", self.saturation(1.0)),
            ("Latency", self.latency()),
            ("Agreement", self.agreement()),
            ("Limits", self.limits()),
        ]
        return [(subject, sentence) for subject, sentence in told if sentence]

    def cpu(self) -> str:
        """CPU per request with many idle connections."""
        rows, world, connections = self._at("steady", self.findings.low)
        values = rows.cpu_ns_per_request.dropna().sort_values()
        burning = "nonblocking" in values.index
        sleeping = values.drop("nonblocking") if burning else values
        if len(sleeping) < 2:
            return ""
        best, worst = sleeping.index[0], sleeping.index[-1]
        text = (
            f"With {self._who(connections, self.findings.low)}, at one and the same rate, {worst} spends "
            f"{duration_text(sleeping[worst])} of CPU time on a request and {best} {duration_text(sleeping[best])}, "
            f"{sleeping[worst] / sleeping[best]:.1f} times less ({world})."
        )
        if burning:
            text += " As nonblocking never sleeps, its figure is all of its CPU over the requests that came."
        return text

    def saturation(self, activity: float) -> str:
        """The most that one CPU carries."""
        rows, world, connections = self._at("saturation", activity)
        values = rows.throughput_per_s.dropna().sort_values()
        if len(values) < 2:
            return ""
        low, high = values.index[0], values.index[-1]
        return (
            f"With {self._who(connections, activity)}, one CPU carries from {_rate(values[low])} ({low}) to "
            f"{_rate(values[high])} ({high}; {world})."
        )

    def latency(self) -> str:
        """Median latency with many idle connections."""
        rows, world, connections = self._at("steady", self.findings.low)
        values = rows.latency_p50_ns.dropna().sort_values()
        if len(values) < 2:
            return ""
        low, high = values.index[0], values.index[-1]
        return (
            f"With {self._who(connections, self.findings.low)}, half of the requests are answered within "
            f"{duration_text(values[low])} by {low} and within {duration_text(values[high])} by {high} ({world})."
        )

    def causes(self, connections: int) -> str:
        """What the models that watch every descriptor pay for."""
        table = self.findings.table
        chosen = (table.world == "sim") & (table.kind == "steady") & (table.connections == connections)
        rows = table[chosen & (table.activity == self.findings.low)].set_index("model")
        if "poll_loop" not in rows.index:
            return ""
        spent = rows.loc[["poll_loop"], causes_in(table)].fillna(0)
        watching = spent.filter(regex="readiness|registration").to_numpy().sum() / spent.to_numpy().sum()
        return (
            f"Every nanosecond of the simulated server has a cause. With {connections:,} connections poll_loop spends "
            f"{_percent(float(watching))} of its CPU time on finding out who is ready."
        )

    def agreement(self) -> str:
        """How well the worlds agree, and how well that can be known."""
        counted = ratios(self.findings.table).query("limit == ''")
        real = counted[counted.pair == "sim / real"]
        if real.empty:
            return "Nothing could be measured on real sockets: theory and simulation stand alone here."
        middle = {pair: (rows.ratio - 1).abs().median() for pair, rows in counted.groupby("pair")}
        floors = noise_floor(self.findings.table).set_index("title").floor
        within = ((real.ratio - 1).abs() <= real.quantity.map(floors)).mean()
        text = (
            f"Half of the simulated figures lie within {_percent(middle['sim / real'])} of the measured ones, half of "
            f"the theoretical within {_percent(middle['theory / real'])} of the measured and "
            f"{_percent(middle['theory / sim'])} of the simulated."
        )
        if floors.notna().any():
            text += (
                f" Two equal measurements differ by up to {_percent(floors.min())} to {_percent(floors.max())}, "
                f"according to the quantity (nine pairs of ten); {_percent(within)} of the simulated figures lie "
                f"within that noise."
            )
        return text

    def limits(self) -> str:
        """What stood in the way of measuring."""
        told = []
        busy = disturbed(self.findings.table)
        if busy.any():
            told.append(
                f"In {busy.sum()} of {len(busy)} measured runs this host was busy with other things for more than a "
                f"twentieth of the time: measure again when it is quiet, before you trust them."
            )
        limited = ratios(self.findings.table).query("limit != '' and pair == 'sim / real'")
        if len(limited):
            points = "one closed-loop point" if len(limited) == 1 else f"{len(limited)} closed-loop points"
            told.append(
                f"At {points} the measured server was not saturated (its clients or the host were the bottleneck); "
                f"this throughput is shown, and not counted among the errors."
            )
        return " ".join(told)

    def _who(self, connections: int, activity: float) -> str:
        if connections == 1:
            return "one connection"
        return f"{connections:,} connections, " + (
            "all active" if activity == 1 else f"{_percent(activity)} of them active"
        )

    def _at(self, kind: str, activity: float) -> "tuple[pd.DataFrame, str, int]":
        """The rows by model at the largest measured number of connections (simulated, where none was measured)."""
        rows = self.medians[(self.medians.kind == kind) & (self.medians.activity == activity)]
        for world, name in (("real", "measured"), ("sim", "simulated")):
            here = rows[rows.world == world]
            if len(here):
                connections = int(here.connections.max())
                return here[here.connections == connections].set_index("model"), name, connections
        return rows.iloc[:0].set_index("model"), "simulated", 0


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _rate(rate_per_s: float) -> str:
    """Three digits: more would be noise."""
    return f"{float(f'{rate_per_s:.3g}'):,.0f} requests/s"
