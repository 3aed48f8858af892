"""pyarrow, which Parquet is read and written with: imported where somebody has asked for it."""

from __future__ import annotations

from typing import Any

from isotherm.client.cli.failure import Failure


def modules() -> tuple[Any, Any]:
    """Return the modules pyarrow and pyarrow.parquet; raise Failure where they are missing."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pyarrow":
            raise
        msg = "Parquet needs pyarrow, which is not installed: pip install 'isotherm[parquet]'"
        raise Failure(msg) from error
    return pyarrow, pyarrow.parquet
