"""Two-stage group model on de-shrunk posterior modes: participants with flat likelihoods count for what they know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from spicestat.errors import ConfigError, DataError, NumericalError, ShapeError
from spicestat.group.inference.joint_tables import JointModel, joint_estimates
from spicestat.group.inputs.likelihood import ChoiceLikelihood
from spicestat.group.inputs.links import Link, choose_links
from spicestat.group.inputs.problem import GroupEstimates, GroupProblem
from spicestat.group.marginal.modes import posterior_modes
from spicestat.group.methods.hierarchical import starting_prior
from spicestat.group.methods.meta import ESTIMATORS
from spicestat.group.numerics.covariance_search import Weighted, fit_at_covariance, is_singular, maximise_covariance

__all__ = [
    "DeshrunkInputs",
    "InformationMeta",
    "Settings",
    "deshrunk_inputs",
    "estimate",
    "information_meta_regression",
]

_TWO_STAGE = (
    "deshrunk_meta replaces each likelihood by a normal one, which leaves some bias towards zero where trials "
    'are few; it is meant as a check of method="hierarchical".'
)


@dataclass(frozen=True)
class Settings:
    """Options of ``method="deshrunk_meta"``.

    Attributes
    ----------
    links : mapping of str to str, optional
        "identity", "logit" or "log" by module or by "module:term", see `choose_links`. Default: identity.
    estimator : {"REML", "ML"}, default "REML"
    prior_width : float, default 1.0
        Factor on the standard deviations of the weak prior, which centers at the median of the participants' own
        estimates with 1.5 times their spread (see `starting_prior`). What
        the prior adds is taken off again, so it only decides where the likelihoods are approximated.
    min_information : float, default 0.01
        Directions in which a participant's likelihood knows less than this share of what the prior
        knows are treated as if it knew nothing.
    """

    links: Mapping[str, str] | None = None
    estimator: str = "REML"
    prior_width: float = 1.0
    min_information: float = 0.01

    def __post_init__(self) -> None:
        if self.estimator not in ESTIMATORS:
            raise ConfigError("unknown `estimator`", got=self.estimator, allowed=", ".join(ESTIMATORS))
        for name in ("prior_width", "min_information"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value < np.inf:
                raise ConfigError(f"`{name}` is out of range", got=value, allowed="a positive number")


@dataclass(frozen=True)
class DeshrunkInputs:
    r"""Normal approximations :math:`\exp(-\frac12 u'L_iu + h_i'u)` of P participants' likelihoods.

    Attributes
    ----------
    information : ndarray of shape (P, d, d)
        :math:`L_i`, positive semi-definite; singular where a likelihood is flat.
    pull : ndarray of shape (P, d)
        :math:`h_i`, in the range of :math:`L_i`; where that is regular, :math:`L_i^{-1} h_i` is the estimate.
    mode : ndarray of shape (P, d)
        Posterior modes under the weak prior, where the likelihoods were approximated.
    removed : int ndarray of shape (P,)
        Number of directions without information.
    converged : bool ndarray of shape (P,)
        Whether the mode was found.
    """

    information: np.ndarray
    pull: np.ndarray
    mode: np.ndarray
    removed: np.ndarray
    converged: np.ndarray


@dataclass(frozen=True)
class InformationMeta:
    """Random-effects meta-regression of d coefficients of n participants, known by their information.

    Attributes
    ----------
    beta : ndarray of shape (d, p)
    covariance : ndarray of shape (d * p, d * p)
        Of ``beta.ravel()``.
    df : float
        n - p.
    sigma : ndarray of shape (d, d)
        Covariance between participants.
    deviations, deviation_errors : ndarray of shape (n, d)
        Predicted deviations of the participants from their means, and their prediction standard errors.
    log_likelihood : float
        Up to a constant that does not depend on the model but on the approximated likelihoods.
    singular, converged : bool
    """

    beta: np.ndarray
    covariance: np.ndarray
    df: float
    sigma: np.ndarray
    deviations: np.ndarray
    deviation_errors: np.ndarray
    log_likelihood: float
    singular: bool
    converged: bool


class _Informed:
    """Normal likelihoods in information form (n, d, d), (n, d)."""

    def __init__(self, information: np.ndarray, pull: np.ndarray) -> None:
        self.information, self.pull = information, pull
        self.eye = np.eye(pull.shape[1])

    def recentred(self, center: np.ndarray) -> _Informed:
        """Return the likelihoods of the differences from a center (n, d)."""
        return _Informed(self.information, self.pull - np.einsum("nab,nb->na", self.information, center))

    def weigh(self, sigma: np.ndarray) -> Weighted | None:
        """Return (I + L Sigma)^-1 applied to L and h, and log |I + L Sigma|."""
        mixed = self.eye + self.information @ sigma
        sign, log_det = np.linalg.slogdet(mixed)
        if not (sign > 0).all():
            return None
        joined = np.concatenate([self.information, self.pull[:, :, None]], axis=2)
        solved = np.linalg.solve(mixed, joined)
        weight = solved[:, :, :-1]
        return Weighted(0.5 * (weight + weight.transpose(0, 2, 1)), solved[:, :, -1], float(np.sum(log_det)))

    def quadratic(self, sigma: np.ndarray, mean: np.ndarray, score: np.ndarray) -> float:
        """Return minus twice the exponent, with the likelihoods' own maxima not subtracted."""
        at_mean = np.einsum("nab,nb->na", self.information, mean)
        left = self.pull - at_mean
        return float(-np.sum(left * (score @ sigma)) - np.sum(mean * (2.0 * self.pull - at_mean)))


