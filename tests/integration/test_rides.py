"""The example of a table that changes, run small: nothing of what it tells may be missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from isotherm.client.cli.inspect import from_file

EXAMPLE = Path(__file__).parents[2] / "examples" / "rides"

pytestmark = pytest.mark.slow


def _run(script: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLE / script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_the_walk_sees_what_it_tells(tmp_path: Path) -> None:
    """Drift is told, the new version answers, and no call failed: else its status is 1."""
    told = _run("walk.py", "--folder", tmp_path, "--rows", 8000, "--epochs", 2, "--window", 5)

    assert "of which 0 failed" in told
    assert "drifted from the first year: " in told
    assert "service" in told.splitlines()[-1]
    assert "problem" not in told
    before, after = (
        from_file(tmp_path / "models" / "rides" / version / "model.onnx") for version in "12"
    )
    assert "electric" not in before.features[1].categories
    assert "electric" in after.features[1].categories
    metrics = (tmp_path / "drifted.metrics.txt").read_text()
    assert 'isotherm_drift_bin_rows_total{bin="(unknown)",column="service"' in metrics
    assert "service" in (tmp_path / "drifted.status.html").read_text()


def test_the_table_is_the_same_for_the_same_arguments(tmp_path: Path) -> None:
    """And has row groups, categories, gaps, and a second year that is another."""
    for name in ("one", "two"):
        _run("generate.py", tmp_path / name, "--rows", 140_000)
    paths = [tmp_path / "one" / f"{name}.parquet" for name in ("before", "after")]
    before, after = map(pq.read_table, paths)

    assert all(
        pq.read_table(tmp_path / "two" / path.name).equals(pq.read_table(path)) for path in paths
    )
    assert pq.ParquetFile(paths[0]).num_row_groups == 2
    assert before.num_rows == after.num_rows == 70_000
    assert len(set(before.column("pickup").to_pylist())) == 260
    assert len(set(after.column("pickup").to_pylist())) == 300
    assert "electric" not in before.column("service").to_pylist()
    gaps = [table.column("rain").null_count / table.num_rows for table in (before, after)]
    assert gaps == pytest.approx([0.04, 0.35], abs=0.01)
    fares = before.column("fare").to_pandas()
    assert fares.min() > 0
    assert fares.mean() > 1.2 * fares.median()
