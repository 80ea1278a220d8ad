"""spice_compare: which of several fitted models the participants use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from spicestat._checks import check_level
from spicestat._display import html_block
from spicestat._runtime.blas import on_one_blas_thread
from spicestat.coefficients import refuse_occasions
from spicestat.equations.estimate.prior import weak_prior_of
from spicestat.equations.estimate.refit import refit
from spicestat.equations.select.criteria import Arbiter
from spicestat.errors import ConfigError, ConvergenceWarning, DataError, ExclusionWarning, FormulaError, warn_user
from spicestat.fit.any_fit import AnyFit
from spicestat.fit.evidence import same_choices
from spicestat.fit.network_fit import SpiceFit
from spicestat.group.formula.design import Design, build_design
from spicestat.group.inputs.alignment import covariates_of
from spicestat.studies.membership import Membership, regress_membership
from spicestat.studies.model_selection import ModelSelection, compare_models
from spicestat.trials.joining import Tables
from spicestat.trials.labels import label_key
from spicestat.trials.sequences import SequenceDataset
from spicestat.trials.table import TrialTable

__all__ = ["CRITERIA", "CompareResult", "spice_compare", "with_membership"]

CRITERIA = ("ibic", "bic", "aic", "evidence")
"""What can stand for a participant's log model evidence."""


@dataclass(frozen=True, eq=False)
class CompareResult:
    """Comparison of K models over n participants.

    Attributes
    ----------
    table : DataFrame
        One row per model, the best first in ``log_evidence``: ``model``, ``n_coefficients``, ``log_lik`` and
        ``log_marginal`` (over all participants: maximised, and integrated over the population), ``aic``, ``bic``
        (each participant's own, summed) and ``ibic``, ``log_evidence`` (summed approximation by ``criterion``),
        ``delta`` (2 x its distance to the best), ``fixed_prob`` (posterior
        probability if everybody uses the same model), ``n_best`` (participants whose best model it is), and of the
        random-effects analysis ``frequency``, ``frequency_sd``, ``exceedance_prob``, ``protected_exceedance_prob``.
    evidence : DataFrame of shape (n, K)
        Log model evidence in nats, by participant and model.
    attribution : DataFrame of shape (n, K)
        Probability that a participant uses a model.
    membership : Membership or None
        Of those with covariates, by the formula.
    selection : ModelSelection
        The random-effects analysis, models in the order of ``evidence``.
    criterion : str
    excluded : tuple
        Participants left out, as a model has no evidence for them.
    """

    table: pd.DataFrame
    evidence: pd.DataFrame
    attribution: pd.DataFrame
    selection: ModelSelection
    criterion: str
    excluded: tuple[Any, ...]
    membership: Membership | None = None

    def tidy(self, what: Literal["models", "membership", "membership_tests"] = "models") -> pd.DataFrame:
        """Return a copy of a table.

        Parameters
        ----------
        what : {"models", "membership", "membership_tests"}
            One row per model; one per model and effect of the formula on the log odds of using it, see `Membership`; or
            one per term of the formula, on all models together.

        Raises
        ------
        ConfigError
            An unknown table, or one of memberships without a formula.
        """
        if what == "models":
            return self.table.copy()
        if what not in ("membership", "membership_tests"):
            raise ConfigError("unknown table", got=what, allowed="'models', 'membership', 'membership_tests'")
        if self.membership is None:
            raise ConfigError("nothing is known of memberships by covariates", do="pass `formula` to spice_compare()")
        return (self.membership.effects if what == "membership" else self.membership.tests).copy()

    def glance(self) -> pd.DataFrame:
        """Return one row: sizes, the omnibus risk (probability that frequencies are equal) and free energies."""
        n, k = self.evidence.shape
        row = {
            "n_participants": n,
            "n_excluded": len(self.excluded),
            "n_models": k,
            "criterion": self.criterion,
            "best": self.table["model"].iloc[0],
            "omnibus_risk": self.selection.omnibus_risk,
            "free_energy": self.selection.free_energy,
            "null_free_energy": self.selection.null_free_energy,
            "converged": self.selection.converged,
        }
        return pd.DataFrame([row])

    def _repr_html_(self) -> str:
        title = f"CompareResult by {self.criterion}, {len(self.evidence)} participants"
        return html_block(title, [], self.table)

    def __repr__(self) -> str:
        shares = ", ".join(
            f"{row.model} {row.frequency:.2f} (PXP {row.protected_exceedance_prob:.2f})"
            for row in self.table.itertuples()
        )
        return f"CompareResult by {self.criterion}, {len(self.evidence)} participants: {shares}"


