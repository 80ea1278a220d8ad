"""Mixed models of lme4, lmerTest and glmmTMB on a coefficient table, fitted by R and returned as tables."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from spicestat._checks import check_level
from spicestat._files.tables import TableSource
from spicestat.coefficients import CoefficientTable, read_coefficients, refuse_occasions
from spicestat.errors import ConfigError, CovariateError, DataError, FormulaError
from spicestat.group.inference.rows import COLUMNS
from spicestat.group.inputs.alignment import align_people, group_people
from spicestat.r.run_r import run_program

__all__ = ["ENGINES", "RMixedModel", "long_table", "r_mixed_model"]

ENGINES = ("lme4", "lmerTest", "glmmTMB")
_MISSING = r"\N"
_PROGRAM = Path(__file__).with_name("mixed_models.R")


@dataclass(frozen=True)
class RMixedModel:
    """A mixed model that R fitted.

    Attributes
    ----------
    coefficients : DataFrame
        Columns as in `spicestat.group.GroupResult.coefficients`, with effects "fixed", "ran_pars" and "ran_vals".
        ``module`` and ``sparse_term`` are filled where a fixed effect belongs to one level of ``equation``.
    covariance : DataFrame
        Covariance of the fixed effects, labelled by R's names.
    glance_frame : DataFrame
        One row: ``nobs, sigma, log_lik, aic, bic, df_residual, singular, converged, engine, version, r_version``.
    messages : tuple of str
        Warnings and messages of R.
    formula : str
        As given to R.
    """

    coefficients: pd.DataFrame
    covariance: pd.DataFrame
    glance_frame: pd.DataFrame
    messages: tuple[str, ...]
    formula: str

    def tidy(self, effects: str = "fixed") -> pd.DataFrame:
        """Return the rows of one kind: "fixed", "ran_pars" or "ran_vals"."""
        known = ("fixed", "ran_pars", "ran_vals")
        if effects not in known:
            raise ConfigError("unknown effects", got=effects, allowed=", ".join(known))
        rows: pd.DataFrame = self.coefficients[self.coefficients["effect"] == effects]
        return rows.reset_index(drop=True)

    def glance(self) -> pd.DataFrame:
        """Return the one-row summary."""
        return self.glance_frame.copy()


def r_mixed_model(
    table: CoefficientTable | TableSource,
    formula: str,
    data: TableSource | None = None,
    *,
    engine: str = "lmerTest",
    reml: bool = True,
    weights: str = "none",
    participant: str = "participant",
    conf_level: float = 0.95,
    backend: str = "auto",
) -> RMixedModel:
    """Fit a mixed model to the long coefficient table with R.

    Parameters
    ----------
    table : CoefficientTable, DataFrame or path
        Coefficients that are selected, converged and not at a bound enter.
    formula : str
        In lme4's language, such as ``"~ 0 + equation + equation:age + (1 | participant)"``; the outcome is
        ``estimate`` if the left side is empty. Columns: ``estimate, std_error, participant, module,
        sparse_term, equation`` ("module:term", a factor), ``n_trials``, and the covariates. Nothing but operators of
        formulas, arithmetic in ``I()``, and functions such as ``log``, ``scale``, ``factor``, ``C`` and ``poly`` is
        passed on to R.
    data : DataFrame or path, optional
        Covariates, one row per participant. Default: the table's own ``people``.
    engine : {"lmerTest", "lme4", "glmmTMB"}, default "lmerTest"
        lmerTest gives Satterthwaite's degrees of freedom, lme4 no tests, glmmTMB normal tests.
    reml : bool, default True
    weights : {"none", "inverse_variance"}, default "none"
        "inverse_variance" weights residuals by 1 / std_error^2 (not with glmmTMB, where weights mean repetitions). lme4
        then still estimates a common factor of the variances; for known variances see
        ``method="meta"`` and ``method="multivariate_meta"`` of `spice_group`.
    participant : str, default "participant"
        Column of ``data`` with the participants' labels.
    conf_level : float, default 0.95
        Of the fixed effects' intervals, in (0, 1).
    backend : {"auto", "rscript", "rpy2"}, default "auto"
        See `find_backend`.

    Raises
    ------
    ConfigError, FormulaError, DataError, CovariateError
        A setting, the formula or the data cannot be used.
    REngineError
        R or a package is missing, or R cannot fit the model.
    NestedRError
        rpy2 is asked for inside R.
    """
    _check(engine, weights, conf_level)
    written = _formula(formula)
    coefficients = table if isinstance(table, CoefficientTable) else read_coefficients(table)
    refuse_occasions(coefficients, "this engine")
    frame = long_table(coefficients, data, participant=participant, needs_std_error=weights != "none")
    with tempfile.TemporaryDirectory(prefix="spicestat-") as name:
        folder = Path(name)
        _write(frame, folder)
        options = {"formula": written, "engine": engine, "reml": str(bool(reml)).upper(), "weights": weights}
        for key, value in options.items():
            (folder / f"{key}.txt").write_text(value + "\n", encoding="utf-8")
        run_program(_PROGRAM, folder, backend)
        return _read(folder, frame, written, conf_level)


def long_table(
    table: CoefficientTable,
    data: TableSource | None = None,
    *,
    participant: str = "participant",
    needs_std_error: bool = False,
) -> pd.DataFrame:
    """Return the usable coefficients, one row each, with the participants' covariates beside them.

    Columns ``participant, module, sparse_term, equation, estimate, std_error, n_trials`` and the covariates.

    Examples
    --------
    >>> frame = pd.DataFrame({"participant": ["a", "b"], "module": "beta", "term": "x", "estimate": [3.0, 4.0],
    ...     "std_error": 0.1})
    >>> people = pd.DataFrame({"participant": ["b", "a"], "age": [20, 30]})
    >>> long_table(CoefficientTable.from_frame(frame), people)[["participant", "equation", "age"]].values.tolist()
    [['a', 'beta:x', 30], ['b', 'beta:x', 20]]
    """
    rows = table.frame[table.frame["selected"] & table.frame["converged"] & ~table.frame["at_bound"]]
    rows = rows[np.isfinite(rows["estimate"])]
    if needs_std_error:
        rows = rows[rows["std_error"] > 0]
    if rows.empty:
        raise DataError("no coefficient can be analysed", do="check estimates, bounds and convergence")
    names = ["participant", "module", "term", "estimate", "std_error", "n_trials"]
    frame: pd.DataFrame = rows[names].rename(columns={"term": "sparse_term"}).reset_index(drop=True)
    frame.insert(3, "equation", frame["module"] + ":" + frame["sparse_term"])
    people = group_people(table.people, data, participant, settled=table.info.get("missing"))
    if people is None:
        return frame
    column = participant if data is not None else "participant"
    aligned, positions = align_people(table.participants, people, column)
    labels = [table.participants[position] for position in positions]
    covariates = aligned.drop(columns=[column, "participant"], errors="ignore").reset_index(drop=True)
    clash = sorted(set(covariates.columns) & set(frame.columns))
    if clash:
        raise CovariateError(f"covariates have names of the table's own columns: {', '.join(clash)}", do="rename them")
    where = frame["participant"].map({label: row for row, label in enumerate(labels)})
    kept = where.notna().to_numpy()
    beside = covariates.iloc[where[kept].astype("int64")].reset_index(drop=True)
    long: pd.DataFrame = pd.concat([frame[kept].reset_index(drop=True), beside], axis=1)
    return long


def _check(engine: str, weights: str, conf_level: float) -> None:
    if engine not in ENGINES:
        raise ConfigError("unknown `engine`", got=engine, allowed=", ".join(ENGINES))
    if weights not in ("none", "inverse_variance"):
        raise ConfigError("unknown `weights`", got=weights, allowed="none, inverse_variance")
    if weights != "none" and engine == "glmmTMB":
        raise ConfigError(
            "glmmTMB's weights are repetitions, not precisions", got=weights, do='use engine="lme4" or "lmerTest"'
        )
    check_level(conf_level)


def _formula(formula: str) -> str:
    """Return a one-line formula with its outcome.

    Examples
    --------
    >>> _formula("~ age + (1 | participant)")
    'estimate ~ age + (1 | participant)'
    """
    line = " ".join(formula.split())
    if "~" not in line:
        raise FormulaError("a mixed model needs a formula", got=formula, allowed="'~ equation + (1 | participant)'")
    return f"estimate {line}" if line.startswith("~") else line


def _write(frame: pd.DataFrame, folder: Path) -> None:
    """Write the data as text, with the kind of each column and the order of its levels."""
    kinds, levels, written = [], [], pd.DataFrame(index=frame.index)
    for name in map(str, frame.columns):
        column = frame[name]
        if pd.api.types.is_bool_dtype(column):
            kind, values = "logical", column.map({True: "TRUE", False: "FALSE"})
        elif pd.api.types.is_numeric_dtype(column) and name != "participant":
            kind, values = "number", column.astype("float64").map(lambda value: repr(float(value)))
        else:
            kind, values = "factor", column.astype(str)
            levels += [(name, level) for level in _levels(column, ordered=name in ("participant", "equation"))]
        written[name] = values.astype(object).where(column.notna(), _MISSING)
        kinds.append((name, kind))
    written.to_csv(folder / "data.csv", index=False)
    pd.DataFrame(kinds, columns=["name", "kind"]).to_csv(folder / "columns.csv", index=False)
    pd.DataFrame(levels, columns=["name", "level"]).to_csv(folder / "levels.csv", index=False)


def _levels(column: pd.Series[Any], ordered: bool) -> list[str]:
    """Levels in the order that contrasts use: categories, first appearance, or sorted."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return [str(level) for level in column.cat.categories]
    found = column.dropna().astype(str).drop_duplicates().tolist()
    return found if ordered else sorted(found)


