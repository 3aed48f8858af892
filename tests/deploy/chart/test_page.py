"""docs/helm.md: its values are values of the chart."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest
import yaml
from deploy.helm.reference import PAGE

from tests.deploy.chart.places import CHART, VALUES, schema, values_of
from tests.deploy.chart.refusals import nested

TEXT = PAGE.read_text()
DEFAULTS = values_of(VALUES)
VALIDATOR = jsonschema.Draft7Validator(schema())
FILES = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
FLAGS = re.findall(r"--set ([\w.-]+)=([^\s`]+)", TEXT)


def _over(defaults: Any, values: Any) -> Any:
    """The values over the chart's own, as Helm lays them."""
    if not isinstance(defaults, dict) or not isinstance(values, dict):
        return values
    return defaults | {key: _over(defaults.get(key), value) for key, value in values.items()}


def _check(values: Any) -> None:
    VALIDATOR.validate(_over(DEFAULTS, values))


@pytest.mark.parametrize("text", FILES, ids=lambda text: text.split(":")[0])
def test_a_values_file_of_the_page_passes(text):
    """By the schema, over the chart's own values."""
    _check(yaml.safe_load(text))


@pytest.mark.parametrize(("path", "text"), FLAGS)
def test_a_flag_of_the_page_passes(path, text):
    """`--set`, one at a time."""
    _check(nested(path, yaml.safe_load(text)))


def test_the_page_has_examples():
    """The control: both are found, and a wrong one is refused."""
    assert len(FILES) > 4
    assert len(FLAGS) > 6
    with pytest.raises(jsonschema.ValidationError, match="'replica' was unexpected"):
        _check({"replica": 2})


def test_the_page_names_the_oldest_kubernetes():
    """As the chart demands it."""
    oldest = values_of(CHART / "Chart.yaml")["kubeVersion"].removeprefix(">=").removesuffix(".0-0")

    assert f"Kubernetes {oldest} or later" in TEXT
