"""The configuration of one training run: frozen values, valid by construction."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from isotherm.trainer.errors import ConfigError
from isotherm.trainer.tabular import (
    IN_MEMORY,
    ColumnsConfig,
    DataConfig,
    RowsConfig,
    Section,
    SplitKind,
    Task,
)
from isotherm.trainer.tracking.config import TrackingConfig
from isotherm.trainer.tune.config import TuneConfig

__all__ = [
    "IN_MEMORY",
    "CheckpointConfig",
    "ColumnsConfig",
    "DataConfig",
    "FitConfig",
    "Loss",
    "ModelChoice",
    "NetworkConfig",
    "RowsConfig",
    "SplitKind",
    "Task",
    "TrainConfig",
    "in_memory",
    "load",
    "validated",
]

ModelChoice = str
Loss = Literal["mse", "l1", "huber", "cross_entropy"]
Optimizer = Literal["adam", "adamw", "sgd", "lbfgs"]
Schedule = Literal["constant", "cosine", "one-cycle", "step"]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]
Precision = Literal["float32", "tf32", "bf16", "auto"]

# What the leaderboard calls its models; the second pair is for labels.
_CHOICES: Final = ("auto", "mean", "line", "network", "prior", "logistic")

_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
_FACTORY: Final = re.compile(r"[\w.]+:\w+")


_Decay = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class NetworkConfig(Section):
    """One network to compare: its layers in torch's notation, or the function that makes it."""

    # `Linear(1, 13)`, `Tanh()` ... `inputs` stands for as many numbers as the features make,
    # `outputs` for as many as the targets want. Empty: one hidden layer of 13 tanh units.
    layers: tuple[str, ...] = ()
    # `package.module:function`, which returns an `nn.Sequential`.
    factory: str = ""
    # Add a line beside the network, which the penalty leaves alone.
    skip: bool = False

    @model_validator(mode="after")
    def _one_origin(self) -> NetworkConfig:
        if self.factory and self.layers:
            msg = "give the layers of a network, or a factory that makes it, not both"
            raise ValueError(msg)
        if self.factory and not _FACTORY.fullmatch(self.factory):
            msg = f"'{self.factory}' is no factory; expected package.module:function"
            raise ValueError(msg)
        return self


class FitConfig(Section):
    """How a network is fitted."""

    epochs: int = Field(default=1000, ge=1)
    # None: that of the table, mse for numbers and cross_entropy for labels.
    loss: Loss | None = None
    optimizer: Optimizer = "adam"
    learning_rate: float = Field(default=0.02, gt=0, allow_inf_nan=False)
    # Of sgd.
    momentum: float = Field(default=0.0, ge=0, lt=1)
    schedule: Schedule = "constant"
    # The penalty is `weight_decay / rows` times the sum of squared weights, on standardised data:
    # a fixed belief about the weights, which counts for less the more rows there are. (adamw takes
    # the number as it is, as torch does.) Of several, cross-validation chooses on a small table;
    # on a large one the first is taken.
    weight_decay: tuple[_Decay, ...] = Field(default=(0.3, 0.1, 1.0, 3.0), min_length=1)
    # The longest gradient, of each copy; 0: any.
    clip_norm: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    # Rows a step; None: all of a small table, 1024 of a large one.
    batch_size: int | None = Field(default=None, ge=1)
    # Stop after so many epochs without a better validation loss; 0: never.
    patience: int = Field(default=0, ge=0)
    # auto: CUDA where there is one and the table is large enough to gain from it; `cuda:1` is the
    # second one.
    device: Device = "auto"
    # On CUDA, record the steps of a network and replay them, where that is faster.
    cuda_graphs: bool = True
    # Of the layers while they learn; tf32 is for CUDA. auto: bf16 where the device has it and the
    # network is large enough to gain from it.
    precision: Precision = "float32"
    seed: int = Field(default=0, ge=0, lt=2**63)

    @field_validator("weight_decay", mode="before")
    @classmethod
    def _one_or_more(cls, value: object) -> object:
        return (value,) if isinstance(value, (int, float, str)) else value

    @model_validator(mode="after")
    def _whole_steps(self) -> FitConfig:
        if self.optimizer == "lbfgs" and self.precision != "float32":
            msg = "lbfgs compares losses finely; leave precision at float32"
            raise ValueError(msg)
        if self.optimizer == "lbfgs" and (self.batch_size or self.clip_norm):
            msg = "lbfgs takes all rows at once and finds its own steps; leave batch_size and "
            raise ValueError(msg + "clip_norm out")
        return self


