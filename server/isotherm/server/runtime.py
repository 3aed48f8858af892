"""ONNX Runtime, imported so that it keeps to itself.

Since 1.29 its official packages report to their maker, and leave a device id on disk, as soon as
they are imported. `ORT_DISABLE_TELEMETRY` is the only switch that works before that.
"""

from __future__ import annotations

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

__all__ = ["ort"]
