"""GroupResult: what a group model found, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from spicestat._checks import check_level, check_options, named_options
from spicestat._files.tables import write_table
from spicestat.coefficients import CoefficientTable
from spicestat.errors import ConfigError
from spicestat.group.after.augment import augment
from spicestat.group.after.average_effects import average_effects
from spicestat.group.after.contrasts import ContrastMethod, contrasts, linear_hypotheses, term_tests
from spicestat.group.after.derived import derived_means
from spicestat.group.after.marginal_means import MarginalMeans, marginal_means
from spicestat.group.after.standardised import standardised_effects
from spicestat.group.after.text import equation_paragraphs, wrapped
from spicestat.group.formula.design import Design
from spicestat.group.inference.rows import COLUMNS, GLANCE, SAMPLING, intervals
from spicestat.group.plots import PLOTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["GroupResult"]

_EFFECTS = ("fixed", "ran_pars")
_SHOWN = [
    "module",
    "sparse_term",
    "term",
    "estimate",
    "std_error",
    "df",
    "p_value",
    "p_adjusted",
    "conf_low",
    "conf_high",
]


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
        What `glance` gives.
    skipped : DataFrame
        ``module, sparse_term, reason``: equations left out of the table.
    formula, method : str
        As asked for.
    adjust : str
        How ``p_adjusted`` was made; a family is one covariate over all equations.
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
    extra : mapping
        Whatever else the method has to show.
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
    extra: Mapping[str, Any] = field(default_factory=dict)

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
            low, high = self._intervals(check_level(conf_level))
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
        if "diagnostics" not in self.extra:
            raise ConfigError("this method does not sample", got=self.method, allowed="bayes, bayes_meta")
        found: pd.DataFrame = self.extra["diagnostics"]
        return found.copy()

    def to_frame(self) -> pd.DataFrame:
        """Return a copy of all coefficients, fixed and random."""
        return self.coefficients.copy()

    def save(self, path: str | Path) -> Path:
        """Write all coefficients to a ``.csv``, ``.tsv`` or ``.parquet`` file.

        Raises
        ------
        StorageError
            The file cannot be written or has another ending.
        """
        return write_table(self.coefficients, path)

    @named_options
    def augment(self) -> pd.DataFrame:
        """Return one row per participant and equation: covariates, fitted values, residuals; see `augment.augment`."""
        return augment(self)

    @named_options
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
        """Return estimated marginal means, as emmeans does; see `marginal_means.marginal_means`."""
        return marginal_means(
            self, variables, by=by, at=at, weights=weights, type=type, cov_keep=cov_keep, conf_level=conf_level,
            equations=equations,
        )  # fmt: skip

    @named_options
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
        """Return contrasts of marginal means; see `contrasts.contrasts` and `marginal_means.marginal_means`."""
        means = self.marginal_means(
            variables, by=by, at=at, weights=weights, cov_keep=cov_keep, conf_level=conf_level, equations=equations
        )
        return contrasts(means, method, reference=reference, scale=scale, adjust=adjust, family=family)

    @named_options
    def term_tests(self, *, adjust: str = "BH", equations: Sequence[tuple[str, str]] | None = None) -> pd.DataFrame:
        """Return an F test for each term of the formula; see `contrasts.term_tests`."""
        return term_tests(self, adjust=adjust, equations=equations)

    @named_options
    def linear_hypotheses(
        self,
        hypotheses: Mapping[str, Mapping[Any, float]],
        *,
        value: float | Mapping[str, float] = 0.0,
        joint: bool = False,
        adjust: str = "BH",
        equations: Sequence[tuple[str, str]] | None = None,
    ) -> pd.DataFrame:
        """Test linear combinations of coefficients; see `contrasts.linear_hypotheses`."""
        return linear_hypotheses(self, hypotheses, value=value, joint=joint, adjust=adjust, equations=equations)

    @named_options
    def standardised(
        self,
        kind: str = "residual",
        *,
        small_sample: bool = False,
        conf_level: float | None = None,
        equations: Sequence[tuple[str, str]] | None = None,
    ) -> pd.DataFrame:
        """Return standardised effects; see `standardised.standardised_effects`."""
        return standardised_effects(self, kind, small_sample=small_sample, conf_level=conf_level, equations=equations)

    @named_options
    def average_effects(
        self,
        variables: str | Sequence[str] | None = None,
        *,
        over: str = "population",
        adjust: str = "BH",
        conf_level: float | None = None,
        equations: Sequence[tuple[str, str]] | None = None,
    ) -> pd.DataFrame:
        """Return effects on the natural scale of linked coefficients; see `natural_scale.average_effects`."""
        return average_effects(self, variables, over=over, adjust=adjust, conf_level=conf_level, equations=equations)

    @named_options
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
        """Return derived quantities of the group, such as a fixed point; see `derived.derived_means`."""
        return derived_means(
            self, expressions, variables, by=by, at=at, weights=weights, cov_keep=cov_keep, conf_level=conf_level
        )

    def plot(self, kind: str = "forest", **options: Any) -> Figure:
        """Draw the result.

        Parameters
        ----------
        kind : {"forest", "caterpillar", "covariate"}, default "forest"
            Standardised effects; participants in order; coefficients against ``covariate=``,
            by default the formula's first.
        **options
            Of `group_plots.forest_plot`, `group_plots.caterpillar_plot` or `group_plots.covariate_plot`.

        Raises
        ------
        ConfigError
            The kind, or an option, is unknown.
        """
        if kind not in PLOTS:
            raise ConfigError("unknown plot", got=kind, allowed=", ".join(PLOTS))
        check_options(options, list(signature(PLOTS[kind]).parameters)[1:], f"the plot '{kind}'")
        drawn: Figure = PLOTS[kind](self, **options)
        return drawn

    def summary(self) -> str:
        """Return the result as text: the model, the coefficients, and what to know about them."""
        glance = self.glance_frame
        lines = [
            f"Group model {self.formula}, method {self.glance_frame['method'].iloc[0]}",
            f"{len(self._equations())} equation terms, {_span(glance['nobs'])} observations, "
            f"p-values adjusted by {self.adjust} within each covariate, {100 * self.conf_level:g} % intervals",
            "",
            self.tidy()[_SHOWN].to_string(index=False, float_format=lambda value: f"{value:.4g}", na_rep="-"),
            "",
            self._spread_text(),
        ]
        if glance["withheld"].any():
            lines.append(
                f"Withheld p-values and intervals: up to {100 * glance['share_unidentified'].max():.0f} % of the "
                "participants have no identified estimate."
            )
        if not glance["converged"].all():
            lines.append("Not converged: see the column `converged` of glance().")
        lines += [f"Contradiction: {text}" for text in self._contradictions()]
        lines += [f"Left out: {row.module} / {row.sparse_term}: {row.reason}" for row in self.skipped.itertuples()]
        lines += [f"Note: {message}" for message in self.messages]
        return "\n".join(lines)

    def __repr__(self) -> str:
        frame = self.tidy()
        # a posterior has no p-values
        p_values = ["p_value", "p_adjusted"] if frame["p_value"].notna().any() else []
        lines = [
            wrapped(f"Group model {self.formula}, method {self.method}"),
            wrapped(f"{self._people()}, {100 * self.conf_level:g} % intervals" + self._adjustment(p_values)),
            *map(wrapped, self._warnings()),
            "",
            equation_paragraphs(frame, ["term"], ["estimate", "conf_low", "conf_high", *p_values]),
        ]
        return "\n".join(lines)

    def _people(self) -> str:
        if self.table is None:
            return f"{_span(self.glance_frame['nobs'])} observations"
        return f"{_span(len(self.table.participants) - self.glance_frame['n_excluded'])} participants"

    def _adjustment(self, p_values: list[str]) -> str:
        return f", p-values adjusted by {self.adjust}" if p_values else ""

    def _warnings(self) -> list[str]:
        """Return what stands above the table: what is withheld, not converged or left out."""
        glance, found = self.glance_frame, []
        if glance["withheld"].any():
            share = 100 * glance["share_unidentified"].max()
            found.append(
                f"p-values and intervals are withheld (-): up to {share:.0f} % of the participants have no identified "
                "estimate"
            )
        if not glance["converged"].all():
            found.append("Not converged: see the column `converged` of glance()")
        found += self._contradictions()
        if len(self.skipped):
            found.append(f"Left out: {len(self.skipped)} equation terms, see .skipped")
        return found

    def _contradictions(self) -> list[str]:
        return [text for text in self.glance_frame["contradictions"].unique() if text]

    def _intervals(self, conf_level: float) -> tuple[np.ndarray, np.ndarray]:
        """Intervals of all rows at another level, the method's own where it has some."""
        low, high = intervals(self.coefficients, conf_level)
        if "intervals" in self.extra:
            rows = np.flatnonzero(self.coefficients["effect"] == "fixed")
            shown = self.coefficients["conf_low"].notna().to_numpy()[rows]
            for limits, own in zip((low, high), self.extra["intervals"](conf_level), strict=True):
                limits[rows] = np.where(shown, own, np.nan)
        return low, high

    def _equations(self) -> pd.DataFrame:
        return self.coefficients[["module", "sparse_term"]].drop_duplicates()

    def _spread_text(self) -> str:
        spread = self.tidy("ran_pars", conf_int=False)
        if spread.empty:
            return ""
        shown = spread[["module", "sparse_term", "group", "term", "estimate"]]
        return str(shown.to_string(index=False, float_format=lambda value: f"{value:.4g}"))


def _span(values: pd.Series[int]) -> str:
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low} to {high}"