@on_one_blas_thread
def spice_compare(
    fits: Mapping[str, AnyFit],
    criterion: Literal["ibic", "bic", "aic", "evidence"] = "ibic",
    *,
    formula: str | None = None,
    data: Tables | None = None,
    conf_level: float = 0.95,
    prior: float = 1.0,
) -> CompareResult:
    r"""Compare fits of different models to the same trials.

    A participant's log model evidence is their part of the integrated BIC (Huys et al. 2011), from the likelihood
    that is integrated over the population's coefficients, with the population's d parameters and P participants,

    .. math:: -\frac{iBIC_i}{2} = \log \int p(y_i \mid \theta)\, p(\theta)\, d\theta - \frac{d}{2P} \log \sum_j T_j .

    Or it is approximated from the maximised likelihood of their own k free coefficients,
    :math:`-BIC_i / 2 = \ell_i - \frac{k_i}{2} \log T_i` or :math:`-AIC_i / 2 = \ell_i - k_i`, or, for networks'
    equations, by the Laplace approximation under the weak prior by which structures are chosen (`Arbiter`), for which
    everybody is estimated anew. The models are then compared as fixed effects (sums) and as random effects
    (`compare_models`). Choices that only some of the models predict, such as a block's first, count as guesses in the
    others.

    A fit predicts and simulates with its population and pooled people, which is what iBIC judges. With few choices
    each, BIC favours models of few coefficients even where those of more predict better.

    Every model's structure was chosen on these same choices. The criteria charge for its coefficients, not for the
    search; a model with the larger library has the advantage.

    With a formula, which model a participant uses depends on covariates (`regress_membership`): memberships stay as
    uncertain as the evidences leave them, where counting everybody's best model makes effects too small.

    Parameters
    ----------
    fits : mapping of str to SpiceFit, HistoryFit or TaskFit
        Two or more, by name, of the same participants and choices. Memberships are compared with the first.
    criterion : {"ibic", "bic", "aic", "evidence"}, default "ibic"
    formula : str, optional
        Of covariates of participants, such as ``"~ diagnosis + age"``; without random parts.
    data : DataFrame, path or list of these, optional
        Covariates. Default: those of the first fit.
    conf_level : float, default 0.95
        Of the intervals of memberships.
    prior : float, default 1
        Dirichlet counts of each model.

    Returns
    -------
    CompareResult

    Raises
    ------
    ConfigError
        Fewer than two fits, an unknown criterion, one that a fit does not have, or models of choices beside models of
        choices and times.
    DataError
        The fits are of different participants or choices.
    FormulaError, CovariateError
        The formula or a covariate cannot be used.

    Warns
    -----
    ExclusionWarning
        A model has no evidence for some participants (``"evidence"`` without a peak), or covariates are missing.
    ConvergenceWarning
        The regression of memberships did not converge.

    References
    ----------
    Huys et al. (2011), https://doi.org/10.1371/journal.pcbi.1002028;
    Stephan et al. (2009), https://doi.org/10.1016/j.neuroimage.2009.03.025;
    Rigoux et al. (2014), https://doi.org/10.1016/j.neuroimage.2013.08.065.

    Examples
    --------
    >>> from spicestat import read_trials, simulate_cohort, spice_fit
    >>> trials = read_trials(simulate_cohort(4, 120, n_blocks=2).trials, block="block")
    >>> fits = {name: spice_fit(trials, model=name, epochs=30) for name in ("rescorla_wagner", "learning_rate")}
    >>> list(spice_compare(fits).tidy())[:4]
    ['model', 'n_coefficients', 'log_lik', 'log_marginal']
    """
    if criterion not in CRITERIA:
        raise ConfigError("unknown criterion", got=criterion, allowed=", ".join(CRITERIA))
    _check_fits(fits)
    if formula is None and data is not None:
        raise ConfigError("covariates without a formula say nothing", do="pass `formula` too")
    compared = _compared(fits, criterion, prior)
    if formula is None:
        return compared
    table = next(iter(fits.values())).coefficients
    people, positions = covariates_of(table, data, "participant", formula=formula)
    design = build_design(formula, people)
    design = replace(design, rows=positions[design.rows])
    return with_membership(compared, design, table.participants, conf_level)


