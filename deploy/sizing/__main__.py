"""Writes docs/sizing.md.

python -m deploy.sizing --write
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from deploy.sizing.page import page

PAGE: Final = Path(__file__).parents[2] / "docs" / "sizing.md"


def main() -> None:
    """Write the page, or show it."""
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(page(), encoding="utf-8")
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        sys.stdout.write(page())


if __name__ == "__main__":
    main()
