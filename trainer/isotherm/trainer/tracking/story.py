"""The story of a training: what a store is told of it once the model is published."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.json_format import MessageToJson

from isotherm.trainer import export, run
from isotherm.trainer.card import markdown
from isotherm.trainer.document import Document, Grid, Section
from isotherm.trainer.tracking.losses import Losses
from isotherm.v1.contract_pb2 import Contract


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One trial of a search.

    Attributes:
        parameters: that it tried, by name.
        error: in cross-validation; None where it was not completed.
        losses: validation loss by step.
        started: seconds since 1970.
    """

    name: str
    state: str
    parameters: Mapping[str, bool | int | float | str]
    error: float | None
    losses: Mapping[int, float]
    started: float
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """What there is to tell.

    Attributes:
        path: `<repository>/<name>/<version>/model.onnx`.
        parameters: the settings that made the model, and its data, by dotted name.
        metrics: errors by name.
        files: pictures and reports.
    """

    path: Path
    content: bytes
    contract: Contract
    parameters: Mapping[str, str]
    metrics: Mapping[str, float]
    losses: Losses
    files: Sequence[Path] = ()
    trials: Sequence[Trial] = ()

    @property
    def name(self) -> str:
        """The model's."""
        return self.path.parts[-3]

    @property
    def version(self) -> str:
        """The model's, in its repository."""
        return self.path.parts[-2]

    @property
    def contract_json(self) -> str:
        """The contract, for people."""
        return MessageToJson(self.contract, preserving_proto_field_name=True)

    @property
    def leaderboard(self) -> str:
        """The leaderboard as Markdown."""
        provenance = self.contract.provenance
        metric = provenance.error_metric
        rows = tuple(
            (
                one.name,
                str(one.parameters),
                f"{one.cross_validation_error:.4g}",
                f"{one.training_error:.4g}",
                "yes" if one.chosen else "",
            )
            for one in provenance.leaderboard
        )
        header = ("model", "parameters", f"CV {metric}", f"train {metric}", "chosen")
        section = Section(title="Leaderboard", blocks=(Grid(header=header, rows=rows),))
        return markdown(
            Document(title=f"{self.name}, version {self.version}", lead="", sections=(section,))
        )


def of(
    path: Path, parity: float, losses: Losses, files: Sequence[Path], trials: Sequence[Trial] = ()
) -> Story:
    """Tell the story of a published file; all but the losses stands in the file itself."""
    content = path.read_bytes()
    properties = {entry.key: entry.value for entry in export.parse(content).metadata_props}
    contract = export.contract_of(content)
    return Story(
        path=path,
        content=content,
        contract=contract,
        parameters=_parameters(contract, json.loads(properties[run.TRAINING_KEY])),
        metrics=_metrics(contract) | {"parity": parity},
        losses=losses,
        files=files,
        trials=trials,
    )


def _parameters(contract: Contract, recipe: Mapping[str, object]) -> dict[str, str]:
    provenance = contract.provenance
    data = {
        "data.sha256": provenance.data_sha256,
        "data.rows": provenance.rows,
        "data.features": ", ".join(feature.name for feature in contract.features),
        "data.targets": ", ".join(target.name for target in contract.targets),
    }
    return {name: _text(value) for name, value in {**run.flat(recipe), **data}.items()}


def _metrics(contract: Contract) -> dict[str, float]:
    metrics = {}
    for one in contract.provenance.leaderboard:
        metrics[f"cross_validation/{one.name}"] = one.cross_validation_error
        metrics[f"train/{one.name}"] = one.training_error
        if one.chosen:
            metrics["cross_validation_error"] = one.cross_validation_error
            metrics["train_error"] = one.training_error
    if contract.HasField("interval"):
        metrics["interval_coverage"] = contract.interval.coverage
    return metrics


def _text(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
