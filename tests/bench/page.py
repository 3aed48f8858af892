"""docs/performance.md: where benchmarks put what they have measured."""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"


def replace(section: str, text: str, page: Path = PAGE) -> None:
    """Replace the generated part of a section."""
    begin, end = f"<!-- begin: {section} -->\n", f"<!-- end: {section} -->"
    head, rest = page.read_text().split(begin)
    page.write_text(head + begin + text + end + rest.split(end)[1])


def machine() -> str:
    """Return what the figures were measured on."""
    match = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    processor = match[1] if match else platform.machine()
    versions = ", ".join(
        f"{name} {metadata.version(name)}" for name in ("grpcio", "onnxruntime", "numpy")
    )
    return f"{os.cpu_count()} cores ({processor}), Python {platform.python_version()}, {versions}"
