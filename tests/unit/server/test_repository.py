"""The model repository on disk: what is found, what is ignored, what is chosen."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from isotherm.server.config import ServerConfig
from isotherm.server.errors import (
    InvalidRequestError,
    NotFoundError,
    RepositoryError,
    UnavailableError,
)
from isotherm.server.layout import ModelState
from isotherm.server.loader import Loader
from isotherm.server.repository import Entry, Repository
from tests.support import models
from tests.support.hostile import TRUSTED


def put(folder: Path, *places: str) -> None:
    """Make empty files in a repository."""
    for place in places:
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def cpu_loader(folder: Path) -> Loader:
    """Return what loads the models of a repository on the CPU."""
    return Loader(ServerConfig(repository=folder, provider="cpu", vetting=TRUSTED))


def loaded(folder: Path) -> tuple[Repository, list[Entry]]:
    """Load a repository on the CPU."""
    repository = Repository(folder)
    return repository, list(repository.load(cpu_loader(folder)))


@pytest.fixture(name="repository", scope="module")
def _repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A good model in two versions, and one that cannot be loaded."""
    folder = tmp_path_factory.mktemp("repository")
    for version in (2, 10):
        models.publish(folder, "good", models.doubling(), version)
    put(folder, "bad/4/model.onnx")
    return loaded(folder)[0]


def test_models_are_found_by_name(tmp_path: Path):
    """Names in order, files where Triton expects them."""
    put(tmp_path, "b/1/model.onnx", "a/10/model.onnx", "a/9/model.onnx")

    assert Repository(tmp_path).names() == ["a", "b"]


@pytest.mark.parametrize(
    "junk",
    [
        "README.md",
        "m/README.md",
        "m/config.pbtxt",
        "m/2/model.plan",
        "m/0/model.onnx",
        "m/01/model.onnx",
        "m/-1/model.onnx",
        "m/v2/model.onnx",
        "m/2.0/model.onnx",
        "m/²/model.onnx",
        "m/٢/model.onnx",
        "m/ 2/model.onnx",
        "m/1_0/model.onnx",
        "m/9999999999999999999/model.onnx",
        "m/.tmp-2/model.onnx",
        "m/2/model.onnx/model.onnx",
        "model.onnx",
    ],
)
def test_what_is_no_version_is_ignored(tmp_path: Path, junk: str):
    """Only positive integers, written plainly, that hold a model's file."""
    models.publish(tmp_path, "m", models.doubling())
    put(tmp_path, junk)
    repository, entries = loaded(tmp_path)

    assert repository.names() == ["m"]
    assert [(entry.name, entry.version) for entry in entries] == [("m", 1)]


def test_a_folder_without_a_version_is_ignored_with_a_warning(tmp_path: Path, caplog):
    """It is most likely a mistake."""
    put(tmp_path, "good/1/model.onnx", "empty/notes.txt")

    assert Repository(tmp_path).names() == ["good"]
    assert f"ignoring {tmp_path / 'empty'}: it holds no <version>/model.onnx" in caplog.text


def test_a_folder_that_is_a_link_is_followed(tmp_path: Path):
    """Kubernetes mounts by links."""
    put(tmp_path, "real/m/1/model.onnx")
    (tmp_path / "repository").symlink_to(tmp_path / "real")

    assert Repository(tmp_path / "repository").names() == ["m"]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nowhere", "is not there; expected a folder of <model>/<version>/model.onnx"),
        ("file", "is not a folder; expected a folder of <model>/<version>/model.onnx"),
        ("empty", "holds no <model>/<version>/model.onnx"),
    ],
)
def test_a_folder_that_holds_no_model_is_an_error(tmp_path: Path, place: str, message: str):
    """The text names it and says what was expected."""
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(RepositoryError) as error:
        loaded(tmp_path / place)

    assert str(error.value) == f"the model repository {tmp_path / place} {message}"


def test_the_latest_version_is_loaded_and_a_bad_one_says_why(tmp_path: Path):
    """Ten comes after nine; the others are left alone."""
    for version in (9, 10):
        models.publish(tmp_path, "good", models.doubling(), version)
    put(tmp_path, "bad/1/model.onnx")
    repository, entries = loaded(tmp_path)
    bad, good = entries

    assert (good.name, good.version, good.state) == ("good", 10, ModelState.READY)
    assert good.model is not None
    assert good.reason == ""
    assert (bad.name, bad.version, bad.state) == ("bad", 1, ModelState.UNAVAILABLE)
    assert bad.model is None
    assert bad.reason.startswith(str(tmp_path / "bad" / "1" / "model.onnx"))
    assert list(repository.entries()) == entries
    assert not repository.ready


def test_a_repository_is_ready_when_every_model_serves(tmp_path: Path):
    """Here the only one."""
    models.publish(tmp_path, "good", models.doubling())
    repository, _ = loaded(tmp_path)

    assert repository.ready


@pytest.mark.parametrize("place", ["good/2", "new/1"])
def test_what_comes_later_and_is_no_good_takes_nothing_away(tmp_path: Path, place: str):
    """A version of a model that serves, or a model that never did."""
    models.publish(tmp_path, "good", models.doubling())
    repository, _ = loaded(tmp_path)
    put(tmp_path, f"{place}/model.onnx")
    change = repository.commit(repository.prepare(place.partition("/")[0], cpu_loader(tmp_path)))
    (refused,) = change.tried

    assert refused.state is ModelState.UNAVAILABLE
    assert repository.is_optional(refused)
    assert repository.ready
    assert repository.get("good", "").version == 1


