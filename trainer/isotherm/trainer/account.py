"""The account of a published model: what it is, how good, from what, and how to call it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from isotherm.trainer import card, foreign, page, remedies, report
from isotherm.trainer.document import (
    Block,
    Code,
    Document,
    Grid,
    Picture,
    Points,
    Section,
    Text,
)
from isotherm.trainer.estimator import Fitted
from isotherm.trainer.foreign import Foreign
from isotherm.v1 import contract_pb2 as v1
from isotherm.v1.contract import prediction_width, takes_missing

_ADDRESS: Final = "127.0.0.1:8001"

# What becomes of an empty cell.
_EMPTY: Final = MappingProxyType(
    {
        v1.MISSING_MEAN: "counts as the mean",
        v1.MISSING_INDICATOR: "counts as the mean, and the model is told",
        v1.MISSING_UNKNOWN: "counts as an unknown value",
    }
)
# Values of a category that are named; the contract has all of them.
_LISTED: Final = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """What the contract does not say, and the account does.

    Attributes:
        path: of the published file.
        findings: blocks about how good the model is.
        parity: how the file was verified, in a sentence.
        pictures: to be shown.
    """

    path: Path
    contract: v1.Contract
    findings: tuple[Block, ...]
    parity: str
    pictures: tuple[Picture, ...] = ()


def write(account: Account, folder: Path) -> list[Path]:
    """Write `report.html` and `MODEL_CARD.md` into `folder`; return their paths.

    The page has all pictures inside, the card shows those that are there as PNG files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = document(account)
    drawn = {path.stem for path in folder.glob("*.png")}
    files = {"report.html": page.html(written), "MODEL_CARD.md": card.markdown(written, drawn)}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in files]


def of_fit(fitted: Fitted) -> tuple[Block, ...]:
    """Return what the leaderboard, the interval and the remedies say of a fit."""
    board = fitted.leaderboard
    grid = Grid(header=report.header(board), rows=tuple(report.cells(board)))
    helps = tuple(f"{remedy.name}: {remedy.text}." for remedy in remedies.of(fitted))
    # The remedies are listed by themselves.
    sentences = [text for text in report.sentences(fitted) if not text.startswith(report.HELP)]
    blocks: list[Block] = [Text(text=remedies.verdict(fitted)), grid]
    blocks += [Text(text=text) for text in (f"{report.caption(fitted)}.", *sentences)]
    if helps:
        blocks += [Text(text="What would help:"), Points(points=helps)]
    return tuple(blocks)


def of_foreign(model: Foreign) -> tuple[Block, ...]:
    """Return what a sample says of a model that was trained elsewhere."""
    score = foreign.score(model)
    blocks: list[Block] = [Text(text=f"{score[0].upper()}{score[1:]}.")]
    if model.notes:
        blocks.append(Points(points=tuple(f"{note}." for note in model.notes)))
    blocks.append(Text(text="It was trained elsewhere: there is no leaderboard and no interval."))
    return tuple(blocks)


def document(account: Account) -> Document:
    """Return the account as a document."""
    contract = account.contract
    version = account.path.parent.name
    targets = ", ".join(_named(target) for target in contract.targets)
    return Document(
        title=f"{contract.model_name}, version {version}",
        lead=f"Predicts {targets} from {_counted(len(contract.features), 'feature')}.",
        sections=(
            Section(title="How good it is", blocks=account.findings),
            *([Section(title="Pictures", blocks=account.pictures)] if account.pictures else []),
            Section(title="What goes in", blocks=tuple(_inputs(contract))),
            Section(title="What comes out", blocks=tuple(_outputs(contract))),
            Section(title="How to call it", blocks=tuple(_calls(account))),
            Section(title="Where it comes from", blocks=tuple(_origin(account))),
        ),
    )


def _inputs(contract: v1.Contract) -> Iterator[Block]:
    features = contract.features
    header: tuple[str, ...] = ("feature", "unit", "type", "range in training", "mean", "deviation")
    rows = [_input(feature) for feature in features]
    gaps = any(map(takes_missing, features))
    if gaps:
        header = (*header, "an empty cell")
        rows = [(*row, _empty(feature)) for row, feature in zip(rows, features, strict=True)]
    yield Grid(header=header, rows=tuple(rows))
    yield Text(
        text="Values are raw, in these units and in this order: scaling is part of the model. "
        "Outside the ranges an answer is a guess, and `isotherm predict` says so. Rows with "
        "NaN or infinity are refused"
        + (", but for empty cells, which are NaN, where they are taken." if gaps else ".")
    )
    listed = tuple(_listed(feature) for feature in features if feature.categories)
    if listed:
        yield Text(
            text="The values of the categories, most frequent first. `isotherm predict` and the "
            "Python client take the values themselves; in the input tensor stands a value's place "
            "in this list, from 0 on, and any other number for one that is not in it."
        )
        yield Points(points=listed)


