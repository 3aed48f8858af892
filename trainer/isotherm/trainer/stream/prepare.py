"""The preparation of a stream: two passes over its files, and all that they have told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa

from isotherm.trainer import categories, data
from isotherm.trainer import columns as kinds
from isotherm.trainer.config import TrainConfig
from isotherm.trainer.errors import ConfigError
from isotherm.trainer.progress import Watch, on_rows
from isotherm.trainer.sources import Source
from isotherm.trainer.stream import baselines, files, frame, scan, survey
from isotherm.trainer.stream.files import Files
from isotherm.trainer.stream.frame import Frame
from isotherm.trainer.stream.reading import Reader
from isotherm.trainer.stream.survey import Survey
from isotherm.trainer.world import World

# A thousand epochs are for eleven rows.
EPOCHS: Final = 10


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Prepared:
    """A table that is ready to be streamed.

    Attributes:
        config: with what its defaults mean for a stream.
    """

    config: TrainConfig
    frame: Frame
    survey: Survey


def prepare(
    config: TrainConfig,
    *,
    world: World,
    watch: Watch | None = None,
    on_source: data.OnSource | None = None,
) -> Prepared:
    """Read all rows twice: to know the columns, and to sum and sample what stands in them.

    Args:
        config: of the run.
        world: the processes that share the row groups.
        watch: told of the rows that have been read.
        on_source: told all columns, of the first rows.

    Raises:
        InputError: the files or a setting cannot be used.
    """
    config = _settled(config)
    found = _found(config)
    if on_source:
        on_source(files.head(found))
    sha256 = world.broadcast(found.sha256() if world.rank == 0 else "")
    world.same("files", [found.rows, len(found.groups)])
    counted = [name for name in config.data.features if _is_category(found, name, config)]
    scanning = scan.Scan(found, config.data, counted, config.fit.seed)
    mine = found.groups[world.rank :: world.size]
    rows = sum(group.rows for group in mine)
    read = _counting(watch, "statistics", rows)
    for group in mine:
        scanning.read(group)
        read(group.rows)
    known = frame.of(found, config, scanning.result(world), sha256)
    surveyed = survey.survey(
        known,
        frame.sampled_rows(config, known.decoder.width),
        config.fit.seed,
        world,
        _counting(watch, "sums and samples", rows),
        straight=baselines.solvable(known),
    )
    return Prepared(config=config, frame=known, survey=surveyed)


def _settled(config: TrainConfig) -> TrainConfig:
    """Return the configuration with what the defaults mean for a stream."""
    if config.data.file is None:
        msg = "a built-in dataset cannot be streamed; name a Parquet file (--data), or leave it out"
        raise ConfigError(msg)
    if config.fit.optimizer == "lbfgs":
        msg = "fit.optimizer is 'lbfgs', which needs all rows at once; take adam, adamw or sgd"
        raise ConfigError(msg)
    fitting: dict[str, object] = {"weight_decay": config.fit.weight_decay[:1]}
    if "epochs" not in config.fit.model_fields_set:
        fitting["epochs"] = EPOCHS
    return config.model_copy(update={"fit": config.fit.model_copy(update=fitting)})


def _found(config: TrainConfig) -> Files:
    """Return the files, whose columns are there and of types that can be learned from."""
    settings = config.data
    extra = (settings.weight, settings.time, settings.group)
    read = {*settings.features, *settings.targets, *(name for name in extra if name)}
    found = files.of(Path(settings.file or ""), read)
    source = Source(name=found.name, columns=found.schema.empty_table(), sha256="")
    data.check_names(source, config.data)
    reader = Reader(found, (*config.data.features, *config.data.targets))
    first = next(reader.slices(found.groups[0])).cells
    for name in config.data.features:
        where, cells = f"column '{name}' of {found.name}", pa.chunked_array([first.column(name)])
        if not _is_category(found, name, config):
            kinds.numbers(where, cells)
        elif name not in config.data.categories:
            categories.check_text(where, cells)
    for name in config.data.targets:
        if not scan.may_be_label(found, name, config.data.task):
            where = f"column '{name}' of {found.name}"
            kinds.numbers(where, pa.chunked_array([first.column(name)]))
    return found


def _is_category(found: Files, name: str, config: TrainConfig) -> bool:
    return categories.is_category(name, found.schema.field(name).type, config.data)


def _counting(watch: Watch | None, stage: str, total: int) -> scan.OnRows:
    told, done = on_rows(watch, stage, total), 0

    def count(rows: int) -> None:
        nonlocal done
        done += rows
        told(done, float("nan"))

    return count
