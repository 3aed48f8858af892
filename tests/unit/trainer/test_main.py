"""Tests of the command `isotherm train`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from isotherm.trainer import export
from isotherm.trainer.__main__ import app
from isotherm.trainer.config import FitConfig, load
from isotherm.v1 import contract_pb2 as v1

QUICK = ("--epochs", "5", "--no-draw", "--log-every", "0")

PICTURES = ("loss", "fit-line", "fit-network", "leaderboard", "predicted", "residuals")


@pytest.fixture(name="inside", autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _train(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.stdout, result.stderr


def test_a_run_ends_with_the_published_path(inside: Path) -> None:
    """The last line is for scripts."""
    code, out, err = _train("thermometer", "--repository", "models", *QUICK)

    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "published models/thermometer/1/model.onnx"
    assert (inside / "models/thermometer/1/model.onnx").exists()


def test_a_csv_becomes_a_model(csv: Path) -> None:
    """Columns are chosen by flags, and the second version counts up."""
    columns = ("--data", csv.name, "--features", "area, rooms", "--targets", "price")

    lines = [_train(*columns, "--name", "villa", *QUICK)[1].splitlines()[-1] for _ in range(2)]

    assert lines == [f"published models/villa/{version}/model.onnx" for version in (1, 2)]


def test_the_columns_are_shown_before_the_training(csv: Path) -> None:
    """With their types and ranges, and what they are taken for."""
    columns = ("--data", csv.name, "--features", "area", "--targets", "price")

    _, out, _ = _train(*columns, *QUICK)

    assert out.splitlines()[:5] == [
        "'house.csv', 5 rows",
        "  column  type   unit  part             values",
        "  area    INT64        feature          50 .. 120",
        "  rooms   INT64                         2 .. 5",
        "  price   INT64        target (number)  100 .. 238",
    ]


def test_categories_and_gaps_are_shown_and_trained_on() -> None:
    """The flags name what is a category, and what becomes of a missing cell."""
    rows = (
        f"{'abc'[i % 3]},{i % 2},{'' if i % 5 == 1 else i},{i + 9 * (i % 3)}" for i in range(15)
    )
    Path("rides.csv").write_text("\n".join(["town,zone,wait,minutes", *rows]))
    columns = ("--data", "rides.csv", "--features", "town,zone,wait", "--targets", "minutes")

    status, _, refused = _train(*columns, *QUICK)
    _, out, _ = _train(*columns, "--categories", "zone=embedding", "--missing", "wait=mean", *QUICK)

    assert status == 2
    assert "column 'wait' of 'rides.csv' has 3 empty cells, the first in row 2" in refused
    assert out.splitlines()[2:5] == [
        "  town     BYTES        feature (category)  a, b, c",
        "  zone     INT64        feature (category)  0, 1",
        "  wait     INT64        feature             0 .. 14, 3 missing",
    ]
    contract = export.contract_of(
        Path(out.splitlines()[-1].removeprefix("published ")).read_bytes()
    )
    assert [one.missing for one in contract.features] == [
        v1.MISSING_UNKNOWN,
        v1.MISSING_UNKNOWN,
        v1.MISSING_MEAN,
    ]


def test_a_table_without_a_choice_is_shown_and_asked_for_one(csv: Path) -> None:
    """Which columns there are, and which flags choose from them."""
    code, out, err = _train("--data", csv.name)

    assert code == 2
    assert "  rooms   INT64        feature, or target  2 .. 5" in out.splitlines()
    assert err == (
        "error: no features given; choose --features from the columns of 'house.csv': "
        "area, rooms, price\n"
    )


@pytest.mark.parametrize("task", ["auto", "multiclass"])
def test_a_text_target_becomes_probabilities_of_its_classes(csv: Path, task: str) -> None:
    """The labels are in the contract, and the baselines are those of a classification."""
    csv.write_text("a,kind\n1,cold\n2,cold\n3,warm\n4,warm\n2.5,cold\n2.6,warm\n")

    _, out, _ = _train(
        "--data", csv.name, "--features", "a", "--targets", "kind", "--task", task, *QUICK
    )

    assert "  kind    BYTES        target (label)  cold, warm" in out.splitlines()
    assert re.search("^prior .*\nlogistic ", out, flags=re.MULTILINE)
    assert out.splitlines()[-1] == "published models/house/1/model.onnx"


def test_batch_statistics_need_no_library_of_their_own_on_a_gpu() -> None:
    """They are a product and a sum in the graph: there is nothing to note."""
    layers = "BatchNorm1d(1), Linear(1, 1)"

    _, out, _ = _train("thermometer", "--layers", layers, "--model", "network", *QUICK)

    assert "note:" not in out


def test_pictures_are_drawn_and_named(inside: Path) -> None:
    """The folder is the one asked for."""
    _, out, _ = _train(
        "thermometer", "--epochs", "5", "--plots", "pictures", "--dpi", "20", "--model", "line"
    )

    named = re.findall("^plot (.*)$", out, flags=re.MULTILINE)
    assert named == [f"pictures/{name}.png" for name in PICTURES]
    reports = re.findall("^report (.*)$", out, flags=re.MULTILINE)
    assert reports == ["pictures/report.html", "pictures/MODEL_CARD.md"]
    assert all((inside / name).exists() for name in (*named, *reports))


@pytest.mark.slow
def test_pictures_stay_out_of_a_repository_that_is_the_working_directory(
    inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server would take a folder of pictures for a model."""
    (inside / "models").mkdir()
    monkeypatch.chdir(inside / "models")

    _, out, _ = _train("thermometer", "--repository", ".", "--epochs", "5", "--dpi", "20")

    assert "plot ../plots/thermometer-1/loss.png" in out.splitlines()
    assert [path.name for path in (inside / "models").iterdir()] == ["thermometer"]