def deshrunk_inputs(
    likelihood: ChoiceLikelihood,
    links: Sequence[Link],
    prior_mean: np.ndarray,
    prior_cov: np.ndarray,
    *,
    min_information: float = 0.01,
) -> DeshrunkInputs:
    r"""Approximate each participant's likelihood by a normal one around its mode under a weak prior.

    At the mode :math:`\hat u` of likelihood times :math:`N(m, C)`, with the likelihood's information
    :math:`L = -\ddot\ell(\hat u)` and gradient :math:`s = \dot\ell(\hat u)`, Taylor's expansion is

    .. math:: \ell(u) \approx c + s'(u - \hat u) - \tfrac12 (u - \hat u)'L(u - \hat u)
        = c' + (L\hat u + s)'u - \tfrac12 u'Lu,

    so :math:`h = L\hat u + s`; as the mode balances prior and likelihood, :math:`s = C^{-1}(\hat u - m)`. Nothing of
    the prior is left in (L, h): it only keeps the point of expansion where the likelihood still has
    a curvature. A maximum-likelihood estimate at infinity thus becomes an observation with little information, and need
    not be dropped, which would select participants by their outcome.

    In units of the prior, directions in which L has less information than ``min_information`` (or is
    not even concave) are given none, in h too: a slope without curvature would say that an infinite
    covariance between participants is the most likely one.

    Parameters
    ----------
    likelihood : ChoiceLikelihood
        Of P participants.
    links : sequence of Link, length d
    prior_mean : ndarray of shape (d,) or (P, d)
        On the unconstrained scale.
    prior_cov : ndarray of shape (d, d)
        Positive definite.
    min_information : float, default 0.01

    Raises
    ------
    ShapeError
        The prior does not match the coefficients.
    """
    n, d = len(likelihood.participants), len(likelihood.terms)
    mean = np.asarray(prior_mean, dtype="float64")
    covariance = np.asarray(prior_cov, dtype="float64")
    if mean.shape not in ((d,), (n, d)) or covariance.shape != (d, d) or len(links) != d:
        raise ShapeError(
            "links and prior do not match the coefficients",
            got=(len(links), mean.shape, covariance.shape),
            allowed=f"{d}, ({d},) or ({n}, {d}), ({d}, {d})",
        )
    modes = posterior_modes(likelihood, links, np.broadcast_to(mean, (n, d)), covariance)
    root = np.linalg.cholesky(covariance)
    in_units = root.T @ np.nan_to_num(modes.likelihood.information) @ root
    values, vectors = np.linalg.eigh(0.5 * (in_units + in_units.transpose(0, 2, 1)))
    known = values > min_information
    back = np.linalg.solve(root.T, vectors)
    information = (back * np.where(known, values, 0.0)[:, None, :]) @ back.transpose(0, 2, 1)
    # gradient along each direction in units of the prior; without information it is dropped as well
    slopes = np.einsum("nab,na->nb", root @ vectors, np.nan_to_num(modes.likelihood.gradient))
    gradient = np.einsum("nab,nb->na", back, np.where(known, slopes, 0.0))
    pull = np.einsum("nab,nb->na", information, modes.mode) + gradient
    return DeshrunkInputs(information, pull, modes.mode, d - known.sum(axis=1), modes.converged)


