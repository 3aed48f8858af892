"""The frame: what the scan has settled, and every later pass takes for granted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from isotherm.trainer import categories, reading, transform
from isotherm.trainer import columns as kinds
from isotherm.trainer.config import TrainConfig
from isotherm.trainer.data import Column, Table
from isotherm.trainer.encoding import Encoding
from isotherm.trainer.errors import ConfigError, DataError
from isotherm.trainer.objective import Objective
from isotherm.trainer.scaling import Scaling
from isotherm.trainer.stream import holding
from isotherm.trainer.stream.files import Files
from isotherm.trainer.stream.holding import Holding
from isotherm.trainer.stream.reading import Decoder, Values
from isotherm.trainer.stream.scan import Scanned
from isotherm.trainer.stream.statistics import Counts, Moments
from isotherm.v1.categories import name_of

_PAIR: Final = 2
_BYTES: Final = 4
_MIB: Final = 2**20
# Rows that are kept to describe a table, and to measure models by, at most.
_MOST_SAMPLED: Final = 65_536


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Measured:
    """What is known of one feature, as `Encoding.of_statistics` takes it."""

    count: int
    missing: int
    mean: float
    deviation: float
    minimum: float
    maximum: float
    counts: Any


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Frame:
    """The table as all passes see it.

    Attributes:
        sha256: of the files' bytes.
        classes: of the label; empty for numbers.
        features_of: what is known of each feature, and `targets_of` of each target that is a
            number, in their order.
        outputs: from targets to what is learned; None for a label.
        weight: mean of what a row counts, of those that count.
    """

    files: Files
    sha256: str
    features: tuple[Column, ...]
    targets: tuple[Column, ...]
    classes: tuple[str, ...]
    features_of: tuple[Measured, ...]
    targets_of: tuple[Moments, ...]
    decoder: Decoder
    encoding: Encoding
    outputs: transform.Outputs | None
    objective: Objective
    holding: Holding
    weight: float

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that every pass reads."""
        column = self.holding.column
        return (*self.decoder.names, *([column] if column else []))

    def table(self, rows: Values) -> Table:
        """Return decoded rows as a table of their own."""
        values = rows.astype(np.float64)
        x, y = self.decoder.split(values)
        weights = values[:, -1] if self.decoder.weight else None
        return Table(
            features=self.features,
            targets=self.targets,
            x=x,
            y=y,
            sha256=self.sha256,
            classes=(self.classes,) if self.classes else (),
            weights=weights,
            weight_column=self.decoder.weight or "",
            total=self.files.rows,
        )


def of(files: Files, config: TrainConfig, scanned: Scanned, sha256: str) -> Frame:
    """Settle what the columns are.

    Raises:
        DataError: a column cannot be learned from.
        ConfigError: the loss is for targets of the other kind.
    """
    settings = config.data
    rows = files.rows
    described = [_feature(files, name, config, scanned) for name in settings.features]
    labels = [name for name in settings.targets if name in scanned.counts]
    classes = _classes(files, config, scanned.counts[labels[0]]) if labels else ()
    targets = tuple(_target(files, name, config, scanned) for name in settings.targets)
    objective = _objective(config, targets, classes)
    features = tuple(column for column, _ in described)
    measured = tuple(one for _, one in described)
    values = {column.name: column.categories for column in features if column.categories}
    decoder = Decoder(
        features=settings.features,
        targets=settings.targets,
        values=values | ({settings.targets[0]: classes} if classes else {}),
        weight=settings.weight,
    )
    return Frame(
        files=files,
        sha256=sha256,
        features=features,
        targets=targets,
        classes=classes,
        features_of=measured,
        targets_of=() if classes else tuple(scanned.moments[one.name] for one in targets),
        decoder=decoder,
        encoding=Encoding.of_statistics(features, measured),
        outputs=None if classes else _outputs(targets, scanned),
        objective=objective,
        holding=_holding(files, config, scanned, sampled_rows(config, decoder.width), rows),
        weight=scanned.weight,
    )