def test_elsewhere_than_on_a_terminal_progress_is_a_line_of_json() -> None:
    """At epoch 1, at every multiple and at the end; on stderr, away from the results."""
    _, out, err = _train("thermometer", "--epochs", "7", "--no-draw", "--log-every", "3")

    lines = [json.loads(line) for line in err.splitlines()]
    assert [line["epoch"] for line in lines] == [1, 3, 6, 7]
    assert {line["stage"] for line in lines} == {"network"}
    assert "{" not in out


def test_the_same_time_gives_the_same_file(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SOURCE_DATE_EPOCH fixes the only thing that differs between two runs."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")

    for _ in range(2):
        _train("thermometer", "--seed", "3", *QUICK)

    first, second = (inside / f"models/thermometer/{i}/model.onnx" for i in (1, 2))
    assert first.read_bytes() == second.read_bytes()
    assert b"1970-01-01T00:00:00Z" in first.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "give either a built-in dataset"),
        (("iris",), "no built-in dataset 'iris'"),
        (("--data", "no.csv", "--features", "a", "--targets", "y"), "cannot read 'no.csv'"),
        (("--data", "house.csv", "--targets", "price"), "no features given"),
        (("--data", "house.csv", "--features", "age", "--targets", "price"), "no column 'age'"),
        (("thermometer", "--name", "../up"), "'../up' is not a model name"),
        (("thermometer", "--repository", "house.csv"), "'house.csv' is a file"),
        (("thermometer", "--model", "forest"), "model: "),
        (("thermometer", "--epochs", "0"), "fit.epochs: "),
        (("thermometer", "--config", "no.toml"), "cannot read the configuration 'no.toml'"),
        (
            ("thermometer", "--layers", "Linear(1, 13), Tanh(), Linear(8, 1)"),
            "takes 8 numbers, but layer 0, Linear(1, 13), gives 13",
        ),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    csv: Path, arguments: tuple[str, ...], expected: str
) -> None:
    """Exit code 2, one line on stderr, and no folder."""
    code, out, err = _train(*arguments)

    assert (code, out, err.count("\n")) == (2, "", 1)
    assert expected in err
    assert err.startswith("error: ")
    assert list(csv.parent.iterdir()) == [csv]


def test_a_training_that_fails_exits_with_1(inside: Path) -> None:
    """The input was usable; the training was not."""
    code, _, err = _train("thermometer", "--learning-rate", "1e30")

    assert (code, list(inside.iterdir())) == (1, [])
    assert "Lower the learning rate" in err


def test_a_time_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is named."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")

    code, _, err = _train("thermometer", *QUICK)

    assert code == 2
    assert "SOURCE_DATE_EPOCH is 'yesterday'" in err


def test_pictures_that_fail_do_not_hide_the_published_path(csv: Path) -> None:
    """The version is there, so the last line says so; the exit code tells of the pictures."""
    code, out, err = _train("thermometer", "--epochs", "5", "--plots", csv.name)

    assert (code, out.splitlines()[-1]) == (2, "published models/thermometer/1/model.onnx")
    assert "cannot write the pictures" in err


def test_the_help_states_the_defaults_of_the_configuration() -> None:
    """The flags' help is written by hand, because importing the configuration takes time."""
    config, fit = load(None, {"data.dataset": "thermometer"}), FitConfig()
    decays = ", ".join(map(str, fit.weight_decay))
    defaults = (fit.epochs, fit.learning_rate, decays, fit.seed, fit.optimizer, config.dpi)

    _, out, _ = _train("--help")

    text = " ".join(out.split())
    for value in (*defaults, config.model, config.repository):
        assert f"[default: ({value})]" in text


def test_help_does_not_wait_for_torch() -> None:
    """The heavy packages are imported by the work, not by the command line."""
    code = "import sys, isotherm.trainer.__main__; print({'torch', 'onnx'} & set(sys.modules))"
    command = [sys.executable, "-c", code]

    answer = subprocess.run(command, capture_output=True, text=True, check=True)

    assert answer.stdout == "set()\n"
