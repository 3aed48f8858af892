"""Tests of what is tried next, and of what is given up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from optuna.trial import FrozenTrial

from isotherm.trainer.tune.config import Range, Scalar
from isotherm.trainer.tune.sampling import Sampler, importance
from isotherm.trainer.tune.space import Dimension, Parameters
from isotherm.trainer.tune.trial import RUNGS, Outcome, State

DIMENSIONS: Mapping[str, Dimension] = {
    "rate": Range(low=1e-3, high=1.0, log=True),
    "width": Range(low=2, high=64),
    "kind": ("Tanh", "ReLU"),
}


def sampler(ended: Iterable[FrozenTrial] = (), *, seed: int = 3, prune: bool = False) -> Sampler:
    return Sampler(DIMENSIONS, seed=seed, prune=prune, ended=ended)


def error(parameters: Mapping[str, Scalar]) -> float:
    return abs(float(parameters["rate"]) - 0.1) + (parameters["kind"] == "Tanh")


def complete(one: Sampler, index: int, parameters: Mapping[str, Scalar]) -> FrozenTrial:
    return one.end(index, Outcome(state=State.COMPLETE, error=error(parameters)))


def test_an_interrupted_search_tries_what_an_uninterrupted_one_tries() -> None:
    """Also after the first ten, which are drawn without looking at the trials before."""
    through, expected = sampler(), []
    for index in range(16):
        parameters = through.suggest(index)
        expected.append(parameters)
        complete(through, index, parameters)
    kept: list[FrozenTrial] = []
    found = []
    for index in range(16):
        # Begun, killed, and begun again by a process that knows the trials that have ended.
        sampler(kept).suggest(index)
        again = sampler(kept)
        parameters = again.suggest(index)
        found.append(parameters)
        kept.append(complete(again, index, parameters))

    assert found == expected
    assert len({str(parameters) for parameters in found}) == 16


def test_another_seed_tries_something_else() -> None:
    """Of the same space."""
    assert sampler().suggest(0) != sampler(seed=4).suggest(0)


def test_a_trial_begins_again_with_its_own_parameters() -> None:
    """Whatever the sampler would try now."""
    begun: Parameters = {"rate": 0.123456789, "width": 7, "kind": "ReLU"}
    one = sampler()
    one.resume(5, begun)
    kept = one.end(5, Outcome(state=State.COMPLETE, error=1.0))

    assert kept.params == begun
    assert kept.user_attrs["index"] == 5


def test_a_trial_that_is_worse_than_half_of_the_others_is_given_up() -> None:
    """Not before five have ended, not in the first steps, and not where nothing is pruned."""
    for prune in (True, False):
        one = sampler(prune=prune)
        for index in range(5):
            parameters = one.suggest(index)
            assert all(one.goes_on(index, step, 9.0) for step in range(1, RUNGS + 1))
            complete(one, index, parameters)
        one.suggest(5)
        early = one.goes_on(5, 1, 99.0)
        late = one.goes_on(5, RUNGS // 2, 99.0)

        assert (early, late) == (True, not prune)


def test_what_a_trial_told_before_its_process_died_it_may_tell_again() -> None:
    """The first loss of a step counts."""
    one = sampler()
    parameters = one.suggest(0)
    assert [one.goes_on(0, step, loss) for step, loss in ((1, 4.0), (2, 3.0), (1, 5.0))] == [
        True
    ] * 3
    kept = complete(one, 0, parameters)

    assert kept.intermediate_values == {1: 4.0, 2: 3.0}


def test_the_parameter_that_matters_is_the_most_important() -> None:
    """By the trials alone."""
    one, kept = sampler(), []
    for index in range(40):
        parameters = one.suggest(index)
        kept.append(complete(one, index, parameters))
    found = importance(kept)

    assert {*found} == {*DIMENSIONS}
    assert next(iter(found)) in {"kind", "rate"}
    assert importance(kept[:1]) == {}
