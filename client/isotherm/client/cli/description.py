"""A model's description for people: its contract, or what the server says of its tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import RenderableType
from rich.table import Table

from isotherm.v1 import contract_pb2 as v1
from isotherm.v1.contract import takes_missing
from isotherm.v1.contract_pb2 import Contract, Feature, Interval, Provenance, Target
from isotherm.v1.open_inference_pb2 import ModelMetadataResponse

_HASH_DIGITS = 12
_VALUES_SHOWN = 12


def of(contract: Contract) -> Iterator[RenderableType]:
    """Yield the parts of the description, from what a caller needs to where it all comes from."""
    yield f"model {contract.model_name or '(no name)'}"
    yield _columns("features", contract.features)
    yield from map(_values, (each for each in contract.features if each.categories))
    yield from _policies(contract.features)
    yield _columns("targets", contract.targets)
    for target in contract.targets:
        if target.classes:
            yield f"classes of {target.name}: {', '.join(target.classes)}"
    if contract.HasField("interval"):
        yield from _interval(contract.interval, contract.targets)
    if contract.provenance.leaderboard:
        yield _leaderboard(contract)
    yield from _origin(contract.provenance)
    yield f"golden rows, checked at load: {contract.golden.rows}"


def of_metadata(metadata: ModelMetadataResponse) -> Iterator[RenderableType]:
    """Yield the parts of the description of a model that has no contract."""
    versions = ", ".join(metadata.versions)
    platform = f" ({metadata.platform})" if metadata.platform else ""
    yield f"model {metadata.name}{f', version {versions}' if versions else ''}{platform}"
    yield _tensors("inputs", metadata.inputs)
    yield _tensors("outputs", metadata.outputs)


def _tensors(title: str, tensors: Iterable[ModelMetadataResponse.TensorMetadata]) -> Table:
    table = Table(title=title, title_justify="left")
    for head in ("name", "datatype", "shape"):
        table.add_column(head)
    for tensor in tensors:
        # -1 is any size.
        table.add_row(tensor.name, tensor.datatype or "-", str(list(tensor.shape)))
    return table


def _columns(title: str, columns: Iterable[Feature] | Iterable[Target]) -> Table:
    table = Table(title=title, title_justify="left")
    texts = ("name", "unit", "datatype")
    numbers = ("minimum", "maximum", "mean", "std")
    for head in (*texts, *numbers, "missing"):
        table.add_column(head, justify="left" if head in texts else "right")
    for column in columns:
        table.add_row(
            column.name,
            column.unit or "-",
            column.datatype or "-",
            *_figures(column),
            f"{column.missing_rate:.1%}" if isinstance(column, Feature) else "-",
        )
    return table


def _figures(column: Feature | Target) -> list[str]:
    if isinstance(column, Feature) and column.categories:
        # Those of its codes say nothing to anybody.
        return ["-"] * 4
    numbers = (column.minimum, column.maximum, column.mean, column.standard_deviation)
    return [f"{number:.6g}" for number in numbers]


def _policies(features: Iterable[Feature]) -> Iterator[str]:
    """Yield what becomes of missing cells, if any of them are taken."""
    found: dict[str, list[str]] = {}
    for feature in features:
        if takes_missing(feature):
            policy = v1.MissingPolicy.Name(feature.missing).removeprefix("MISSING_").lower()
            found.setdefault(policy, []).append(feature.name)
    if found:
        taken = "; ".join(f"{policy} in {', '.join(names)}" for policy, names in found.items())
        yield f"a missing cell: {taken}; refused elsewhere"


def _values(feature: Feature) -> str:
    """Return the values of a category, the most frequent first."""
    count = len(feature.categories)
    shown = ", ".join(feature.categories[:_VALUES_SHOWN])
    more = f" and {count - _VALUES_SHOWN} more" if count > _VALUES_SHOWN else ""
    unknown = f"; {feature.unknown_rate:.1%} of the rows had none of them"
    return f"values of {feature.name} ({count}): {shown}{more}{unknown}"


def _interval(interval: Interval, targets: Iterable[Target]) -> Iterator[str]:
    for target, half_width in zip(targets, interval.half_width, strict=True):
        unit = f" {target.unit}" if target.unit else ""
        if target.transform:
            unit = f" on the scale of its {target.transform}"
        yield (
            f"interval of {target.name}: +-{half_width:.6g}{unit} "
            f"covers {interval.coverage:.0%} ({interval.method or 'method unknown'})"
        )


def _leaderboard(contract: Contract) -> Table:
    target = contract.targets[0]
    unit = f" [{target.unit}]" if target.unit and not target.classes else ""
    table = Table(title=f"leaderboard, errors of {target.name}{unit}", title_justify="left")
    table.add_column("model")
    metric = contract.provenance.error_metric or "RMSE"
    for head in ("parameters", f"CV {metric}", f"training {metric}"):
        table.add_column(head, justify="right")
    for head in ("cross-validation", "in this file"):
        table.add_column(head)
    for candidate in contract.provenance.leaderboard:
        table.add_row(
            candidate.name,
            str(candidate.parameters),
            f"{candidate.cross_validation_error:.4f}",
            f"{candidate.training_error:.4f}",
            candidate.cross_validation or "-",
            "yes" if candidate.chosen else "",
        )
    return table


def _origin(provenance: Provenance) -> Iterator[str]:
    digest = provenance.data_sha256[:_HASH_DIGITS]
    data = f" (SHA-256 {digest}...)" if digest else ""
    time = f", at {provenance.created_at}" if provenance.created_at else ""
    yield f"trained on {provenance.rows} rows{data}, seed {provenance.seed}{time}"
    if provenance.git_commit:
        yield f"git commit {provenance.git_commit}"
    if provenance.package_versions:
        packages = sorted(provenance.package_versions.items())
        yield "packages " + ", ".join(f"{name} {version}" for name, version in packages)
