"""The server on a GPU beside bare loops of ONNX Runtime and of torch; break-even; the trainer.

    python tests/bench/gpu.py [--provider cuda|cpu] [--seconds 450] [--quick]
                              [--json FILE] [--page FILE] [--write]

Builds nothing, downloads nothing, keeps to its time and says what it left out for that. Loops and
servers take turns, `torch.compile` comes last, by itself; medians count. `--json` keeps the
figures, `--page` makes the table of kept ones where they were not measured, `--write` puts it into
docs/performance.md. With `--provider cpu` all but the device's rows is measured. Load comes from
h2load where it runs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

SECONDS = 450.0


def main() -> None:
    """Measure or read, print, and keep what was asked for."""
    # The load's processes import this module, and need none of these.
    from tests.bench.gpus import report
    from tests.bench.gpus.bench import Bench
    from tests.bench.gpus.figures import Results
    from tests.bench.gpus.plan import FULL, QUICK
    from tests.bench.page import replace

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--provider", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="in all")
    parser.add_argument("--quick", action="store_true", help="few sizes, short, for a trial")
    parser.add_argument("--json", type=Path, help="where to keep the figures")
    parser.add_argument("--page", type=Path, help="kept figures to show, nothing is measured")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    if arguments.page:
        results = Results.from_json(arguments.page.read_text())
    else:
        bench = Bench(arguments.provider, QUICK if arguments.quick else FULL, arguments.seconds)
        results = bench.run(arguments.json)
    text = report.page(results)
    print(text)
    if arguments.write and results.no_device:
        raise SystemExit(f"docs/performance.md stays as it is: {results.no_device}")
    if arguments.write:
        replace("gpu", text)


if __name__ == "__main__":
    main()
