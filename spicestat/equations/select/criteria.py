"""Criteria for choosing between structures: information criteria, or the evidence under a weak prior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import chi2

from spicestat._checks import real_number
from spicestat.equations.estimate.prior import CoefficientPrior
from spicestat.equations.estimate.refit import Curvature, RefitResult
from spicestat.equations.structure.equation_set import FREE, KEPT, EquationSet
from spicestat.errors import ConfigError

__all__ = ["Arbiter", "Criterion", "check_criterion", "required_gain"]

Criterion = Literal["aic", "bic", "evidence", "cv"]
CRITERIA = ("aic", "bic", "evidence", "cv")

_KEPT_PRICE = 0.05
"""Among equals, a term that is not there is simpler than an own state that is kept."""

_FLATTEST = 1e-6


def check_criterion(criterion: str, significance: float) -> None:
    """Raise `ConfigError` for an unknown criterion, or a level that is not in (0, 1)."""
    if criterion not in CRITERIA:
        raise ConfigError("unknown criterion", got=criterion, allowed=", ".join(f"'{name}'" for name in CRITERIA))
    real_number("significance", significance, 0.0, 1.0, low_included=False)


def required_gain(n_participants: int, n_trials: float, criterion: Criterion, significance: float) -> float:
    r"""Log-likelihood that one more coefficient per participant must gain.

    The larger of an information criterion's penalty (AIC: 1 per participant; BIC: half the log of
    the participant's number of trials) and the likelihood-ratio test's
    :math:`\chi^2_{P, 1 - significance} / 2`, which guards small samples.

    Parameters
    ----------
    n_participants : int
        Participants P that share the decision.
    n_trials : float
        Mean number of trials per participant.
    criterion : {"aic", "bic"}
        Akaike (1974), doi:10.1109/TAC.1974.1100705; Schwarz (1978), doi:10.1214/aos/1176344136.
    significance : float
        Level of the test, in (0, 1).

    Raises
    ------
    ConfigError
        The criterion is unknown or the level out of range.

    Examples
    --------
    >>> required_gain(40, 200, "aic", 0.001)
    40.0
    >>> round(required_gain(1, 200, "aic", 0.001), 2)
    5.41
    """
    check_criterion(criterion, significance)
    penalty = 0.5 * np.log(max(n_trials, 1.0)) if criterion == "bic" else 1.0
    return float(max(n_participants * penalty, chi2.isf(significance, n_participants) / 2))


@dataclass(frozen=True, eq=False)
class Arbiter:
    r"""Scores structures; the higher score wins.

    Without a prior, the maximised log-likelihood less a price per coefficient. With one, the Laplace
    approximation of the log evidence,
    :math:`\log p(y \mid \hat\theta) + \log p(\hat\theta) + \tfrac k2 \log 2\pi - \tfrac12 \log |A|`, with the
    posterior's mode and information A (MacKay 1992, doi:10.1162/neco.1992.4.3.415; Kass & Raftery 1995,
    doi:10.1080/01621459.1995.10476572).

    Parameters
    ----------
    price : float
        Log-likelihood that each coefficient costs.
    identification_price : float
        What a participant without an identified estimate costs in addition.
    prior : CoefficientPrior, optional
        Prior that the evidence is computed under.
    """

    price: float
    identification_price: float = 0.0
    prior: CoefficientPrior | None = None

    def score(self, result: RefitResult) -> np.ndarray:
        """Score each participant's structure at its estimates, (P,); -inf where the evidence has no peak."""
        status = result.equations.status
        if self.prior is None:
            lost = self.identification_price * result.unidentified
            return self._value(result.log_likelihood - lost, result.equations.coefficients, status, None)
        free = status == FREE
        covariance = np.where(free[:, :, None] & free[:, None, :], result.covariance, np.eye(status.shape[1]))
        known = np.isfinite(covariance).all(axis=(1, 2))
        covariance[~known] = np.eye(status.shape[1])
        log_volume = 0.5 * np.linalg.slogdet(covariance)[1]
        value = self._value(result.log_likelihood, result.equations.coefficients, status, log_volume)
        return np.asarray(np.where(known, value, -np.inf))

    def predict(self, log_likelihood: np.ndarray, equations: EquationSet, curvature: Curvature) -> np.ndarray:
        """Score (P,) of equations, given the log-likelihood (P,) there and the curvature nearby."""
        log_volume = None
        if self.prior is not None:
            log_volume = -0.5 * np.linalg.slogdet(self.information(equations, curvature.information))[1]
        return self._value(log_likelihood, equations.coefficients, equations.status, log_volume)

    def information(self, equations: EquationSet, likelihoods: np.ndarray) -> np.ndarray:
        """Information (P, K, K) of the free coefficients, with the prior's, made positive definite; 1 for the others.

        Parameters
        ----------
        equations : EquationSet
            Says what is free, and where.
        likelihoods : ndarray of shape (P, K, K)
            Observed information nearby.
        """
        free = equations.status == FREE
        information = _convex(np.where(free[:, :, None] & free[:, None, :], likelihoods, 0.0))
        diagonal = np.einsum("pkk->pk", information)
        if self.prior is not None:
            diagonal += np.where(free, self.prior.precision(equations.coefficients), 0.0)
        diagonal += np.where(free, _FLATTEST, 1.0)
        return information

    def inverse(self, equations: EquationSet, likelihoods: np.ndarray) -> np.ndarray:
        """Inverse of `information`."""
        return np.linalg.inv(self.information(equations, likelihoods))

    def _value(
        self, log_likelihood: np.ndarray, coefficients: np.ndarray, status: np.ndarray, log_volume: np.ndarray | None
    ) -> np.ndarray:
        free = status == FREE
        value = log_likelihood - self.price * free.sum(axis=1) - _KEPT_PRICE * (status == KEPT).sum(axis=1)
        if self.prior is not None and log_volume is not None:
            value = value + np.where(free, self.prior.log_density(coefficients), 0.0).sum(axis=1)
            value = value + log_volume + 0.5 * np.log(2 * np.pi) * free.sum(axis=1)
        return np.asarray(value)


def _convex(information: np.ndarray) -> np.ndarray:
    """Replace the eigenvalues of (P, K, K), at unit diagonal, by their size, so that steps stay short."""
    size = np.sqrt(np.maximum(np.abs(np.einsum("pkk->pk", information)), _FLATTEST))
    both = size[:, :, None] * size[:, None, :]
    values, vectors = np.linalg.eigh(information / both)
    convex: np.ndarray = np.einsum("pij,pj,pkj->pik", vectors, np.abs(values), vectors) * both
    return convex
