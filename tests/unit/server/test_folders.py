"""Where models lie: a repository, or one model with the name that it is given."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from isotherm.server.config import ServerConfig
from isotherm.server.errors import NotFoundError, RepositoryError
from isotherm.server.folders import Folders, version_folders
from isotherm.server.loader import Loader
from isotherm.server.repository import Entry, Repository
from tests.support import models
from tests.support.hostile import TRUSTED


def put(folder: Path, *places: str) -> None:
    """Make empty files."""
    for place in places:
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def doubling(path: Path) -> None:
    """Write a model that can be loaded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(models.doubling().SerializeToString())


def loaded(folder: Path, name: str = "named") -> tuple[Repository, list[Entry]]:
    """Load a folder on the CPU, with a name for the case that it is one model."""
    config = ServerConfig(repository=folder, model_name=name, provider="cpu", vetting=TRUSTED)
    repository = Repository(folder, model_name=name)
    return repository, list(repository.load(Loader(config)))


@pytest.mark.parametrize("file", ["model.onnx", "thermometer.onnx"])
def test_a_file_in_the_folder_is_version_1_of_the_named_model(tmp_path: Path, file: str):
    """What KServe downloads as one file keeps its own name."""
    doubling(tmp_path / file)
    put(tmp_path, "README.md", "assets/labels.txt")
    repository, (entry,) = loaded(tmp_path)

    assert (entry.name, entry.version, entry.reason) == ("named", 1, "")
    assert repository.names() == ["named"]
    assert repository.get("named", "1").name == "named"


def test_version_folders_in_the_folder_are_the_versions_of_the_named_model(tmp_path: Path):
    """The latest serves; a folder without a file is none."""
    for version in (2, 10):
        doubling(tmp_path / str(version) / "model.onnx")
    put(tmp_path, "11/README.md")
    _, (entry,) = loaded(tmp_path)

    assert (entry.name, entry.version, entry.reason) == ("named", 10, "")


def test_a_repository_keeps_its_models_names(tmp_path: Path, caplog):
    """It is said that the name is not used."""
    doubling(tmp_path / "mine" / "3" / "model.onnx")
    with caplog.at_level("INFO"):
        _, (entry,) = loaded(tmp_path)

    assert (entry.name, entry.version) == ("mine", 3)
    assert f"{tmp_path} is a repository: its models keep their names" in caplog.text


def test_a_repository_of_numbers_is_a_repository(tmp_path: Path):
    """Only a folder with a file in it is a version."""
    doubling(tmp_path / "7" / "1" / "model.onnx")
    _, (entry,) = loaded(tmp_path)

    assert (entry.name, entry.version) == ("7", 1)


def test_without_a_name_a_folder_is_a_repository_only(tmp_path: Path):
    """As ever: what lies in it is no model."""
    doubling(tmp_path / "model.onnx")

    assert Folders(tmp_path).names() == []
    assert Folders(tmp_path).find("model.onnx") is None


def test_the_configuration_beside_the_file_is_heeded(tmp_path: Path):
    """Of several files it names the one that counts."""
    doubling(tmp_path / "a.onnx")
    put(tmp_path, "b.onnx")
    (tmp_path / "config.pbtxt").write_text('default_model_filename: "a.onnx" max_batch_size: 7')
    repository, (entry,) = loaded(tmp_path)

    assert entry.reason == ""
    assert repository.get("named", "").max_batch_size == 7


def test_a_configuration_for_another_model_is_refused(tmp_path: Path):
    """Its name has to be the one that the folder was given."""
    doubling(tmp_path / "model.onnx")
    (tmp_path / "config.pbtxt").write_text('name: "other"')
    _, (entry,) = loaded(tmp_path)

    assert entry.reason == (
        f"{tmp_path / 'config.pbtxt'} is for model 'other', and lies in the folder of 'named'"
    )


