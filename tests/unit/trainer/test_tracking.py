"""Tests of tracking without any store's package: what is told, to whom, and what stays secret."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from isotherm.trainer import run
from isotherm.trainer.config import validated
from isotherm.trainer.errors import ConfigError, TrackingError
from isotherm.trainer.tracking import secrets
from isotherm.trainer.tracking.losses import POINTS, Losses, Point
from isotherm.trainer.tracking.story import Story
from isotherm.trainer.tracking.tracker import Tracker


@dataclass(slots=True)
class Store:
    """A store that keeps what it is told, until it breaks."""

    name: str
    breaks_at: int = -1
    points: list[Point] = field(default_factory=list)
    stories: list[Story] = field(default_factory=list)

    def on_point(self, point: Point) -> None:
        if len(self.points) == self.breaks_at:
            msg = "no space left for hunter2"
            raise OSError(msg)
        self.points.append(point)

    def tell(self, story: Story) -> str:
        self.stories.append(story)
        return f"{self.name} was told"

    def hidden(self, text: str) -> str:
        return text.replace("hunter2", "***")

    def close(self) -> None:
        raise NotImplementedError


def tracker(*stores: Store) -> Tracker:
    made = Tracker(stores)
    made.losses.on_point = made.on_point
    return made


def trained(tracking: Tracker, epochs: int = 10) -> list[int]:
    """Let a training of so many epochs be watched; return the epochs that were shown."""
    shown: list[int] = []
    on_epoch = tracking.watch(lambda _stage, _epochs: lambda epoch, *_: shown.append(epoch))(
        "network", epochs
    )
    for epoch in range(1, epochs + 1):
        on_epoch(epoch, 1 / epoch, math.nan)
    return shown


def test_a_store_hears_of_the_training_and_then_of_the_model(published: run.Published) -> None:
    """Settings, data, errors and contract, all from the published file itself."""
    store = Store("one")
    tracking = tracker(store)
    shown = trained(tracking)
    said = tracking.tell(published.path, published.parity, [])
    (told,) = store.stories

    assert shown == [*range(1, 11)]
    assert [point.epoch for point in store.points] == shown
    assert said == ["one was told"]
    assert (told.name, told.version) == ("thermometer", "1")
    assert told.parameters["fit.optimizer"] == "adam"
    assert told.parameters["data.rows"] == "11"
    assert told.parameters["network.layers"] == "Linear(1, 13), Tanh(), Linear(13, 1)"
    board = published.fitted.leaderboard
    assert told.metrics["cross_validation_error"] == board.chosen.cross_validation_error
    assert told.metrics["cross_validation/line"] == board.candidates[1].cross_validation_error
    assert "| network | 40 |" in told.leaderboard
    assert '"model_name": "thermometer"' in told.contract_json


def test_a_store_that_breaks_ends_neither_the_training_nor_the_others(
    published: run.Published,
) -> None:
    """What it missed is said in the end, without its secrets."""
    broken, sound = Store("broken", breaks_at=3), Store("sound")
    tracking = tracker(broken, sound)
    shown = trained(tracking)
    with pytest.raises(TrackingError) as raised:
        tracking.tell(published.path, published.parity, [])

    assert len(shown) == len(sound.points) == 10
    assert (len(broken.points), broken.stories) == (3, [])
    assert len(sound.stories) == 1
    text = str(raised.value)
    assert text.startswith(f"{published.path} is published")
    assert "broken: OSError: no space left for ***" in text
    assert "told: sound was told" in text


def test_without_stores_nothing_is_in_between() -> None:
    """The watch is the one that was given."""

    def watch(_stage: str, _epochs: int) -> None:
        raise AssertionError

    tracking = Tracker()

    assert tracking.watch(watch) is watch  # type: ignore[arg-type, comparison-overlap]
    assert tracking.tell(Path("nowhere"), 0.0, []) == []


def test_a_watch_keeps_what_else_it_can_do() -> None:
    """A stream tells it of rows as well."""

    class Watch:
        def __call__(self, _stage: str, _epochs: int) -> None:
            raise AssertionError

        def rows(self, stage: str) -> str:
            return f"rows of {stage}"

    watch: object = tracker(Store("one")).watch(Watch())  # type: ignore[arg-type]

    assert watch.rows("network") == "rows of network"  # type: ignore[attr-defined]


@pytest.mark.parametrize("epochs", [1, 999, 1000, 1001, 123_457])
def test_of_many_epochs_about_a_thousand_are_kept(epochs: int) -> None:
    """The first and the last among them."""
    losses = Losses()
    for epoch in range(1, epochs + 1):
        losses.add("network", epochs, epoch, 1.0, 2.0)

    assert losses.points[0].epoch == 1
    assert losses.points[-1].epoch == epochs
    assert min(epochs, POINTS / 2) <= len(losses.points) <= POINTS + 2


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
        ("https://mlflow.example.org/path", "https://mlflow.example.org/path"),
        ("https://ada:hunter2@mlflow.example.org", "https://***@mlflow.example.org"),
        ("https://hunter2@mlflow.example.org:5000/", "https://***@mlflow.example.org:5000/"),
        ("postgresql://ada:h%40nter2@db/x", "postgresql://***@db/x"),
        ("https://mlflow.example.org/?token=hunter2", "https://mlflow.example.org/?***"),
    ],
)
def test_an_address_is_shown_without_its_secrets(uri: str, shown: str) -> None:
    """And so are the errors of libraries that know it, as they write it."""
    texts = [f"cannot reach {uri}", "user ada:hunter2 is wrong", "token=hunter2", "h@nter2"]
    secret = uri != shown

    assert secrets.shown(uri) == shown
    if secret:
        hidden = [secrets.without(uri, text) for text in texts]
        assert hidden[0] == f"cannot reach {shown}"
        found = "hunter2" if "hunter2" in uri else "h@nter2"
        assert not any(found in text for text in hidden)


@pytest.mark.parametrize(
    ("tracking", "said"),
    [
        ({"mlflow": "./mlruns"}, "expected the address of a server"),
        ({"mlflow": "file:///mlruns"}, "expected the address of a server"),
        ({"experiment": "a"}, "experiment is MLflow's"),
        ({"register": "a"}, "register is MLflow's"),
        ({"tensorboard": "runs", "wandb": "a"}, "wandb"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(tracking: dict[str, str], said: str) -> None:
    """Before anything is trained."""
    values = {"name": "a", "data": {"dataset": "thermometer"}, "tracking": tracking}
    with pytest.raises(ConfigError, match="tracking") as raised:
        validated(values)

    assert said in str(raised.value)


def test_a_configuration_does_not_show_the_address() -> None:
    """It may be logged, or be part of an error."""
    uri = "https://ada:hunter2@mlflow.example.org"
    values = {
        "name": "a",
        "data": {"dataset": "thermometer"},
        "tracking": {"mlflow": uri, "register": "a"},
    }
    config = validated(values)

    assert "hunter2" not in f"{config!r} {config} {config.model_dump_json()}"
    assert config.tracking.mlflow
    assert config.tracking.mlflow.get_secret_value() == uri
    assert validated(config.model_dump()).tracking == config.tracking
