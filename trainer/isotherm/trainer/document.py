"""The document: what is written about a model, before it becomes Markdown or HTML."""

from __future__ import annotations

from dataclasses import dataclass

from isotherm.trainer.canvas import Draw


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Points:
    """A list of sentences."""

    points: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """A table: its header, and rows as wide."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Code:
    """Lines to be copied."""

    language: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One picture: the name of its files, what it shows, and how it is drawn."""

    name: str
    caption: str
    draw: Draw


Block = Text | Points | Grid | Code | Picture


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A title, a sentence, and sections."""

    title: str
    lead: str
    sections: tuple[Section, ...]
