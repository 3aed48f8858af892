"""Tuning: a search over a table, then the training of the best that it found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from isotherm.trainer import data, parity, publish, run, select
from isotherm.trainer.config import TrainConfig
from isotherm.trainer.data import Table
from isotherm.trainer.errors import ConfigError, TuneError
from isotherm.trainer.progress import Watch
from isotherm.trainer.stream import command
from isotherm.trainer.tune import space
from isotherm.trainer.tune.record import Record
from isotherm.trainer.tune.search import Found
from isotherm.trainer.tune.space import Space
from isotherm.trainer.tune.trial import Tried, ranked

_FOLDER: Final = Path("studies")

# Where the table comes from and how it gets into memory: the digest says what it is.
_ELSEWHERE: Final = {"dataset", "file", "stream", "memory", "held_out"}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Tuning:
    """A search that is about to begin, or to go on.

    Attributes:
        metric: of the trials' errors.
    """

    config: TrainConfig
    space: Space
    metric: str

    @property
    def table(self) -> Table:
        """What is searched on."""
        return self.space.table

    @property
    def storage(self) -> Path:
        """The file of the study."""
        return self.config.tune.storage or _FOLDER / f"{self.config.name}.db"

    @contextmanager
    def record(self) -> Iterator[Record]:
        """Have the study for this process alone."""
        with Record(self.storage, identity(self.space, self.metric)) as record:
            yield record


def prepared(config: TrainConfig, on_source: data.OnSource | None = None) -> Tuning:
    """Read the table and check all that can be known before the search."""
    streamed = command.wanted(config.data)
    if streamed:
        msg = (
            f"a search needs the table in memory, and this one is streamed ({streamed}): search on "
            "a sample of its rows, then train on all of them with the settings that were found"
        )
        raise ConfigError(msg)
    parity.runtime()
    publish.check_repository(config.repository)
    table = data.read(config.data, on_source)
    chosen = space.of(config, table)
    run.check_export(table, config)
    return Tuning(config=config, space=chosen, metric=select.shared(table, config).objective.metric)


def best(tuning: Tuning, found: Found) -> Tried:
    """Return the best trial; raise TuneError where none was completed."""
    complete = ranked(found.trials)
    if complete:
        return complete[0]
    if not found.trials:
        msg = "the time was over before a trial ended; give --timeout more seconds"
        raise TuneError(msg)
    last = found.trials[-1]
    msg = (
        f"none of {len(found.trials)} trials was completed; of the last one: "
        f"{last.outcome.reason}. Change [tune.space], and use another --storage"
    )
    raise TuneError(msg)


def train(
    tuning: Tuning,
    found: Found,
    *,
    created_at: datetime,
    watch: Watch | None = None,
) -> tuple[run.Published, TrainConfig]:
    """Train the best with the whole leaderboard and publish it; return its configuration too."""
    config = tuning.space.applied(best(tuning, found).parameters)
    published = run.train_on(
        tuning.table, config, created_at=created_at, watch=watch, tried=len(found.trials)
    )
    return published, config


def identity(chosen: Space, metric: str) -> Mapping[str, object]:
    """Return what all runs of a study must share, by dotted name."""
    config, table = chosen.config, chosen.table
    return run.flat(
        {
            "table": config.data.model_dump(mode="json", exclude=_ELSEWHERE)
            | {"sha256": table.sha256, "metric": metric},
            "network": config.network.model_dump(mode="json"),
            "fit": config.fit.model_dump(mode="json", exclude={"device", "cuda_graphs"}),
            "space": chosen.described(),
        }
    )
