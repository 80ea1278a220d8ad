"""spice_group: relate the coefficients of the discovered equations to covariates of the participants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from spicestat._checks import check_level, real_number, whole_number
from spicestat._files.tables import TableSource
from spicestat._runtime.blas import on_one_blas_thread
from spicestat._runtime.progress import Progress
from spicestat.coefficients import CoefficientTable, read_coefficients
from spicestat.errors import (
    ConfigError,
    ConvergenceWarning,
    DataError,
    FormulaError,
    IdentifiabilityWarning,
    NumericalError,
    SpicestatWarning,
    warn_user,
)
from spicestat.group.after.kernel_effects import HasKernelMoves
from spicestat.group.formula.at_zero import effects_at_zero
from spicestat.group.formula.design import Design, build_design, covariate_names
from spicestat.group.inference.imputed_covariates import imputed_covariates
from spicestat.group.inference.multiplicity import ADJUSTMENTS, MAX_T
from spicestat.group.inference.rows import coefficient_table, glance_table
from spicestat.group.inference.rubin import pooled_estimates
from spicestat.group.inputs.alignment import covariates_of
from spicestat.group.inputs.choices import with_choices
from spicestat.group.inputs.contract import RESCALE, GroupEstimates, GroupInputs, Skipped, describe_skipped
from spicestat.group.inputs.likelihood import HasLikelihood, HasSkewness
from spicestat.group.inputs.usable import select_equations, wanted_columns
from spicestat.group.methods.registry import METHODS, Method, find_method
from spicestat.group.printing import WITHHELD
from spicestat.group.result import GroupResult
from spicestat.trials.covariates import PERSON
from spicestat.trials.joining import Tables
from spicestat.trials.labels import label_key

__all__ = ["HasCoefficients", "group_of_design", "spice_group"]


@runtime_checkable
class HasCoefficients(Protocol):
    """Anything that carries a coefficient table, such as a fit."""

    @property
    def coefficients(self) -> CoefficientTable:
        """The coefficient table."""


def spice_group(
    coefficients: CoefficientTable | HasCoefficients | TableSource,
    formula: str,
    *,
    data: Tables | None = None,
    method: str | None = None,
    modules: str | Sequence[str] | None = None,
    terms: str | Sequence[str] | None = None,
    participant: str | None = None,
    missing: Any = None,
    adjust: str = "BH",
    conf_level: float = 0.95,
    max_unidentified: float | None = None,
    imputations: int | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> GroupResult:
    """Regress the coefficients of the participants' equations on covariates.

    Parameters
    ----------
    coefficients : CoefficientTable, fit, DataFrame or path
        Estimates per participant, module and term; anything
        `spicestat.read_coefficients` reads, or an object whose
        ``.coefficients`` is such a table. A CSV file needs the columns ``participant, module,
        term, estimate, std_error``, or the names of R's ``tidy()``.
    formula : str
        Right-hand side of a Wilkinson formula: ``"~ diagnosis + age"``. With "hierarchical" and "meta" it may have
        lme4's random parts: ``"~ drug * anxiety + (drug | participant) + (1 | site)"`` where coefficients are of people
        on occasions (``occasion=`` of `spice_fit`), or ``"~ diagnosis + (1 | site)"``.
    data : DataFrame, path or list of these, optional
        Covariates, one row per participant, or per participant and occasion. Several tables are joined on the columns
        that they share, as a table of sites on ``site``. Default: the table's own ``people``.
    method : str, optional
        Default: "hierarchical" for a fit, which has the choices, and "meta" for a coefficient table.

        - "bayes": the posterior of the model of "hierarchical", by NUTS.
        - "bayes_meta": the posterior of the model of "multivariate_meta", by NUTS.
        - "hierarchical": coefficients and their relation to covariates estimated together, from the choices; takes
          random parts.
        - "hurdle": "presence", and "meta" among those who have the term.
        - "meta": meta-regression of each coefficient with known sampling variances, by REML with Knapp-Hartung tests;
          takes random parts.
        - "mixed": one mixed model of all coefficients with a random intercept per participant; ignores standard errors.
        - "multivariate_meta": meta-regression of all coefficients together, with their full sampling covariances.
        - "ols": least squares with HC3 standard errors, the naive baseline.
        - "permutation": Freedman-Lane permutation tests of each covariate.
        - "presence": whether a term is in a participant's equation, by Firth's logistic regression.
    modules, terms : str or sequence of str, optional
        Restrict to these modules and equation terms. Default: all.
    participant : str, optional
        Column of ``data`` with the participants' labels: ``1``, ``1.0`` and ``"1"`` are one participant. Default:
        that of the trials where these had occasions, else "participant".
    missing : value, sequence or mapping, optional
        Values of covariates that mean "not there": ``[-99]``, or ``{"age": [-99], "group": ["NR"]}``; see
        `spicestat.read_trials`.
    adjust : {"BH", "BY", "holm", "bonferroni", "maxT", "none"}, default "BH"
        Adjustment of p-values. A family is one term of the formula, with all levels of a factor, over all
        equations; the intercepts are a family of their own. "maxT" takes the dependence of the tests into account: by
        permutations with ``method="permutation"``, else by the joint covariance of a method that has one.
    conf_level : float, default 0.95
        Level of the intervals, in (0, 1).
    max_unidentified : float, optional
        Above this share of participants without an identified estimate, in [0, 1], p-values and
        intervals are withheld (NaN), as they are not calibrated. Default: 0.4 for "hierarchical" and "bayes",
        for which everybody's choices count, or none for these with ``model="history"``, whose likelihood is
        concave; else 0.2.
    imputations : int, optional
        At least 2, such as 20: covariates of people that are missing are filled in so many times by chained equations,
        with people's own estimates among the predictors; the model is fitted to each, and Rubin's rules make one result
        of them, with Barnard and Rubin's degrees of freedom. They are always the same. Default: people who lack a
        covariate of the formula are left out. For methods with standard errors alone ("hierarchical", "meta",
        "multivariate_meta", "mixed", "ols"). Right where what is missing hangs together with what is known, and
        rather flat for interactions, which the equations do not have.
    progress : callable, optional
        Called with ("group", done, total, message) by "permutation", "hierarchical", "bayes" and "bayes_meta", which
        may take minutes. A hierarchical model seldom needs all its rounds.
    **settings
        Further settings of the method, fields of its ``Settings``, such as ``links={"beta": "log"}``.

    Raises
    ------
    FormulaError, CovariateError
        The formula or a covariate cannot be used.
    DataError
        No participant or no coefficient can be analysed.
    ConfigError
        A setting is unknown or out of range.

    Warns
    -----
    ExclusionWarning
        Participants or coefficients are left out.
    IdentifiabilityWarning
        Inference is withheld.
    ConvergenceWarning
        A fit did not converge; see ``converged`` in `GroupResult.glance`.

    Examples
    --------
    >>> ids = [f"s{i}" for i in range(8)]
    >>> table = pd.DataFrame({"participant": ids, "module": "x_value", "term": "reward",
    ...     "estimate": [0.31, 0.42, 0.28, 0.55, 0.47, 0.61, 0.38, 0.52], "std_error": 0.05})
    >>> people = pd.DataFrame({"participant": ids, "age": [20, 30, 22, 45, 38, 50, 29, 41]})
    >>> group = spice_group(table, "~ age", data=people)
    >>> group.tidy()[["term", "estimate", "df"]].round(3).to_dict("list")
    {'term': ['(Intercept)', 'age'], 'estimate': [0.078, 0.011], 'df': [6.0, 6.0]}
    """
    default = "hierarchical" if isinstance(coefficients, HasLikelihood) else "meta"
    _check_adjustment(adjust)
    chosen = find_method(default if method is None else method)
    chosen.settings(settings)
    table = _as_table(coefficients)
    design, imputed, imputed_text = _designs(table, formula, data, participant, missing, imputations)
    return group_of_design(
        coefficients if isinstance(coefficients, HasLikelihood) else table,
        design,
        method=chosen.name,
        modules=modules,
        terms=terms,
        adjust=adjust,
        conf_level=conf_level,
        max_unidentified=max_unidentified,
        imputed=imputed,
        imputed_text=imputed_text,
        progress=progress,
        **settings,
    )


@on_one_blas_thread
def group_of_design(
    coefficients: CoefficientTable | HasCoefficients | TableSource,
    design: Design,
    *,
    method: str,
    modules: str | Sequence[str] | None = None,
    terms: str | Sequence[str] | None = None,
    adjust: str = "BH",
    conf_level: float = 0.95,
    max_unidentified: float | None = None,
    imputed: Sequence[Design] = (),
    imputed_text: str = "",
    progress: Progress | None = None,
    **settings: Any,
) -> GroupResult:
    """Do what `spice_group` does, with a design that is made already; its rows are positions in the coefficient table.

    With ``imputed``, the designs of several imputations, ``design`` is that of a typical one, which is not fitted;
    ``imputed_text`` says what was missing. All else is as in `spice_group`.

    Examples
    --------
    >>> from spicestat.group.formula.design import build_design
    >>> people = pd.DataFrame({"participant": range(8), "age": [20, 30, 22, 45, 38, 50, 29, 41]})
    >>> table = people[["participant"]].assign(module="x_value", term="reward", std_error=0.05,
    ...                                        estimate=[0.31, 0.42, 0.28, 0.55, 0.47, 0.61, 0.38, 0.52])
    >>> group = group_of_design(table, build_design("~ age", people), method="meta")
    >>> group.tidy()["estimate"].round(3).tolist()
    [0.078, 0.011]
    """
    chosen = find_method(method)
    _check_adjustment(adjust)
    if max_unidentified is not None:
        max_unidentified = real_number("`max_unidentified`", max_unidentified, 0.0, 1.0, high_included=True)
    level = check_level(conf_level)
    own_settings = chosen.settings(settings)
    table = _as_table(coefficients)
    _check_parts(chosen, design, table)
    each = [
        _inputs(chosen, coefficients, table, one, modules=modules, terms=terms, conf_level=level, progress=progress)
        for one in (imputed or [design])
    ]
    inputs, skipped = each[0]
    limit = max_unidentified
    if limit is None:
        # a likelihood that is concave says as much of people whose own estimates it does not bound as of the others
        limit = 1.0 if isinstance(inputs.likelihood, HasSkewness) else chosen.max_unidentified
    found = [_estimate(chosen, one, own_settings) for one, _ in each]
    estimates = pooled_estimates(found, imputed_text) if imputed else found[0]
    skipped = tuple(dict.fromkeys((*skipped, *estimates.skipped)))
    if estimates.fixed.empty:
        raise DataError("no coefficient can be analysed", got=describe_skipped(skipped))
    glance = glance_table(estimates, max_unidentified=limit, method=chosen.label, formula=design.formula)
    withheld = _withheld(inputs, glance)
    reasons = _reasons(glance, limit, estimates.doubt)
    _warn(glance, reasons)
    return GroupResult(
        coefficients=coefficient_table(estimates, withheld, inputs.design.term_of, adjust=adjust, conf_level=level),
        glance_frame=glance,
        skipped=pd.DataFrame(skipped, columns=list(Skipped._fields)),
        formula=design.formula,
        method=chosen.name,
        adjust=adjust,
        conf_level=level,
        covariance=_labelled(estimates),
        messages=(
            *(f"{WITHHELD}{text}" for _, text in reasons),
            *estimates.messages,
            *effects_at_zero(inputs.design),
        ),
        design=design if imputed else inputs.design,
        table=table,
        ran_vals=estimates.ran_vals,
        joint_covariance=estimates.joint_covariance,
        links=estimates.links,
        shrunken=estimates.shrunken,
        posterior=estimates.posterior,
        presence=estimates.presence,
        exact=estimates.exact,
        source=coefficients if isinstance(coefficients, HasKernelMoves) else None,
        refit=partial(
            _again,
            own_method=method,
            own_settings=settings,
            design=design,
            adjust=adjust,
            conf_level=conf_level,
            max_unidentified=max_unidentified,
            imputed=imputed,
            imputed_text=imputed_text,
        ),
    )


def _again(
    coefficients: Any, method: str | None = None, *, own_method: str, own_settings: Mapping[str, Any], **given: Any
) -> GroupResult:
    """Fit a group model to another fit, or by another method, which has settings of its own."""
    if method in (None, own_method):
        return group_of_design(coefficients, method=own_method, **given, **own_settings)
    return group_of_design(coefficients, method=method, **given)


def _inputs(
    chosen: Method,
    coefficients: Any,
    table: CoefficientTable,
    design: Design,
    *,
    modules: str | Sequence[str] | None,
    terms: str | Sequence[str] | None,
    conf_level: float,
    progress: Progress | None,
) -> tuple[GroupInputs, tuple[Skipped, ...]]:
    """Return what a method reads, and the coefficients that it cannot."""
    skipped: tuple[Skipped, ...] = ()
    if chosen.reads_choices:
        inputs = with_choices(table, design, coefficients, modules=modules, terms=terms)
    elif chosen.reads_estimates:
        equations, skipped = select_equations(
            table, design, modules=modules, terms=terms, needs_std_error=chosen.needs_std_error
        )
        inputs = GroupInputs(table, design, equations)
    else:
        inputs = GroupInputs(table, design, ())
    wanted = tuple(table.terms[column] for column in wanted_columns(table, modules, terms))
    return replace(inputs, conf_level=conf_level, wanted=wanted, progress=progress), skipped


def _check_adjustment(adjust: object) -> None:
    if not isinstance(adjust, str) or adjust.lower() not in {name.lower() for name in (*ADJUSTMENTS, MAX_T)}:
        raise ConfigError("unknown adjustment of p-values", got=repr(adjust), allowed=", ".join((*ADJUSTMENTS, MAX_T)))


def _as_table(coefficients: Any) -> CoefficientTable:
    if isinstance(coefficients, CoefficientTable):
        return coefficients
    if isinstance(coefficients, pd.DataFrame | str | Path):
        return read_coefficients(coefficients)
    if isinstance(coefficients, HasCoefficients) and isinstance(coefficients.coefficients, CoefficientTable):
        return coefficients.coefficients
    raise ConfigError(
        "`coefficients` is not a coefficient table",
        got=type(coefficients).__name__,
        allowed="a fit, a CoefficientTable, a data frame, or the path of a fit folder, .csv or .parquet file",
    )


def _designs(
    table: CoefficientTable,
    formula: str,
    data: Tables | None,
    participant: str | None,
    missing: Any,
    imputations: int | None,
) -> tuple[Design, list[Design], str]:
    """Return the design of the formula, or of a typical imputation and of all, and what was missing."""
    given = table.people if data is None else data
    theirs = given.attrs.get("varying", ()) if isinstance(given, pd.DataFrame) else ()
    varying = {*table.info.get("varying", ()), *theirs}
    column = participant or table.info.get("occasion", {}).get("participant", "participant")
    aligned, positions = covariates_of(table, data, column, missing=missing, formula=formula)
    key = PERSON if table.occasions else "participant"

    def made(people: pd.DataFrame) -> Design:
        design = build_design(formula, people, varying=varying, aliases={"participant": key, column: key})
        return replace(design, rows=positions[design.rows])

    if imputations is None:
        return made(aligned), [], ""
    imputed = imputed_covariates(
        aligned, covariate_names(formula), table, positions, whole_number("imputations", imputations, 2)
    )
    if imputed is None:
        return made(aligned), [], ""
    return made(imputed.typical), [made(people) for people in imputed.tables], imputed.text


def _check_parts(method: Method, design: Design, table: CoefficientTable) -> None:
    """Refuse random parts where the method has none, and occasions of a person taken for several people."""
    if design.random and not method.takes_random_parts:
        able = " or ".join(f'method="{name}"' for name in METHODS if find_method(name).takes_random_parts)
        raise ConfigError(
            f"the group method '{method.name}' takes no random parts",
            got=", ".join(dict.fromkeys(part.text for part in design.random)),
            do=f"use {able}, or leave them out of the formula",
        )
    if not table.occasions or table.people is None:
        return
    persons = pd.factorize(table.people[PERSON].iloc[design.rows].map(label_key))[0]
    if len(np.unique(persons)) == len(persons) or any(_same_groups(part.codes, persons) for part in design.random):
        return
    raise FormulaError(
        f"participants were seen on several occasions ({', '.join(table.occasions)}), which a formula without a random "
        "part for participants takes for different people",
        got=design.formula,
        do=f"add (1 | participant), or (1 + {table.occasions[0]} | participant) where effects of "
        f"'{table.occasions[0]}' differ between people",
    )


def _same_groups(codes: np.ndarray, others: np.ndarray) -> bool:
    """Return whether two codings make the same groups of rows."""
    pairs = len(np.unique(np.column_stack([codes, others]), axis=0))
    return pairs == len(np.unique(codes)) == len(np.unique(others))


def _estimate(method: Method, inputs: GroupInputs, settings: Any) -> GroupEstimates:
    """Run a method; an overflow is an error, never a NaN in the table."""
    try:
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            return method.estimate(inputs, settings)
    except FloatingPointError as error:
        raise NumericalError(f"the group model cannot be computed: {error}", do=RESCALE) from error
    except np.linalg.LinAlgError as error:
        raise NumericalError(
            f"the group model cannot be computed: {error}", do="use a simpler formula or fewer coefficients"
        ) from error


def _withheld(inputs: GroupInputs, glance: pd.DataFrame) -> dict[tuple[str, str], bool]:
    """Return which equations' inference is withheld; a joint model withholds all or none."""
    if glance["module"].isna().any():
        return {key: bool(glance["withheld"].any()) for key in inputs.wanted}
    return dict(zip(zip(glance["module"], glance["sparse_term"], strict=True), glance["withheld"], strict=True))


