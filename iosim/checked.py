"""Immutable records whose values are checked when they are made, and refused in one line."""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError


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
    """``Load.rate_per_s: came -1, expected: greater than 0``; several faults are joined by "; "."""
    faults = []
    for fault in error.errors():
        field = ".".join(str(part) for part in fault["loc"]) or "values"
        expected = fault["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            expected = f"one of {', '.join(model.model_fields)}"
            faults.append(f"{model.__name__} has no field {field}; expected {expected}")
        elif fault["type"] == "missing":
            faults.append(f"{model.__name__}.{field} is missing")
        elif not fault["loc"]:
            faults.append(f"{model.__name__}: {expected}")
        else:
            faults.append(f"{model.__name__}.{field}: came {fault['input']!r}, expected {expected}")
    return "; ".join(faults)
