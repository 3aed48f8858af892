"""Where the chart is, and reading it."""

import json
from pathlib import Path
from typing import Any, Final

import yaml

from tests.deploy.places import DEPLOY

CHART: Final = DEPLOY / "helm" / "isotherm"
VALUES: Final = CHART / "values.yaml"
SCHEMA: Final = CHART / "values.schema.json"
# The sets of values that are rendered; cpu, dev and gpu are as the overlays of kustomize.
SETS: Final = {path.name.removesuffix("-values.yaml"): path for path in CHART.glob("ci/*.yaml")}


def values_of(path: Path) -> dict[str, Any]:
    """The values of a file."""
    read: dict[str, Any] = yaml.safe_load(path.read_text())
    return read


def schema() -> dict[str, Any]:
    """The schema of the values."""
    read: dict[str, Any] = json.loads(SCHEMA.read_text())
    return read