def test_a_changed_configuration_is_seen(tmp_path: Path):
    """It lies beside the file, not above it."""
    doubling(tmp_path / "model.onnx")
    repository, _ = loaded(tmp_path)
    (tmp_path / "config.pbtxt").write_text("max_batch_size: 7")
    config = ServerConfig(repository=tmp_path, provider="cpu", vetting=TRUSTED)
    repository.commit(repository.prepare("named", Loader(config)))

    assert repository.get("named", "").max_batch_size == 7


def test_a_file_beside_versions_is_refused(tmp_path: Path):
    """It cannot be told which of them is meant."""
    put(tmp_path, "model.onnx", "3/model.onnx")
    with pytest.raises(RepositoryError) as error:
        loaded(tmp_path)

    assert str(error.value) == (
        f"the model folder {tmp_path} holds both model.onnx and version 3: leave one of them"
    )


def test_several_files_without_a_choice_are_refused(tmp_path: Path):
    """Neither is called as a model is."""
    put(tmp_path, "a.onnx", "b.onnx")
    with pytest.raises(RepositoryError) as error:
        loaded(tmp_path)

    assert str(error.value) == "failed to load 'named': no version of it holds model.onnx"


def test_another_name_is_not_found(tmp_path: Path):
    """Also not one that leads to the folder."""
    doubling(tmp_path / "1" / "model.onnx")
    repository, _ = loaded(tmp_path)
    loader = Loader(ServerConfig(repository=tmp_path, provider="cpu", vetting=TRUSTED))
    for name in ("1", ".", "..", "", "other"):
        with pytest.raises(NotFoundError):
            repository.prepare(name, loader)


def test_an_empty_folder_is_an_error_that_says_all_that_might_be_there(tmp_path: Path):
    """The next step is in it."""
    with pytest.raises(RepositoryError) as error:
        loaded(tmp_path)

    assert str(error.value) == (
        f"the model repository {tmp_path} holds no model.onnx, <version>/model.onnx or "
        "<model>/<version>/model.onnx"
    )


def test_a_folder_that_comes_late_is_waited_for(tmp_path: Path):
    """As a link to another container's files does."""
    real, late = tmp_path / "real", tmp_path / "late"
    put(real, "model.onnx")
    timer = threading.Timer(0.15, late.symlink_to, [real])
    timer.start()
    folders = Folders(late, "named")
    folders.wait(30)
    # Asked before anything else waits.
    found = folders.names()
    timer.join()

    assert found == ["named"]


def test_a_folder_that_does_not_come_is_not_waited_for_longer(tmp_path: Path, caplog):
    """What is wrong is said by who looks into it next."""
    folders = Folders(tmp_path / "never")
    with caplog.at_level("INFO"):
        folders.wait(0)
        assert "waiting" not in caplog.text
        folders.wait(0.01)

    assert f"waiting up to 0.01 s for the folder {tmp_path / 'never'}" in caplog.text
    with pytest.raises(RepositoryError, match="is not there"):
        folders.names()


def test_a_folder_that_cannot_be_reached_is_an_error(tmp_path: Path):
    """Here, a link that leads to itself: it is neither there nor not there."""
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    folders = Folders(loop, "named")

    assert folders.find("named") is None
    with pytest.raises(RepositoryError) as error:
        folders.names()
    assert str(error.value) == (
        f"the model repository {loop} is not readable (Too many levels of symbolic links); expected"
        " a folder of model.onnx, <version>/model.onnx or <model>/<version>/model.onnx"
    )


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path, monkeypatch):
    """As one of another user; whoever runs this may be root, whom nothing is kept from."""

    def refuse(_: Path):
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(RepositoryError) as error:
        Folders(tmp_path).names()

    assert str(error.value) == (
        f"the model repository {tmp_path} cannot be read: "
        f"[Errno 13] Permission denied: '{tmp_path}'"
    )


def test_versions_are_positive_integers_written_plainly(tmp_path: Path):
    """In numbers, not in letters."""
    put(tmp_path, *(f"{name}/model.onnx" for name in ("9", "10", "01", "v2", "0", "2.0")))

    assert version_folders(tmp_path) == {n: tmp_path / str(n) for n in (9, 10)}
