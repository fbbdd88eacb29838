"""How keys of the experiment file are declared: type, limits, the same in words, and what the key means."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

# TOML has arrays, never tuples: only the outer shape is lax, what lies inside stays strict.
ARRAY = Field(strict=False)


class Table(BaseModel):
    """A table of the experiment file: strict types, no key that is not declared."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


def whole(low: int, high: int, why: str, default: Any = ...) -> Any:
    """Declare an integer key with inclusive limits."""
    return other(f"a whole number, {low} to {high}", why, default, ge=low, le=high)


def real(why: str, default: Any = ..., allowed: str = "", **limits: float) -> Any:
    """Declare a real key with pydantic's limits (ge, gt, le, lt) and the same in words."""
    return other(f"a number{allowed and ', ' + allowed}", why, default, **limits)


def other(allowed: str, why: str, default: Any = ..., **constraints: Any) -> Any:
    """Declare a key of any kind, saying in words what is allowed."""
    return Field(default, description=why, json_schema_extra={"allowed": allowed}, **constraints)
