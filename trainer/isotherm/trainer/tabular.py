"""The configuration of a table: where it is, what its columns are, and how its rows are used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Task = Literal["auto", "regression", "binary", "multiclass"]
Categories = Literal["auto", "one-hot", "embedding"]
MissingNumbers = Literal["refuse", "mean", "indicator"]
SplitKind = Literal["random", "time", "group"]
TransformName = Literal["log", "log1p", "sqrt"]

# Stands for the dataset where the caller brings the table.
IN_MEMORY: Final = "in memory"


class Section(BaseModel):
    """One section of the configuration: frozen, and nothing in it that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ColumnsConfig(Section):
    """What the features are taken for."""

    # Features that are categories though they are whole numbers, or how a category is encoded.
    # Text is a category by itself, one-hot up to 32 values and embedded beyond (auto).
    categories: dict[str, Categories] = Field(default_factory=dict)
    # What becomes of missing numbers in columns that have some, or column by column; None: refuse.
    missing: MissingNumbers | dict[str, MissingNumbers] | None = None
    # A value in fewer rows is unknown, and so are those beyond the most frequent ones.
    min_category_rows: int = Field(default=2, ge=1)
    max_categories: int = Field(default=1000, ge=1, le=100_000)

    @field_validator("categories", mode="before")
    @classmethod
    def _by_name(cls, value: object) -> object:
        value = [value] if isinstance(value, str) else value
        return dict.fromkeys(value, "auto") if isinstance(value, list | tuple) else value

    @field_validator("missing", mode="before")
    @classmethod
    def _known(cls, value: object) -> object:
        # pydantic's own sentence is about a word and a table at once.
        known = get_args(MissingNumbers)
        for policy in value.values() if isinstance(value, Mapping) else [value]:
            if isinstance(policy, str) and policy not in known:
                msg = f"'{policy}' is none of {', '.join(known)}"
                raise ValueError(msg)
        return value


class RowsConfig(Section):
    """What rows count, which are left out together, and on what scale their targets are learned."""

    # The column of what each row counts.
    weight: str | None = None
    # Which rows are left out together: random ones, those of a later time, or whole groups. Where a
    # column of times or of groups is named, the split need not be.
    split: SplitKind = "random"
    time: str | None = None
    group: str | None = None
    # Target -> the scale that is learned, as {"price": "log"}; answers are in the target's unit.
    transforms: dict[str, TransformName] = Field(default_factory=dict)

    @property
    def parts(self) -> dict[str, str]:
        """What columns are there for beside features and targets, by name."""
        parts = {"weight": self.weight, "time": self.time, "group": self.group}
        return {name: part for part, name in parts.items() if name is not None}

    @model_validator(mode="before")
    @classmethod
    def _split_of_column(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("split") is not None:
            return values
        named = [kind for kind in ("time", "group") if values.get(kind) is not None]
        if len(named) > 1:
            msg = "rows are split by time or by group; choose one, and leave the other out"
            raise ValueError(msg)
        return {**values, "split": named[0] if named else "random"}

    @model_validator(mode="after")
    def _one_split(self) -> RowsConfig:
        for kind in ("time", "group"):
            named = getattr(self, kind)
            if kind == self.split and not named:
                msg = f"the split by {kind} needs the column of it: {kind} (--{kind})"
                raise ValueError(msg)
            if kind != self.split and named:
                msg = (
                    f"{kind} is '{named}', but split is '{self.split}'; leave {kind} out, or "
                    f"choose split '{kind}'"
                )
                raise ValueError(msg)
        return self


class DataConfig(ColumnsConfig, RowsConfig):
    """Where the table comes from: a built-in dataset, or columns of a file."""

    dataset: str | None = None
    file: Path | None = None
    features: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    # Column name -> unit, such as {"t_u": "degF"}.
    units: dict[str, str] = Field(default_factory=dict)
    # Whether the targets are numbers or labels. auto: text, booleans, and whole numbers of exactly
    # two values are labels.
    task: Task = "auto"
    # Whether the rows stay in their Parquet files and are read again in every epoch. None: where
    # they would not fit into memory.
    stream: bool | None = None
    # MiB that a stream may keep of the table at a time.
    memory: int = Field(default=256, ge=1)
    # The share of rows that a stream learns nothing from, but measures models by.
    held_out: float = Field(default=0.1, gt=0, lt=1)

    @model_validator(mode="after")
    def _one_source(self) -> DataConfig:
        if (self.dataset is None) == (self.file is None):
            msg = "give either a built-in dataset (such as `thermometer`) or a file (`--data`)"
            raise ValueError(msg)
        own = self.dataset not in {None, IN_MEMORY}
        if own and (self.features or self.targets):
            msg = f"dataset '{self.dataset}' has its own columns; features and targets need a file"
            raise ValueError(msg)
        return self