def test_a_model_that_has_come_later_and_served_is_missed(tmp_path: Path):
    """Until it is unloaded on purpose."""
    models.publish(tmp_path, "good", models.doubling())
    repository, _ = loaded(tmp_path)
    path = models.publish(tmp_path, "new", models.doubling())
    loader = cpu_loader(tmp_path)
    repository.commit(repository.prepare("new", loader))
    served = repository.ready
    repository.unload("new")
    path.write_bytes(b"no model")
    repository.commit(repository.prepare("new", loader))
    unloaded = repository.ready

    assert served
    assert unloaded
    assert not repository.is_optional(repository.find("good", ""))


def test_a_process_that_starts_again_serves_what_the_last_one_did(tmp_path: Path):
    """The newest version that loads, of those that had been loaded; newcomers are passed over."""
    for version in (1, 2, 3):
        models.publish(tmp_path, "m", models.doubling(), version)
    put(tmp_path, "m/4/model.onnx", "new/1/model.onnx")
    repository = Repository(tmp_path)
    entries = list(repository.load(cpu_loader(tmp_path), before={"m": {1, 2}}))

    assert [(entry.name, entry.version, entry.model is not None) for entry in entries] == [
        ("m", 4, False),
        ("m", 2, True),
        ("new", 1, False),
    ]
    assert repository.ready
    assert [repository.is_optional(entry) for entry in entries] == [True, False, True]


def test_a_process_that_starts_again_without_a_model_that_served_is_not_ready(tmp_path: Path):
    """Its file was replaced by a bad one, and there is no other."""
    put(tmp_path, "m/1/model.onnx")
    models.publish(tmp_path, "good", models.doubling())
    repository = Repository(tmp_path)
    before = {"m": {1}, "good": {1}}
    bad = next(
        entry for entry in repository.load(cpu_loader(tmp_path), before=before) if entry.reason
    )

    assert not repository.ready
    assert not repository.is_optional(bad)


def test_a_bad_latest_version_does_not_give_way_to_an_older_one(tmp_path: Path):
    """What serves must be what was published last, or nothing."""
    models.publish(tmp_path, "m", models.doubling(), 1)
    put(tmp_path, "m/2/model.onnx")
    _, (entry,) = loaded(tmp_path)

    assert (entry.version, entry.state) == (2, ModelState.UNAVAILABLE)


@pytest.mark.parametrize("version", ["", "10", "010"])
def test_a_version_is_found(repository: Repository, version: str):
    """No version means the newest."""
    assert repository.find("good", version).version == 10
    assert repository.get("good", version).version == 10


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [
        ("other", "", "Request for unknown model: 'other' is not found"),
        ("", "", "Request for unknown model: '' is not found"),
        ("good", "2", "Request for unknown model: 'good' version 2 is not found, served: 10"),
        ("good", "0", "Request for unknown model: 'good' version 0 is not found, served: 10"),
    ],
)
def test_an_unknown_model_or_version_is_not_found(
    repository: Repository, name: str, version: str, message: str
):
    """The text says what is served instead."""
    with pytest.raises(NotFoundError) as error:
        repository.find(name, version)

    assert str(error.value) == message


@pytest.mark.parametrize("version", ["abc", "-1", "1.0", " 1", "1 ", "1_0", "²", "٢", "9" * 19])
def test_what_is_no_version_is_the_callers_mistake(repository: Repository, version: str):
    """Python's int() would take some of them."""
    with pytest.raises(InvalidRequestError) as error:
        repository.find("good", version)

    assert str(error.value) == (
        f"'{version}' is not a version of model 'good': expected a positive integer"
    )


@pytest.mark.parametrize("version", ["", "4"])
def test_a_version_that_could_not_be_loaded_is_unavailable(repository: Repository, version: str):
    """It is known, and its reason is told."""
    with pytest.raises(UnavailableError, match="'bad' version 4 is not at ready state: "):
        repository.get("bad", version)

    assert repository.find("bad", version).state is ModelState.UNAVAILABLE


def test_a_loaded_model_serves_on_when_its_file_is_gone(tmp_path: Path):
    """Everything was read at the start."""
    models.publish(tmp_path, "m", models.doubling())
    repository, _ = loaded(tmp_path)
    shutil.rmtree(tmp_path / "m")

    assert repository.get("m", "1").version == 1


def test_a_change_says_what_was_tried(tmp_path: Path):
    """Each attempt once, whatever came of it; what did not change is no attempt."""
    models.publish(tmp_path, "m", models.doubling(), 1)
    repository, (first,) = loaded(tmp_path)
    loader = Loader(ServerConfig(repository=tmp_path, provider="cpu", vetting=TRUSTED))

    def change() -> tuple[bool, list[tuple[int, bool]]]:
        made = repository.commit(repository.prepare("m", loader))
        return made.changed, [(entry.version, bool(entry.reason)) for entry in made.tried]

    same = change()
    put(tmp_path, "m/2/model.onnx")
    failed = [change(), change()]
    models.publish(tmp_path, "m", models.doubling(), 3)
    swapped = change()
    (tmp_path / "m" / "config.pbtxt").write_text("max_batch_size: many")
    misconfigured = [change(), change()]
    unloaded = [repository.unload("m") for _ in range(2)]

    assert first.model is not None
    assert same == (False, [])
    assert failed == [(True, [(2, True)]), (False, [])]
    assert swapped == (True, [(3, False)])
    assert misconfigured == [(True, [(3, True)]), (False, [])]
    assert [(made.changed, made.tried) for made in unloaded] == [(True, ()), (False, ())]
