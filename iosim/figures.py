"""What a figure of the price list is: a number or tiers, who pays, and where its default comes from."""

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

Ns = Annotated[float, Field(ge=0, le=1e10)]
Tiers = Annotated[tuple[tuple[Annotated[float, Field(ge=1)], Ns], ...], Field(min_length=1)]
Figure = Ns | Tiers

Owner = Literal["user", "system", "softirq", "switch"]


class Cause(NamedTuple):
    """To whom the CPU time of a cost is charged, and why."""

    owner: Owner
    cause: str


def cost(default: Any, owner: Owner, cause: str, unit: str, source: str) -> Any:
    """A field of the table: what one unit of work is, who pays, and where the default comes from."""
    return Field(
        _float(default), description=unit, json_schema_extra={"owner": owner, "cause": cause, "source": source}
    )


def delay(default: Any, unit: str, source: str) -> Any:
    """A field that is a delay: it costs latency and no CPU time of the server."""
    return Field(_float(default), description=unit, json_schema_extra={"source": source})


def _float(default: Any) -> Any:
    """As it comes out of a file: 225 and 225.0 are one price, and one digest."""
    return float(default) if isinstance(default, int) else default


GUEST = "facts sheet: measured in C on a 2-vCPU KVM guest (AMD EPYC, Linux 6.18), ±20 %"
