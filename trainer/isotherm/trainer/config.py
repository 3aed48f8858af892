"""The configuration of one training run: frozen values, valid by construction."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from isotherm.trainer.errors import ConfigError

ModelChoice = Literal["auto", "mean", "line", "network"]

_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataConfig(_Section):
    """Where the table comes from: a built-in dataset, or columns of a file."""

    dataset: str | None = None
    file: Path | None = None
    features: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    # Column name -> unit, such as {"t_u": "degF"}.
    units: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_source(self) -> DataConfig:
        if (self.dataset is None) == (self.file is None):
            msg = "give either a built-in dataset (such as `thermometer`) or a file (`--data`)"
            raise ValueError(msg)
        if self.dataset is not None and (self.features or self.targets):
            msg = f"dataset '{self.dataset}' has its own columns; features and targets need a file"
            raise ValueError(msg)
        return self


class NetworkConfig(_Section):
    """The layers of the network, in torch's notation: `Linear(1, 13)`, `Tanh()` ..."""

    # Empty: one hidden layer of 13 tanh units, with the table's widths.
    layers: tuple[str, ...] = ()


class FitConfig(_Section):
    """How the network is fitted."""

    epochs: int = Field(default=1000, ge=1)
    learning_rate: float = Field(default=0.02, gt=0, allow_inf_nan=False)
    # The penalty is `weight_decay / rows` times the sum of squared weights, on standardised data:
    # a fixed belief about the weights, which counts for less the more rows there are.
    weight_decay: float = Field(default=0.3, ge=0, allow_inf_nan=False)
    seed: int = Field(default=0, ge=0, lt=2**63)


class TrainConfig(_Section):
    """One training run, from the table to the published version."""

    name: str
    data: DataConfig
    repository: Path = Path("models")
    # The folder for pictures; None: `plots/<name>-<version>` beside the repository.
    plots: Path | None = None
    draw: bool = True
    dpi: int = Field(default=600, ge=10, le=2400)
    model: ModelChoice = "auto"
    # Nominal coverage of the prediction interval.
    coverage: float = Field(default=0.9, gt=0, lt=1)
    network: NetworkConfig = NetworkConfig()
    fit: FitConfig = FitConfig()

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            msg = (
                f"'{name}' is not a model name: use letters, digits, '_', '-' and '.', "
                "and no leading dot"
            )
            raise ValueError(msg)
        return name


def load(path: Path | None, flags: Mapping[str, object]) -> TrainConfig:
    """Merge defaults, then the TOML file, then the flags.

    Args:
        path: the TOML file, or None.
        flags: values by dotted name, such as `{"fit.epochs": 10}`; None means not given.

    Raises:
        ConfigError: the file cannot be read, or a value cannot be used.
    """
    values = _read(path) if path else {}
    for dotted, value in flags.items():
        if value is not None:
            _set(values, dotted.split("."), value)
    values.setdefault("data", {})
    _default_name(values)
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        where = f"{path}: " if path else ""
        raise ConfigError(where + "; ".join(_sentences(error))) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        msg = f"cannot read the configuration '{path}': {error}; expected a TOML file"
        raise ConfigError(msg) from error


def _set(values: dict[str, Any], keys: list[str], value: object) -> None:
    for key in keys[:-1]:
        section = values.setdefault(key, {})
        if not isinstance(section, dict):
            msg = f"'{key}' must be a table ([{key}]) in the TOML file, found {section!r}"
            raise ConfigError(msg)
        values = section
    values[keys[-1]] = value


def _default_name(values: dict[str, Any]) -> None:
    data = values["data"]
    if "name" not in values and isinstance(data, dict):
        source = data.get("dataset") or Path(str(data.get("file", ""))).stem
        values["name"] = str(source or "model")


def _sentences(error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        field = ".".join(str(part) for part in problem["loc"])
        text = problem["msg"].removeprefix("Value error, ")
        yield f"{field}: {text}" if field else text