def _reasons(glance: pd.DataFrame, max_unidentified: float, doubt: str) -> list[tuple[type[SpicestatWarning], str]]:
    """Return why inference is withheld, and what would help."""
    share, reasons = glance["share_unidentified"].max(), list[tuple[type[SpicestatWarning], str]]()
    if share > max_unidentified:
        text = (
            f"{100 * share:.0f} % of the participants have an estimate at a bound, without convergence or without a "
            f"standard error (limit {100 * max_unidentified:g} %), and inference would not be calibrated. More trials "
            "per participant, a simpler equation or a hierarchical model would help"
        )
        reasons.append((IdentifiabilityWarning, text))
    stuck = glance[~glance["converged"] & glance["withheld"]]
    if len(stuck):
        text = f"the group model did not converge for {_named(stuck)}. A simpler formula or fewer terms would help"
        reasons.append((ConvergenceWarning, text))
    return [*reasons, (IdentifiabilityWarning, doubt)] if doubt else reasons


def _warn(glance: pd.DataFrame, reasons: Sequence[tuple[type[SpicestatWarning], str]]) -> None:
    for category, text in reasons:
        warn_user(f"{WITHHELD}{text}.", category)
    shown = glance[~glance["converged"] & ~glance["withheld"]]
    if len(shown):
        warn_user(f"the group model did not converge for {_named(shown)}.", ConvergenceWarning)


def _named(glance: pd.DataFrame) -> str:
    pairs = [(module, term) for module, term in zip(glance["module"], glance["sparse_term"], strict=True) if module]
    return ", ".join(" / ".join(map(str, pair)) for pair in pairs) or "all terms"


def _labelled(estimates: GroupEstimates) -> dict[tuple[str, str], pd.DataFrame]:
    """Label each equation's covariance by the terms of its rows."""
    terms = estimates.fixed.groupby(["module", "sparse_term"], sort=False)["term"].agg(
        lambda own: list(dict.fromkeys(own))
    )
    return {
        key: pd.DataFrame(np.asarray(block), index=terms[key], columns=terms[key])
        for key, block in estimates.covariance.items()
    }
