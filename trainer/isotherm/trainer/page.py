"""The page: a document as one HTML file that needs nothing beside it."""

from __future__ import annotations

import re
from html import escape
from typing import Final

from isotherm.trainer import canvas
from isotherm.trainer.document import Block, Code, Document, Grid, Picture, Points, Text

_CSS: Final = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem;
  color: light-dark(#1a1a1a, #e6e6e6); background: light-dark(#ffffff, #16181c); }
h1 { margin-bottom: .2rem; } h2 { margin-top: 2.2rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { padding: .3rem .8rem .3rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid light-dark(#ddd, #3a3d44); }
pre { padding: .8rem; overflow-x: auto; background: light-dark(#f4f4f4, #22252b); }
figure { margin: 1.2rem 0; } svg { max-width: 100%; height: auto; }
figcaption { opacity: .75; font-size: .9rem; }
"""


def html(document: Document) -> str:
    """Return the document as HTML with its style and its pictures inside, light and dark."""
    sections = "\n".join(
        f"<section>\n<h2>{escape(section.title)}</h2>\n"
        + "\n".join(_block(block) for block in section.blocks)
        + "\n</section>"
        for section in document.sections
    )
    title = escape(document.title)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n"
        f"<h1>{title}</h1>\n<p>{_text(document.lead)}</p>\n{sections}\n</body>\n</html>\n"
    )


def _block(block: Block) -> str:
    match block:
        case Text(text=text):
            return f"<p>{_text(text)}</p>"
        case Points(points=points):
            items = "".join(f"<li>{_text(point)}</li>" for point in points)
            return f"<ul>{items}</ul>"
        case Grid():
            return _grid(block)
        case Code(text=text):
            return f"<pre><code>{escape(text)}</code></pre>"
        case Picture(name=name, caption=caption, draw=draw):
            drawn = canvas.inline(draw, name)
            return f"<figure>{drawn}<figcaption>{_text(caption)}</figcaption></figure>"


def _grid(grid: Grid) -> str:
    head = "".join(f"<th>{_text(cell)}</th>" for cell in grid.header)
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in grid.rows
    )
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>"


def _text(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
