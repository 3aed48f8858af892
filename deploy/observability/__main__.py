"""Writes the generated observability files.

    python -m deploy.observability [--runbooks URL] [DIRECTORY]

`DIRECTORY` is `deploy/` unless another is named. `--runbooks` is where alerts say that their pages
are: `docs/runbooks`, a place in this repository, unless you say where people find them.
"""

import argparse
from pathlib import Path

from deploy.observability.boards.files import BOARDS, config_maps, file
from deploy.observability.rules.files import prometheus_rule, rules
from deploy.observability.rules.rule import RUNBOOKS


def files(runbooks: str = RUNBOOKS) -> dict[str, str]:
    """Return every generated file by its place below `deploy/`."""
    return {
        **{f"grafana/{board.uid}.json": file(board) for board in BOARDS},
        "prometheus/rules.yml": rules(runbooks),
        "kustomize/components/monitoring/dashboards.yaml": config_maps(),
        "kustomize/components/monitoring/prometheusrule.yaml": prometheus_rule(runbooks),
    }


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser(description="Write dashboards and rules.")
    parser.add_argument("directory", nargs="?", type=Path, default=Path(__file__).parent.parent)
    parser.add_argument("--runbooks", default=RUNBOOKS, metavar="URL", help="where the pages are")
    given = parser.parse_args()
    for name, text in files(given.runbooks.rstrip("/")).items():
        path = given.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