def information_meta_regression(
    information: np.ndarray, pull: np.ndarray, X: np.ndarray, *, estimator: str = "REML"
) -> InformationMeta:
    r"""Fit :math:`u_i \sim N(B x_i, \Sigma)` where :math:`u_i` is known by :math:`\exp(-\frac12 u'L_iu + h_i'u)`.

    With regular :math:`L_i` this is `multivariate_meta_regression` of :math:`L_i^{-1}h_i` with sampling covariance
    :math:`L_i^{-1}`. Written in :math:`(L_i, h_i)`, with weights :math:`(I + L_i\Sigma)^{-1}L_i`, it also holds where
    :math:`L_i` is singular, that is where some sampling variances are infinite.

    Parameters
    ----------
    information : ndarray of shape (n, d, d)
        Positive semi-definite.
    pull : ndarray of shape (n, d)
        In the range of ``information``.
    X : ndarray of shape (n, p)
        Rank p < n.
    estimator : {"REML", "ML"}, default "REML"

    Raises
    ------
    ConfigError
        ``estimator`` is unknown.
    ShapeError, DataError
        The arrays do not match, are not finite, or have n <= p; an information is not positive semi-definite.
    NumericalError
        Some coefficient is known from no participant.

    Examples
    --------
    >>> information = np.array([[[100.0]], [[50.0]], [[100.0]], [[25.0]], [[0.0]]])
    >>> pull = np.array([[20.0], [25.0], [40.0], [22.5], [0.0]])
    >>> fit = information_meta_regression(information, pull, np.ones((5, 1)))
    >>> fit.beta.round(3).tolist(), fit.converged
    ([[0.463]], True)
    """
    if estimator not in ESTIMATORS:
        raise ConfigError("unknown `estimator`", got=estimator, allowed=", ".join(ESTIMATORS))
    information, pull, X = _checked(information, pull, X)
    n, p = X.shape
    d = pull.shape[1]
    columns, back = np.linalg.qr(X)
    scale = _typical_errors(information)
    units = np.outer(scale, scale)
    evidence = _Informed(information * units, pull * scale)
    restricted = estimator == "REML"
    # coefficients relative to a first guess, as large ones would cost digits of the likelihood
    first = fit_at_covariance(evidence, columns, np.eye(d), restricted=restricted).gamma
    base = evidence.recentred(columns @ first.T)
    starts = [size * np.eye(d) for size in (1.0, 10.0, 0.1)]
    fit = maximise_covariance(base, columns, starts, restricted=restricted)
    guess = columns @ first.T
    offset = float(np.sum(guess * (evidence.pull - 0.5 * (evidence.pull - base.pull))))
    turn = np.linalg.inv(back)
    whole = np.kron(np.diag(scale), turn)
    return InformationMeta(
        beta=scale[:, None] * ((first + fit.gamma) @ turn.T),
        covariance=whole @ fit.covariance @ whole.T,
        df=float(n - p),
        sigma=fit.sigma * units,
        deviations=fit.deviations * scale,
        deviation_errors=np.sqrt(np.diagonal(fit.deviation_covariance, axis1=1, axis2=2).clip(0.0)) * scale,
        log_likelihood=fit.value + offset,
        singular=is_singular(fit.sigma),
        converged=fit.converged,
    )


