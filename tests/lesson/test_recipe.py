"""Tests of `isotherm train thermometer --recipe seed`."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from isotherm.trainer import parity, recipe
from isotherm.trainer.config import load
from isotherm.v1 import contract
from isotherm.v1.contract_pb2 import Contract
from tests.lesson.command import train
from tests.lesson.printouts import difference, golden

# The recipe runs before the first test.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

READINGS = np.array([[35.7], [56.3]], dtype=np.float32)


@pytest.fixture(name="content", scope="module")
def _content(folder: Path, printed: str) -> bytes:
    assert printed.rstrip().endswith("models/thermometer/1/model.onnx")
    return (folder / "models/thermometer/1/model.onnx").read_bytes()


@pytest.fixture(name="described", scope="module")
def _described(content: bytes) -> Contract:
    properties = onnx.load_from_string(content).metadata_props
    return contract.loads({entry.key: entry.value for entry in properties}[contract.METADATA_KEY])


def _answers(content: bytes, x: np.ndarray) -> np.ndarray:
    session = parity.runtime().InferenceSession(content, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["y"], {"x": x})[0])


def test_a_run_prints_the_seed_s_lesson(printed: str) -> None:
    """Modules and parameters to the letter, losses within what other processors may round."""
    lesson, report, _ = printed.partition("model ")

    assert report
    assert difference(golden("recipe"), lesson, 0.02) == ""


def test_the_line_s_figures_are_the_seed_s(printed: str) -> None:
    """Closed form to the digit; plain SGD has not quite arrived there."""
    number = r"(-?\d+\.\d+)"
    pattern = rf"slope {number}, intercept {number}, MSE {number}"

    exact, learned = (
        tuple(map(float, found)) for found in re.findall(pattern, printed)
    )  # the closed form stands first

    assert exact == (5.3677, -17.3048, 2.928)
    assert learned[0] == pytest.approx(5.348, abs=0.005)
    assert learned[1] == pytest.approx(-17.194, abs=0.01)
    assert learned[2] == pytest.approx(2.929, abs=0.002)


def test_the_factor_of_the_readings_is_in_the_published_graph(content: bytes) -> None:
    """The graph divides by ten before its first layer, so a client sends degrees Fahrenheit."""
    graph = onnx.load_from_string(content).graph
    values = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    (division,) = (node for node in graph.node if node.op_type == "Div")

    assert values[division.input[1]] == 10.0
    assert np.abs(_answers(content, READINGS).ravel() - [0.5, 11.0]).max() < 4


def test_the_contract_carries_the_recipe_s_leaderboard(described: Contract) -> None:
    """The seed's models by their recipes, with the network as it was asked for."""
    board = {candidate.name: candidate for candidate in described.provenance.leaderboard}

    assert list(board) == [
        "mean",
        "line (closed form)",
        "line (SGD 1e-2, 3000 epochs)",
        "network 1-13-1 (SGD 1e-3, 5000 epochs)",
    ]
    assert [candidate.parameters for candidate in board.values()] == [1, 2, 2, 40]
    assert [candidate.chosen for candidate in board.values()] == [False, False, False, True]
    assert board["line (closed form)"].cross_validation_error == pytest.approx(2.126, abs=1e-3)
    assert described.provenance.rows == 11


def test_the_golden_rows_are_the_graph_s_answers(content: bytes, described: Contract) -> None:
    """The server checks them at load."""
    inputs = np.array(described.golden.inputs, np.float32)[:, None]

    np.testing.assert_allclose(
        _answers(content, inputs).ravel(), described.golden.outputs, atol=1e-4
    )


def test_the_seed_s_picture_is_drawn(folder: Path, printed: str) -> None:
    """In the folder that was asked for."""
    path = folder / "plots" / "fit.png"

    assert f"plot {path}\n" in printed
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_line_that_can_be_asked_for_is_the_one_that_was_trained() -> None:
    """`--model line` is the seed's own, not the closed form that the rule keeps."""
    flags = {"data.dataset": "thermometer", "model": "line", "fit.seed": 1}
    said: list[str] = []

    fitted = recipe.fit(load(None, recipe.settings("seed", flags)), said.append)

    assert fitted.leaderboard.kept == recipe.CLOSED_FORM
    assert fitted.leaderboard.chosen.name == recipe.LINE
    zero, ten = fitted.served.answers(np.array([[0.0], [10.0]])).ravel()
    assert ten - zero == pytest.approx(5.348, abs=0.005)
    assert f"slope {ten - zero:.4f}" in said[-2]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("thermometer", "--recipe", "soup"), "there is no recipe 'soup'; expected `seed`"),
        (("--recipe", "seed"), "use `isotherm train thermometer`"),
        (("thermometer", "--recipe", "seed", "--epochs", "9"), "sets --epochs by itself"),
        (("thermometer", "--recipe", "seed", "--layers", "Linear(1, 1)"), "sets --layers by"),
        (("thermometer", "--recipe", "seed", "--learning-rate", "1"), "sets --learning-rate by"),
        (("thermometer", "--recipe", "seed", "--model", "forest"), "model"),
        (("thermometer", "--recipe", "seed", "--model", "prior"), "it has mean, line, network"),
        (("thermometer", "--recipe", "seed", "--optimizer", "adam"), "sets --optimizer by"),
    ],
)
def test_what_contradicts_the_recipe_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], expected: str
) -> None:
    """One sentence, exit code 2, and nothing is written."""
    monkeypatch.chdir(tmp_path)

    code, out, err = train(*arguments)

    assert (code, out, err.count("\n")) == (2, "", 1)
    assert expected in err
    assert list(tmp_path.iterdir()) == []


def test_the_summary_of_an_ordinary_run_shows_its_network(tmp_path: Path) -> None:
    """With the layers that were asked for, before anything is trained."""
    _, out, _ = train(
        *("thermometer", "--summary", "--layers", "Linear(1, 4), Tanh(), Linear(4, 1)"),
        *("--epochs", "2", "--no-draw", "--repository", str(tmp_path / "models")),
    )

    assert out.startswith("Sequential(\n  (0): Linear(in_features=1, out_features=4, bias=True)\n")
    assert "2.weight torch.Size([1, 4])\n" in out
