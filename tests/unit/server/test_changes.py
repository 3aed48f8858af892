"""Changes of what is served, one after the other, over a loop that is driven by hand."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from isotherm.server.changes import Changes
from isotherm.server.config import ServerConfig
from isotherm.server.loader import Loader, Model
from isotherm.server.model_config import ModelSettings
from isotherm.server.repository import Change, Repository
from tests.support import models
from tests.support.hostile import TRUSTED
from tests.support.server import eventually
from tests.unit.server.fakes import FakeLoop


class CountingLoader(Loader):
    """Says when it begins, loads when it may, and remembers what."""

    def __init__(self, config: ServerConfig) -> None:
        super().__init__(config)
        self.loaded: list[tuple[str, int]] = []
        self.may = threading.Event()
        self.may.set()

    def load(
        self, name: str, version: int, path: Path, settings: ModelSettings | None = None
    ) -> Model:
        self.loaded.append((name, version))
        assert self.may.wait(30)
        return super().load(name, version, path, settings)


class World:
    """A repository on the disk, its changes and the loop that puts them in place."""

    def __init__(self, path: Path) -> None:
        config = ServerConfig(repository=path, provider="cpu", vetting=TRUSTED)
        self.loop = FakeLoop()
        self.loader = CountingLoader(config)
        self.repository = Repository(path, ModelSettings.of(config))
        self.applied: list[Change] = []
        self.changes = Changes(self.repository, self.loader, self.loop, self.applied.append)

    def posted(self) -> bool:
        """Whether the thread has something for the loop."""
        return not self.loop.posted.empty()


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> Iterator[World]:
    models.publish(tmp_path, "m", models.times(2))
    world = World(tmp_path)
    yield world
    world.changes.close()


def test_a_load_that_is_not_in_place_yet_is_not_begun_again(world: World) -> None:
    """The folder is looked at anew once the loop knows what the last look has found."""
    world.changes.reconcile()
    assert eventually(world.posted)
    world.changes.reconcile()
    # Time enough to begin.
    again = eventually(lambda: len(world.loader.loaded) > 1, 0.2)
    world.loop.run_posted()
    world.loop.run_posted()

    assert not again
    assert world.loader.loaded == [("m", 1)]
    assert [(change.name, len(change.added)) for change in world.applied] == [("m", 1)]


def test_looks_at_the_folder_do_not_pile_up_behind_a_long_load(
    world: World, tmp_path: Path
) -> None:
    """All that are due meanwhile are one, and that one sees what came last."""
    world.loader.may.clear()
    world.changes.reconcile()
    assert eventually(lambda: world.loader.loaded == [("m", 1)])
    models.publish(tmp_path, "n", models.times(3))
    for _ in range(5):
        world.changes.reconcile()
    world.loader.may.set()
    for _ in range(2):
        world.loop.run_posted()
    done = threading.Event()
    world.changes.unload("m", lambda _error: done.set())
    world.loop.run_posted()

    assert done.is_set()
    assert world.loader.loaded == [("m", 1), ("n", 1)]
    assert not world.posted()


def test_close_does_not_wait_for_a_loop_that_has_ended(world: World) -> None:
    """What was loaded last is not put in place, and the thread ends."""
    world.changes.reconcile()
    assert eventually(world.posted)

    world.changes.close()

    assert world.applied == []