def with_membership(
    compared: CompareResult, design: Design, participants: Sequence[Any], conf_level: float = 0.95
) -> CompareResult:
    """Add memberships by a design, whose rows are positions in ``participants``.

    Raises
    ------
    FormulaError
        The formula has random parts.
    """
    if design.has_random_parts:
        raise FormulaError("memberships of participants have no random parts", got=design.formula, do="leave them out")
    places = {label_key(label): place for place, label in enumerate(compared.evidence.index)}
    labels = [participants[row] for row in design.rows]
    kept = np.array([place for place, label in enumerate(labels) if label_key(label) in places], dtype="int64")
    design = design.of_some(kept, [labels[place] for place in kept])
    evidence = compared.evidence.iloc[[places[label_key(labels[place])] for place in kept]]
    found = regress_membership(evidence, design, check_level(conf_level))
    if not found.converged:
        warn_user("the regression of memberships on covariates did not converge.", ConvergenceWarning)
    return replace(compared, membership=found)


def _compared(fits: Mapping[str, AnyFit], criterion: str, prior: float) -> CompareResult:
    names = list(fits)
    said = same_choices([fit.model_evidence() for fit in fits.values()])
    scores = {what: np.stack([getattr(one, what) for one in said], axis=1) for what in ("aic", "bic", "ibic")}
    values = scores.get(criterion)
    if values is None:
        values = np.stack([_laplace(name, fit) for name, fit in fits.items()], axis=1)
    first = fits[names[0]]
    used = np.isfinite(values).all(axis=1) & (said[0].n_choices > 0)
    excluded = tuple(label for label, kept in zip(first.trials.participants, used, strict=True) if not kept)
    if excluded:
        warn_user(
            f"{len(excluded)} of {len(used)} participants are left out, as a model has no evidence for them",
            ExclusionWarning,
        )
    if not used.any():
        raise DataError("no participant has evidence of all models", do="use criterion='ibic'")
    found = compare_models(values[used], prior=prior)
    table = pd.DataFrame(
        {
            "model": names,
            "n_coefficients": [round(one.n_own[used].sum()) for one in said],
            "log_lik": [one.log_lik[used].sum() for one in said],
            "log_marginal": [one.log_marginal[used].sum() for one in said],
            **{what: -2.0 * score[used].sum(axis=0) for what, score in scores.items()},
            "log_evidence": found.summed,
            "delta": 2.0 * (found.summed.max() - found.summed),
            "fixed_prob": found.fixed_probability,
            "n_best": np.bincount(values[used].argmax(axis=1), minlength=len(names)),
            "frequency": found.frequency,
            "frequency_sd": found.frequency_sd,
            "exceedance_prob": found.exceedance,
            "protected_exceedance_prob": found.protected_exceedance,
        }
    ).sort_values("log_evidence", ascending=False, kind="stable", ignore_index=True)
    people = pd.Index([label for label, kept in zip(first.trials.participants, used, strict=True) if kept])
    return CompareResult(
        table,
        pd.DataFrame(values[used], index=people, columns=names),
        pd.DataFrame(found.attribution, index=people, columns=names),
        found,
        criterion,
        excluded,
    )


def _check_fits(fits: Mapping[str, AnyFit]) -> None:
    if not isinstance(fits, Mapping) or len(fits) < 2:
        raise ConfigError("a comparison needs two fits", got=type(fits).__name__, do="pass {name: fit, ...}")
    first, *others = fits.values()
    refuse_occasions(first.coefficients, "a comparison of models over participants")
    for name, fit in zip(list(fits)[1:], others, strict=True):
        one, other = first.trials, fit.trials
        if _said(one) != _said(other) or len(one.frame) != len(other.frame):
            raise DataError(f"the fit '{name}' is of different trials from the first", got=other, allowed=one)
        choices = [trials.frame[["participant", "block", "choice"]].to_numpy() for trials in (one, other)]
        if not np.array_equal(choices[0], choices[1]):
            raise DataError(
                f"the fit '{name}' is of different choices from the first", do="fit all models to one table"
            )
        if fit.has_times != first.has_times:
            raise ConfigError(
                "likelihoods of choices cannot be compared with those of choices and response times", got=list(fits)
            )


def _said(trials: TrialTable) -> list[list[str]]:
    """Return what the labels of participants and actions say, whatever their types."""
    return [list(map(label_key, labels)) for labels in (trials.participants, trials.actions)]


def _laplace(name: str, fit: AnyFit) -> np.ndarray:
    """Laplace approximation of each participant's log evidence (P,), -inf where the posterior has no peak."""
    if not isinstance(fit, SpiceFit):
        raise ConfigError(
            "a Laplace approximation under the weak prior of a search is one of networks' equations",
            got=f"'{name}', a {type(fit).__name__}",
            do="pass criterion='ibic'",
        )
    model, equations = fit.model.network, fit.model.equations
    data = SequenceDataset.from_trials(fit.trials)
    weak = weak_prior_of(model, data, equations)
    return Arbiter(0.0, prior=weak).score(refit(model, data, equations, prior=weak))
