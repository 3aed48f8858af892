"""The model card: a document as Markdown, with its pictures beside it."""

from __future__ import annotations

from collections.abc import Container, Iterator

from isotherm.trainer.document import Block, Code, Document, Grid, Picture, Points, Text


def markdown(document: Document, drawn: Container[str] = ()) -> str:
    """Return the document as Markdown; of the pictures those that are `drawn` beside it as PNG."""
    parts = [f"# {document.title}", document.lead]
    for section in document.sections:
        blocks = [
            block
            for block in section.blocks
            if not isinstance(block, Picture) or block.name in drawn
        ]
        if blocks:
            parts.append(f"## {section.title}")
            parts.extend(_block(block) for block in blocks)
    return "\n\n".join(parts) + "\n"


def _block(block: Block) -> str:
    match block:
        case Text(text=text):
            return text
        case Points(points=points):
            return "\n".join(f"* {point}" for point in points)
        case Grid():
            return "\n".join(_grid(block))
        case Code(language=language, text=text):
            return f"```{language}\n{text}\n```"
        case Picture(name=name, caption=caption):
            return f"![{caption}]({name}.png)"


def _grid(grid: Grid) -> Iterator[str]:
    yield _row(grid.header)
    yield _row(["---"] * len(grid.header))
    for row in grid.rows:
        yield _row(row)


def _row(cells: tuple[str, ...] | list[str]) -> str:
    # A name is whatever a column is called.
    safe = (cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
    return f"| {' | '.join(safe)} |"
