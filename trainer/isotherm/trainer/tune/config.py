"""The configuration of a search: how many trials, where they are kept, and over what."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

# What shapes the network that is searched, and which settings of [fit] can be searched.
SHAPE: Final = ("depth", "width", "activation", "dropout", "skip")
FIT: Final = (
    *("learning_rate", "weight_decay", "optimizer", "momentum", "schedule", "batch_size"),
    *("epochs", "clip_norm", "patience", "loss"),
)

Scalar = bool | int | float | str

# Of what types the shape's values are; those of [fit] are checked where they are set.
_SHAPES: Final[Mapping[str, tuple[tuple[type, ...], str]]] = MappingProxyType(
    {
        "depth": ((int,), "whole numbers"),
        "width": ((int,), "whole numbers"),
        "activation": ((str,), "names such as Tanh"),
        "dropout": ((int, float), "numbers"),
        "skip": ((bool,), "true or false"),
    }
)


class Range(BaseModel):
    """All numbers between two, whole ones where both ends are whole.

    Attributes:
        log: whether each tenfold counts alike.
        step: between neighbours.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    @property
    def whole(self) -> bool:
        """Whether its numbers are whole."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not self.low < self.high:
            msg = f"low is {self.low:g} and high {self.high:g}; expected low < high"
            raise ValueError(msg)
        if self.log and self.low <= 0:
            msg = f"low is {self.low:g}; with log it must be above 0"
            raise ValueError(msg)
        if self.step is not None and (self.log or self.step <= 0):
            msg = "step must be above 0, and does not go with log"
            raise ValueError(msg)
        if self.step is not None and self.whole and not isinstance(self.step, int):
            msg = "step must be whole between whole numbers"
            raise ValueError(msg)
        return self


def _kind(value: object) -> str:
    if isinstance(value, (dict, Range)):
        return "range"
    return "choice" if isinstance(value, (list, tuple)) else "value"


# A range, a choice of values, or one value that is not searched. Told apart before they are
# checked: an error is then that of the one that was meant.
Entry = Annotated[
    Annotated[Range, Tag("range")]
    | Annotated[tuple[Scalar, ...], Tag("choice")]
    | Annotated[Scalar, Tag("value")],
    Discriminator(_kind),
]


class TuneConfig(BaseModel):
    """A search for the settings of one network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # In total, over all runs of the same study.
    trials: int = Field(default=40, ge=1, le=100_000)
    # Processes that each train one trial at a time.
    jobs: int = Field(default=1, ge=1, le=256)
    # Seconds after which no trial begins.
    timeout: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    # The file of the study; None: `studies/<name>.db`.
    storage: Path | None = None
    # Whether trials that fall behind are given up; never where one row is left out at a time.
    prune: bool = True
    # Over the defaults of `space`: name -> a range, a list of values, or one value.
    space: dict[str, Entry] = Field(default_factory=dict)

    @field_validator("space")
    @classmethod
    def _known(cls, space: dict[str, Entry]) -> dict[str, Entry]:
        for name, entry in space.items():
            if name not in (*SHAPE, *FIT):
                msg = f"'{name}' cannot be searched; expected one of {', '.join((*SHAPE, *FIT))}"
                raise ValueError(msg)
            if entry == ():
                msg = f"'{name}' has nothing to choose from; give a value, or leave it out"
                raise ValueError(msg)
            kinds, expected = _SHAPES.get(name, ((), ""))
            wrong = [value for value in _values(entry) if kinds and type(value) not in kinds]
            if wrong:
                msg = f"'{name}' has {wrong[0]!r}; expected {expected}"
                raise ValueError(msg)
        return space


def _values(entry: Range | tuple[Scalar, ...] | Scalar) -> tuple[Scalar, ...]:
    if isinstance(entry, Range):
        return entry.low, entry.high
    return entry if isinstance(entry, tuple) else (entry,)
