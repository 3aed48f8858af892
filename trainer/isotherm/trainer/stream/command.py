"""The command of a stream: files in, a published version out; the same for one process or many."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from torch import nn

from isotherm.trainer import data, networks, parity, publish, run
from isotherm.trainer.config import DataConfig, TrainConfig
from isotherm.trainer.errors import ConfigError
from isotherm.trainer.progress import Watch, on_rows
from isotherm.trainer.settings import recipe
from isotherm.trainer.sources import Source
from isotherm.trainer.stream import described, files, fit
from isotherm.trainer.stream.prepare import prepare
from isotherm.trainer.world import Alone, World

_log = logging.getLogger(__name__)

# In memory a table lies as Arrow has it, as float64 and, for each of its folds, as float32.
_BYTES_A_NUMBER: Final = 24


def wanted(config: DataConfig) -> str:
    """Return why a table is to be streamed, in some words; empty where it is not."""
    if config.stream is not None or config.file is None:
        return "asked for" if config.stream else ""
    if not files.streamable(config.file):
        return ""
    if config.file.suffix.lower() != files.SUFFIX or not config.file.is_file():
        return f"'{config.file}' names more than one file"
    try:
        with pq.ParquetFile(config.file) as opened:
            rows, columns = opened.metadata.num_rows, opened.metadata.num_columns
    except (OSError, pa.ArrowException):
        # Whoever reads it in memory says what is wrong with it.
        return ""
    chosen = len(config.features) + len(config.targets) or columns
    needed = rows * chosen * _BYTES_A_NUMBER
    free = available()
    if needed < free:
        return ""
    return f"its table would need {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free"


def available() -> int:
    """Return the bytes of memory that are free: of the machine, or of the cgroup's limit."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for line in _text(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    group = Path("/sys/fs/cgroup")
    limit, used = _text(group / "memory.max"), _text(group / "memory.current")
    if limit.strip().isdigit() and used.strip().isdigit():
        free = min(free, int(limit) - int(used))
    return free


def head(config: DataConfig) -> Source:
    """Return the first rows of what is to be streamed, with all its columns."""
    return files.head(files.of(Path(config.file or ""), ()))


def train(
    config: TrainConfig,
    *,
    created_at: datetime,
    watch: Watch | None = None,
    on_source: data.OnSource | None = None,
    on_network: Callable[[nn.Sequential], None] | None = None,
    world: World | None = None,
) -> run.Published | None:
    """Scan, survey, fit, export, verify and publish; return None on ranks other than 0.

    Args:
        config: of the run.
        created_at: for the contract.
        watch: told the losses of each learner.
        on_source: told all columns, of the first rows.
        on_network: told the network with its initial weights, before it is trained.
        world: the processes that share the row groups; None: this one alone.

    Raises:
        InputError: the files or a setting cannot be used.
    """
    world = world or Alone()
    if world.size > 1 and config.data.stream is False:
        msg = (
            f"{world.size} processes share the rows of a stream, and data.stream is false; leave "
            "--no-stream out, or start one process"
        )
        raise ConfigError(msg)
    if world.size > 1 and ":" in config.fit.device:
        msg = (
            f"fit.device is '{config.fit.device}', and {world.size} processes have a device each; "
            "say cuda, without the number (CUDA_VISIBLE_DEVICES chooses among them)"
        )
        raise ConfigError(msg)
    first = world.rank == 0
    parity.runtime()
    if first:
        publish.check_repository(config.repository)
    watch = watch if first else None
    prepared = prepare(config, world=world, watch=watch, on_source=on_source if first else None)
    config, known, surveyed = prepared.config, prepared.frame, prepared.survey
    table = known.table(surveyed.held_out)
    networks.check(config.fit, known.files.rows)
    nets = fit.built(known, table, config)
    if first and on_network:
        on_network(next(iter(nets.values())))
    if first:
        run.check_export(table, config)
    settings = recipe(table, config) | {
        "data": known.sha256,
        "columns": config.data.model_dump(mode="json", exclude={"file", "stream", "units"}),
        "processes": world.size,
    }
    _log.info("streaming %s, %d rows: %s", config.name, known.files.rows, settings)
    checkpoints = run.keep(config, settings) if first else None
    result = fit.fit(
        prepared,
        nets,
        world=world,
        watch=watch,
        on_rows=on_rows(watch, "rows", int(surveyed.learned.sum()) * config.fit.epochs),
        checkpoint=checkpoints.stage("stream") if checkpoints else None,
    )
    if not first:
        world.barrier()
        return None
    content, difference = run.file_of(
        result.fitted, config, described.describe(result, known, config, created_at)
    )
    path = publish.publish(content, config.repository, config.name)
    published = run.Published(path=path, fitted=result.fitted, parity=difference)
    if checkpoints:
        checkpoints.clear()
    world.barrier()
    return published


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
