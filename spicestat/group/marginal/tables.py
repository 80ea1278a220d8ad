"""Tables of the one-stage hierarchical model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from spicestat.errors import DataError
from spicestat.group.formula.random_columns import RandomColumns
from spicestat.group.inputs.contract import GroupEstimates, GroupInputs
from spicestat.group.inputs.likelihood import HasShared
from spicestat.group.inputs.links import Link
from spicestat.group.marginal.climber import APART, DIFFERENT
from spicestat.group.marginal.hierarchical_fit import HierarchicalFit
from spicestat.group.marginal.modes import to_natural

__all__ = ["Layout", "hierarchical_estimates"]

_FEW, _CARRIED = 5, 0.5


@dataclass(frozen=True, eq=False)
class Layout:
    """What a fit's numbers are of.

    Attributes
    ----------
    terms : tuple of K (module, term)
    rows : tuple of n labels
    links : sequence of K Link
    names : tuple of K tuple of str
        Columns of each coefficient's design.
    designs : tuple of K ndarray of shape (n, p_k)
    """

    terms: Sequence[tuple[str, str]]
    rows: Sequence[Any]
    links: Sequence[Link]
    names: tuple[tuple[str, ...], ...]
    designs: tuple[np.ndarray, ...]

    @property
    def ends(self) -> np.ndarray:
        """Where the fixed effects of each coefficient begin, and the last ends."""
        return np.cumsum([0, *map(len, self.names)])

    def effects(self, k: int) -> slice:
        """Return the fixed effects of a coefficient."""
        return slice(int(self.ends[k]), int(self.ends[k + 1]))


def hierarchical_estimates(inputs: GroupInputs, layout: Layout, fit: HierarchicalFit) -> GroupEstimates:
    """Lay a fit out as tables.

    Raises
    ------
    DataError
        None of the coefficients asked for is estimated.
    """
    asked = {equation.key for equation in inputs.equations}
    shown = [k for k, term in enumerate(layout.terms) if term in asked]
    if not shown:
        raise DataError("none of the coefficients asked for is estimated from the choices", got=sorted(asked))
    own = [layout.effects(k) for k in range(len(layout.terms))]
    return GroupEstimates(
        fixed=_fixed(inputs, layout, fit, shown),
        ran_pars=pd.DataFrame([row for k in shown for row in _spread(inputs, layout, fit, k, shown)]),
        glance=_glance(inputs, layout, fit),
        covariance={layout.terms[k]: fit.covariance[own[k], own[k]] for k in shown},
        ran_vals=_deviations(layout, fit, shown),
        joint_covariance=_joint(layout, fit),
        links={
            term: link.name for term, link in zip(layout.terms, layout.links, strict=True) if link.name != "identity"
        },
        shrunken=_shrunken(layout, fit),
        messages=tuple(_messages(inputs, layout, fit)),
        doubt=_doubt(fit),
    )


def _doubt(fit: HierarchicalFit) -> str:
    """Say that the choices do not decide between several answers; usually nothing."""
    if fit.apart <= DIFFERENT:
        return ""
    return (
        f"searches from different starts ended within {APART:g} nats of each other with effects that differ by up to "
        f"{fit.apart:.1f} standard errors, so that the choices do not decide between them. A simpler formula, fewer "
        'random parts, more trials or method="bayes", which weighs all of them, would help'
    )


def _fixed(inputs: GroupInputs, layout: Layout, fit: HierarchicalFit, shown: Sequence[int]) -> pd.DataFrame:
    errors, n = np.sqrt(np.diag(fit.covariance)), len(layout.rows)
    rows = []
    for k in shown:
        module, term = layout.terms[k]
        left = float(n - len(layout.names[k]))
        for name, at in zip(layout.names[k], range(layout.ends[k], layout.ends[k + 1]), strict=True):
            df = min(float(fit.df[at]), left) if inputs.design.random else left
            effect = {"estimate": fit.gamma[at], "std_error": errors[at], "df": df}
            rows.append({"module": module, "sparse_term": term, "term": name, **effect})
    return pd.DataFrame(rows)


def _joint(layout: Layout, fit: HierarchicalFit) -> pd.DataFrame:
    labels = [(*term, name) for term, names in zip(layout.terms, layout.names, strict=True) for name in names]
    index = pd.MultiIndex.from_tuples(labels, names=["module", "sparse_term", "term"])
    return pd.DataFrame(fit.covariance, index=index, columns=index)


def _spread(
    inputs: GroupInputs, layout: Layout, fit: HierarchicalFit, k: int, shown: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Yield standard deviations and correlations of a coefficient, part by part, named as in broom.mixed."""
    where = {"module": layout.terms[k][0], "sparse_term": layout.terms[k][1]}
    pieces = [(part.group, part.names, part.correlated) for part in inputs.design.random]
    covariances = [*fit.random, fit.sigma]
    pieces.append((inputs.table.unit if pieces else "participant", ("(Intercept)",), True))
    if not fit.sigma.any() and inputs.design.random:
        pieces, covariances = pieces[:-1], covariances[:-1]
    for (group, names, correlated), G, errors in zip(pieces, covariances, fit.spread_errors, strict=True):
        sd, d = np.sqrt(np.diag(G)), len(layout.terms)
        for a, name in enumerate(names):
            at = a * d + k
            yield {**where, "group": group, "term": f"sd__{name}", "estimate": sd[at], "std_error": errors[at]}
        for a, name in enumerate(names):
            others = [(b * d + k, names[b]) for b in range(a + 1, len(names)) if correlated]
            others += [(a * d + j, ":".join(layout.terms[j])) for j in shown if j > k]
            for at, other in others:
                if G[a * d + k, at]:
                    correlation = G[a * d + k, at] / (sd[a * d + k] * sd[at])
                    yield {**where, "group": group, "term": f"cor__{name}.{other}", "estimate": correlation}


