"""Writes the generated observability files: `python -m deploy.observability [DIRECTORY]`."""

import sys
from pathlib import Path

from deploy.observability.overview import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

# Relative to deploy/, or to the directory that was named.
GENERATED = {"grafana/isotherm.json": dashboard}


def main(directory: Path) -> None:
    """Write every generated file under `directory`."""
    for name, build in GENERATED.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(JSONEncoder(sort_keys=True, indent=2).encode(build()) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent)