class CheckpointConfig(Section):
    """Where an unfinished training is kept, and how often it is saved."""

    folder: Path | None = None
    every: int = Field(default=100, ge=1)
    # Of a stream, whose epochs are long: steps between two.
    steps: int = Field(default=1000, ge=1)


class TrainConfig(Section):
    """One training run, from the table to the published version."""

    name: str
    data: DataConfig
    repository: Path = Path("models")
    # The folder for pictures; None: `plots/<name>-<version>` beside the repository.
    plots: Path | None = None
    draw: bool = True
    dpi: int = Field(default=600, ge=10, le=2400)
    # auto: what the leaderboard keeps; or the name of a model on it, or a factory.
    model: ModelChoice = "auto"
    # Nominal coverage of the prediction interval.
    coverage: float = Field(default=0.9, gt=0, lt=1)
    network: NetworkConfig = NetworkConfig()
    # More networks to compare, by name.
    networks: dict[str, NetworkConfig] = Field(default_factory=dict)
    fit: FitConfig = FitConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    # Of `isotherm tune` alone.
    tune: TuneConfig = TuneConfig()
    tracking: TrackingConfig = TrackingConfig()

    @property
    def candidates(self) -> dict[str, NetworkConfig]:
        """All networks by name; `network` is the first."""
        return {"network": self.network, **self.networks}

    @model_validator(mode="before")
    @classmethod
    def _factory_as_model(cls, values: Any) -> Any:
        """`--model package.module:function` makes the network, and publishes it."""
        model = values.get("model") if isinstance(values, dict) else None
        if isinstance(model, str) and ":" in model:
            return {**values, "model": "network", "network": {"factory": model}}
        return values

    @model_validator(mode="after")
    def _known_names(self) -> TrainConfig:
        for name in self.networks:
            if name in _CHOICES or not _NAME.fullmatch(name):
                msg = f"networks.{name}: choose another name than {', '.join(_CHOICES)}"
                raise ValueError(msg)
        known = (*_CHOICES, *self.networks)
        if self.model not in known:
            names = ", ".join(f"'{name}'" for name in known)
            msg = f"model: '{self.model}' is not one of {names}, or package.module:function"
            raise ValueError(msg)
        return self

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
    return validated(values, f"{path}: " if path else "")


def validated(values: Mapping[str, object], where: str = "") -> TrainConfig:
    """Return the configuration of these values; raise ConfigError with all that is wrong."""
    with _sentence(where):
        return TrainConfig.model_validate(values)


def in_memory(values: Mapping[str, object]) -> DataConfig:
    """Return the settings of `[data]` for a table that the caller brings; or raise ConfigError."""
    with _sentence(section="data"):
        return DataConfig.model_validate({"dataset": IN_MEMORY, **values})


@contextmanager
def _sentence(where: str = "", section: str = "") -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        raise ConfigError(where + "; ".join(_sentences(error, section))) from error


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


def _sentences(error: ValidationError, section: str) -> Iterator[str]:
    for problem in error.errors():
        field = ".".join([section, *map(str, problem["loc"])]).removeprefix(".")
        text = problem["msg"].removeprefix("Value error, ")
        yield f"{field}: {text}" if field else text