def sampled_rows(config: TrainConfig, width: int) -> int:
    """Return how many rows of so many numbers may be kept, twice over and in float64."""
    allowed = config.data.memory * _MIB // 8
    return max(min(_MOST_SAMPLED, allowed // (4 * _BYTES * width)), 64)


def _where(files: Files, name: str) -> str:
    return f"column '{name}' of {files.name}"


def _feature(
    files: Files, name: str, config: TrainConfig, scanned: Scanned
) -> tuple[Column, Measured]:
    settings, where = config.data, _where(files, name)
    datatype = kinds.datatype(files.schema.field(name).type)
    unit = settings.units.get(name, "")
    if name in scanned.counts:
        counted = scanned.counts[name]
        names = counted.names()
        values = categories.vocabulary(where, names, files.rows, settings)
        codes = [names[value] for value in values]
        unknown = files.rows - sum(codes)
        column = reading.category(name, unit, datatype, values, settings, unknown=unknown > 0)
        return column, Measured(
            count=sum(codes),
            missing=counted.missing,
            mean=0.0,
            deviation=0.0,
            minimum=0.0,
            maximum=len(values) - 1.0,
            counts=np.array([*codes, unknown], dtype=np.int64),
        )
    moments = scanned.moments[name]
    policy = reading.missing(where, name, moments.missing, files.rows, settings)
    if policy != "indicator":
        _check_constant(where, moments)
    return Column(name=name, unit=unit, datatype=datatype, missing=policy), Measured(
        count=moments.count,
        missing=moments.missing,
        mean=moments.mean,
        deviation=moments.deviation,
        minimum=moments.minimum,
        maximum=moments.maximum,
        counts=moments.counts,
    )


def _target(files: Files, name: str, config: TrainConfig, scanned: Scanned) -> Column:
    settings = config.data
    scale = settings.transforms.get(name, "")
    if name not in scanned.counts:
        _check_constant(_where(files, name), scanned.moments[name])
    elif scale:
        msg = f"data.transforms names '{name}', which is a label; only numbers have a scale"
        raise ConfigError(msg)
    return Column(
        name=name,
        unit=settings.units.get(name, ""),
        datatype=kinds.datatype(files.schema.field(name).type),
        transform=scale,
    )


def _check_constant(where: str, moments: Moments) -> None:
    if moments.minimum == moments.maximum:
        msg = (
            f"{where} is constant ({moments.minimum:g} in every row); remove it: it teaches nothing"
        )
        raise DataError(msg)


def _classes(files: Files, config: TrainConfig, counted: Counts) -> tuple[str, ...]:
    """Return the classes of the label, in their order, as `columns.label` has it."""
    target, *others = config.data.targets
    where = _where(files, target)
    if others:
        msg = "a label must be the only target; train one model for each"
        raise DataError(msg)
    rows = counted.names()
    names = tuple(dict.fromkeys(str(name_of(value)) for value in sorted(counted.values)))
    if len(names) < _PAIR:
        msg = f"{where} is constant ('{names[0]}' in every row); it teaches nothing"
        raise DataError(msg)
    if config.data.task == "binary" and len(names) != _PAIR:
        shown = ", ".join(names[:5])
        msg = f"{where} has {len(names)} different values, and --task binary needs two: {shown} ..."
        raise DataError(msg)
    rare = min(rows, key=lambda name: rows[name])
    if rows[rare] < _PAIR or len(names) == files.rows:
        msg = (
            f"{where} has class '{rare}' in one row only, of {len(names)} classes; give it a "
            "second row, merge it, or choose --task regression for numbers"
        )
        raise DataError(msg)
    return names


def _objective(
    config: TrainConfig, targets: tuple[Column, ...], classes: tuple[str, ...]
) -> Objective:
    loss = config.fit.loss
    if classes:
        if loss not in {None, "cross_entropy"}:
            msg = f"fit.loss is '{loss}', which needs numbers; the target is a label"
            raise ConfigError(msg)
        return Objective(loss="cross_entropy", classes=classes)
    if loss == "cross_entropy":
        msg = "fit.loss is 'cross_entropy', which needs labels; the targets are numbers"
        raise ConfigError(msg)
    transforms = tuple(column.transform for column in targets)
    return Objective(loss=loss or "mse", transforms=transforms if any(transforms) else ())


def _outputs(targets: tuple[Column, ...], scanned: Scanned) -> transform.Outputs:
    moments = [scanned.learned[column.name] for column in targets]
    names = [column.transform for column in targets]
    pairs = zip(names, moments, strict=True) if any(names) else ()
    return transform.Outputs(
        scaling=Scaling(
            mean=np.array([one.mean for one in moments]),
            scale=np.array([one.deviation or 1.0 for one in moments]),
        ),
        transforms=tuple(transform.bounded(name, one.minimum, one.maximum) for name, one in pairs),
    )


def _holding(files: Files, config: TrainConfig, scanned: Scanned, kept: int, rows: int) -> Holding:
    settings, seed = config.data, config.fit.seed
    if settings.time and scanned.latest is not None:
        where = _where(files, settings.time)
        return holding.Times(column=settings.time, after=scanned.latest, where=where)
    if settings.group:
        where = _where(files, settings.group)
        return holding.Groups(
            column=settings.group, share=settings.held_out, seed=seed, where=where
        )
    # No more than can be kept: a row that is held out and then forgotten taught nobody anything.
    share = min(settings.held_out, 0.95 * kept / rows)
    return holding.Random(share=share, seed=seed)
