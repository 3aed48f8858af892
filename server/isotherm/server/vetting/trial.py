"""A model loaded and run here as a worker will load and run it, before a worker does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from isotherm.server.costs import rehearse
from isotherm.server.errors import LoadError
from isotherm.server.providers import ON_CPU
from isotherm.server.session import Session
from isotherm.v1 import contract as contracts

# What the runtime's errors say when memory was refused, and no other of them does.
_NO_MEMORY: Final = ("alloc", "mmap", "out of memory")


def try_out(data: bytes, external: Mapping[str, bytes], max_batch_size: int) -> None:
    """Load the file and run what a worker runs before it serves.

    Raises MemoryError when that takes more than there is, LoadError when it cannot be loaded. A run
    that fails for another reason is no objection: zeros need not be an input that it can take.
    """
    try:
        session = Session(data, Path(), ON_CPU, external)
    except LoadError as error:
        _raise_if_memory(error.__cause__)
        # An operator that the CPU lacks may yet run on the worker's device.
        if type(error.__cause__).__name__ == "NotImplemented":
            return
        raise
    with _memory_alone():
        rehearse(session, max_batch_size)
    with _memory_alone():
        _run_golden_rows(session)


@contextmanager
def _memory_alone() -> Iterator[None]:
    """Let no error pass but that memory was refused."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  what a model raises is not the question here
        _raise_if_memory(error)


def _run_golden_rows(session: Session) -> None:
    text = session.metadata.get(contracts.METADATA_KEY)
    golden = contracts.loads(text).golden if text else None
    if golden is not None and golden.rows:
        session.run([np.array(golden.inputs, np.float32).reshape(golden.rows, -1)])


def _raise_if_memory(error: BaseException | None) -> None:
    text = str(error).lower()
    if isinstance(error, MemoryError) or any(sign in text for sign in _NO_MEMORY):
        raise MemoryError from error
