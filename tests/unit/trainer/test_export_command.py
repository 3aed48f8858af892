"""Tests of the command `isotherm export`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from isotherm.trainer.export_command import app

NET = "from torch import nn\ndef net():\n    return nn.Sequential(nn.Linear(2, 1))\n"
COLUMNS = ("--data", "house.csv", "--features", "area,rooms", "--targets", "price")


@pytest.fixture(name="inside", autouse=True)
def _inside(csv: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(csv.parent)
    (csv.parent / "villa.py").write_text(NET)
    torch.manual_seed(0)
    torch.save(nn.Sequential(nn.Linear(2, 1)).state_dict(), csv.parent / "weights.pt")
    return csv.parent


def _export(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.stdout, result.stderr


def test_a_module_and_its_weights_become_a_version(inside: Path) -> None:
    """The last line is for scripts, as that of `train`."""
    code, out, err = _export(
        "villa.py:net", *COLUMNS, "--state-dict", "weights.pt", "--units", "area=m2"
    )

    assert (code, err) == (0, "")
    sample, parity, page, card, published = out.splitlines()
    assert sample.startswith("on the 5 rows of the sample: RMSE of price ")
    assert parity.startswith("parity: ONNX Runtime is within ")
    assert page == "report plots/house-1/report.html"
    assert "trained elsewhere" in (inside / card.removeprefix("report ")).read_text()
    assert published == "published models/house/1/model.onnx"
    assert (inside / "models/house/1/model.onnx").exists()


def test_a_file_of_another_exporter_becomes_a_version() -> None:
    """Its golden rows are those of ONNX Runtime, which is said."""
    _export("villa.py:net", *COLUMNS)

    _, out, _ = _export("models/house/1/model.onnx", *COLUMNS, "--name", "again")

    assert "note: its golden rows are the answers of onnxruntime" in out
    assert out.splitlines()[-1] == "published models/again/1/model.onnx"


@pytest.mark.slow
def test_the_same_time_gives_the_same_file(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sample, weights and SOURCE_DATE_EPOCH are all that the bytes depend on."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")

    for _ in range(2):
        _export("villa.py:net", *COLUMNS, "--state-dict", "weights.pt", "--no-draw")

    first, second = (inside / f"models/house/{number}/model.onnx" for number in (1, 2))
    assert not (inside / "plots").exists()
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("villa", *COLUMNS), "'villa' is no model"),
        (("weights.pt", *COLUMNS), "weights without layers"),
        (("villa.py:net", *COLUMNS, "--units", "area"), "--units has 'area'"),
        (("villa.py:net", *COLUMNS, "--head", "tail"), "--head is 'tail'"),
        (("villa.py:net", *COLUMNS, "--output", "y"), "a module has one"),
        (("villa.py:net", *COLUMNS, "--task", "guess"), "data.task: "),
        (("villa.py:net", *COLUMNS[:-1], "size"), "has no column 'size'"),
        (("model.onnx", *COLUMNS), "cannot read 'model.onnx'"),
        (("model.onnx", *COLUMNS, "--state-dict", "weights.pt"), "has its weights inside"),
        (("villa.py:net", *COLUMNS, "--repository", "house.csv"), "'house.csv' is a file"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    inside: Path, arguments: tuple[str, ...], expected: str
) -> None:
    """Exit code 2, one line on stderr, no version."""
    code, out, err = _export(*arguments)

    assert (code, out, err.count("\n")) == (2, "", 1)
    assert expected in err
    assert err.startswith("error: ")
    assert not (inside / "models").exists()


def test_help_does_not_wait_for_torch() -> None:
    """The heavy packages are imported by the work, not by the command line."""
    code = (
        "import sys, isotherm.trainer.export_command; print({'torch', 'onnx'} & set(sys.modules))"
    )

    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert answer.stdout == "set()\n"
