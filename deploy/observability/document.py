"""Generated YAML as people would write it."""

from typing import Any

import yaml

Node = dict[str, Any]


def written(comment: str, *nodes: Node) -> str:
    """Return nodes as YAML below a comment; a text of several lines stays in several lines."""
    lines = "".join(f"# {line}".rstrip() + "\n" for line in comment.splitlines())
    documents = (
        yaml.dump(node, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)
        for node in nodes
    )
    return lines + "---\n".join(documents)


class _Dumper(yaml.SafeDumper):
    """Writes lists as people do, and long texts as blocks."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
