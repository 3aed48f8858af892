"""The model as a folder that is MLflow's and ours at once.

MLflow finds `MLmodel` in it, which says that `<name>/<version>/model.onnx` is a model in ONNX's
format, and loads that as `mlflow.onnx` or `mlflow.pyfunc`. `isotherm serve` finds a repository with
one model. The file is the published one, to the byte: with its contract and its golden rows.

`mlflow.pyfunc` looks for `MLmodel` once more beside the file, so there is one too: the folder of
the version is a model of MLflow's by itself.
"""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from isotherm.trainer.tracking.story import Story
from isotherm.v1.contract import prediction_width

# Of a run's artefacts.
FOLDER: Final = "model"

_FORMAT: Final = "MLmodel"
_ENVIRONMENT: Final = "python_env.yaml"
_REQUIREMENTS: Final = "requirements.txt"
# What MLflow needs to run the model by itself.
_RUNTIME: Final = ("mlflow-skinny", "numpy", "onnx", "onnxruntime", "pandas")


def write(story: Story, run_id: str, folder: Path) -> None:
    """Write the folder of the model of a run."""
    import yaml

    inside = Path(story.name, story.version)
    (folder / inside).mkdir(parents=True)
    (folder / inside / story.path.name).write_bytes(story.content)
    for place in (Path(), inside):
        data = (inside / story.path.name).relative_to(place)
        _write(folder / place, yaml.safe_dump(_format(story, run_id, str(data))))


def _write(folder: Path, described: str) -> None:
    import yaml

    texts = {
        _FORMAT: described,
        _ENVIRONMENT: yaml.safe_dump(
            {
                "python": platform.python_version(),
                "build_dependencies": ["pip"],
                "dependencies": [f"-r {_REQUIREMENTS}"],
            }
        ),
        _REQUIREMENTS: "".join(f"{line}\n" for line in _requirements()),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def _format(story: Story, run_id: str, data: str) -> dict[str, Any]:
    from mlflow.version import VERSION

    names = story.contract.tensors
    outputs = {names.prediction: prediction_width(story.contract)}
    if story.contract.HasField("interval"):
        outputs |= dict.fromkeys((names.lower, names.upper), len(story.contract.targets))
    return {
        "artifact_path": FOLDER,
        "flavors": {
            "onnx": {
                "data": data,
                "onnx_version": metadata.version("onnx"),
                "providers": ["CUDAExecutionProvider", "CPUExecutionProvider"],
                "onnx_session_options": None,
                "code": None,
            },
            "python_function": {
                "loader_module": "mlflow.onnx",
                "data": data,
                "env": {"virtualenv": _ENVIRONMENT},
                "python_version": platform.python_version(),
            },
        },
        "metadata": {"isotherm": {"name": story.name, "version": story.version}},
        "mlflow_version": VERSION,
        "model_size_bytes": len(story.content),
        "model_uuid": uuid4().hex,
        "run_id": run_id,
        "signature": {
            "inputs": _tensors({names.input: len(story.contract.features)}),
            "outputs": _tensors(outputs),
            "params": None,
        },
        "utc_time_created": datetime.now(UTC).replace(tzinfo=None).isoformat(sep=" "),
    }


def _tensors(widths: dict[str, int]) -> str:
    return json.dumps(
        [
            {
                "name": name,
                "type": "tensor",
                "tensor-spec": {"dtype": "float32", "shape": [-1, width]},
            }
            for name, width in widths.items()
        ]
    )


def _requirements() -> list[str]:
    found = []
    for name in _RUNTIME:
        try:
            found.append(f"{name}=={metadata.version(name).partition('+')[0]}")
        except metadata.PackageNotFoundError:
            found.append(name)
    return found
