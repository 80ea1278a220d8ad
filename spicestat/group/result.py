"""GroupResult: what a group model found, as tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from spicestat._checks import check_level, explained_by, named_options
from spicestat._files.sealed import read_sealed, write_sealed
from spicestat._files.tables import names_file, write_table
from spicestat.coefficients import CoefficientTable
from spicestat.errors import ConfigError
from spicestat.group.after.augment import augment
from spicestat.group.after.average_effects import average_effects
from spicestat.group.after.contrasts import ContrastMethod, contrasts
from spicestat.group.after.derived import derived_means
from spicestat.group.after.hypotheses import linear_hypotheses, term_tests
from spicestat.group.after.intervals import intervals_at
from spicestat.group.after.kernel_effects import GroupKernels, HasKernelMoves, kernel_effects
from spicestat.group.after.marginal_means import MarginalMeans, marginal_means
from spicestat.group.after.standardised import standardised_effects
from spicestat.group.formula.design import Design
from spicestat.group.inference.rows import COLUMNS, GLANCE, SAMPLING
from spicestat.group.inputs.contract import Posterior, Presence
from spicestat.group.methods.registry import METHODS, find_method
from spicestat.group.plots import caterpillar_plot, covariate_plot, forest_plot
from spicestat.group.printing import printed, printed_html, summary_text
from spicestat.group.storage import pack_group, unpack_group
from spicestat.pooled.kernels import EVENTS, Event

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["GroupResult", "load_group"]

Plot = Literal["forest", "caterpillar", "covariate", "kernels"]
"""The plots of a group result."""

_KIND = "group"
_EFFECTS = ("fixed", "ran_pars")


@dataclass(frozen=True)
class GroupResult:
    """Result of `spicestat.group.spice_group`.

    Attributes
    ----------
    coefficients : DataFrame
        Columns ``module, sparse_term, effect, group, level, term, estimate, std_error, statistic, df,
        p_value, p_adjusted, conf_low, conf_high, conf_level``. ``term`` is the covariate,
        ``sparse_term`` the equation's term. ``effect`` is "fixed" for the covariates, "ran_pars" for
        standard deviations (term ``sd__(Intercept)``: between participants).
    glance_frame : DataFrame
        What `glance` returns.
    skipped : DataFrame
        ``module, sparse_term, reason``: equations left out of the table.
    formula, method : str
        As given.
    adjust : str
        How ``p_adjusted`` was made; a family is one term of the formula over all equations.
    conf_level : float
        In (0, 1).
    covariance : mapping of (module, sparse_term) to DataFrame of shape (p, p)
        Covariance of an equation's fixed effects, labelled by term.
    messages : tuple of str
        What to know when reading the result.
    design : Design
        Design matrix; its rows are positions in ``table.participants``.
    table : CoefficientTable
        The coefficients that were analysed.
    ran_vals : DataFrame or None
        Participants' deviations from what the covariates predict, for methods that estimate them.
    joint_covariance : DataFrame or None
        Covariance of all fixed effects together, labelled by (module, sparse_term, term).
    links : mapping of (module, sparse_term) to str
        Scales of the effects where they are not the natural one.
    shrunken : DataFrame or None
        Participants' coefficients as the hierarchical model estimates them, posterior medians on their natural scale;
        index ``participant``, columns (module, sparse_term). For description: analysed again, they give false
        positives.
    posterior : Posterior or None
        Draws and diagnostics of ``method="bayes"`` and ``"bayes_meta"``.
    presence : Presence or None
        Who has which term, of ``method="presence"`` and ``"hurdle"``.
    exact : bool or None
        Of ``method="permutation"``: whether every permutation was used, rather than a sample of them.
    source : HistoryFit or None
        The fit that was analysed, for `kernels`; files do not keep it.
    refit : callable or None
        Fits the same group model to another fit of the same people, or by another ``method``; files do not keep it.
    """

    coefficients: pd.DataFrame
    glance_frame: pd.DataFrame
    skipped: pd.DataFrame
    formula: str
    method: str
    adjust: str
    conf_level: float
    covariance: Mapping[tuple[str, str], pd.DataFrame] = field(default_factory=dict)
    messages: tuple[str, ...] = ()
    design: Design | None = None
    table: CoefficientTable | None = None
    ran_vals: pd.DataFrame | None = None
    joint_covariance: pd.DataFrame | None = None
    links: Mapping[tuple[str, str], str] = field(default_factory=dict)
    shrunken: pd.DataFrame | None = None
    posterior: Posterior | None = None
    presence: Presence | None = None
    exact: bool | None = None
    source: HasKernelMoves | None = field(default=None, repr=False)
    refit: Callable[..., GroupResult] | None = field(default=None, repr=False)

    @named_options
    def tidy(
        self,
        effects: str | Sequence[str] = ("fixed",),
        conf_int: bool = True,
        conf_level: float | None = None,
    ) -> pd.DataFrame:
        """Return the coefficients as a table.

        Parameters
        ----------
        effects : {"fixed", "ran_pars"} or both, default ("fixed",)
            Covariate effects, standard deviations between participants.
        conf_int : bool, default True
            Whether to keep ``conf_low``, ``conf_high`` and ``conf_level``.
        conf_level : float, optional
            In (0, 1); recomputes the intervals. Default: that of the fit.

        Raises
        ------
        ConfigError
            Unknown effects, or a level outside (0, 1).
        """
        chosen = [effects] if isinstance(effects, str) else list(effects)
        if not chosen or not set(chosen) <= set(_EFFECTS):
            raise ConfigError("unknown effects", got=chosen, allowed=", ".join(map(repr, _EFFECTS)))
        kept = self.coefficients["effect"].isin(chosen).to_numpy()
        frame = self.coefficients[kept].reset_index(drop=True)
        if not conf_int:
            return frame[[name for name in COLUMNS if not name.startswith("conf_")]]
        if conf_level is not None:
            low, high = intervals_at(self, check_level(conf_level))
            frame["conf_low"], frame["conf_high"] = low[kept], high[kept]
            frame["conf_level"] = float(conf_level)
        return frame

    def glance(self) -> pd.DataFrame:
        """Return one row per equation (one in all for ``method="mixed"``) of fit statistics.

        Columns ``module, sparse_term, nobs, tau_squared, tau_squared_se, i_squared, h_squared,
        cochran_qe, p_value_cochran_qe, cochran_qm, p_value_cochran_qm, df_residual, log_lik, aic, bic,
        n_excluded, share_unidentified, withheld, converged, contradictions, method, formula``, and for sampled
        posteriors the worst ``rhat, ess_bulk, ess_tail`` and ``n_divergent``. ``i_squared`` is in
        percent, as in metafor; what a method does not know is NaN.
        """
        shown = [*GLANCE, *(name for name in SAMPLING if name in self.glance_frame)]
        return self.glance_frame[shown].copy()

    @property
    def reads_choices(self) -> bool:
        """Whether the method reads the choices themselves; others, also those that R has of its own, read estimates."""
        return self.method in METHODS and find_method(self.method).reads_choices

    def diagnostics(self) -> pd.DataFrame:
        """Return one row per parameter of a sampled posterior.

        Columns ``module, sparse_term, term, prob_direction, mcse_mean, rhat, ess_bulk, ess_tail``: probability of
        the estimate's sign, Monte Carlo error of the mean, and the sampler's convergence (Vehtari et al. 2021,
        https://doi.org/10.1214/20-BA1221).

        Raises
        ------
        ConfigError
            The method does not sample.
        """
        if self.posterior is None:
            raise ConfigError("this method does not sample", got=self.method, allowed="bayes, bayes_meta")
        return self.posterior.diagnostics.copy()

    def coef(self) -> pd.Series[float]:
        """Return the fixed effects, in the order of `tidy`: what R's ``coef()`` gives.

        Returns
        -------
        Series
            Index ``module, sparse_term, term``, and ``group`` where a method has two parts ("presence" and
            "magnitude").

        Examples
        --------
        >>> from spicestat.group import spice_group
        >>> people = pd.DataFrame({"participant": range(6), "age": [20, 30, 22, 45, 38, 50]})
        >>> table = people.assign(module="x", term="1", std_error=0.05, estimate=[0.3, 0.4, 0.3, 0.6, 0.5, 0.6])
        >>> group = spice_group(table, "~ age", data=people)
        >>> group.coef().round(3).to_dict()
        {('x', '1', '(Intercept)'): 0.069, ('x', '1', 'age'): 0.011}
        """
        fixed = self.tidy()
        return pd.Series(fixed["estimate"].to_numpy(), index=_effect_index(fixed), name="estimate")

    def vcov(self) -> pd.DataFrame:
        """Return the covariance matrix of `coef`: what R's ``vcov()`` gives.

        Returns
        -------
        DataFrame
            Rows and columns as the index of `coef`; NaN between effects that were analysed separately, and where the
            method gives no covariance.

        Examples
        --------
        >>> from spicestat.group import spice_group
        >>> people = pd.DataFrame({"participant": range(6), "age": [20, 30, 22, 45, 38, 50]})
        >>> table = people.assign(module="x", term="1", std_error=0.05, estimate=[0.3, 0.4, 0.3, 0.6, 0.5, 0.6])
        >>> group = spice_group(table, "~ age", data=people)
        >>> bool(np.allclose(np.sqrt(np.diag(group.vcov())), group.tidy()["std_error"]))
        True
        """
        fixed = self.tidy()
        index, values = _effect_index(fixed), np.full((len(fixed), len(fixed)), np.nan)
        effects = list(zip(fixed["module"], fixed["sparse_term"], fixed["term"], strict=True))
        joint = self.joint_covariance
        if joint is not None and set(effects) <= set(joint.index):
            return pd.DataFrame(joint.loc[effects, effects].to_numpy(), index=index, columns=index)
        for part, blocks in self._blocks().items():
            own = np.flatnonzero((fixed["group"] == part).to_numpy() if part else fixed["group"].isna().to_numpy())
            for key, block in blocks.items():
                rows = [row for row in own if effects[row][:2] == key]
                names = [effects[row][2] for row in rows]
                values[np.ix_(rows, rows)] = block.loc[names, names].to_numpy()
        return pd.DataFrame(values, index=index, columns=index)

    def confint(self, level: float | None = None) -> pd.DataFrame:
        """Return confidence intervals of `coef`: what R's ``confint()`` gives.

        Parameters
        ----------
        level : float, optional
            In (0, 1). Default: that of the fit.

        Returns
        -------
        DataFrame
            ``conf_low, conf_high``, as in `tidy`; indexed as `coef`.

        Raises
        ------
        ConfigError
            The level is outside (0, 1).

        Examples
        --------
        >>> from spicestat.group import spice_group
        >>> people = pd.DataFrame({"participant": range(6), "age": [20, 30, 22, 45, 38, 50]})
        >>> table = people.assign(module="x", term="1", std_error=0.05, estimate=[0.3, 0.4, 0.3, 0.6, 0.5, 0.6])
        >>> group = spice_group(table, "~ age", data=people)
        >>> group.confint(0.9).loc[("x", "1", "age")].round(3).tolist()
        [0.009, 0.013]
        """
        fixed = self.tidy(conf_level=level)
        return fixed[["conf_low", "conf_high"]].set_axis(_effect_index(fixed))

    def nobs(self) -> int:
        """Return the number of observations: participants, or estimates in joint models of estimates.

        Where equations differ, it is the largest number, as in R's ``nobs()``; `glance` has each.

        Examples
        --------
        >>> from spicestat.group import spice_group
        >>> people = pd.DataFrame({"participant": range(6), "age": [20, 30, 22, 45, 38, 50]})
        >>> table = people.assign(module="x", term="1", std_error=0.05, estimate=[0.3, 0.4, 0.3, 0.6, 0.5, 0.6])
        >>> group = spice_group(table, "~ age", data=people)
        >>> group.nobs()
        6
        """
        return int(self.glance_frame["nobs"].max())

    def log_lik(self) -> float:
        """Return the log likelihood, summed over equations that were analysed separately, as R's ``logLik()``.

        Raises
        ------
        ConfigError
            The method has no likelihood.

        Examples
        --------
        >>> from spicestat.group import spice_group
        >>> people = pd.DataFrame({"participant": range(6), "age": [20, 30, 22, 45, 38, 50]})
        >>> table = people.assign(module="x", term="1", std_error=0.05, estimate=[0.3, 0.4, 0.3, 0.6, 0.5, 0.6])
        >>> group = spice_group(table, "~ age", data=people)
        >>> bool(group.log_lik() == group.glance()["log_lik"].sum())
        True
        """
        values = self.glance_frame["log_lik"]
        if values.isna().any():
            raise ConfigError("the method has no likelihood", got=self.method, do="see glance() for what it has")
        return float(values.sum())

    def to_frame(self) -> pd.DataFrame:
        """Return a copy of all coefficients, fixed and random."""
        return self.coefficients.copy()

    def save(self, path: str | Path) -> Path:
        """Write the whole result into a folder, which `load_group` reads, or only its table into a file.

        Parameters
        ----------
        path : path
            A name without an extension is taken for a folder, which is created, or whose older group result is
            replaced; other files in it stay as they are. A name that ends in ``.csv``, ``.tsv`` (both also with
            ``.gz``) or ``.parquet`` is taken for a file, which gets all coefficients as a table.

        Raises
        ------
        StorageError
            The folder holds something else, the file has another extension, such as ``.xlsx``, or nothing can be
            written there.

        Examples
        --------
        >>> from tempfile import TemporaryDirectory
        >>> from spicestat.group import load_group, spice_group
        >>> people = pd.DataFrame({"participant": range(6), "age": [20, 30, 22, 45, 38, 50]})
        >>> table = people.assign(module="x", term="1", std_error=0.05, estimate=[0.3, 0.4, 0.3, 0.6, 0.5, 0.6])
        >>> group = spice_group(table, "~ age", data=people)
        >>> with TemporaryDirectory() as folder:
        ...     load_group(group.save(f"{folder}/group")).tidy().equals(group.tidy())
        True
        """
        if names_file(path):
            return write_table(self.coefficients, path)
        return write_sealed(path, _KIND, pack_group(self))

    @named_options
    @explained_by(augment)
    def augment(self) -> pd.DataFrame:
        """Return one row per participant and equation: covariates, fitted values, residuals."""
        return augment(self)

    @named_options
    @explained_by(marginal_means)
    def marginal_means(
        self,
        variables: str | Sequence[str] = (),
        *,
        by: str | Sequence[str] = (),
        at: Mapping[str, Any] | None = None,
        weights: str = "equal",
        type: str = "link",
        cov_keep: int = 2,
        conf_level: float | None = None,
        equations: Sequence[tuple[str, str]] | None = None,
    ) -> MarginalMeans:
        """Return estimated marginal means, as emmeans does."""
        return marginal_means(
            self, variables, by=by, at=at, weights=weights, type=type, cov_keep=cov_keep, conf_level=conf_level,
            equations=equations,
        )  # fmt: skip

    @named_options
    @explained_by(contrasts)
    def contrasts(
        self,
        variables: str | Sequence[str],
        method: ContrastMethod = "pairwise",
        *,
        reference: int | str = 0,
        scale: str = "link",
        adjust: str = "BH",
        family: str = "all",
        by: str | Sequence[str] = (),
        at: Mapping[str, Any] | None = None,
        weights: str = "equal",
        cov_keep: int = 2,
        conf_level: float | None = None,
        equations: Sequence[tuple[str, str]] | None = None,
    ) -> pd.DataFrame:
        """Return contrasts of marginal means; those are as in `marginal_means` with the same arguments."""
        means = self.marginal_means(
            variables, by=by, at=at, weights=weights, cov_keep=cov_keep, conf_level=conf_level, equations=equations
        )
        return contrasts(means, method, reference=reference, scale=scale, adjust=adjust, family=family)

    @named_options
    @explained_by(term_tests)
    def term_tests(
        self, *, across: bool = False, adjust: str = "BH", equations: Sequence[tuple[str, str]] | None = None
    ) -> pd.DataFrame:
        """Return an F test for each term of the formula, in each equation or in all of them together."""
        return term_tests(self, across=across, adjust=adjust, equations=equations)

    @named_options
    @explained_by(linear_hypotheses)
    def linear_hypotheses(
        self,
        hypotheses: Mapping[str, Mapping[Any, float]],
        *,
        value: float | Mapping[str, float] = 0.0,
        joint: bool = False,
        adjust: str = "BH",
        equations: Sequence[tuple[str, str]] | None = None,
    ) -> pd.DataFrame:
        """Test linear combinations of coefficients."""
        return linear_hypotheses(self, hypotheses, value=value, joint=joint, adjust=adjust, equations=equations)

    @named_options
    @explained_by(standardised_effects)
    def standardised(
        self,
        kind: str = "residual",
        *,
        small_sample: bool = False,
        conf_level: float | None = None,
        equations: Sequence[tuple[str, str]] | None = None,
    ) -> pd.DataFrame:
        """Return standardised effects."""
        return standardised_effects(self, kind, small_sample=small_sample, conf_level=conf_level, equations=equations)

    @named_options
    @explained_by(average_effects)
    def average_effects(
        self,
        variables: str | Sequence[str] | None = None,
        *,
        over: str = "population",
        adjust: str = "BH",
        conf_level: float | None = None,
        equations: Sequence[tuple[str, str]] | None = None,
    ) -> pd.DataFrame:
        """Return effects on the natural scale of linked coefficients."""
        return average_effects(self, variables, over=over, adjust=adjust, conf_level=conf_level, equations=equations)

    @named_options
    @explained_by(derived_means)
    def derived_means(
        self,
        expressions: Mapping[str, str],
        variables: str | Sequence[str] = (),
        *,
        by: str | Sequence[str] = (),
        at: Mapping[str, Any] | None = None,
        weights: str = "equal",
        cov_keep: int = 2,
        conf_level: float | None = None,
    ) -> pd.DataFrame:
        """Return derived quantities of the group, such as a fixed point."""
        return derived_means(
            self, expressions, variables, by=by, at=at, weights=weights, cov_keep=cov_keep, conf_level=conf_level
        )

    @named_options
    @explained_by(kernel_effects)
    def kernels(
        self,
        covariate: str | None = None,
        *,
        fit: HasKernelMoves | None = None,
        events: Sequence[Event] = EVENTS,
        lags: int = 20,
        events_per_person: int = 60,
        conf_level: float | None = None,
        average: bool = False,
    ) -> GroupKernels:
        """Return what one reward, and one choice, does to the next choices at each level of a covariate."""
        return kernel_effects(
            self, covariate, fit=fit, events=events, lags=lags, events_per_person=events_per_person,
            conf_level=conf_level, average=average,
        )  # fmt: skip

    def plot(self, kind: Plot = "forest", *, covariate: str | None = None) -> Figure:
        """Draw the result as `plot_forest`, `plot_caterpillar`, `plot_covariate` or `kernels` does by default.

        Parameters
        ----------
        kind : {"forest", "caterpillar", "covariate", "kernels"}, default "forest"
        covariate : str, optional
            For "covariate" and "kernels". Default: the first of the formula.

        Raises
        ------
        ConfigError
            The kind is unknown.
        """
        if kind == "forest":
            return self.plot_forest()
        if kind == "caterpillar":
            return self.plot_caterpillar()
        if kind == "covariate":
            return self.plot_covariate(covariate)
        if kind == "kernels":
            return self.kernels(covariate).plot()
        raise ConfigError("unknown plot", got=kind, allowed=", ".join(get_args(Plot)))

    @named_options
    def plot_forest(self, kind: Literal["total", "residual", "raw"] = "total") -> Figure:
        """Draw all effects of the covariates with their intervals.

        Filled points: the interval excludes 0. Open points: it does not. Crosses: no interval, as inference is withheld
        or no spread between participants was found.

        Parameters
        ----------
        kind : {"total", "residual", "raw"}, default "total"
            Standardised effects (see `standardised`) share an axis, one panel per covariate term. Raw effects are in
            the units of their equation, one panel per equation.

        Raises
        ------
        ConfigError
            An unknown kind.
        DataError
            The formula has no covariate.
        """
        return forest_plot(self, kind)

    @named_options
    def plot_caterpillar(
        self,
        values: Literal["auto", "observed", "posterior"] = "auto",
        *,
        equations: Sequence[tuple[str, str]] | None = None,
    ) -> Figure:
        """Draw every participant's coefficient with a 95 % interval, sorted, one panel per equation.

        Parameters
        ----------
        values : {"auto", "observed", "posterior"}, default "auto"
            Own estimates, or the model's (shrunken) ones; "auto" takes the latter where the method gives them.
            Estimates without an interval, or whose interval leaves the panel, are drawn as open circles or with cut
            lines.
        equations : sequence of (module, sparse_term), optional
            Default: all.

        Raises
        ------
        ConfigError
            Posterior values of a method that has none, or an unknown equation.
        """
        return caterpillar_plot(self, values, equations=equations)

    @named_options
    def plot_covariate(
        self,
        covariate: str | None = None,
        module: str | None = None,
        sparse_term: str | None = None,
        *,
        at: Mapping[str, Any] | None = None,
    ) -> Figure:
        """Draw coefficients against a covariate, with the group model's line and the band of its mean.

        Points are the participants' own estimates with 95 % intervals. The line is the marginal mean: other factors
        averaged with equal weights, other numbers at their mean (or as in ``at``). For a factor, each level has its
        mean with an interval. All is on the natural scale.

        Parameters
        ----------
        covariate : str, optional
            A covariate of the formula. Default: the first, as in R.
        module, sparse_term : str, optional
            The equation. Default: all, or all of a module or with a term, in one panel each.
        at : mapping, optional
            Values of the other covariates.

        Raises
        ------
        ConfigError
            The covariate is not in the formula, or there is no such equation.
        """
        return covariate_plot(self, covariate, module, sparse_term, at=at)

    def summary(self) -> str:
        """Return the result as text: the model, the coefficients, and what to know about them."""
        return summary_text(self)

    def __repr__(self) -> str:
        return printed(self)

    def _repr_html_(self) -> str:
        return printed_html(self)

    def _blocks(self) -> dict[str, Mapping[tuple[str, str], pd.DataFrame]]:
        """Return the covariances within equations, by part of the model; "" where it has one part."""
        if self.presence is None or self.method == "presence":
            return {"": self.covariance}
        size = {key: block for key, block in self.covariance.items() if key not in self.links}
        return {"presence": self.presence.covariance, "magnitude": size}


def load_group(folder: str | Path) -> GroupResult:
    """Read a group result that `GroupResult.save` wrote into a folder; nothing in it is executed.

    Parameters
    ----------
    folder : path
        The folder.

    Raises
    ------
    StorageError
        The folder holds no group result, or is damaged.
    ConfigError
        The result has posterior draws, and ArviZ is not installed (``pip install 'spicestat[bayes]'``).

    Examples
    --------
    See `GroupResult.save`.
    """
    return GroupResult(**unpack_group(read_sealed(folder, _KIND)))


def _effect_index(fixed: pd.DataFrame) -> pd.MultiIndex:
    """Return labels of effects, with the part of the model where there are two."""
    names = ["module", "sparse_term", "term", *(["group"] if fixed["group"].notna().any() else [])]
    return pd.MultiIndex.from_frame(fixed[names])
