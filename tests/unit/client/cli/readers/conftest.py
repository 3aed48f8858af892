"""Models that rows are read for."""

from __future__ import annotations

import pytest

from isotherm.client.cli.model import Column, Model
from isotherm.v1.contract_pb2 import Contract


@pytest.fixture(name="named")
def _named() -> Model:
    """Two features with names."""
    return Model("m", (Column("a"), Column("b")), ("y",), Contract())


@pytest.fixture(name="unnamed")
def _unnamed() -> Model:
    """Two features that no contract names."""
    return Model("m", (Column("x[0]"), Column("x[1]")), ("y",), None)
