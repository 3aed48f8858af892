"""Writes the table of the chart's values into docs/helm.md.

    python -m deploy.helm.reference

The table is made of values.yaml: a comment that begins with `--` describes the value below it.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

VALUES: Final = Path(__file__).parent / "isotherm" / "values.yaml"
PAGE: Final = Path(__file__).parents[2] / "docs" / "helm.md"
BEGIN: Final = "<!-- values: written by python -m deploy.helm.reference -->"
END: Final = "<!-- end of values -->"
# A longer default is looked up in the file.
MAX_DEFAULT: Final = 40

_KEY: Final = re.compile(r"(?P<indent> *)(?P<name>[\w-]+):")


class Value(NamedTuple):
    """A documented value of the chart."""

    path: str
    default: Any
    description: str

    def row(self) -> str:
        """Return its row of the table."""
        default = json.dumps(self.default)
        shown = f"`{default}`" if len(default) <= MAX_DEFAULT else "see values.yaml"
        return f"| `{self.path}` | {shown} | {self.description} |"


def values(text: str) -> Iterator[Value]:
    """Yield the documented values of a values.yaml, in its order."""
    defaults = yaml.safe_load(text)
    path: list[tuple[int, str]] = []
    description = ""
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("# -- "):
            description = stripped.removeprefix("# -- ")
        elif match := _KEY.match(line):
            indent = len(match["indent"])
            path = [*(each for each in path if each[0] < indent), (indent, match["name"])]
            if description:
                names = [name for _, name in path]
                yield Value(".".join(names), _at(defaults, names), description)
            description = ""


def table(text: str) -> str:
    """Return the table of a values.yaml."""
    head = "| value | default | what it says |\n| --- | --- | --- |\n"
    return head + "".join(f"{value.row()}\n" for value in values(text))


def written(page: str, text: str) -> str:
    """Return the page with the table of a values.yaml between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(text)}{END}{after}"


def _at(node: Any, names: list[str]) -> Any:
    for name in names:
        node = node[name]
    return node


def main() -> None:
    """Write it."""
    PAGE.write_text(written(PAGE.read_text(), VALUES.read_text()))


if __name__ == "__main__":
    main()
