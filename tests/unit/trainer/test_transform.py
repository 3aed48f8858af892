"""Targets that are learned on another scale, and answered in their unit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isotherm.trainer import (
    api,
    contract,
    data,
    export,
    fit,
    outcomes,
    parity,
    probes,
    report,
    restoring,
    run,
)
from isotherm.trainer import transform as transforms
from isotherm.trainer.columns import Floats
from isotherm.trainer.errors import ConfigError, DataError
from isotherm.trainer.transform import Outputs
from tests.unit.trainer.conftest import CREATED_AT

NAMES = ["log", "log1p", "sqrt"]
# What float32 holds, and what a table may have.
POSITIVE = st.floats(2.0**-60, 2.0**60, width=32)


@st.composite
def _targets(draw: Any) -> Floats:
    values = draw(st.lists(POSITIVE, min_size=3, max_size=30, unique=True))
    return np.array(values, dtype=np.float64)[:, np.newaxis]


@pytest.mark.parametrize("name", NAMES)
@given(y=_targets())
def test_what_is_learned_comes_back(name: str, y: Floats) -> None:
    """Standardised and restored, in numpy."""
    outputs = Outputs.of(y, [name])

    # Of a logarithm all digits of each, else as many as the largest has.
    slack = 0.0 if name == "log" else 1e-9 * y.max()
    np.testing.assert_allclose(outputs.restore(outputs.standardise(y)), y, rtol=1e-6, atol=slack)


@pytest.mark.parametrize("name", NAMES)
@given(y=_targets(), far=st.floats(-1e9, 1e9))
def test_no_answer_is_infinite(name: str, y: Floats, far: float) -> None:
    """Whatever a network says, in numpy and in float32; beyond the range by one range at most."""
    outputs = Outputs.of(y, [name])
    learned = transforms.learn(y, [name])
    beyond = np.ptp(learned)
    (way,) = outputs.transforms

    answer = outputs.restore(np.array([[far]])).item()
    said = torch.tensor(outputs.scaling.restore(np.array([[far]])), dtype=torch.float32)
    served = restoring.restored(way, said).item()

    assert np.isfinite([answer, served]).all()
    assert served == pytest.approx(answer, rel=1e-4, abs=1e-4 * float(y.std()))
    again = transforms.learn(np.array([[max(answer, 2.0**-149)]]), [name]).item()
    assert again <= learned.max() + beyond * 1.001
    assert again >= learned.min() - beyond * 1.001 or name != "log"


def test_the_ways_back_keep_small_answers() -> None:
    """exp(t) - 1 would lose the digits of a millionth, tanh(t / 2) * (exp(t) + 1) does not."""
    way = transforms.bounded("log1p", 0.0, 1.0)
    values = np.array([1e-6, 1e-3, 0.5, 1.0])

    served = restoring.restored(way, torch.tensor(values, dtype=torch.float32)).numpy()

    np.testing.assert_allclose(served, np.expm1(values), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "y", "error"),
    [
        (
            "log",
            [3.0, 2.0, 0.0],
            "column 'y' of the table has 0 in row 3; the transform log takes numbers above 0",
        ),
        ("log1p", [3.0, -1.0, 2.0], "has -1 in row 2; the transform log1p takes numbers above -1"),
        ("sqrt", [-0.5, 1.0, 2.0], "has -0.5 in row 1; the transform sqrt takes numbers from 0 on"),
        ("log", ["a", "b", "a"], "column 'y' .* 'a' in row 1; expected numbers"),
    ],
)
def test_values_without_a_place_on_the_scale_are_refused(name: str, y: Any, error: str) -> None:
    """Errors name the column, the row, and what the transform takes."""
    with pytest.raises(DataError, match=error):
        data.table({"a": [1, 2, 4], "y": y}, features=["a"], targets=["y"], transforms={"y": name})


def test_a_transform_is_of_a_number_among_the_targets() -> None:
    """Of no feature, no label and of no other name."""
    columns = {"a": [1, 2, 4], "y": [1, 2, 3]}
    given: dict[str, Any] = {"features": ["a"], "targets": ["y"]}

    with pytest.raises(DataError, match=r"data\.transforms names 'a', which is no target"):
        data.table(columns, **given, transforms={"a": "log"})
    with pytest.raises(DataError, match="is to be learned as log, but the task is multiclass"):
        data.table(columns, **given, task="multiclass", transforms={"y": "log"})
    with pytest.raises(ConfigError, match=r"data.transforms.y: Input should be 'log', 'log1p' or"):
        data.table(columns, **given, transforms={"y": "cube"})
    with pytest.raises(
        DataError, match="transforms names 'z', which is no target; the targets are y"
    ):
        fit(None, np.arange(9.0), np.arange(9.0), transforms={"z": "log"})
    with pytest.raises(DataError, match="target 'y' is a label, which is not learned as sqrt"):
        fit(None, np.arange(6.0), ["a", "b"] * 3, transforms={"y": "sqrt"})


def test_zero_and_one_are_numbers_where_they_are_to_be_learned_as_numbers() -> None:
    """Two whole numbers would be a label; a transform says that they are none."""
    table = data.table(
        {"a": range(8), "y": [0, 1] * 4}, features=["a"], targets=["y"], transforms={"y": "sqrt"}
    )

    assert table.classes == ()
    assert table.targets[0].transform == "sqrt"


def _prices(rows: int, seed: int) -> tuple[Floats, Floats]:
    """Prices that grow by factors: what they miss by grows with them."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 4, size=(rows, 1))
    return x, np.exp(2 + x + rng.normal(scale=0.4, size=x.shape))


@pytest.fixture(name="skewed", scope="module")
def _skewed() -> api.Trained:
    return fit(None, *_prices(300, 0), transforms={"y": "log"}, choose="line", epochs=5)


