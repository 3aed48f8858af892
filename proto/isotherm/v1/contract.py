"""The artefact contract: the JSON that a model file carries, as a checked `Contract` message."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

from google.protobuf import json_format

from isotherm.v1 import contract_pb2 as v1
from isotherm.v1.contract_pb2 import Contract, Feature, Histogram, Target

METADATA_KEY: Final = "isotherm.contract"
SCHEMA_VERSION: Final = 1
MAX_CONTRACT_BYTES: Final = 1 << 20
MAX_GOLDEN_ROWS: Final = 64

# What may be done with a missing number, and with a missing category.
_MISSING_NUMBER: Final = (v1.MISSING_MEAN, v1.MISSING_INDICATOR)
_MISSING_CATEGORY: Final = (v1.MISSING_UNKNOWN,)


class ContractError(ValueError):
    """The contract cannot be read, or contradicts itself."""


def dumps(contract: Contract) -> str:
    """Return the contract as JSON with sorted keys; refuse one that is invalid or too large."""
    check(contract)
    text: str = json_format.MessageToJson(
        contract, preserving_proto_field_name=True, indent=None, sort_keys=True
    )
    _check_size(text)
    return text


def loads(text: str) -> Contract:
    """Parse and check a contract; fields and values of the same schema that are new are ignored."""
    _check_size(text)
    try:
        contract = json_format.Parse(text, Contract(), ignore_unknown_fields=True)
    # A deep nesting escapes as RecursionError from older protobufs.
    except (json_format.ParseError, RecursionError) as error:
        # A later schema need not fit these messages: name its number, not where it differs.
        if (found := _schema_version(text)) > SCHEMA_VERSION:
            msg = f"the contract is invalid: {_other_schema(found)}"
        else:
            msg = f"the contract is not valid JSON of isotherm.v1.Contract: {error}"
        raise ContractError(msg) from error
    check(contract)
    return contract


def check(contract: Contract) -> None:
    """Raise ContractError when the contract contradicts itself."""
    problem = next(_problems(contract), None)
    if problem is not None:
        msg = f"the contract is invalid: {problem}"
        raise ContractError(msg)


def prediction_width(contract: Contract) -> int:
    """Return the columns of the prediction tensor: one a number, one a class of a label."""
    return sum(len(target.classes) or 1 for target in contract.targets)


def takes_missing(feature: Feature) -> bool:
    """Whether the graph knows what to do with a missing cell of this feature, NaN in the input."""
    return feature.missing in {*_MISSING_NUMBER, *_MISSING_CATEGORY}


def _check_size(text: str) -> None:
    size = len(text.encode())
    if size > MAX_CONTRACT_BYTES:
        msg = f"the contract has {size} bytes, at most {MAX_CONTRACT_BYTES} are allowed"
        raise ContractError(msg)


def _schema_version(text: str) -> int:
    """Return the schema's number in JSON of any form; 0 when there is none to be found."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return 0
    found = fields.get("schema_version", 0) if isinstance(fields, dict) else 0
    return found if isinstance(found, int) else 0


def _other_schema(found: int) -> str:
    remedy = "; it was written by a newer one: upgrade isotherm" if found > SCHEMA_VERSION else ""
    return f"schema_version is {found}, this version of isotherm reads {SCHEMA_VERSION}{remedy}"


def _problems(contract: Contract) -> Iterator[str]:
    if contract.schema_version != SCHEMA_VERSION:
        yield _other_schema(contract.schema_version)
    if not contract.features:
        yield "it has no features"
    if not contract.targets:
        yield "it has no targets"
    if not (contract.tensors.input and contract.tensors.prediction):
        yield "tensors.input and tensors.prediction must name tensors of the graph"
    yield from _column_problems("feature", contract.features)
    yield from _column_problems("target", contract.targets)
    yield from _category_problems(contract)
    yield from _class_problems(contract)
    yield from _golden_problems(contract)
    yield from _interval_problems(contract)


