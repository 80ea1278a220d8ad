"""Score what either library found in one seed's data against the truth and the oracle's fit."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.tutorial4.equations import NOT_CHOSEN, RATE, Equations, Run, run
from benchmarks.tutorial4.oracle import NAMES, OracleFit, fit_oracle, truth_nll
from benchmarks.tutorial4.simulate import TRUTH, fresh_sessions, from_features

EXCLUDED, FREE, KEPT = 0, 1, 2
"""Status of a term as spicestat writes it: absent; estimated; an own state that stays as it is."""

Z95 = 1.959964
_AGREE = 1e-4

RIGHT: tuple[dict[str, dict[str, int]], ...] = (
    {RATE: {"1": FREE}, NOT_CHOSEN: {"1": FREE, NOT_CHOSEN: FREE}},
    {RATE: {"1": FREE}, NOT_CHOSEN: {NOT_CHOSEN: KEPT}},
)
"""The structure that made the data, per participant: a kept value is not estimated."""

_PLACE = {"alpha": (RATE, "1"), "constant": (NOT_CHOSEN, "1"), "slope": (NOT_CHOSEN, NOT_CHOSEN)}


@dataclass(frozen=True)
class Found:
    """One participant's equations as a library reports them: coefficients, status and errors of the terms in them."""

    equations: Equations
    status: dict[str, dict[str, int]]
    std_error: dict[tuple[str, str], float]
    beta_error: float | None = None


def found_by_spicestat(person: dict[str, Any]) -> Found:
    """Read the terms that `tutorial.describe` wrote."""
    modules: dict[str, dict[str, float]] = {RATE: {}, NOT_CHOSEN: {}}
    status: dict[str, dict[str, int]] = {RATE: {}, NOT_CHOSEN: {}}
    errors, beta, beta_error = {}, float("nan"), None
    for term in person["terms"]:
        module, name = term["module"], term["term"]
        if module == "beta":
            beta, beta_error = term["estimate"], term["std_error"]
        elif term["status"] != EXCLUDED:
            modules[module][name], status[module][name] = term["estimate"], term["status"]
            if term["std_error"] is not None:
                errors[module, name] = term["std_error"]
    return Found(Equations(modules, beta), status, errors, beta_error)


def found_by_autospice(person: dict[str, Any]) -> Found:
    """Read 0.2.0's coefficients; a value that it snapped to exactly 1 counts as kept."""
    modules = {name: dict(person["modules"].get(name, {})) for name in (RATE, NOT_CHOSEN)}
    status = {
        name: {term: KEPT if term == name and value == 1.0 else FREE for term, value in terms.items()}
        for name, terms in modules.items()
    }
    return Found(Equations(modules, person["beta"]), status, {})


def structure_is_right(found: Found, participant: int) -> bool:
    """Whether exactly the terms that made the data are there, each estimated or kept as it should be."""
    return found.status == RIGHT[participant]


def wrong_terms(found: Found, participant: int) -> list[str]:
    """What is missing, too much, or estimated where it should be kept, for people to read."""
    words = []
    for module, right in RIGHT[participant].items():
        have = found.status[module]
        words += [f"{module}: no {term}" for term in right if term not in have]
        words += [f"{module}: also {term}" for term in have if term not in right]
        words += [
            f"{module}: {term} {'estimated' if have[term] == FREE else 'kept'}"
            for term in right
            if term in have and have[term] != right[term]
        ]
    return words


def estimates(found: Found, mean_rate: float) -> dict[str, float]:
    """The equations' parameters; a learning rate that varies counts as its mean over the choices."""
    modules = found.equations.modules
    alpha = modules[RATE]["1"] if set(modules[RATE]) == {"1"} else mean_rate
    kept = modules[NOT_CHOSEN]
    return {
        "alpha": alpha,
        "constant": kept.get("1", 0.0),
        "slope": kept.get(NOT_CHOSEN, 0.0),
        "beta": found.equations.beta,
    }


