"""Tests of pandas, polars and scikit-learn, which live in an environment of their own."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.support.environments import ROOT, environment, run

SCRIPT = """
import json, sys
sys.path[:0] = ["proto", "trainer"]
import pandas, polars
from sklearn.datasets import load_diabetes
from isotherm.trainer import data
from isotherm.trainer.config import DataConfig
from isotherm.trainer.errors import DataError

columns = {"a": [1.5, 2.5, 3.5, 4.0], "flag": [True, False, True, True], "kind": [*"xyxy"]}
category = polars.col("kind").cast(polars.Categorical)
kinds = {
    "pandas": pandas.DataFrame(columns),
    "pandas category": pandas.DataFrame(columns).astype({"kind": "category"}),
    "pandas index": pandas.DataFrame(columns, index=["p", "q", "r", "s"]),
    "polars": polars.DataFrame(columns),
    "polars category": polars.DataFrame(columns).with_columns(category),
}
answer = {}
for name, frame in kinds.items():
    table = data.table(frame, features=["a", "flag"], targets=["kind"])
    answer[name] = [table.x.tolist(), table.y.tolist(), table.classes]

# Text, categories, and integers with a gap, which pandas makes floats of.
gaps = {"kind": [*"xyxxy", None], "code": [3, 3, 7, None, 7, 3], "y": [1.0, 2, 3, 4, 5, 6]}
polar = polars.DataFrame(gaps).with_columns(polars.col("kind").cast(polars.Categorical))
codes = {}
for frame in (
    pandas.DataFrame(gaps), pandas.DataFrame(gaps).astype({"kind": "category"}),
    pandas.DataFrame(gaps).convert_dtypes(), polars.DataFrame(gaps), polar,
):
    table = data.table(frame, features=["kind", "code"], targets=["y"], categories=["code"])
    codes[json.dumps([str(table.x.tolist()), [one.categories for one in table.features]])] = 1
answer["codes"] = [*codes]

def refused(frame):
    try:
        data.table(frame, features=["a"], targets=["kind"])
    except DataError as error:
        return str(error)

answer["missing"] = [
    refused(package.DataFrame({"a": [1.0, None, 3.0, 4.0], "kind": columns["kind"]}))
    for package in (pandas, polars)
]
theirs = load_diabetes(scaled=False)
names, file = tuple(theirs.feature_names), "examples/diabetes.csv"
ours = data.read(DataConfig(file=file, features=names, targets=("progression",)))
answer["diabetes"] = [
    float(abs(ours.x - theirs.data).max()), float(abs(ours.y[:, 0] - theirs.target).max())
]
print(json.dumps(answer))
"""


@pytest.mark.slow
def test_frames_of_every_package_are_the_same_table(tmp_path: Path) -> None:
    """Neither package is imported by us; text, categories, booleans and gaps are understood."""
    packages = (
        *("numpy", "pandas", "polars", "protobuf", "pyarrow"),
        *("pydantic", "rich", "scikit-learn", "typer"),
    )
    python = environment("frames", "--constraint", str(ROOT / "constraints.txt"), *packages)
    script = tmp_path / "frames.py"
    script.write_text(SCRIPT)

    answer = json.loads(run(python, str(script)))

    diabetes, missing = answer.pop("diabetes"), answer.pop("missing")
    codes = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, math.nan], [1.0, 1.0], [math.nan, 0.0]]
    assert answer.pop("codes") == [json.dumps([str(codes), [["x", "y"], ["3", "7"]]])]
    expected = [
        [[1.5, 1.0], [2.5, 0.0], [3.5, 1.0], [4.0, 1.0]],
        [[0.0], [1.0], [0.0], [1.0]],
        [["x", "y"]],
    ]
    assert answer == dict.fromkeys(answer, expected)
    assert len(answer) == 5
    assert all("column 'a' of the table has 1 empty cell" in sentence for sentence in missing)
    # The examples' table is scikit-learn's, but for what float32 rounds.
    assert max(diabetes) < 1e-5
