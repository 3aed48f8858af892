"""Tests of tracking with the real packages: event files, and an MLflow store in a database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from isotherm.trainer.__main__ import app
from isotherm.trainer.tune.__main__ import app as tune_app
from tests.support.ports import free_port

pytestmark = [
    pytest.mark.slow,
    # MLflow's with the SQLAlchemy of now.
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]

QUICK = ("thermometer", "--epochs", "30", "--dpi", "30", "--log-every", "0", "--model", "network")


@pytest.fixture(name="inside", autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*QUICK, *arguments])


@pytest.fixture(name="uri", scope="module")
def _uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for all tests: it takes seconds to make. Their experiments differ."""
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


def client(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def runs(uri: str, experiment: str) -> list[Any]:
    """Return the runs of an experiment, the first one first."""
    store = client(uri)
    found = store.search_runs([store.get_experiment_by_name(experiment).experiment_id])
    return sorted(found, key=lambda one: (one.info.start_time, one.info.run_name))


def events(folder: Path) -> Any:
    """Return what TensorBoard's own reader finds in a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder))
    read.Reload()
    return read


def test_a_run_in_mlflow_has_all_that_there_is_to_tell(inside: Path, uri: str) -> None:
    """Settings, losses by epoch, errors, contract, pictures, and the model, registered."""
    result = train("--mlflow", uri, "--experiment", "readings", "--register", "celsius")
    (run,) = runs(uri, "readings")
    store = client(uri)
    losses = store.get_metric_history(run.info.run_id, "network/validation_loss")
    version = store.get_model_version("celsius", "1")
    folder = Path(store.get_model_version_download_uri("celsius", "1"))

    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "published models/thermometer/1/model.onnx"
    assert f"registered as celsius version 1: isotherm serve {folder}" in result.stdout
    assert (run.info.run_name, run.info.status) == ("thermometer-1", "FINISHED")
    assert run.data.params["fit.epochs"] == "30"
    assert run.data.metrics["cross_validation_error"] > 0
    assert [metric.step for metric in losses] == [*range(1, 31)]
    assert {item.path for item in store.list_artifacts(run.info.run_id)} == {
        *("contract.json", "leaderboard.md", "model", "report")
    }
    pictures = {item.path for item in store.list_artifacts(run.info.run_id, "report")}
    assert {"report/loss.png", "report/report.html"} <= pictures
    assert version.run_id == run.info.run_id
    assert version.tags == {"isotherm.model": "thermometer", "isotherm.version": "1"}
    assert (
        (folder / "thermometer/1/model.onnx").read_bytes()
        == (inside / "models/thermometer/1/model.onnx").read_bytes()
    )  # fmt: skip


def test_a_second_training_is_a_second_run_and_the_next_version(uri: str) -> None:
    """In the experiment of the model's name, under the same name in the registry."""
    settings = ("--mlflow", uri, "--register", "twice", "--no-draw")
    results = [train(*settings), train(*settings)]
    store = client(uri)
    sources = [store.get_model_version("twice", number).source for number in ("1", "2")]

    assert [result.exit_code for result in results] == [0, 0]
    assert [run.info.run_name for run in runs(uri, "thermometer")] == [
        "thermometer-1",
        "thermometer-2",
    ]
    assert len({*sources}) == 2


def test_a_server_that_is_not_there_costs_no_model(
    inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is published and told elsewhere; the error says so, and keeps the password."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    address = f"http://ada:hunter2@127.0.0.1:{free_port()}"
    result = train("--mlflow", address, "--tensorboard", "runs", "--no-draw")

    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1] == "published models/thermometer/1/model.onnx"
    assert (inside / "models/thermometer/1/model.onnx").exists()
    assert "model.onnx is published, but was not tracked everywhere: MLflow at" in result.stderr
    assert "hunter2" not in result.output
    (folder,) = (inside / "runs/thermometer").iterdir()
    assert "result/cross_validation_error" in events(folder).Tags()["scalars"]


def test_the_settings_of_tracking_may_stand_in_the_file(inside: Path, uri: str) -> None:
    """As all others."""
    text = f'[tracking]\nmlflow = "{uri}"\nexperiment = "filed"\nregister = "filed"\n'
    (inside / "train.toml").write_text(text)
    result = train("--config", "train.toml", "--no-draw")

    assert result.exit_code == 0, result.output
    assert len(runs(uri, "filed")) == 1
    assert client(uri).get_model_version("filed", "1").run_id == runs(uri, "filed")[0].info.run_id


def test_tensorboard_shows_losses_errors_settings_and_pictures(inside: Path) -> None:
    """As its own reader reads them back."""
    result = train("--tensorboard", "runs")
    (folder,) = (inside / "runs/thermometer").iterdir()
    read = events(folder)
    losses = read.Scalars("validation loss/network")
    (picture,) = read.Images("pictures/loss")
    (settings,) = read.Tensors("settings/text_summary")

    assert result.exit_code == 0, result.output
    assert f"TensorBoard has the run in {folder.relative_to(inside)}" in result.stdout
    assert [point.step for point in losses] == [*range(1, 31)]
    assert losses[0].value > losses[-1].value > 0
    (drawn,) = (inside / "plots/thermometer-1").glob("loss.png")
    assert picture.encoded_image_string == drawn.read_bytes()
    assert picture.width > picture.height > 0
    assert b"| fit.epochs | 30 |" in settings.tensor_proto.string_val[0]


def test_a_folder_for_events_that_is_none_is_found_before_the_training(inside: Path) -> None:
    """Nothing was trained in vain."""
    (inside / "file").write_text("")
    result = train("--tensorboard", "file")

    assert result.exit_code == 2
    assert "choose another --tensorboard" in result.stderr
    assert not (inside / "models").exists()


def test_the_trials_of_a_search_are_runs_below_its_own(inside: Path, uri: str) -> None:
    """Each with what it tried and came to; in TensorBoard too."""
    arguments = ("--trials", "3", "--no-draw", "--mlflow", uri, "--tensorboard", "runs")
    result = CliRunner().invoke(tune_app, [*QUICK, *arguments, "--experiment", "searched"])
    found = runs(uri, "searched")
    parents = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
    trials = [run for run in found if "mlflow.parentRunId" in run.data.tags]
    (folder,) = (inside / "runs/thermometer").iterdir()

    assert result.exit_code == 0, result.output
    (parent,) = parents
    assert parent.data.params["search.trials"] == "3"
    assert {run.info.run_name for run in trials} == {"trial-0", "trial-1", "trial-2"}
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {parent.info.run_id}
    errors = {run.data.metrics["cross_validation_error"] for run in trials}
    assert min(errors) == parent.data.metrics["cross_validation_error"]
    assert {"depth", "learning_rate"} <= {*trials[0].data.params}
    shown = events(folder / "trial-0")
    assert shown.Scalars("hparam/cross_validation_error")[0].value == pytest.approx(
        next(
            run.data.metrics["cross_validation_error"]
            for run in trials
            if run.info.run_name == "trial-0"
        )
    )