def test_skewed_targets_have_asymmetric_intervals_that_hold_what_they_promise(
    skewed: api.Trained,
) -> None:
    """Of cheap and of dear rows alike; one width in the unit holds all of the cheap ones."""
    x, y = _prices(4000, 1)
    plain = fit(None, *_prices(300, 0), choose="line", epochs=5)

    def covered(trained: api.Trained) -> list[float]:
        with torch.inference_mode():
            _, lower, upper = trained.fitted.served(torch.tensor(x, dtype=torch.float32))
        inside = (lower.numpy() <= y) & (y <= upper.numpy())
        return [float(inside[half].mean()) for half in (x < 2, x >= 2)]

    assert covered(skewed) == pytest.approx([0.9, 0.9], abs=0.05)
    cheap, dear = covered(plain)
    assert cheap > 0.97
    assert dear < 0.87
    assert skewed.fitted.measured_coverage == pytest.approx(0.9, abs=0.04)


def test_bounds_are_those_of_the_learned_scale(skewed: api.Trained) -> None:
    """The answer times and by the same factor: in the graph, and in what is told of it."""
    (width,) = skewed.fitted.half_width
    with torch.inference_mode():
        y, lower, upper = (
            each.numpy() for each in skewed.fitted.served(torch.tensor([[0.5], [3.5]]))
        )

    np.testing.assert_allclose(np.log(upper / y), width, rtol=1e-5)
    np.testing.assert_allclose(np.log(y / lower), width, rtol=1e-5)
    told = outcomes.bounds(skewed.fitted, 0, y[:, 0].astype(np.float64))
    np.testing.assert_allclose(told, [lower[:, 0], upper[:, 0]], rtol=1e-5)
    # Put together from truth and residual, an answer next to 0 may come out below it.
    assert np.isfinite(outcomes.bounds(skewed.fitted, 0, np.array([-1e-9]))).all()


def test_far_rows_are_answered_at_the_bound_with_an_interval_below_it(skewed: api.Trained) -> None:
    """Not with an interval around a number that nobody is told."""
    (width,) = skewed.fitted.half_width
    learned = np.log(skewed.fitted.table.y)
    with torch.inference_mode():
        y, lower, upper = (each.item() for each in skewed.fitted.served(torch.tensor([[1e4]])))

    assert np.log(y) == pytest.approx(learned.max() + np.ptp(learned), rel=1e-5)
    assert upper == y
    assert np.log(y / lower) == pytest.approx(width, rel=1e-4)


def test_the_leaderboard_is_in_the_unit_and_says_what_is_not(skewed: api.Trained) -> None:
    """Errors of prices, an interval of their logarithm with an example, and counts that agree."""
    chosen = skewed.leaderboard.chosen
    errors = chosen.held_out_residuals[:, 0]
    text = " ".join(report.sentences(skewed.fitted))

    assert chosen.cross_validation_error == pytest.approx(
        np.sqrt(np.square(errors).mean()), rel=0.1
    )
    assert chosen.cross_validation_error > 10
    assert f"log of y +- {skewed.fitted.half_width[0]:.4g}, such as" in text
    assert outcomes.covered(skewed.fitted)[0] / 300 == pytest.approx(0.9, abs=0.01)


def test_the_contract_says_on_which_scale_a_target_was_learned(skewed: api.Trained) -> None:
    """And the interval's width is on it; golden rows answer with numbers."""
    described = contract.describe(skewed.fitted, skewed.config, CREATED_AT)

    assert described.targets[0].transform == "log"
    assert described.interval.half_width[0] == pytest.approx(skewed.fitted.half_width[0])
    assert np.isfinite(described.golden.outputs).all()


@pytest.mark.slow
@settings(max_examples=12)
@given(
    names=st.lists(st.sampled_from(["", *NAMES]), min_size=1, max_size=3),
    split=st.sampled_from(["random", "time", "group"]),
    weighed=st.booleans(),
    magnitude=st.floats(-3, 6),
    seed=st.integers(0, 2**32),
)
def test_every_split_weight_and_transform_is_served_as_torch_answers(
    names: list[str], split: str, weighed: bool, magnitude: float, seed: int
) -> None:
    """ONNX Runtime within the contract's tolerance, near the table and ten ranges away."""
    rng = np.random.default_rng(seed)
    rows, targets = 60, [f"y{i}" for i in range(len(names))]
    x = rng.normal(size=(rows, 2))
    y = 10**magnitude * np.exp(x @ rng.normal(size=(2, len(names))))
    keys: dict[str, Any] = {split: rng.integers(0, 15, rows)} if split != "random" else {}
    trained = fit(
        None,
        x,
        y,
        targets=targets,
        epochs=5,
        weight_decay=0.3,
        weight=rng.choice([0.0, 0.5, 2.0], rows) if weighed else None,
        transforms={target: name for target, name in zip(targets, names, strict=True) if name},
        **keys,
    )

    # Which raises where they differ.
    content, _ = run.build(trained.fitted, trained.config, CREATED_AT)

    session, golden = parity.session(content), export.contract_of(content).golden
    for batch, slack in ((x, 1.0), (probes.far(x), probes.FAR)):
        raw = batch.astype(np.float32)
        with torch.inference_mode():
            expected = [each.numpy() for each in trained.fitted.served(torch.from_numpy(raw))]
        y_served, lower, upper = session.run(None, {"x": raw})
        for theirs, ours in zip((y_served, lower, upper), expected, strict=True):
            assert np.isfinite(theirs).all()
            allowed = golden.absolute_tolerance + golden.relative_tolerance * np.abs(ours)
            assert (np.abs(theirs - ours) <= slack * allowed).all()
        assert (lower <= y_served).all()
        assert (y_served <= upper).all()
