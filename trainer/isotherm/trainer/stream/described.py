"""The contract of a stream: described by a sample, corrected by what is known of all rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import numpy as np

from isotherm.trainer import contract
from isotherm.trainer.config import TrainConfig
from isotherm.trainer.data import Column
from isotherm.trainer.stream.fit import Fit
from isotherm.trainer.stream.frame import Frame, Measured
from isotherm.trainer.stream.statistics import Moments
from isotherm.v1 import contract_pb2 as v1
from isotherm.v1.categories import histogram


def describe(fit: Fit, frame: Frame, config: TrainConfig, created_at: datetime) -> v1.Contract:
    """Build the contract: deciles, predictions and golden rows are those of the sample."""
    described = contract.describe(replace(fit.fitted, table=fit.sample), config, created_at)
    rows = frame.files.rows
    for feature, column, known in zip(
        described.features, frame.features, frame.features_of, strict=True
    ):
        feature.missing_rate = known.missing / rows
        if column.categories:
            _correct_category(feature, column, known, rows)
        else:
            _correct(feature, known)
    if not frame.classes:
        for target, moments in zip(described.targets, frame.targets_of, strict=True):
            _correct(target, moments)
    return described


def _correct(column: v1.Feature | v1.Target, known: Measured | Moments) -> None:
    column.minimum, column.maximum = known.minimum, known.maximum
    column.mean, column.standard_deviation = known.mean, known.deviation
    edges = column.deciles.edges
    if edges:
        # No row of the training lies outside, whether it was drawn or not.
        edges[0], edges[-1] = known.minimum, known.maximum


def _correct_category(feature: v1.Feature, column: Column, known: Measured, rows: int) -> None:
    counts = known.counts[:-1]
    codes = np.arange(len(column.categories))
    feature.unknown_rate = float(known.counts[-1]) / rows
    feature.mean = float(np.average(codes, weights=counts))
    feature.standard_deviation = float(
        np.sqrt(np.average(np.square(codes - feature.mean), weights=counts))
    )
    feature.deciles.CopyFrom(histogram(counts.tolist()))