def std_errors(found: Found) -> dict[str, float | None]:
    """Standard errors of the parameters; none where the learning rate varies or nothing was estimated."""
    constant_rate = set(found.equations.modules[RATE]) == {"1"}
    errors = {name: found.std_error.get(place) for name, place in _PLACE.items()}
    return {**errors, "alpha": errors["alpha"] if constant_rate else None, "beta": found.beta_error}


def score_participant(found: Found, participant: int, seed: int, ran: Run, oracle: OracleFit) -> dict[str, Any]:
    """Compare one participant's equations with truth and oracle; ``ran`` is their run over the fitted data."""
    values, errors, truth = estimates(found, ran.mean_rate), std_errors(found), TRUTH[participant]
    quantities = {}
    for name in NAMES[participant]:
        value, error, right = values[name], errors[name], getattr(truth, name)
        quantities[name] = {
            "estimate": value,
            "std_error": error,
            "oracle": oracle.estimate[name],
            "oracle_std_error": oracle.std_error[name],
            "distance": (value - oracle.estimate[name]) / oracle.std_error[name],
            "covers": error is not None and bool(abs(value - right) <= Z95 * error),
        }
    fresh = fresh_sessions(seed, participant)
    return {
        "structure": structure_is_right(found, participant),
        "wrong": wrong_terms(found, participant),
        "quantities": quantities,
        "nll_excess": run(found.equations, fresh).nll - truth_nll(fresh, truth),
    }


def score_model(
    model: dict[str, Any], library: str, seed: int, xs: np.ndarray, ys: np.ndarray, oracles: list[OracleFit]
) -> dict[str, Any]:
    """Score both participants of one model; NLLs that the library reports must agree with our own stepping."""
    read = found_by_spicestat if library == "spicestat" else found_by_autospice
    people = []
    for code, (person, data) in enumerate(zip(model["participants"], from_features(xs, ys), strict=True)):
        found = read(person)
        ran = run(found.equations, data)
        scored = score_participant(found, code, seed, ran, oracles[code])
        fresh = truth_nll(fresh_sessions(seed, code), TRUTH[code])
        scored["rnn_nll_excess"] = person["rnn_nll_fresh"] - fresh
        _check(person, ran, scored["nll_excess"] + fresh)
        people.append(scored)
    timing = {name: model[name] for name in ("seconds", "cpu_seconds")}
    return {**timing, "structure": all(person["structure"] for person in people), "participants": people}


def score_oracle(xs: np.ndarray, ys: np.ndarray, seed: int) -> tuple[list[OracleFit], list[dict[str, Any]]]:
    """Fit the true equations to both participants, with coverage and NLL for comparison."""
    fits = [fit_oracle(data, code) for code, data in enumerate(from_features(xs, ys))]
    rows = []
    for code, fitted in enumerate(fits):
        covers = {
            name: bool(abs(value - getattr(TRUTH[code], name)) <= Z95 * fitted.std_error[name])
            for name, value in fitted.estimate.items()
        }
        rows.append({"estimate": fitted.estimate, "std_error": fitted.std_error, "nll": fitted.nll, "covers": covers})
    return fits, rows


def _check(person: dict[str, Any], ran: Run, fresh_nll: float) -> None:
    """Hold the library's own likelihood and predictions, where it reports them, to our stepping."""
    pairs = []
    if "log_likelihood" in person:
        pairs.append((-person["log_likelihood"] / person["n_trials"], ran.nll))
    if "spice_nll_fresh" in person:
        pairs.append((person["spice_nll_fresh"], fresh_nll))
    if "largest_difference_to_predict" in person:
        pairs.append((person["largest_difference_to_predict"], 0.0))
    for theirs, ours in pairs:
        if not abs(theirs - ours) <= _AGREE:
            raise ValueError(
                f"the library's likelihood is {theirs:.6f}, stepping through its equations gives {ours:.6f}"
            )
