"""Tests of publishing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from isotherm.trainer.errors import RepositoryError
from isotherm.trainer.publish import check_repository, publish


def _tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_versions_count_up_from_one(tmp_path: Path) -> None:
    """The repository and the model's folder are made on the way."""
    paths = [publish(b"model", tmp_path / "models", "t") for _ in range(3)]

    assert paths == [tmp_path / "models" / "t" / str(i) / "model.onnx" for i in (1, 2, 3)]
    assert _tree(tmp_path) == [f"models/t/{i}/model.onnx" for i in (1, 2, 3)]
    assert paths[0].read_bytes() == b"model"


def test_the_next_version_follows_the_highest(tmp_path: Path) -> None:
    """Gaps stay gaps, and folders that are no version are passed over."""
    for name in ("7", "latest", "-9"):
        (tmp_path / "t" / name).mkdir(parents=True)

    assert publish(b"model", tmp_path, "t") == tmp_path / "t" / "8" / "model.onnx"


def test_publishers_at_the_same_time_get_versions_of_their_own(tmp_path: Path) -> None:
    """Sixteen at once give sixteen complete versions and nothing else."""
    contents = [f"model {i}".encode() for i in range(16)]

    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda content: publish(content, tmp_path, "t"), contents))

    assert _tree(tmp_path) == sorted(f"t/{i}/model.onnx" for i in range(1, 17))
    assert [path.read_bytes() for path in paths] == contents


def test_a_published_version_can_be_read_by_others(tmp_path: Path) -> None:
    """The server may run as another user."""
    tmp_path.chmod(0o755)

    path = publish(b"model", tmp_path, "t")

    assert path.parents[1].stat().st_mode & 0o777 == 0o755


def test_nothing_stays_behind_when_the_model_folder_is_a_file(tmp_path: Path) -> None:
    """The staging folder goes when the rename fails."""
    (tmp_path / "t").write_text("in the way")

    with pytest.raises(RepositoryError, match="Not a directory; nothing was published"):
        publish(b"model", tmp_path, "t")

    assert [path.name for path in tmp_path.iterdir()] == ["t"]


def test_folders_made_for_nothing_are_removed(tmp_path: Path) -> None:
    """A name that the file system refuses leaves no empty repository."""
    with pytest.raises(RepositoryError, match="File name too long"):
        publish(b"model", tmp_path / "new" / "models", "n" * 300)

    assert list(tmp_path.iterdir()) == []


def test_a_repository_that_is_a_file_is_refused_before_the_work(tmp_path: Path) -> None:
    """The sentence names the file, also when it is a parent of the repository."""
    (tmp_path / "models").write_text("")

    with pytest.raises(RepositoryError, match="models' is a file, expected a folder"):
        check_repository(tmp_path / "models" / "deeper")