def estimate(problem: GroupProblem, settings: Settings | None = None) -> GroupEstimates:
    """Fit the de-shrunk two-stage model to the choices behind a group problem."""
    chosen = Settings() if settings is None else settings
    likelihood = problem.needed_likelihood()
    links = choose_links(likelihood.terms, chosen.links)
    center, spread = starting_prior(problem, links)
    prior_cov = np.diag((chosen.prior_width * spread) ** 2)
    inputs = deshrunk_inputs(likelihood, links, center, prior_cov, min_information=chosen.min_information)
    X = problem.design.matrix
    fit = information_meta_regression(inputs.information, inputs.pull, X, estimator=chosen.estimator)
    n, p = X.shape
    model = JointModel(
        terms=likelihood.terms,
        names=problem.design.names,
        beta=fit.beta,
        covariance=fit.covariance,
        df=np.full(len(links), fit.df),
        sigma=fit.sigma,
        participants=likelihood.participants,
        deviations=fit.deviations,
        deviation_errors=fit.deviation_errors,
    )
    glance = {
        "nobs": n,
        "n_excluded": len(problem.table.participants) - n,
        "share_unidentified": problem.table.share_unidentified,
        "df_residual": fit.df,
        "log_lik": fit.log_likelihood,
        "converged": fit.converged and bool(inputs.converged.all()),
    }
    messages: tuple[str, ...] = (_TWO_STAGE,)
    flat = int((inputs.removed > 0).sum())
    if flat:
        messages += (f"{flat} participants' likelihoods are flat in some direction, of which they tell nothing.",)
    named = {term: link.name for term, link in zip(likelihood.terms, links, strict=True) if link.name != "identity"}
    estimates = joint_estimates(model, glance, messages=messages, links=named, extra={"fit": fit, "inputs": inputs})
    return _asked(estimates, {equation.key for equation in problem.equations})


def _asked(estimates: GroupEstimates, keys: set[tuple[str, str]]) -> GroupEstimates:
    """Keep the coefficients that were asked for; all of them were needed for the fit."""
    shown = [key for key in estimates.covariance if key in keys]
    if not shown:
        raise DataError("none of the coefficients asked for is estimated from the choices", got=sorted(keys))

    def kept(frame: pd.DataFrame) -> pd.DataFrame:
        pairs = pd.MultiIndex.from_frame(frame[["module", "sparse_term"]])
        return frame[pairs.isin(shown)].reset_index(drop=True)

    return replace(
        estimates,
        fixed=kept(estimates.fixed),
        ran_pars=kept(estimates.ran_pars),
        ran_vals=None if estimates.ran_vals is None else kept(estimates.ran_vals),
        covariance={key: estimates.covariance[key] for key in shown},
    )


def _checked(information: np.ndarray, pull: np.ndarray, X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    information, pull, X = (np.asarray(array, dtype="float64") for array in (information, pull, X))
    n = len(X)
    if X.ndim != 2 or pull.ndim != 2 or len(pull) != n or information.shape != (*pull.shape, pull.shape[1]):
        raise ShapeError(
            "information, pull and X do not match",
            got=(information.shape, pull.shape, X.shape),
            allowed="(n, d, d), (n, d), (n, p)",
        )
    if not (np.isfinite(information).all() and np.isfinite(pull).all() and np.isfinite(X).all()):
        raise DataError("information, pull and X must be finite", allowed="zeros where a participant tells nothing")
    if n <= X.shape[1]:
        raise DataError("a meta-regression needs more participants than covariates", got=X.shape)
    information = 0.5 * (information + information.transpose(0, 2, 1))
    values = np.linalg.eigvalsh(information)
    if (values[:, 0] < -1e-8 * np.abs(values[:, -1])).any():
        raise DataError(
            "an information must be positive semi-definite", got=f"row {int(np.argmin(values[:, 0]))} is not"
        )
    return information, pull, X


def _typical_errors(information: np.ndarray) -> np.ndarray:
    """Return the standard error of each coefficient at the average information, shape (d,)."""
    average = np.diagonal(information, axis1=1, axis2=2).mean(axis=0)
    if not (average > 0).all():
        raise NumericalError(
            f"no participant tells anything about coefficient {int(np.argmin(average))}", do="leave that term out"
        )
    return np.asarray(1.0 / np.sqrt(average))