def _deviations(layout: Layout, fit: HierarchicalFit, shown: Sequence[int]) -> pd.DataFrame:
    """Deviations from what the covariates predict."""
    errors = np.sqrt(np.diagonal(fit.spread, axis1=1, axis2=2))
    frames = []
    for k in shown:
        predicted = layout.designs[k] @ fit.gamma[layout.effects(k)]
        columns = {
            "module": layout.terms[k][0],
            "sparse_term": layout.terms[k][1],
            "group": "participant",
            "level": pd.Series(layout.rows),
            "term": "(Intercept)",
            "estimate": fit.mean[:, k] - predicted,
            "std_error": errors[:, k],
            "weight": 1.0 - fit.guesses,
        }
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def _shrunken(layout: Layout, fit: HierarchicalFit) -> pd.DataFrame:
    """Posterior medians on the natural scale: shrunken, for description only."""
    columns = pd.MultiIndex.from_tuples(layout.terms, names=["module", "sparse_term"])
    index = pd.Index(layout.rows, name="participant")
    return pd.DataFrame(to_natural(layout.links, fit.mean), index=index, columns=columns)


def _glance(inputs: GroupInputs, layout: Layout, fit: HierarchicalFit) -> pd.DataFrame:
    n = len(layout.rows)
    row: dict[str, Any] = {
        "module": None,
        "sparse_term": None,
        "nobs": n,
        "df_residual": float(n - inputs.design.matrix.shape[1]),
        "log_lik": fit.log_likelihood,
        "aic": 2.0 * fit.n_parameters - 2.0 * fit.log_likelihood,
        "bic": fit.n_parameters * float(np.log(n)) - 2.0 * fit.log_likelihood,
        "n_excluded": len(inputs.table.participants) - n,
        "share_unidentified": max(equation.share_unidentified for equation in inputs.equations),
        "converged": fit.converged,
    }
    return pd.DataFrame([row])


def _carriers(inputs: GroupInputs) -> Iterator[tuple[str, int, float]]:
    """Yield columns of the design that one row carries, that row, and its share of the squares that others leave."""
    X = inputs.design.matrix
    for place, name in enumerate(inputs.design.names):
        others = np.delete(X, place, axis=1)
        left = X[:, place] - others @ np.linalg.lstsq(others, X[:, place], rcond=None)[0]
        share = left**2 / np.sum(left**2)
        if np.ptp(X[:, place]) > 0 and share.max() > _CARRIED:
            yield name, int(np.argmax(share)), float(share.max())


def _messages(inputs: GroupInputs, layout: Layout, fit: HierarchicalFit) -> Iterator[str]:
    if max(fit.ends) - min(fit.ends) > APART:
        heights = ", ".join(f"{height:.1f}" for height in fit.ends)
        yield f"searches from several starts came to different heights, {heights} nats: the result is of the highest"
    if fit.fell_back:
        yield (
            "finer integration came to no end: coefficients are integrated over by plain expansion about modes, which "
            "has some bias where trials are few"
        )
    X, unit = inputs.design.matrix, inputs.table.unit
    people = "participants" if unit == "participant" else f"participants on occasions ({unit})"
    if len(X) - X.shape[1] < _FEW:
        yield (
            f"there are only {len(X) - X.shape[1]} more {people} than effects: intervals rest on a normal "
            "distribution that nothing can check"
        )
    for name, row, share in _carriers(inputs):
        yield (
            f"{100 * share:.0f} % of what is known of '{name}' comes from {unit} "
            f"{layout.rows[row]!r}: see what is left without"
        )
    count = int((fit.guesses > 0.5).sum())
    if count:
        yield (f"{count} of {len(fit.guesses)} {people} probably guessed, and count little: see 'weight' in augment()")
    if isinstance(inputs.needed_likelihood(), HasShared) and len(layout.terms) > 1 and X.shape[1] > 1:
        yield (
            "weights of similar states share one effect between them, and single rows may go against each other: the "
            "kernels of a group model compare what all of them do together"
        )
    random: Sequence[RandomColumns] = inputs.design.random
    if random and not fit.sigma.any() and unit not in {part.group for part in random}:
        yield (
            "the random parts explain all differences that there can be between coefficients of the same group, so "
            f"that no variance of {unit} is left to estimate"
        )
