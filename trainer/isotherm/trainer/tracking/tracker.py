"""The tracker: the stores that are asked for, told together, none in the way of a training."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol

from isotherm.trainer.config import TrainConfig
from isotherm.trainer.errors import TrackingError
from isotherm.trainer.progress import OnEpoch, Watch
from isotherm.trainer.tracking import story as stories
from isotherm.trainer.tracking.losses import Losses, Point
from isotherm.trainer.tracking.story import Story, Trial


class Store(Protocol):
    """Something that is told of a training."""

    name: str

    def on_point(self, point: Point) -> None:
        """Take losses while the training goes on."""

    def tell(self, story: Story) -> str:
        """Take all the rest; return where it is."""
        ...

    def hidden(self, text: str) -> str:
        """Return an error's text without secrets."""
        ...

    def close(self) -> None:
        """Write what is still in memory; there may have been no `tell`."""


@dataclass(slots=True)
class Tracker:
    """The stores of one training; a store that fails is passed over, and named in the end."""

    stores: Sequence[Store] = ()
    losses: Losses = field(default_factory=Losses)
    _failures: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for store in self.stores:
            # What cannot be written now has been told of, or the training failed for a reason of
            # its own.
            with suppress(Exception):
                store.close()

    def watch(self, inner: Watch) -> Watch:
        """Return what tells the stores besides what `inner` shows."""
        return _Watch(inner, self) if self.stores else inner

    def on_point(self, point: Point) -> None:
        """Pass the losses of an epoch on."""
        for store in self._sound():
            try:
                store.on_point(point)
            except Exception as error:  # noqa: BLE001  no store may end a training
                self._failed(store, error)

    def tell(
        self, path: Path, parity: float, files: Sequence[Path], trials: Sequence[Trial] = ()
    ) -> list[str]:
        """Tell all stores of a published model; return what each says.

        Raises:
            TrackingError: not all of them could be told; each of the others was.
        """
        if not self.stores:
            return []
        told, said = stories.of(path, parity, self.losses, files, trials), []
        for store in self._sound():
            try:
                said.append(store.tell(told))
            except Exception as error:  # noqa: BLE001  the other stores are told all the same
                self._failed(store, error)
        if self._failures:
            each = "; ".join(f"{name}: {text}" for name, text in self._failures.items())
            told_too = f" (told: {'; '.join(said)})" if said else ""
            msg = f"{path} is published, but was not tracked everywhere: {each}{told_too}"
            raise TrackingError(msg)
        return said

    def _sound(self) -> list[Store]:
        return [store for store in self.stores if store.name not in self._failures]

    def _failed(self, store: Store, error: Exception) -> None:
        text = " ".join(store.hidden(f"{type(error).__name__}: {error}").split())
        self._failures[store.name] = text


class _Watch:
    """A watch that tells the tracker too; whatever else `inner` can do, it can."""

    def __init__(self, inner: Watch, tracker: Tracker) -> None:
        self._inner, self._tracker = inner, tracker

    def __call__(self, stage: str, epochs: int) -> OnEpoch:
        shown, losses = self._inner(stage, epochs), self._tracker.losses

        def on_epoch(epoch: int, training: float, validation: float) -> None:
            shown(epoch, training, validation)
            losses.add(stage, epochs, epoch, training, validation)

        return on_epoch

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


def of(config: TrainConfig, created_at: datetime) -> Tracker:
    """Return the tracker that a configuration asks for.

    Raises:
        ConfigError: a store's package is not installed, or nothing can be written for it.
    """
    asked = config.tracking
    stores: list[Store] = []
    if asked.mlflow:
        from isotherm.trainer.tracking.registry import Registry

        registry = Registry(
            asked.mlflow.get_secret_value(),
            experiment=asked.experiment or config.name,
            register=asked.register_as,
            created_at=created_at,
        )
        stores.append(registry)
    if asked.tensorboard:
        from isotherm.trainer.tracking.board import Board

        stores.append(Board(asked.tensorboard, config.name, created_at))
    tracker = Tracker(stores)
    tracker.losses.on_point = tracker.on_point
    return tracker
