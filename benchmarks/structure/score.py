"""Judge found structures by the mechanisms that made the data. A structure is a status (P, K) over K terms."""

from typing import Any

import numpy as np

from benchmarks.structure.simulate import ASYMMETRIC, FORGETTING, MECHANISMS, PERSEVERATION, RW
from spicestat.equations.structure.equation_set import BETA, EXCLUDED, FREE, KEPT

RATE, NOT_CHOSEN, CHOICE = "x_learning_rate_reward", "x_value_reward_not_chosen", "x_value_choice"
OTHER = len(MECHANISMS)
"""Several of the mechanisms, or no learning at all."""

EASY = ((RATE, "1"), (CHOICE, "1"))
"""Terms without a question: everybody has a learning rate; what is added to both actions' trace cancels."""

BINS = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0)
"""Edges of the bins for inclusion probabilities."""

_STARTS_AT_ZERO = (RATE, CHOICE)

Terms = list[tuple[str, str]]


def true_status(mechanism: np.ndarray, terms: Terms) -> np.ndarray:
    """Status (P, K) of the equations that made the data."""
    status = np.full((len(mechanism), len(terms)), EXCLUDED, dtype=np.int8)
    status[:, terms.index((NOT_CHOSEN, NOT_CHOSEN))] = KEPT
    owners = {
        (RATE, "1"): mechanism >= RW,
        (RATE, "c_reward"): mechanism == ASYMMETRIC,
        (NOT_CHOSEN, "1"): mechanism == FORGETTING,
        (NOT_CHOSEN, NOT_CHOSEN): mechanism == FORGETTING,
        (CHOICE, CHOICE): mechanism == PERSEVERATION,
        (CHOICE, "c_action"): mechanism == PERSEVERATION,
    }
    for term, whose in owners.items():
        status[whose, terms.index(term)] = FREE
    for position, (module, _) in enumerate(terms):
        if module == BETA:
            status[:, position] = FREE
    return status


def without_idle(status: np.ndarray, terms: Terms) -> np.ndarray:
    """Exclude an own state that starts at 0 and to which nothing is ever added: it does nothing."""
    cleaned = status.copy()
    for module in _STARTS_AT_ZERO:
        own = terms.index((module, module))
        rest = [position for position, (name, term) in enumerate(terms) if name == module and term != module]
        cleaned[(status[:, rest] == EXCLUDED).all(axis=1), own] = EXCLUDED
    return cleaned


def sparse_status(coefficients: np.ndarray, terms: Terms, threshold: float, tolerance: float) -> np.ndarray:
    """Structure that a sparse regression implies: a value is kept if its coefficient is within ``tolerance`` of 1."""
    status = np.where(np.abs(coefficients) >= threshold, FREE, EXCLUDED).astype(np.int8)
    own = [position for position, (module, term) in enumerate(terms) if module == term]
    near = np.abs(coefficients[:, own] - 1.0) < tolerance
    status[:, own] = np.where(near, KEPT, status[:, own])
    return status


def implied_mechanism(status: np.ndarray, terms: Terms) -> np.ndarray:
    """Position in `MECHANISMS` (P,) that a structure implies, or `OTHER`."""
    cleaned = without_idle(status, terms)

    def used(module: str, *leaving_out: str) -> np.ndarray:
        where = [p for p, (name, term) in enumerate(terms) if name == module and term not in leaving_out]
        used_by: np.ndarray = (cleaned[:, where] != EXCLUDED).any(axis=1)
        return used_by

    own = terms.index((NOT_CHOSEN, NOT_CHOSEN))
    flags = np.zeros((len(status), len(MECHANISMS)), dtype=bool)
    flags[:, FORGETTING] = (cleaned[:, own] != KEPT) | used(NOT_CHOSEN, NOT_CHOSEN)
    flags[:, PERSEVERATION] = used(CHOICE)
    flags[:, ASYMMETRIC] = used(RATE, "1")
    single = np.where(flags.any(axis=1), flags.argmax(axis=1), RW)
    return np.where((flags.sum(axis=1) > 1) | ~used(RATE), OTHER, single)


def score(mechanism: np.ndarray, status: np.ndarray, terms: Terms) -> dict[str, Any]:
    """Rates over participants and terms of one method.

    A term of the truth is found if it is free. Elsewhere any other status than the true one is a false positive, so
    that a value that is dropped rather than kept counts as wrong. Inverse temperatures do not count.
    """
    truth, found = true_status(mechanism, terms), without_idle(status, terms)
    implied = implied_mechanism(found, terms)
    counted = [position for position, (module, _) in enumerate(terms) if module != BETA]
    hard = [position for position in counted if terms[position] not in EASY]
    confusion = np.zeros((len(MECHANISMS), len(MECHANISMS) + 1), dtype=int)
    np.add.at(confusion, (mechanism, implied), 1)
    return {
        **_rates(truth[:, counted], found[:, counted]),
        "hard": _rates(truth[:, hard], found[:, hard]),
        "exact": float((truth == found)[:, counted].all(axis=1).mean()),
        "mechanism": float((implied == mechanism).mean()),
        "confusion": confusion.tolist(),
        "terms": [
            {"module": terms[p][0], "term": terms[p][1], **_rates(truth[:, p : p + 1], found[:, p : p + 1])}
            for p in counted
        ],
    }


