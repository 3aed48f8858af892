"""docs/balancing.md: what it tells callers to copy is what the tests call with."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.deploy.places import ROOT

PAGE = ROOT / "docs" / "balancing.md"


def service_config() -> dict[str, Any]:
    """Return the page's service config."""
    (block,) = re.findall(r"^```json\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    config: dict[str, Any] = json.loads(block)
    return config


def channel_options(config: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the options that the page's Python has beside the service config, and that."""
    numbers = re.findall(r'^ +\("(grpc\.\w+)", (\d+)\),$', PAGE.read_text(), re.MULTILINE)
    options = [(name, int(value)) for name, value in numbers]
    return [("grpc.service_config", json.dumps(config)), *options]