def _read(folder: Path, frame: pd.DataFrame, formula: str, conf_level: float) -> RMixedModel:
    def table(name: str) -> pd.DataFrame:
        file = folder / name
        # nothing but the empty field is missing: "NA" may be somebody's level
        return pd.read_csv(file, keep_default_na=False, na_values={}, dtype=str) if file.is_file() else pd.DataFrame()

    equations = dict(zip(frame["equation"], zip(frame["module"], frame["sparse_term"], strict=True), strict=True))
    fixed = _fixed(_numbers(table("fixed.csv")), equations, conf_level)
    spread = _numbers(table("ran_pars.csv")).assign(effect="ran_pars")
    values = _numbers(table("ran_vals.csv")).assign(effect="ran_vals")
    glance = _numbers(table("glance.csv"))
    for name in ("singular", "converged"):
        glance[name] = glance[name].astype(str).eq("TRUE")
    glance["nobs"] = glance["nobs"].astype("int64")
    names = fixed["r_name"].tolist()
    covariance = table("vcov.csv").astype("float64").to_numpy()
    parts = [part.reindex(columns=COLUMNS).astype(object) for part in (fixed, spread, values) if len(part)]
    together = pd.concat(parts, ignore_index=True)
    text = ("module", "sparse_term", "effect", "group", "level", "term")
    for name in COLUMNS:
        column = together[name]
        together[name] = column.where(column.notna(), None) if name in text else column.astype("float64")
    said = (folder / "messages.txt").read_text(encoding="utf-8").splitlines()
    return RMixedModel(
        coefficients=together,
        covariance=pd.DataFrame(covariance, index=names, columns=names),
        glance_frame=glance,
        messages=tuple(line for line in said if line),
        formula=formula,
    )


