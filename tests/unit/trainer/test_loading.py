"""Tests of modules that were made and trained elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from isotherm.trainer import loading
from isotherm.trainer.errors import LayerError

CODE = """
from torch import nn
from neighbour import WIDTH

def net():
    return nn.Sequential(nn.Linear(2, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1))

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(2, 1))

ready = Net()

def broken():
    raise RuntimeError("no weights today")

def text():
    return "a model"
"""


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(CODE)
    (tmp_path / "neighbour.py").write_text("WIDTH = 4\n")
    return str(tmp_path / "mine.py")


@pytest.mark.parametrize(("name", "layers"), [("net", 3), ("Net", 1), ("ready", 1)])
def test_a_function_a_class_or_a_module_is_taken(file: str, name: str, layers: int) -> None:
    """A file finds its neighbours, as when it is run."""
    made = loading.module(f"{file}:{name}")

    assert isinstance(made, nn.Sequential)
    assert len(made) == layers


def test_a_module_of_an_installed_package_is_taken() -> None:
    """`package.module:name`, as everywhere in Python."""
    assert isinstance(loading.module("torch.nn:Tanh"), nn.Tanh)


def test_weights_are_put_into_the_layers(file: str, tmp_path: Path) -> None:
    """What `torch.save(model.state_dict())` wrote."""
    trained = loading.module(f"{file}:net")
    torch.save(trained.state_dict(), tmp_path / "weights.pt")

    made = loading.module(f"{file}:net", tmp_path / "weights.pt")

    x = torch.ones(3, 2)
    assert torch.equal(trained(x), made(x))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("mine", r"'mine' is no model; expected package\.module:factory"),
        ("weights.pt", "holds weights without layers; .* file.py:factory --state-dict weights.pt"),
        ("no.such.package:net", "cannot import 'no.such.package' .* ModuleNotFoundError"),
        ("{folder}/nowhere.py:net", "cannot import .* FileNotFoundError"),
        ("{file}:nobody", "the module has no 'nobody'"),
        ("{file}:broken", "the factory .* failed: RuntimeError: no weights today"),
        ("{file}:text", "gave str, expected an nn.Module"),
    ],
)
def test_a_source_that_gives_no_module_is_refused(
    file: str, tmp_path: Path, source: str, expected: str
) -> None:
    """The sentence names the source, and what it did."""
    with pytest.raises(LayerError, match=expected):
        loading.module(source.format(file=file, folder=tmp_path))


def test_weights_of_another_model_are_refused(file: str, tmp_path: Path) -> None:
    """The sentence says which are missing, too many, or of another shape."""
    torch.save({"0.weight": torch.ones(4, 3), "new": torch.ones(1)}, tmp_path / "weights.pt")

    with pytest.raises(LayerError, match=r"0\.bias is missing; .*\(5\)"):
        loading.module(f"{file}:net", tmp_path / "weights.pt")


@pytest.mark.parametrize("content", ["module", "list", "text", "nothing"])
def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path, content: str) -> None:
    """A pickled module is code, and is not run."""
    path = tmp_path / "weights.pt"
    if content == "module":
        torch.save(nn.Linear(1, 1), path)
    elif content == "list":
        torch.save([torch.ones(1)], path)
    elif content == "text":
        path.write_text("weights")

    with pytest.raises(LayerError, match=r"expected what torch\.save"):
        loading.weights(path)
