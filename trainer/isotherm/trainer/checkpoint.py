"""Checkpoints: an unfinished training on disk, whole or not at all, continued to the same bit."""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import torch

from isotherm.trainer.errors import CheckpointError

SUFFIX: Final = ".checkpoint"


class Checkpoints:
    """The checkpoints of one run: a file a stage, such as `network.checkpoint`."""

    def __init__(self, folder: Path, settings: Mapping[str, object], every: int = 100) -> None:
        """Take the settings that a checkpoint must share, by dotted name."""
        self._folder = folder
        # As JSON has them: tuples are lists when they come back.
        self._settings: dict[str, Any] = json.loads(json.dumps(settings, sort_keys=True))
        self._every = every
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"cannot keep checkpoints in '{folder}': {error.strerror}; choose another folder"
            raise CheckpointError(msg) from error

    def stage(self, name: str) -> Checkpoint:
        """Return the checkpoint of one stage of the run."""
        path = self._folder / f"{name}{SUFFIX}"
        return Checkpoint(path, self._settings, self._every)

    def clear(self) -> None:
        """Remove the checkpoints of a run that is complete, and the folder if nothing is left."""
        with suppress(OSError):
            for path in self._folder.glob(f"*{SUFFIX}"):
                path.unlink()
            self._folder.rmdir()


class Checkpoint:
    """The checkpoint of one stage: tensors, numbers and text, which `weights_only` can load."""

    def __init__(self, path: Path, settings: dict[str, Any], every: int) -> None:
        self.path = path
        self.every = every
        self._settings = settings

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """Return the saved state, or None where there is none.

        Raises:
            CheckpointError: it cannot be read, or comes from a run with other settings.
        """
        if not self.path.exists():
            return None
        try:
            # Generators take their state on the CPU only: what goes to the device is put there by
            # whoever restores it.
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
            settings, state = json.loads(saved["settings"]), saved["state"]
        # Whatever a truncated or foreign file provokes in pickle, zip or json.
        except Exception as error:
            msg = f"'{self.path}' is no checkpoint that can be read: {error}; remove it"
            raise CheckpointError(msg) from error
        self._check(settings)
        loaded: dict[str, Any] = _to(state, device)
        return loaded

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint in one step: a reader, or a kill, finds the old or the new one.

        Raises:
            CheckpointError: it cannot be written; the one before is still there.
        """
        # Into memory first: a full disk then shows as an OSError, not as torch's own failure.
        buffer = io.BytesIO()
        torch.save({"settings": json.dumps(self._settings), "state": state}, buffer)
        try:
            self._replace(buffer.getbuffer())
        except OSError as error:
            kept = " (the one before it is kept)" if self.path.exists() else ""
            msg = (
                f"cannot write the checkpoint '{self.path}'{kept}: {error.strerror}; make room, or "
                "choose another folder, and start again to continue"
            )
            raise CheckpointError(msg) from error

    def _replace(self, content: memoryview) -> None:
        descriptor, name = tempfile.mkstemp(prefix=".", suffix=SUFFIX, dir=self.path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self.path)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _check(self, settings: dict[str, Any]) -> None:
        for name in sorted({*settings, *self._settings}):
            ours, theirs = self._settings.get(name), settings.get(name)
            if ours != theirs:
                msg = (
                    f"the checkpoint '{self.path}' is of another training: {name} is {theirs!r} "
                    f"there and {ours!r} here; use the same settings, or another folder"
                )
                raise CheckpointError(msg)


def _to(value: Any, device: torch.device) -> Any:
    """Move the tensors of a state, but not those of random generators, which are bytes."""
    if isinstance(value, torch.Tensor):
        return value if value.dtype == torch.uint8 else value.to(device)
    if isinstance(value, dict):
        return {key: _to(part, device) for key, part in value.items()}
    if isinstance(value, list):
        return [_to(part, device) for part in value]
    return value
