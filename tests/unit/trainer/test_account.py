"""Tests of the report and the model card."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from isotherm.trainer import account, card, contract, data, page, plots, run
from isotherm.trainer.config import TrainConfig
from isotherm.trainer.document import Code, Document, Grid, Points, Section, Text
from isotherm.trainer.estimator import Fitted
from isotherm.trainer.run import Published
from isotherm.v1.contract_pb2 import Contract

_VOID = {"meta", "br", "image", "path", "use", "rect"}


class _Balance(HTMLParser):
    """Counts what is opened and not closed, and what refers outside."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in {"src", "href", "xlink:href"} and not (value or "").startswith(
                ("#", "data:")
            ):
                self.outside.append(f"{name}={value}")

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self.open.pop() == tag


@pytest.fixture(name="told")
def _told(published: Published, described: Contract) -> account.Account:
    return account.Account(
        path=published.path,
        contract=described,
        findings=account.of_fit(published.fitted),
        parity="Compared.",
        pictures=tuple(plots.pictures(published.fitted)),
    )


def test_the_card_says_who_wins_what_would_help_and_how_to_call(
    told: account.Account, described: Contract
) -> None:
    """Leaderboard, interval with its measured coverage, ranges, origin, and lines to copy."""
    text = card.markdown(account.document(told), {"loss"})

    for part in (
        "# thermometer, version 1",
        "so the line is kept; errors on rows left out",
        "| line | 2 | 2.126 | 1.711 |  |",
        "100.0% (11 of 11)",
        "* more varied data: 1 of 11 rows",
        "| t_u | degF | FP64 | 21.8 .. 81.9 |",
        "`lower` and `upper` are the ends of an interval that is meant to hold 90.0%",
        "isotherm predict thermometer 51.8 --address 127.0.0.1:8001",
        'client.predict("thermometer", [[51.8]])',
        described.provenance.data_sha256,
        "64 golden rows",
    ):
        assert part in text, part
    assert re.findall(r"!\[.*\]\((.*)\)", text) == ["loss.png"]


def test_the_card_lists_categories_and_says_what_becomes_of_empty_cells(
    told: account.Account,
) -> None:
    """Values by frequency, how many rows had none of them, and a call that takes the values."""
    towns = [f"town {index}" for index in range(23)]
    columns = {
        "town": [*towns, *towns, towns[7], None],
        "wait": [None, *range(47)],
        'the "area"': [float(row) for row in range(48)],
        "y": range(48),
    }
    table = data.table(
        columns, features=["town", "wait", 'the "area"'], targets=["y"], missing="indicator"
    )
    changed = Contract()
    changed.CopyFrom(told.contract)
    del changed.features[:]
    changed.features.extend(contract.features(table))

    text = card.markdown(account.document(replace(told, contract=changed)), set())

    for part in (
        "| town | - | BYTES | 23 values | - | - | counts as an unknown value (2.1% in training) |",
        "| counts as the mean, and the model is told (2.1% in training) |",
        '| the "area" | - | FP64 | 0 .. 47 | 23.5 | 13.85 | is refused |',
        "but for empty cells, which are NaN, where they are taken.",
        "* town: town 7, town 0, town 1, town 10,",
        " and 3 more; 2.1% of the rows had another, or none",
        "isotherm predict thermometer 'town 7' 23 23.5 --address",
        'client.predict("thermometer", [{"town": "town 7", "wait": 23, "the \\"area\\"": 23.5}])',
    ):
        assert part in text


def test_the_page_needs_nothing_beside_it(told: account.Account) -> None:
    """Pictures and style are inside, for light and for dark, and every element is closed."""
    text = page.html(account.document(told))

    balance = _Balance()
    balance.feed(text.removeprefix("<!DOCTYPE html>"))
    assert ([], []) == (balance.open, balance.outside)
    assert text.count("<svg") == len(told.pictures)
    assert "color-scheme: light dark" in text
    assert "<link" not in text
    assert "<script" not in text


def test_names_of_columns_cannot_break_out() -> None:
    """A column may be called anything."""
    document = Document(
        title="<b>",
        lead="a & b",
        sections=(
            Section(
                title="One",
                blocks=(
                    Text(text="<script>alert(1)</script> in `x<y`"),
                    Points(points=("<i>",)),
                    Grid(header=("a|b",), rows=(("<td>",),)),
                    Code(language="python", text="a < b"),
                ),
            ),
        ),
    )

    text = page.html(document)

    assert "<script>" not in text
    assert "<code>x&lt;y</code>" in text
    assert "<td>&lt;td&gt;</td>" in text
    assert "| a\\|b |" in card.markdown(document)


def test_labels_are_accounted_for_without_an_interval(
    classified: Fitted, told: account.Account
) -> None:
    """Log loss, and the share that is right."""
    blocks = account.of_fit(classified)

    text = " ".join(block.text for block in blocks if isinstance(block, Text))
    assert "get the right class" in text
    assert "interval" not in text


def test_the_report_lies_beside_the_pictures(
    published: Published, config: TrainConfig, tmp_path: Path
) -> None:
    """Not in the repository, where a folder is a model and a file a mistake."""
    settings = config.model_copy(update={"plots": tmp_path / "beside"})

    paths = run.describe(published, settings)

    assert [path.name for path in paths] == ["report.html", "MODEL_CARD.md"]
    assert [path.name for path in published.path.parent.iterdir()] == ["model.onnx"]
