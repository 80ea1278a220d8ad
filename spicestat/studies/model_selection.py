"""Group-level model selection from model evidence: one model for everybody, or one per person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.integrate import quad
from scipy.special import betainc, digamma, gammainc, gammaln, logsumexp
from scipy.stats import gamma

from spicestat._checks import real_number, whole_number
from spicestat._display import screen, shortlist
from spicestat.errors import DataError, ShapeError

__all__ = ["ModelSelection", "compare_models", "exceedance_probabilities"]


@dataclass(frozen=True, eq=False)
class ModelSelection:
    """Random-effects Bayesian model selection over n participants and K models.

    Attributes
    ----------
    alpha : ndarray of shape (K,)
        Parameters of the Dirichlet posterior of the models' frequencies.
    frequency, frequency_sd : ndarray of shape (K,)
        Posterior mean and standard deviation of the share of participants who use a model.
    exceedance : ndarray of shape (K,)
        Probability that a model is the most frequent one.
    protected_exceedance : ndarray of shape (K,)
        The same, averaged with chance (1 / K) by ``omnibus_risk``.
    omnibus_risk : float
        Probability that all models are equally frequent and differences are due to chance.
    attribution : ndarray of shape (n, K)
        Probability that a participant uses a model.
    free_energy, null_free_energy : float
        Lower bound of the log evidence of differing frequencies; log evidence of equal ones.
    summed : ndarray of shape (K,)
        Log evidence summed over participants: everybody uses the same model.
    fixed_probability : ndarray of shape (K,)
        Posterior probability of a model if everybody uses the same one.
    n_iterations : int
    converged : bool
    """

    alpha: np.ndarray
    frequency: np.ndarray
    frequency_sd: np.ndarray
    exceedance: np.ndarray
    protected_exceedance: np.ndarray
    omnibus_risk: float
    attribution: np.ndarray
    free_energy: float
    null_free_energy: float
    summed: np.ndarray
    fixed_probability: np.ndarray
    n_iterations: int
    converged: bool

    def __repr__(self) -> str:
        shares = [f"{mean:.2f} ({sure:.2f})" for mean, sure in zip(self.frequency, self.exceedance, strict=True)]
        text = f"{len(self.attribution)} participants; frequencies (exceedance probabilities): {shortlist(shares)}"
        return screen(f"<ModelSelection: {text}>", ".frequency")


def compare_models(
    log_evidence: np.ndarray, *, prior: float = 1.0, tolerance: float = 1e-10, max_iter: int = 10_000
) -> ModelSelection:
    r"""Compare models over participants, taking the model itself as a random effect.

    Each participant uses model k with probability :math:`r_k`, :math:`r \sim \mathrm{Dirichlet}(\alpha_0)`.
    Variational Bayes iterates

    .. math:: g_{ik} \propto \exp(L_{ik} + \psi(\alpha_k) - \psi(\textstyle\sum_j \alpha_j)), \qquad
              \alpha_k = \alpha_0 + \sum_i g_{ik}.

    Exceedance probabilities :math:`p(r_k > r_j \; \forall j \ne k)` are exact (see
    `exceedance_probabilities`). The Bayesian omnibus risk is :math:`1 / (1 + e^{F_1 - F_0})` with the free
    energy :math:`F_1` and the evidence of equal frequencies,
    :math:`F_0 = \sum_i \log \frac1K \sum_k e^{L_{ik}}`.

    Parameters
    ----------
    log_evidence : ndarray of shape (n, K)
        Log evidence of each model for each participant, in nats; for example -BIC / 2.
    prior : float, default 1
        Dirichlet counts of each model, above 0.
    tolerance : float, default 1e-10
        The iteration ends when no count changes by more.
    max_iter : int, default 10000

    Raises
    ------
    ShapeError, DataError
        Fewer than two models, nobody, or evidence that is not finite.

    References
    ----------
    Stephan et al. (2009), https://doi.org/10.1016/j.neuroimage.2009.03.025;
    Rigoux et al. (2014), https://doi.org/10.1016/j.neuroimage.2013.08.065.

    Examples
    --------
    Ten people, eight of whom are better described by the first of two models:

    >>> evidence = np.zeros((10, 2))
    >>> evidence[:8, 0], evidence[8:, 1] = 3.0, 3.0
    >>> found = compare_models(evidence)
    >>> found.frequency.round(2), found.exceedance.round(2), found.protected_exceedance.round(2)
    (array([0.77, 0.23]), array([0.98, 0.02]), array([0.82, 0.18]))
    """
    evidence = _checked(log_evidence)
    prior = real_number("prior", prior, 0.0, low_included=False)
    tolerance = real_number("tolerance", tolerance, 0.0, low_included=False)
    n, k = evidence.shape
    counts, n_iterations, converged = np.full(k, prior + n / k), 0, False
    while not converged and n_iterations < whole_number("max_iter", max_iter, 1):
        updated = prior + _attribution(evidence, counts).sum(axis=0)
        converged = bool(np.max(np.abs(updated - counts)) < tolerance)
        counts, n_iterations = updated, n_iterations + 1
    attribution = _attribution(evidence, counts)
    free_energy = _free_energy(evidence, counts, attribution, prior)
    null = float(np.sum(logsumexp(evidence, axis=1) - np.log(k)))
    risk = float(np.exp(-np.logaddexp(0.0, free_energy - null)))
    exceedance = exceedance_probabilities(counts)
    total = counts.sum()
    frequency = counts / total
    summed = evidence.sum(axis=0)
    return ModelSelection(
        alpha=counts,
        frequency=frequency,
        frequency_sd=np.sqrt(frequency * (1.0 - frequency) / (total + 1.0)),
        exceedance=exceedance,
        protected_exceedance=exceedance * (1.0 - risk) + risk / k,
        omnibus_risk=risk,
        attribution=attribution,
        free_energy=free_energy,
        null_free_energy=null,
        summed=summed,
        fixed_probability=np.exp(summed - logsumexp(summed)),
        n_iterations=n_iterations,
        converged=converged,
    )


def exceedance_probabilities(alpha: np.ndarray) -> np.ndarray:
    r"""Probability of each share of a Dirichlet distribution to be the largest one.

    Two models: the Beta distribution function at 1/2. More: with independent Gamma variables
    :math:`x_k \sim \Gamma(\alpha_k, 1)`, of which the shares are ratios, one integral each,
    :math:`\int f_k(x) \prod_{j \ne k} F_j(x) \, dx`; nothing is sampled.

    Parameters
    ----------
    alpha : ndarray of shape (K,)
        Counts, above 0; K is 2 or more.

    Raises
    ------
    ShapeError, DataError
        Fewer than two counts, or one that is not positive and finite.

    Examples
    --------
    >>> exceedance_probabilities(np.array([9.0, 3.0, 2.0])).round(4)
    array([0.9586, 0.0318, 0.0096])
    """
    counts = np.asarray(alpha, dtype="float64")
    if counts.ndim != 1 or len(counts) < 2:
        raise ShapeError("alpha must hold two counts or more", got=counts.shape)
    if not (np.isfinite(counts).all() and (counts > 0).all()):
        raise DataError("counts must be positive and finite", got=counts.tolist())
    if len(counts) == 2:
        first = float(betainc(counts[1], counts[0], 0.5))
        return np.array([first, 1.0 - first])
    values = np.array([_largest(counts, position) for position in range(len(counts))])
    shares: np.ndarray = values / values.sum()
    return shares


def _largest(counts: np.ndarray, position: int) -> float:
    own, others = counts[position], np.delete(counts, position)
    # where the integrand can be: own quantiles, and those of the strongest competitor
    marks = np.concatenate([gamma.ppf([1e-12, 1e-3, 0.5, 0.999], count) for count in (own, others.max())])
    upper = float(gamma.isf(1e-15, own))
    points = np.unique(marks[(marks > 0) & (marks < upper)])
    # between marks that rounding alone tells apart, quad finds a bad integrand
    points = points[np.diff(points, prepend=0.0) > 1e-9 * points]

    def integrand(x: float) -> float:
        return float(gamma.pdf(x, own) * np.prod(gammainc(others, x)))

    edges = np.concatenate([[0.0], points, [upper]])
    pieces = zip(edges[:-1], edges[1:], strict=True)
    return float(sum(quad(integrand, low, high, epsabs=1e-13, epsrel=1e-10, limit=200)[0] for low, high in pieces))


def _checked(log_evidence: np.ndarray) -> np.ndarray:
    evidence = np.asarray(log_evidence, dtype="float64")
    if evidence.ndim != 2 or evidence.shape[0] < 1 or evidence.shape[1] < 2:
        raise ShapeError(
            "the log evidence must have a row per participant and a column per model",
            got=evidence.shape,
            allowed="(n, K) with n at least 1 and K at least 2",
        )
    bad = ~np.isfinite(evidence).all(axis=1)
    if bad.any():
        raise DataError(
            "the log evidence must be finite",
            got=f"rows {np.flatnonzero(bad)[:5].tolist()}",
            do="leave these participants out of all models",
        )
    return evidence


def _attribution(evidence: np.ndarray, counts: np.ndarray) -> np.ndarray:
    log_weight = evidence + digamma(counts)
    return np.asarray(np.exp(log_weight - logsumexp(log_weight, axis=1, keepdims=True)))


def _free_energy(evidence: np.ndarray, counts: np.ndarray, attribution: np.ndarray, prior: float) -> float:
    """Lower bound of the log evidence: expected log joint plus the entropies of frequencies and labels."""
    k = len(counts)
    log_share = digamma(counts) - digamma(counts.sum())
    joint = gammaln(k * prior) - k * gammaln(prior) + (prior - 1.0) * log_share.sum()
    joint += np.sum(attribution * (evidence + log_share))
    of_shares = gammaln(counts).sum() - gammaln(counts.sum()) - np.sum((counts - 1.0) * log_share)
    positive = attribution > 0
    of_labels = -np.sum(attribution[positive] * np.log(attribution[positive]))
    return float(joint + of_shares + of_labels)
