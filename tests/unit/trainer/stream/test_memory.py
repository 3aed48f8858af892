"""Tests of memory: a table of four times the memory that is allowed, trained within it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

_ROOT = Path(__file__).parents[4]
_ALLOWED_MIB = 64
_FEATURES = 32
_GROUPS = 32

# One arena and one pool each, and no pool that takes its address space in advance.
_ENVIRONMENT = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def _write(folder: Path) -> None:
    """Write the same table in many row groups, and in one."""
    rows = 4 * _ALLOWED_MIB * 2**20 // 8 // (_FEATURES + 1) // _GROUPS + 1
    rng = np.random.default_rng(0)
    names = [*(f"x{index}" for index in range(_FEATURES)), "y"]
    tables = []
    for _ in range(_GROUPS):
        x = rng.normal(size=(_FEATURES, rows))
        tables.append(pa.table(dict(zip(names, [*x, x[0] + np.sin(x[1])], strict=True))))
    whole = pa.concat_tables(tables)
    assert whole.nbytes >= 4 * _ALLOWED_MIB * 2**20
    options = {"use_dictionary": False, "compression": "none"}
    pq.write_table(whole, folder / "groups.parquet", row_group_size=rows, **options)
    pq.write_table(whole, folder / "huge.parquet", row_group_size=len(whole), **options)


@pytest.mark.slow
def test_table_of_four_times_the_memory_is_trained_within_it(tmp_path):
    _write(tmp_path)
    child = subprocess.run(
        [sys.executable, "-m", "tests.support.limited", str(tmp_path), str(_ALLOWED_MIB)],
        cwd=_ROOT,
        env=os.environ | _ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == child.returncode, child.stderr[-2000:]
    found = json.loads(child.stdout.splitlines()[-1])
    # The control: the limit is one, and a table in memory does not fit under it.
    expected = {"groups": "model.onnx", "huge": "model.onnx", "in memory": "MemoryError"}
    assert expected == found
