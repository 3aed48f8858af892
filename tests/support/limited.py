"""Trains under a limit on address space: `python -m tests.support.limited FOLDER MIB`.

First everything that a training imports and builds once is there, so that what is measured is the
training itself. Then the address space may grow by so many MiB, and the files are trained on as
streams, and once more, as a control, in memory. Prints a line of JSON.
"""

from __future__ import annotations

import json
import re
import resource
import sys
from datetime import UTC, datetime
from pathlib import Path

import torch

from isotherm.trainer import run
from isotherm.trainer.stream import command
from tests.support.streams import config, numbers, write

# Half of it is for the rows; the rest for what a row group is made of while it is decoded.
_SHARE = 3 / 8


def main() -> None:
    """Train on `groups.parquet` and on `huge.parquet`."""
    folder, allowed = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    small = write(folder / "small.parquet", numbers(5000, features=32))
    for stream in (True, False):
        _train(small, stream=stream, memory=4)
    limit = _address_space() + allowed * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    memory = int(_SHARE * allowed)
    found = {
        name: _train(folder / f"{name}.parquet", stream=True, memory=memory)
        for name in ("groups", "huge")
    }
    try:
        found["in memory"] = _train(folder / "groups.parquet", stream=False, memory=memory)
    except MemoryError:
        found["in memory"] = "MemoryError"
    print(json.dumps(found))


def _train(path: Path, *, stream: bool, memory: int) -> str:
    settings = config(
        path, data__memory=memory, data__stream=stream, fit__epochs=1, fit__batch_size=2048
    )
    train = command.train if stream else run.train
    published = train(settings, created_at=datetime.now(UTC))
    return published.path.name if published else ""


def _address_space() -> int:
    status = Path("/proc/self/status").read_text()
    match = re.search(r"VmSize:\s+(\d+) kB", status)
    assert match
    return int(match[1]) * 1024


if __name__ == "__main__":
    main()
