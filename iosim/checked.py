"""Immutable records whose values are checked when they are made, and refused in one line."""

from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails


class Checked(BaseModel):
    """A frozen pydantic model: unknown fields are refused, and a bad value is a one-line ValueError."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ValueError(_one_line(type(self), error)) from None

    def replace(self, **changes: Any) -> Any:
        """A copy with other values, checked again."""
        return type(self)(**{**self.model_dump(), **changes})


def _one_line(model: type[BaseModel], error: ValidationError) -> str:
    """``Load.rate_per_s: came -1, expected greater than 0``; several faulty fields are joined by "; "."""
    faults: dict[str, ErrorDetails] = {}
    for fault in error.errors():
        # a union tells one fault for each of its types: the one that went deepest was meant
        field = str(fault["loc"][0]) if fault["loc"] else ""
        if field not in faults or len(fault["loc"]) > len(faults[field]["loc"]):
            faults[field] = fault
    return "; ".join(_told(model, field, fault) for field, fault in faults.items())


def _told(model: type[BaseModel], field: str, fault: ErrorDetails) -> str:
    expected = fault["msg"].removeprefix("Input should be ").removeprefix("Value error, ").partition(", unable to")[0]
    if fault["type"] == "extra_forbidden":
        near = get_close_matches(field, model.model_fields) or list(model.model_fields)
        return f"{model.__name__} has no field {field}; near: {', '.join(near)}"
    if fault["type"] == "missing":
        return f"{model.__name__}.{field} is missing"
    if not field:
        return f"{model.__name__}: {expected}"
    return f"{model.__name__}.{field}: came {fault['input']!r}, expected {expected}"