def _rates(truth: np.ndarray, found: np.ndarray) -> dict[str, Any]:
    """True- and false-positive rate (None without a case), their balanced accuracy, and the numbers of cases."""
    positive = truth == FREE
    hits, errors = (found == FREE)[positive], (found != truth)[~positive]
    tpr = float(hits.mean()) if hits.size else None
    fpr = float(errors.mean()) if errors.size else None
    balanced = None if tpr is None or fpr is None else (tpr + 1.0 - fpr) / 2
    return {"tpr": tpr, "fpr": fpr, "balanced": balanced, "positives": int(hits.size), "negatives": int(errors.size)}


def interval(mechanism: np.ndarray, status: np.ndarray, terms: Terms, n_draws: int = 2000) -> tuple[float, float]:
    """95 % bootstrap interval of the balanced accuracy, over participants within mechanisms."""
    rng = np.random.default_rng(0)
    truth, found = true_status(mechanism, terms), without_idle(status, terms)
    counted = np.array([module != BETA for module, _ in terms])
    positive, right = truth == FREE, truth == found
    cases = np.stack(
        [(which & counted).sum(axis=1) for which in (positive, positive & right, ~positive, ~positive & right)], axis=1
    )
    groups = [np.flatnonzero(mechanism == kind) for kind in np.unique(mechanism)]
    drawn = np.concatenate([rng.choice(group, (n_draws, len(group))) for group in groups], axis=1)
    positives, hits, negatives, kept = cases[drawn].sum(axis=1).T
    low, high = np.quantile((hits / positives + kept / negatives) / 2, [0.025, 0.975])
    return float(low), float(high)


def calibration(mechanism: np.ndarray, inclusion: np.ndarray, terms: Terms) -> dict[str, Any]:
    """Reliability of inclusion probabilities: per bin their mean, how often the term is in the truth, and the number.

    ``error`` is the mean distance of the two, weighted by the numbers; ``brier`` the mean squared error, and
    ``brier_of_selection`` what the same numbers rounded to 0 and 1 would have.
    """
    counted = [position for position, (module, _) in enumerate(terms) if module != BETA]
    truth = (true_status(mechanism, terms) == FREE)[:, counted].ravel()
    given = inclusion[:, counted].ravel()
    edges = np.array(BINS)
    which = np.clip(np.searchsorted(edges, given, side="right") - 1, 0, len(edges) - 2)
    bins: list[dict[str, Any]] = []
    error = 0.0
    for number in range(len(edges) - 1):
        inside = which == number
        filled = bool(inside.any())
        mean, share = (float(part[inside].mean()) if filled else 0.0 for part in (given, truth))
        error += inside.mean() * abs(mean - share)
        bins.append(
            {
                "from": BINS[number],
                "to": BINS[number + 1],
                "decisions": int(inside.sum()),
                "mean_inclusion": mean if filled else None,
                "true_share": share if filled else None,
            }
        )
    return {
        "bins": bins,
        "error": float(error),
        "brier": float(((given - truth) ** 2).mean()),
        "brier_of_selection": float((((given > 0.5) - truth.astype(float)) ** 2).mean()),
    }


def wrong_structures(mechanism: np.ndarray, status: np.ndarray, terms: Terms) -> dict[str, int]:
    """What is wrong with the structures that are, and how often: {"forgetting: lacks ...": participants}."""
    truth, found = true_status(mechanism, terms), without_idle(status, terms)
    counts: dict[str, int] = {}
    for kind, wanted, got in zip(mechanism, truth, found, strict=True):
        if not (wanted == got).all():
            parts = [_difference(terms[p], wanted[p], got[p]) for p in np.flatnonzero(wanted != got)]
            label = f"{MECHANISMS[kind]}: {', '.join(parts)}"
            counts[label] = counts.get(label, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def _difference(term: tuple[str, str], wanted: int, got: int) -> str:
    name = f"`{term[0]}: {'own' if term[0] == term[1] else term[1]}`"
    if wanted == EXCLUDED:
        return f"{name} {'added' if got == FREE else 'kept'}"
    return f"{name} {('missing', 'estimated', 'kept')[got]}"
