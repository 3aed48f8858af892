"""MLflow: a run with all that there is to tell, and the version in its registry."""

from __future__ import annotations

import logging
import math
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from isotherm.trainer.errors import ConfigError
from isotherm.trainer.tracking import mlmodel, secrets
from isotherm.trainer.tracking.losses import Point
from isotherm.trainer.tracking.story import Story, Trial

# MLflow's own limits: of one call, of a parameter's value, and of names.
_METRICS: Final = 1000
_PARAMETERS: Final = 100
_VALUE: Final = 6000
_FOREIGN: Final = re.compile(r"[^\w./ :-]")

# Unless the caller's environment says otherwise: a model is not to wait for minutes to be reported
# to a server that is down, and nobody is told that MLflow is used here.
_SETTINGS: Final = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


class Registry:
    """An MLflow store; nothing is sent before the model is published."""

    def __init__(
        self, uri: str, *, experiment: str, register: str | None, created_at: datetime
    ) -> None:
        """Raise ConfigError where MLflow is not installed."""
        self._uri, self._experiment, self._register = uri, experiment, register
        self._created_at = created_at
        self.name = f"MLflow at {secrets.shown(uri)}"
        _load()

    def on_point(self, point: Point) -> None:
        """Wait: what is told while a model is trained could only harm it."""

    def close(self) -> None:
        """Have nothing open."""

    def hidden(self, text: str) -> str:
        """Return an error's text without what is secret in the address."""
        return secrets.without(self._uri, text)

    def tell(self, story: Story) -> str:
        """Make the run; return where it is, and how to serve what was registered."""
        from mlflow import MlflowClient

        client: Any = MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)
        experiment = _experiment(client, self._experiment)
        started = min([self._created_at.timestamp(), *(one.at for one in story.losses.points)])
        tags = {"isotherm.model": story.name, "isotherm.version": story.version}
        name = f"{story.name}-{story.version}"
        run = client.create_run(experiment, int(started * 1000), tags, run_name=name)
        run_id = run.info.run_id
        try:
            _parameters(client, run_id, story.parameters)
            _metrics(client, run_id, _measured(story))
            _artefacts(client, run_id, story)
            for trial in story.trials:
                _trial(client, experiment, run_id, trial)
            said = f"run {run_id} of experiment '{self._experiment}'"
            if self._register:
                said += f"; {self._registered(client, run, story)}"
        except BaseException:
            # Where the store is gone, it is the first error that tells why.
            with suppress(Exception):
                client.set_terminated(run_id, "FAILED")
            raise
        client.set_terminated(run_id, "FINISHED")
        return f"{self.name} has {said}"

    def _registered(self, client: Any, run: Any, story: Story) -> str:
        from mlflow.exceptions import MlflowException

        name = self._register
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        source = f"{run.info.artifact_uri.rstrip('/')}/{mlmodel.FOLDER}"
        tags = {"isotherm.model": story.name, "isotherm.version": story.version}
        made = client.create_model_version(
            name, source, run.info.run_id, tags=tags, await_creation_for=0
        )
        said = f"registered as {name} version {made.version}"
        folder = _local(source)
        return f"{said}: isotherm serve {folder}" if folder else said


def _load() -> None:
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import mlflow  # noqa: F401
    except ImportError as error:
        msg = (
            "MLflow is asked for and not installed: pip install 'isotherm[mlflow]', or leave "
            "--mlflow out"
        )
        raise ConfigError(msg) from error
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _experiment(client: Any, name: str) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            made: str = client.create_experiment(name)
        except MlflowException as error:
            # Somebody else made it meanwhile.
            found = client.get_experiment_by_name(name)
            if error.error_code != "RESOURCE_ALREADY_EXISTS" or found is None:
                raise
        else:
            return made
    experiment: str = found.experiment_id
    return experiment


def _parameters(client: Any, run_id: str, parameters: Mapping[str, object]) -> None:
    from mlflow.entities import Param

    params = [Param(_named(name), str(value)[:_VALUE]) for name, value in parameters.items()]
    for part in _parts(params, _PARAMETERS):
        client.log_batch(run_id, params=part)


def _metrics(client: Any, run_id: str, metrics: Iterable[tuple[str, float, float, int]]) -> None:
    """Log metrics, each with its name, value, time in seconds and step."""
    from mlflow.entities import Metric

    made = (Metric(_named(name), value, int(at * 1000), step) for name, value, at, step in metrics)
    for part in _parts(made, _METRICS):
        client.log_batch(run_id, metrics=part)


def _measured(story: Story) -> Iterator[tuple[str, float, float, int]]:
    points = story.losses.points
    for point in points:
        yield f"{point.stage}/training_loss", point.training, point.at, point.epoch
        if not math.isnan(point.validation):
            yield f"{point.stage}/validation_loss", point.validation, point.at, point.epoch
    at = points[-1].at if points else story.path.stat().st_mtime
    for name, value in story.metrics.items():
        yield name, value, at, 0


def _artefacts(client: Any, run_id: str, story: Story) -> None:
    client.log_text(run_id, story.contract_json, "contract.json")
    client.log_text(run_id, story.leaderboard, "leaderboard.md")
    for path in story.files:
        client.log_artifact(run_id, str(path), "report")
    with tempfile.TemporaryDirectory(prefix="isotherm-") as folder:
        mlmodel.write(story, run_id, Path(folder))
        client.log_artifacts(run_id, folder, mlmodel.FOLDER)


def _trial(client: Any, experiment: str, parent: str, trial: Trial) -> None:
    """Make the run of a trial below the search's."""
    started = int(trial.started * 1000)
    tags = {"mlflow.parentRunId": parent, "isotherm.state": trial.state}
    run_id = client.create_run(experiment, started, tags, run_name=trial.name).info.run_id
    ended = trial.started + trial.seconds
    _parameters(client, run_id, trial.parameters)
    losses = [("validation_loss", loss, ended, step) for step, loss in trial.losses.items()]
    error = [] if trial.error is None else [("cross_validation_error", trial.error, ended, 0)]
    _metrics(client, run_id, [*losses, *error])
    status = "FAILED" if trial.state == "failed" else "FINISHED"
    client.set_terminated(run_id, status, int(ended * 1000))


def _parts(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    left = iter(items)
    while part := list(islice(left, size)):
        yield part


def _named(name: str) -> str:
    """Return a name with what MLflow takes in one."""
    return _FOREIGN.sub("_", name)


def _local(uri: str) -> Path | None:
    """Return the folder that an address is, None where it is elsewhere."""
    parts = urlsplit(uri)
    if parts.scheme == "file" and parts.netloc in {"", "localhost"}:
        return Path(url2pathname(parts.path))
    return Path(uri) if not parts.scheme else None