def _input(feature: v1.Feature) -> tuple[str, ...]:
    named = (feature.name, feature.unit or "-", feature.datatype or "-")
    if feature.categories:
        return (*named, f"{len(feature.categories)} values", "-", "-")
    return (
        *named,
        f"{feature.minimum:.6g} .. {feature.maximum:.6g}",
        f"{feature.mean:.6g}",
        f"{feature.standard_deviation:.4g}",
    )


def _empty(feature: v1.Feature) -> str:
    """Say what becomes of a missing cell, and how many there were."""
    if not takes_missing(feature):
        return "is refused"
    share = f" ({feature.missing_rate:.1%} in training)"
    return f"{_EMPTY[feature.missing]}{share}"


def _listed(feature: v1.Feature) -> str:
    names = [*feature.categories[:_LISTED]]
    rest = len(feature.categories) - len(names)
    more = f" and {rest} more" if rest else ""
    unknown = f"; {feature.unknown_rate:.1%} of the rows had another, or none"
    return f"{feature.name}: {', '.join(names)}{more}{unknown if feature.unknown_rate else ''}"


def _outputs(contract: v1.Contract) -> Iterator[Block]:
    rows = []
    for target in contract.targets:
        if target.classes:
            what = f"a probability for each of {', '.join(target.classes)}"
        else:
            what = f"a number; {target.minimum:.6g} .. {target.maximum:.6g} in training"
            what += f"; learned as {target.transform}" if target.transform else ""
        rows.append((target.name, target.unit or "-", what))
    yield Grid(header=("target", "unit", "answer"), rows=tuple(rows))
    names = contract.tensors
    width = _counted(prediction_width(contract), "column")
    text = f"The output `{names.prediction}` has {width}, in this order."
    if contract.HasField("interval"):
        text += (
            f" `{names.lower}` and `{names.upper}` are the ends of an interval that is meant to "
            f"hold {contract.interval.coverage:.1%} of true values ({contract.interval.method})."
        )
    yield Text(text=text)


def _calls(account: Account) -> Iterator[Block]:
    contract, repository = account.contract, account.path.parents[2]
    values = [
        feature.categories[0] if feature.categories else f"{feature.mean:.4g}"
        for feature in contract.features
    ]
    row = f"[{', '.join(values)}]"
    if any(feature.categories for feature in contract.features):
        named = zip(contract.features, values, strict=True)
        cells = (
            f"{json.dumps(one.name, ensure_ascii=False)}: {_quoted(one, value)}"
            for one, value in named
        )
        row = f"{{{', '.join(cells)}}}"
    given = " ".join(map(shlex.quote, values))
    shell = (
        f"isotherm serve {repository}\n"
        f"isotherm predict {contract.model_name} {given} --address {_ADDRESS}"
    )
    python = (
        "from isotherm.client import Client\n\n"
        f'with Client("{_ADDRESS}") as client:\n'
        f'    print(client.predict("{contract.model_name}", [{row}]))'
    )
    yield Code(language="console", text=shell)
    yield Code(language="python", text=python)
    wire = "Clients of Triton and KServe work as well: the wire is the Open Inference Protocol."
    yield Text(text=wire)


def _quoted(feature: v1.Feature, value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if feature.categories else value


def _origin(account: Account) -> Iterator[Block]:
    provenance = account.contract.provenance
    versions = provenance.package_versions
    rows = [
        ("data (SHA-256)", provenance.data_sha256),
        ("rows", str(provenance.rows)),
        *([("weighted by", provenance.weight_column)] if provenance.weight_column else []),
        ("seed", str(provenance.seed)),
        ("created at", provenance.created_at),
        ("git commit", provenance.git_commit or "-"),
        ("made with", ", ".join(f"{name} {versions[name]}" for name in sorted(versions))),
    ]
    yield Grid(header=("", ""), rows=tuple(rows))
    golden = _counted(account.contract.golden.rows, "golden row")
    yield Text(
        text=f"{account.parity} The file carries {golden}, which the server runs where it serves "
        "before it answers anybody."
    )


def _named(target: v1.Target) -> str:
    return f"{target.name} ({target.unit})" if target.unit else target.name


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
