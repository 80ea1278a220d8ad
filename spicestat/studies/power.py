"""spice_power: how many participants and trials a study needs, by simulation from a fitted model."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy.stats import norm

from spicestat._checks import check_options, real_number, seed_number, whole_number
from spicestat._display import html_block, screen
from spicestat._runtime.blas import on_one_blas_thread
from spicestat.errors import ConfigError
from spicestat.fit.history import HistoryFit
from spicestat.fit.network_fit import SpiceFit
from spicestat.fit.task_fit import TaskFit
from spicestat.group.formula.design import build_design
from spicestat.group.methods.registry import find_method
from spicestat.group.result import GroupResult
from spicestat.studies.players import Simulator, players_of
from spicestat.studies.population import group_population
from spicestat.studies.simulated_study import StudyPlan, simulate_studies
from spicestat.studies.study_design import Kind, StudyDesign

__all__ = ["PowerResult", "spice_power", "wilson_interval"]

_CONF_LEVEL = 0.95
_PARTICIPANTS_AT_ONCE, _EXAMPLE_PEOPLE = 400, 60


@dataclass(frozen=True, eq=False)
class PowerResult:
    """Power of a group analysis in every design that was asked for.

    Attributes
    ----------
    table : DataFrame
        One row per design and effect: ``design`` (its number), ``n_participants, n_trials, term`` (of the formula),
        ``effect``; ``power`` (share of all studies with p below ``alpha``) with Wilson's interval ``conf_low,
        conf_high, conf_level``; ``mean_estimate, sd_estimate, mean_std_error``, ``coverage`` of the intervals; of the
        significant studies ``type_s`` (share with the wrong sign) and ``type_m`` (mean size over the true size);
        ``share_withheld`` (no p-value, see `spice_group`), ``share_failed`` (error, or the group model did not
        converge) and ``n_simulations``.
    studies : DataFrame
        One row per simulated study and effect: ``design, n_participants, n_trials, study, term, effect, estimate,
        std_error, p_value, conf_low, conf_high, converged, share_unidentified, message``.
    settings : mapping
        ``module`` and ``sparse_term`` of the coefficient, ``formula, method, alpha, n_occasions, n_blocks,
        n_simulations, seed, seconds``.
    """

    table: pd.DataFrame
    studies: pd.DataFrame
    settings: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        designs = [
            f"{row.n_participants} participants, {row.n_trials} trials, effect {row.effect:g} of {row.term}: "
            f"power {row.power:.2f} [{row.conf_low:.2f}, {row.conf_high:.2f}]"
            for row in self.table.itertuples()
        ]
        return screen("\n".join([f"<PowerResult: {self._counted}", *designs]) + ">", "tidy()")

    def _repr_html_(self) -> str:
        return html_block(f"PowerResult: {self._counted}", [], self.table)

    @property
    def _counted(self) -> str:
        return f"{self.table['design'].nunique() * self.settings['n_simulations']} simulated studies"

    def tidy(self) -> pd.DataFrame:
        """Return a copy of the table, one row per design and effect."""
        return self.table.copy()

    def glance(self) -> pd.DataFrame:
        """Return one row: what was simulated and how long it took."""
        return pd.DataFrame([self.settings])

    def plot(self, ax: Any = None) -> Any:
        """Draw power by participants, one line per number of trials and effect; return the Figure."""
        from spicestat._drawing import panels

        axes = panels(1, 5.0, 3.5)[1][0] if ax is None else ax
        # where several effects vary, the others belong to the line
        others = self.table["design"] - self.table.groupby(["n_participants", "n_trials"])["design"].transform("min")
        lines = self.table.assign(others=others).groupby(["n_trials", "term", "others"], sort=True)
        for (n_trials, term, _), rows in lines:
            error = np.abs(rows[["conf_low", "conf_high"]].to_numpy().T - rows["power"].to_numpy())
            label = f"{n_trials} trials, effect {rows['effect'].iloc[0]:g} of {term}"
            axes.errorbar(rows["n_participants"], rows["power"], error, marker="o", label=label)
        axes.axhline(self.settings["alpha"], color="#9aa5ad", linewidth=0.8, zorder=0)
        axes.set(xlabel="participants", ylabel="power", ylim=(-0.02, 1.02))
        axes.legend(frameon=False, fontsize=8)
        return axes.figure


@on_one_blas_thread
def spice_power(
    fit: SpiceFit | HistoryFit | TaskFit,
    coefficient: tuple[str, str] | str,
    *,
    effect: float | Sequence[float] | Mapping[str, float | Sequence[float]],
    n_participants: int | Sequence[int],
    n_trials: int | Sequence[int],
    formula: str = "~ x",
    covariates: Kind | Mapping[str, Kind] = "continuous",
    n_occasions: int = 1,
    shares: Mapping[str, float] | None = None,
    environment: Any = None,
    simulate: Simulator | None = None,
    n_blocks: int = 1,
    group: GroupResult | None = None,
    n_simulations: int = 200,
    method: str = "hierarchical",
    alpha: float = 0.05,
    seed: int = 0,
    n_jobs: int = 1,
    **group_settings: Any,
) -> PowerResult:
    r"""Simulate studies from a fitted model, and count how often a covariate's effect is found.

    Each study draws new participants with the covariates X of the formula. Their coefficients are those of the fitted
    population, moved by the covariates,

    .. math:: u_r = \mu + (X_r - \bar X)\,\delta + b_{p(r)} + \sum_g s_{g(r)} + e_r,

    with deviations b of people, s of levels of groupings such as sites, and e of occasions. They play the task by the
    fit's equations, weights or parameters, and `spice_group` analyses their choices by the formula. The structure is
    taken as known, so the chance of not finding it is not in the power.

    Cost: one group model per study. 1,000 studies of 40 participants with 100 trials take ten minutes of processor time
    for a fit of ``model="history"`` with four weights, or of two coefficients of learning, and an hour for four, whose
    likelihoods bend (eight minutes with ``method="meta"``). Studies are independent: ``n_jobs=-1`` uses all cores, and
    `joblib.parallel_config` a cluster.

    Parameters
    ----------
    fit : SpiceFit, HistoryFit or TaskFit
        A SpiceFit with one structure for everybody.
    coefficient : (module, term) or str
        The coefficient that the covariates have effects on, as a pair or as ``"module:term"``; the module alone will
        do where a single term of it is estimated.
    effect : float, sequence of float, or mapping of str to these
        :math:`\delta`, the difference in the coefficient per unit of the covariate, on the scale of its link, as
        `spice_group` reports it. A mapping names columns of the design, as ``{"drug": 0.2, "drug:anxiety": [0, 0.1]}``;
        power is that of the columns named, and the others have no effect. 0 gives the type-I error.
    n_participants, n_trials : int or sequence of int
        Participants, and trials per participant and occasion over all blocks (a multiple of ``n_blocks``). All
        combinations of these and of the effects are simulated.
    formula : str, default "~ x"
        Of the group model, as in `spice_group`: ``"~ drug * anxiety + (1 | participant) + (1 | site)"``.
    covariates : Kind, or mapping of str to Kind, default "continuous"
        What the formula's variables are: "continuous" (standard normal), "binary" (two groups of people of equal size,
        coded 0 and 1), "within" (0 and 1 on a person's occasions in turn; half of the people begin with 0), or a whole
        number, of groups of people of equal size: levels of a factor or of a grouping, ``{"site": 8}``. A kind alone
        holds for all. ``occasion``, from 1, is there without being named.
    n_occasions : int, default 1
        Of each person; more need ``(1 | participant)`` in the formula.
    shares : mapping of str to float, optional
        Of the population's variances (on one occasion), what is between occasions of a person (``"occasion"``; default:
        what the fit found, if it has occasions), between levels of each grouping of the formula (``"site"``), and, in
        addition, between people's slopes of a covariate with random slopes (``"drug"`` for
        ``(drug | participant)``). Each in [0, 1).
    environment : Bandits, or what `spicestat.simulate.as_environment` takes, optional
        The task; each block starts it anew. Default: reward probabilities that drift, with the fit's actions. People
        of a TaskFit play the simulated task of the library, and of a HistoryFit whose task showed something the trials
        of one of the fit's people each, as `simulate_fit` does.
    simulate : callable, optional
        Used in place of ``environment``, for a SpiceFit, tasks that `simulate_model` cannot play and models of response
        times: takes a model, equations of N participants, trials per block, blocks and a seed, and gives a table of
        ``participant`` (0 to N - 1), ``block``, ``trial``, ``choice`` (1 to A), ``reward`` (or ``reward_1`` to
        ``reward_A``) and, if the model needs it, ``rt``.
    n_blocks : int, default 1
        Blocks per participant and occasion.
    group : GroupResult, optional
        Source of the population: a group model of the same fit; correlations between coefficients are 0 where its
        method knows none (``"meta"``), and variance that its covariates explain is left out. Default:
        ``spice_group(fit, "~ 1")``, with ``(1 | participant)`` where the fit has occasions.
    n_simulations : int, default 200
        Studies per design. The standard error of a power of .8 is .028 with 200.
    method : str, default "hierarchical"
        Any method of `spice_group`; the default is that of `spice_group` for a fit. Methods that read the choices are
        spared people's own estimates, and so do not withhold where too many of these are not identified.
    alpha : float, default 0.05
        Level of the test, in (0, 1). P-values are not adjusted for other coefficients.
    seed : int, default 0
        The same seed gives the same studies, for any number of jobs.
    n_jobs : int, default 1
        As in joblib.
    **group_settings
        Further settings of `spice_group`.

    Returns
    -------
    PowerResult

    Raises
    ------
    ConfigError
        The coefficient is not estimated, structures differ between participants, a share is missing, or a setting is
        out of range.
    FormulaError
        The formula cannot be read, or takes occasions of a person for different people.

    References
    ----------
    Gelman & Carlin (2014), https://doi.org/10.1177/1745691614551642 (errors of sign and size);
    Wilson (1927), https://doi.org/10.1080/01621459.1927.10502953.

    Examples
    --------
    >>> from spicestat import simulate_cohort, spice_fit
    >>> cohort = simulate_cohort(12, 60, seed=1)
    >>> fit = spice_fit(cohort.trials, block="block", trial="trial")
    >>> power = spice_power(
    ...     fit, fit.choice_likelihood().terms[0], formula="~ drug + (1 | participant)", effect=1.0,
    ...     covariates="within", n_occasions=2, shares={"occasion": 0.3}, n_participants=8, n_trials=30,
    ...     n_simulations=2,
    ... )
    >>> power.tidy()[["n_participants", "n_trials", "term", "n_simulations"]].values.tolist()
    [[8, 30, 'drug', 2]]
    """
    alpha = real_number("alpha", alpha, 0.0, 1.0, low_included=False)
    n_simulations, n_blocks = whole_number("n_simulations", n_simulations, 1), whole_number("n_blocks", n_blocks, 1)
    seed = seed_number(seed)
    sizes = list(_sizes(n_participants, n_trials, n_blocks))
    _check_group_settings(method, group_settings)
    players = players_of(fit, environment, simulate)
    study = StudyDesign.of(formula, covariates, n_occasions, shares or {})
    names = build_design(formula, study.people(_EXAMPLE_PEOPLE, np.random.default_rng(seed))).names
    effects = list(_effects(effect, names))
    population = group_population(fit, group)
    study.check_population(population)
    position = _position(coefficient, population.terms)
    plan = StudyPlan(players, population, position, study, names, n_blocks, method, group_settings)
    started = time.perf_counter()
    chunks = Parallel(n_jobs=n_jobs)(
        delayed(_simulated)(plan, number, *design, studies, [seed, number, studies[0]])
        for number, design in enumerate((*size, own) for size in sizes for own in effects)
        for studies in _chunks(n_simulations, design[0] * study.n_occasions)
    )
    studies = pd.concat(chunks, ignore_index=True)
    settings = {
        "module": population.terms[position][0],
        "sparse_term": population.terms[position][1],
        "formula": formula,
        "method": method,
        "alpha": alpha,
        "n_occasions": study.n_occasions,
        "n_blocks": n_blocks,
        "n_simulations": n_simulations,
        "seed": seed,
        "seconds": time.perf_counter() - started,
    }
    return PowerResult(_summary(studies, alpha), studies.drop(columns="same_scale"), settings)


def _simulated(plan: StudyPlan, number: int, *args: Any) -> pd.DataFrame:
    found = pd.DataFrame(simulate_studies(plan, *args))
    found.insert(0, "design", number + 1)
    return found


def _check_group_settings(method: str, settings: Mapping[str, Any]) -> None:
    """Refuse settings that `spice_group` would refuse in the first study, or set by the power analysis itself."""
    known = ("modules", "terms", "adjust", "conf_level", "max_unidentified")
    check_options(settings, [*known, *find_method(method).setting_fields], f"spice_group() with method '{method}'")


def wilson_interval(successes: int, n: int, conf_level: float = _CONF_LEVEL) -> tuple[float, float]:
    r"""Return Wilson's interval of a share,
    :math:`\frac{1}{1 + z^2/n} (\hat p + \frac{z^2}{2n} \pm z \sqrt{\hat p (1 - \hat p) / n + z^2 / 4n^2})`.

    Examples
    --------
    >>> tuple(round(value, 4) for value in wilson_interval(8, 10))
    (0.4902, 0.9433)
    """  # noqa: D205
    z = float(norm.ppf(0.5 + conf_level / 2))
    share, weight = successes / n, 1.0 + z * z / n
    half = z * math.sqrt(share * (1.0 - share) / n + z * z / (4.0 * n * n))
    return (share + z * z / (2 * n) - half) / weight, (share + z * z / (2 * n) + half) / weight


def _position(coefficient: Sequence[str] | str, terms: Sequence[tuple[str, str]]) -> int:
    """Find a coefficient among those that are estimated; a module alone stands for its only term.

    Examples
    --------
    >>> terms = [("x", "1"), ("x", "r"), ("beta", "x")]
    >>> _position("x:r", terms), _position(("x", "r"), terms), _position("beta", terms)
    (1, 1, 2)
    """
    wanted = coefficient if isinstance(coefficient, str) else ":".join(coefficient)
    names = [":".join(term) for term in terms]
    found = [at for at, (module, _) in enumerate(terms) if wanted in (names[at], module)]
    if len(found) != 1:
        problem = "several coefficients of this module are estimated" if found else "this coefficient is not estimated"
        raise ConfigError(problem, got=wanted, allowed=", ".join(names[at] for at in found or range(len(names))))
    return found[0]


def _sizes(n_participants: Any, n_trials: Any, n_blocks: int) -> Iterator[tuple[int, int]]:
    """Yield all combinations of participants and trials."""
    people = [whole_number("n_participants", value, 4) for value in np.atleast_1d(n_participants).tolist()]
    trials = [whole_number("n_trials", value, 2 * n_blocks) for value in np.atleast_1d(n_trials).tolist()]
    uneven = [value for value in trials if value % n_blocks]
    if uneven:
        raise ConfigError("n_trials is not a multiple of n_blocks", got=uneven, allowed=f"multiples of {n_blocks}")
    yield from itertools.product(people, trials)


def _effects(effect: Any, names: Sequence[str]) -> Iterator[dict[str, float]]:
    """Yield all combinations of effects, by column of the design.

    Examples
    --------
    >>> list(_effects([0.0, 0.5], ("(Intercept)", "x")))
    [{'x': 0.0}, {'x': 0.5}]
    """
    columns = [name for name in names if name != "(Intercept)"]
    given = dict(effect) if isinstance(effect, Mapping) else dict.fromkeys(columns, effect)
    if not given or set(given) - set(columns):
        raise ConfigError(
            "effects name no columns of the design", got=list(given), allowed=", ".join(columns) or "none"
        )
    if not isinstance(effect, Mapping) and len(columns) > 1:
        raise ConfigError(
            "the formula has several effects", got=effect, do=f"name one, as effect={{'{columns[0]}': 0.2}}"
        )
    sizes = [
        [real_number(f"effect of '{name}'", value, -math.inf) for value in np.atleast_1d(values).tolist()]
        for name, values in given.items()
    ]
    yield from (dict(zip(given, own, strict=True)) for own in itertools.product(*sizes))


def _chunks(n_simulations: int, n_rows: int) -> list[range]:
    """Cut the studies into parts whose people play together, whatever the number of jobs."""
    size = max(1, _PARTICIPANTS_AT_ONCE // n_rows)
    return [range(first, min(first + size, n_simulations)) for first in range(0, n_simulations, size)]


def _summary(studies: pd.DataFrame, alpha: float) -> pd.DataFrame:
    rows = []
    for _, part in studies.groupby(["design", "term"], sort=False):
        about = part.iloc[0]
        effect = float(about["effect"])
        significant = part[part["p_value"] < alpha]
        low, high = wilson_interval(len(significant), len(part))
        shown = part[part["p_value"].notna() & part["same_scale"]]
        covered = (shown["conf_low"] <= effect) & (effect <= shown["conf_high"])
        on_scale = significant[significant["same_scale"]]
        rows.append(
            {
                "design": int(about["design"]),
                "n_participants": int(about["n_participants"]),
                "n_trials": int(about["n_trials"]),
                "term": about["term"],
                "effect": effect,
                "power": len(significant) / len(part),
                "conf_low": low,
                "conf_high": high,
                "conf_level": _CONF_LEVEL,
                "mean_estimate": part["estimate"].mean(),
                "sd_estimate": part["estimate"].std(ddof=1),
                "mean_std_error": part["std_error"].mean(),
                "coverage": covered.mean(),
                "type_s": (np.sign(significant["estimate"]) != np.sign(effect)).mean() if effect else np.nan,
                "type_m": on_scale["estimate"].abs().mean() / abs(effect) if effect else np.nan,
                "share_withheld": (part["p_value"].isna() & part["message"].eq("")).mean(),
                "share_failed": (~part["converged"]).mean(),
                "n_simulations": len(part),
            }
        )
    return pd.DataFrame(rows)