def _numbers(frame: pd.DataFrame) -> pd.DataFrame:
    text = ("group", "level", "term", "engine", "version", "r_version", "singular", "converged")
    for name in frame.columns.difference(list(text)):
        frame[name] = pd.to_numeric(frame[name].replace("", None)).astype("float64")
    return frame


def _fixed(fixed: pd.DataFrame, equations: dict[str, tuple[str, str]], conf_level: float) -> pd.DataFrame:
    rows = [_named(name, equations) for name in fixed["term"]]
    fixed["r_name"] = fixed["term"]
    fixed["module"], fixed["sparse_term"], fixed["term"] = ([row[k] for row in rows] for k in range(3))
    fixed["effect"], fixed["conf_level"] = "fixed", conf_level
    fixed["statistic"] = fixed["estimate"] / fixed["std_error"]
    half = student.ppf(0.5 + conf_level / 2.0, fixed["df"]) * fixed["std_error"]
    fixed["conf_low"], fixed["conf_high"] = fixed["estimate"] - half, fixed["estimate"] + half
    return fixed


def _named(name: str, equations: dict[str, tuple[str, str]]) -> tuple[str | None, str | None, str]:
    """Split R's name of a fixed effect into equation and covariate, where it has an equation.

    Examples
    --------
    >>> _named("equationbeta:x:age", {"beta:x": ("beta", "x")}), _named("age", {})
    (('beta', 'x', 'age'), (None, None, 'age'))
    """
    for label in sorted(equations, key=len, reverse=True):
        start = f"equation{label}"
        if name == start:
            return (*equations[label], "(Intercept)")
        if name.startswith(f"{start}:"):
            return (*equations[label], name[len(start) + 1 :])
    return None, None, name