def _column_problems(kind: str, columns: Iterable[Feature | Target]) -> Iterator[str]:
    seen = set()
    for index, column in enumerate(columns):
        if not column.name:
            yield f"{kind} {index} has no name"
        if column.name in seen:
            yield f"{kind} '{column.name}' appears twice"
        seen.add(column.name)
        yield from _histogram_problems(f"{kind} '{column.name}'", column.deciles)
        if isinstance(column, Target):
            owner = f"the predictions of {kind} '{column.name}'"
            yield from _histogram_problems(owner, column.predictions.deciles)


def _histogram_problems(owner: str, histogram: Histogram) -> Iterator[str]:
    edges, counts = histogram.edges, histogram.counts
    if (edges or counts) and len(edges) != len(counts) + 1:
        yield f"{owner} has {len(edges)} decile edges for {len(counts)} counts"
    # Not `left >= right`: NaN would pass.
    if not all(left < right for left, right in pairwise(edges)):
        yield f"the decile edges of {owner} do not rise"


def _category_problems(contract: Contract) -> Iterator[str]:
    for feature in contract.features:
        if len(set(feature.categories)) != len(feature.categories):
            yield f"feature '{feature.name}' has a category twice"
        foreign = _MISSING_NUMBER if feature.categories else _MISSING_CATEGORY
        if feature.missing in foreign:
            kind = "a category" if feature.categories else "a number"
            policy = v1.MissingPolicy.Name(feature.missing)
            yield f"feature '{feature.name}' is {kind}, for which {policy} is not meant"


def _class_problems(contract: Contract) -> Iterator[str]:
    for target in contract.targets:
        if len(target.classes) == 1:
            yield f"target '{target.name}' has one class, expected none or two and more"
        if len(set(target.classes)) != len(target.classes):
            yield f"target '{target.name}' has a class twice"
        if target.classes and contract.HasField("interval"):
            yield f"target '{target.name}' has classes, and an interval is for numbers"


def _golden_problems(contract: Contract) -> Iterator[str]:
    golden = contract.golden
    if golden.rows > MAX_GOLDEN_ROWS:
        yield f"it has {golden.rows} golden rows, at most {MAX_GOLDEN_ROWS} are allowed"
    widths = {"inputs": len(contract.features), "outputs": prediction_width(contract)}
    for part, width in widths.items():
        found, expected = len(getattr(golden, part)), golden.rows * width
        if found != expected:
            yield f"golden.{part} has {found} numbers, {golden.rows} rows need {expected}"
    if not all(map(math.isfinite, golden.outputs)):
        yield "golden.outputs has a number that is not finite, which no answer can match"
    if not all(
        math.isfinite(tolerance) and tolerance >= 0
        for tolerance in (golden.absolute_tolerance, golden.relative_tolerance)
    ):
        yield "the golden tolerances must be finite and not negative"


def _interval_problems(contract: Contract) -> Iterator[str]:
    has_tensors = bool(contract.tensors.lower), bool(contract.tensors.upper)
    if not contract.HasField("interval"):
        if any(has_tensors):
            yield "tensors.lower and tensors.upper are named, but there is no interval"
        return
    if not all(has_tensors):
        yield "an interval needs both tensors.lower and tensors.upper"
    if not 0 < contract.interval.coverage < 1:
        yield f"interval.coverage is {contract.interval.coverage}, expected between 0 and 1"
    if len(contract.interval.half_width) != len(contract.targets):
        yield (
            f"interval.half_width has {len(contract.interval.half_width)} numbers "
            f"for {len(contract.targets)} targets"
        )
    for target, half_width in zip(contract.targets, contract.interval.half_width, strict=False):
        if not 0 <= half_width < math.inf:
            yield (
                f"interval.half_width of target '{target.name}' is {half_width}, "
                "expected a finite number, zero or more"
            )
