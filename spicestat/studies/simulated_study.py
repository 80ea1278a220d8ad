"""Simulated studies: people are drawn from a fitted distribution, play, and are analysed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from spicestat.coefficients import CoefficientTable
from spicestat.errors import DataError, NumericalError, SpicestatWarning
from spicestat.fit.table import fit_info, lay_out
from spicestat.group.api import spice_group
from spicestat.group.inputs.likelihood import ChoiceLikelihood
from spicestat.group.methods.registry import find_method
from spicestat.group.result import GroupResult
from spicestat.studies.players import Players
from spicestat.studies.population import Population
from spicestat.studies.study_design import OCCASION, StudyDesign
from spicestat.trials.table import TrialTable

__all__ = ["StudyPlan", "simulate_studies"]

_NUMBERS = ("estimate", "std_error", "p_value", "conf_low", "conf_high")


@dataclass(frozen=True, eq=False)
class StudyPlan:
    """What all simulated studies have in common.

    Attributes
    ----------
    players : Players
    population : Population
    position : int
        Of the coefficient that covariates have effects on.
    design : StudyDesign
    names : tuple of str
        Columns of its design matrix.
    n_blocks : int
        Of each person on each occasion.
    method : str
    group_settings : dict
    """

    players: Players
    population: Population
    position: int
    design: StudyDesign
    names: tuple[str, ...]
    n_blocks: int
    method: str
    group_settings: dict[str, Any]


@dataclass(frozen=True, eq=False)
class _Choices:
    """What a one-stage model reads of a fit: nobody's coefficients have to be estimated alone."""

    coefficients: CoefficientTable
    likelihood: ChoiceLikelihood

    def choice_likelihood(self) -> ChoiceLikelihood:
        return self.likelihood


def simulate_studies(
    plan: StudyPlan, n: int, n_trials: int, effects: Mapping[str, float], studies: Sequence[int], seed: Sequence[int]
) -> list[dict[str, Any]]:
    """Simulate some studies of one design, whose people all play at once, and analyse each; a row per study and effect.

    Parameters
    ----------
    plan : StudyPlan
    n, n_trials : int
        Participants of a study, and trials of each on each occasion.
    effects : mapping of str to float
        By column of the design, on the link scale.
    studies : sequence of int
        Their numbers.
    seed : sequence of int
        Seed of everything that is drawn.
    """
    rng = np.random.default_rng(list(seed))
    people = [plan.design.people(n, rng) for _ in studies]
    values = np.concatenate([_coefficients(plan, one, effects, rng) for one in people])
    played = plan.players.play(values, n_trials // plan.n_blocks, plan.n_blocks, int(rng.integers(2**31)))
    which, row = np.divmod(played["participant"].to_numpy(dtype="int64"), len(people[0]))
    found = []
    with warnings.catch_warnings():
        # what they say is counted in the columns
        warnings.simplefilter("ignore", SpicestatWarning)
        for at, study in enumerate(studies):
            own = which == at
            truth = values[at * len(people[0]) : (at + 1) * len(people[0])]
            trials = _labelled(played[own], people[at], row[own], plan.design.n_occasions)
            result, message = _analysed(plan, trials, people[at], truth)
            for numbers in _rows(plan, result, message, effects):
                size = {"n_participants": n, "n_trials": n_trials, "study": study}
                found.append(size | numbers | {"effect": effects[numbers["term"]]})
    return found


def _coefficients(
    plan: StudyPlan, people: pd.DataFrame, effects: Mapping[str, float], rng: np.random.Generator
) -> np.ndarray:
    """Draw the coefficients of a study's people, (R, K)."""
    linked = plan.population.mean + plan.design.deviations(people, plan.population, rng)
    linked[:, plan.position] += plan.design.shift(people, effects, plan.names)
    return plan.population.natural(linked)


def _labelled(trials: pd.DataFrame, people: pd.DataFrame, row: np.ndarray, n_occasions: int) -> pd.DataFrame:
    columns = {"participant": people["participant"].to_numpy()[row]}
    if n_occasions > 1:
        columns[OCCASION] = people[OCCASION].to_numpy()[row]
    return trials.assign(**columns)


def _analysed(
    plan: StudyPlan, trials: pd.DataFrame, people: pd.DataFrame, truth: np.ndarray
) -> tuple[GroupResult | None, str]:
    """Run the group analysis of one study, or say why there is none."""
    several = plan.design.n_occasions > 1
    one_stage = find_method(plan.method).reads_choices
    try:
        table = plan.players.read(trials, OCCASION if several else None)
        source = _choices_of(plan, table, people, truth) if one_stage else plan.players.estimated(table)
        settings = {**({"max_unidentified": 1.0} if one_stage else {}), **plan.group_settings}
        covariates = people if several else people.drop(columns=OCCASION)
        return spice_group(source, plan.design.formula, data=covariates, method=plan.method, **settings), ""
    except (DataError, NumericalError) as error:
        return None, str(error)


def _choices_of(plan: StudyPlan, table: TrialTable, people: pd.DataFrame, truth: np.ndarray) -> _Choices:
    """Return the choices of a study; where the search for people's coefficients begins, stands the truth."""
    likelihood = plan.players.likelihood(table)
    several = plan.design.n_occasions > 1
    units = people["participant"].str.cat(people[OCCASION].astype(str), sep=":") if several else people["participant"]
    known = pd.Index(units).get_indexer(pd.Index(table.participants))
    shape = (table.n_participants, len(plan.population.terms))
    nothing = np.full(shape, np.nan)
    columns = {
        "pooled": truth[known],
        "selected": np.full(shape, True),
        "converged": np.full(shape, True),
        "at_bound": np.full(shape, True),
    }
    coefficients = lay_out(
        table,
        plan.population.terms,
        nothing,
        nothing,
        np.full((*shape, shape[1]), np.nan),
        likelihood.n_trials,
        fit_info(table, "simulated", 0, "population"),
        columns,
    )
    return _Choices(coefficients, likelihood)


def _rows(
    plan: StudyPlan, result: GroupResult | None, message: str, effects: Mapping[str, float]
) -> Iterator[dict[str, Any]]:
    """Yield a row per effect; what an analysis cannot say is NaN."""
    module, coefficient = plan.population.terms[plan.position]
    for name in effects:
        row: dict[str, Any] = {"term": name, **dict.fromkeys(_NUMBERS, np.nan)}
        row |= {"converged": False, "share_unidentified": np.nan, "same_scale": True, "message": message}
        if result is not None:
            table = result.tidy()
            of_it = (table["module"] == module) & (table["sparse_term"] == coefficient)
            rows = table[of_it & (table["term"] == name)]
            row |= _numbers(plan, result, rows) if len(rows) else {"message": "left out of the group model"}
        yield row


def _numbers(plan: StudyPlan, result: GroupResult, rows: pd.DataFrame) -> dict[str, Any]:
    module, coefficient = key = plan.population.terms[plan.position]
    glance = result.glance()
    own = glance[(glance["module"] == module) & (glance["sparse_term"] == coefficient)]
    about = (own if len(own) else glance).iloc[0]
    found: dict[str, Any] = {name: float(rows.iloc[0][name]) for name in _NUMBERS}
    found["converged"] = bool(about["converged"])
    if not find_method(plan.method).reads_choices:
        found["share_unidentified"] = float(about["share_unidentified"])
    return found | {"same_scale": result.links.get(key, "identity") == plan.population.links[plan.position]}
