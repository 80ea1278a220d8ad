"""spice_power: how many participants and trials a study needs, by simulation from a fitted model."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy.stats import norm

from spicestat._checks import check_options, real_number, seed_number, whole_number
from spicestat._display import html_block, screen
from spicestat.errors import ConfigError
from spicestat.fit.api import SpiceFit
from spicestat.fit.play import drifting_task
from spicestat.group.methods.registry import find_method
from spicestat.group.result import GroupResult
from spicestat.studies.simulated_study import Simulator, StudyPlan, fitted_population, simulate_studies

__all__ = ["PowerResult", "spice_power", "wilson_interval"]

_CONF_LEVEL = 0.95
_PARTICIPANTS_AT_ONCE = 400


@dataclass(frozen=True, eq=False)
class PowerResult:
    """Power of a group analysis in every design that was asked for.

    Attributes
    ----------
    table : DataFrame
        One row per design: ``n_participants, n_trials, effect``; ``power`` (share of all studies with p below
        ``alpha``) with Wilson's interval ``conf_low, conf_high, conf_level``; ``mean_estimate, sd_estimate,
        mean_std_error``, ``coverage`` of the intervals; of the significant studies ``type_s`` (share with the wrong
        sign) and ``type_m`` (mean size over the true size); ``share_withheld`` (no p-value, as too few participants
        were identified), ``share_failed`` (error, or the group model did not converge) and ``n_simulations``.
    studies : DataFrame
        One row per simulated study: ``n_participants, n_trials, effect, study, estimate, std_error, p_value,
        conf_low, conf_high, converged, share_unidentified, message``.
    settings : mapping
        Coefficient, covariate, method, alpha, seed, seconds.
    """

    table: pd.DataFrame
    studies: pd.DataFrame
    settings: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        designs = [
            f"{row.n_participants} participants, {row.n_trials} trials, effect {row.effect:g}: "
            f"power {row.power:.2f} [{row.conf_low:.2f}, {row.conf_high:.2f}]"
            for row in self.table.itertuples()
        ]
        return screen("\n".join([f"<PowerResult: {len(self.studies)} simulated studies", *designs]) + ">", "tidy()")

    def _repr_html_(self) -> str:
        return html_block(f"PowerResult: {len(self.studies)} simulated studies", [], self.table)

    def tidy(self) -> pd.DataFrame:
        """Return a copy of the table, one row per design."""
        return self.table.copy()

    def glance(self) -> pd.DataFrame:
        """Return one row: what was simulated and how long it took."""
        return pd.DataFrame([self.settings])

    def plot(self, ax: Any = None) -> Any:
        """Draw power by the number of participants, one line per number of trials and effect; return the Figure."""
        from spicestat._drawing import panels

        axes = panels(1, 5.0, 3.5)[1][0] if ax is None else ax
        for (n_trials, effect), rows in self.table.groupby(["n_trials", "effect"], sort=True):
            error = np.abs(rows[["conf_low", "conf_high"]].to_numpy().T - rows["power"].to_numpy())
            axes.errorbar(
                rows["n_participants"], rows["power"], error, marker="o", label=f"{n_trials} trials, effect {effect:g}"
            )
        axes.axhline(self.settings["alpha"], color="#9aa5ad", linewidth=0.8, zorder=0)
        axes.set(xlabel="participants", ylabel="power", ylim=(-0.02, 1.02))
        axes.legend(frameon=False, fontsize=8)
        return axes.figure


def spice_power(
    fit: SpiceFit,
    coefficient: tuple[str, str] | str,
    *,
    effect: float | Sequence[float],
    n_participants: int | Sequence[int],
    n_trials: int | Sequence[int],
    environment: Any = None,
    simulate: Simulator | None = None,
    n_blocks: int = 1,
    covariate: Literal["continuous", "binary"] = "continuous",
    group: GroupResult | None = None,
    n_simulations: int = 200,
    method: str = "hierarchical",
    alpha: float = 0.05,
    seed: int = 0,
    n_jobs: int = 1,
    **group_settings: Any,
) -> PowerResult:
    r"""Simulate studies from a fitted model, and count how often a covariate's effect is found.

    Each study draws new participants' coefficients from the fitted distribution over participants,
    :math:`\theta_i \sim N(\mu + \delta (x_i - \bar x), \Sigma)`, lets them play the task by the fit's equations,
    estimates their coefficients anew on that structure (`refit`), and runs the group
    analysis ``~ covariate``. The structure is taken as known, so the chance of not finding it is not in the power.

    Cost: one refit and one group model per study, so ``n_simulations`` times what a fit's last stage takes, for each
    design. 200 studies of 40 participants with 100 trials and 4 coefficients take eight minutes on one core with the
    default of `spice_group` for fits, and half a minute with ``method="meta"``, which is good enough for a first look
    and has somewhat less power where trials are few. Studies are independent: ``n_jobs=-1`` uses all cores, and
    `joblib.parallel_config` a cluster.

    Parameters
    ----------
    fit : SpiceFit
        With one structure for everybody.
    coefficient : (module, term) or str
        The coefficient that the covariate has an effect on, as a pair or as ``"module:term"``; the module alone will
        do where a single term of it is estimated.
    effect : float or sequence of float
        :math:`\delta`, the difference in the coefficient per unit of the covariate, on the scale of its link (natural
        unless ``group`` has links). 0 gives the type-I error.
    n_participants, n_trials : int or sequence of int
        Participants, and trials per participant over all blocks (a multiple of ``n_blocks``). All combinations are
        simulated.
    environment : Bandits, or what `spicestat.simulate.as_environment` takes, optional
        The task; each block starts it anew. Default: reward probabilities that drift, with the fit's actions.
    simulate : callable, optional
        Used in place of ``environment``, for tasks that `simulate_model` cannot play and for models of response times:
        takes a model, equations of N participants, trials per block, blocks and a seed, and gives a table of
        ``participant`` (0 to N - 1), ``block``, ``trial``, ``choice`` (1 to A), ``reward`` (or ``reward_1`` to
        ``reward_A``) and, if the model needs it, ``rt``.
    n_blocks : int, default 1
        Blocks per participant.
    covariate : {"continuous", "binary"}, default "continuous"
        Standard normal, or two groups of equal size coded 0 and 1.
    group : GroupResult, optional
        Source of :math:`\mu` and of the standard deviations between participants: a group model of the same fit,
        such as ``spice_group(fit, "~ 1")``; correlations between coefficients are 0 where its method knows none
        (``"meta"``), and variance that its covariates explain is left out. Default: multivariate random-effects
        meta-analysis of the fit's identified participants.
    n_simulations : int, default 200
        Studies per design. The standard error of a power of .8 is .028 with 200.
    method : str, default "hierarchical"
        Any method of `spice_group`; the default is that of `spice_group` for a fit.
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
        The coefficient is not estimated, structures differ between participants, or a setting is out of range.
    DataError
        Too few participants of the fit are identified to know the distribution.

    References
    ----------
    Gelman & Carlin (2014), https://doi.org/10.1177/1745691614551642 (errors of sign and size);
    Wilson (1927), https://doi.org/10.1080/01621459.1927.10502953.

    Examples
    --------
    >>> from spicestat import simulate_cohort, spice_fit
    >>> from spicestat.simulate import BanditsDrift
    >>> fit = spice_fit(simulate_cohort(8, 240, n_blocks=4).trials, block="block", model="rescorla_wagner", epochs=20)
    >>> term = fit.choice_likelihood().terms[0]
    >>> power = spice_power(
    ...     fit, term, effect=0.1, n_participants=8, n_trials=60, environment=BanditsDrift(0.2), n_simulations=2
    ... )
    >>> power.tidy()[["n_participants", "n_trials", "n_simulations"]].values.tolist()
    [[8, 60, 2]]
    """
    alpha = real_number("alpha", alpha, 0.0, 1.0, low_included=False)
    n_simulations, n_blocks = whole_number("n_simulations", n_simulations, 1), whole_number("n_blocks", n_blocks, 1)
    seed = seed_number(seed)
    designs = _designs(n_participants, n_trials, effect, n_blocks)
    if environment is not None and simulate is not None:
        raise ConfigError("say what is played in one way", do="pass environment or simulate")
    if fit.model.network.needs_times and simulate is None:
        raise ConfigError("response times are not simulated by `environment`", do="pass simulate, which gives them")
    if covariate not in ("continuous", "binary"):
        raise ConfigError("unknown covariate", got=covariate, allowed="'continuous' or 'binary'")
    _check_group_settings(method, group_settings)
    population = fitted_population(fit, group)
    position = _position(coefficient, population.terms)
    plan = StudyPlan(
        model=fit.model,
        population=population,
        position=position,
        covariate=covariate,
        n_blocks=n_blocks,
        environment=drifting_task(fit) if environment is None else environment,
        simulate=simulate,
        n_actions=fit.trials.n_actions,
        counterfactual=fit.trials.record.get("feedback") == "counterfactual",
        method=method,
        group_settings=group_settings,
    )
    started = time.perf_counter()
    chunks = Parallel(n_jobs=n_jobs)(
        delayed(simulate_studies)(plan, *design, studies, [seed, number, studies[0]])
        for number, design in enumerate(designs)
        for studies in _chunks(n_simulations, design[0])
    )
    studies = pd.DataFrame([row for chunk in chunks for row in chunk])
    settings = {
        "module": population.terms[position][0],
        "term": population.terms[position][1],
        "covariate": covariate,
        "method": method,
        "alpha": alpha,
        "n_blocks": n_blocks,
        "n_simulations": n_simulations,
        "seed": seed,
        "seconds": time.perf_counter() - started,
    }
    return PowerResult(_summary(studies, alpha), studies.drop(columns="same_scale"), settings)


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


def _designs(n_participants: Any, n_trials: Any, effect: Any, n_blocks: int) -> list[tuple[int, int, float]]:
    people = [whole_number("n_participants", value, 4) for value in np.atleast_1d(n_participants).tolist()]
    trials = [whole_number("n_trials", value, 2 * n_blocks) for value in np.atleast_1d(n_trials).tolist()]
    effects = [real_number("effect", value, -math.inf) for value in np.atleast_1d(effect).tolist()]
    uneven = [value for value in trials if value % n_blocks]
    if uneven:
        raise ConfigError("n_trials is not a multiple of n_blocks", got=uneven, allowed=f"multiples of {n_blocks}")
    return [(n, t, e) for n in people for t in trials for e in effects]


def _chunks(n_simulations: int, n_participants: int) -> list[range]:
    """Cut the studies into parts that are estimated together, whatever the number of jobs."""
    size = max(1, _PARTICIPANTS_AT_ONCE // n_participants)
    return [range(first, min(first + size, n_simulations)) for first in range(0, n_simulations, size)]


def _summary(studies: pd.DataFrame, alpha: float) -> pd.DataFrame:
    rows = []
    for _, part in studies.groupby(["n_participants", "n_trials", "effect"], sort=False):
        n, n_trials, effect = part[["n_participants", "n_trials", "effect"]].iloc[0].tolist()
        significant = part[part["p_value"] < alpha]
        low, high = wilson_interval(len(significant), len(part))
        shown = part[part["p_value"].notna() & part["same_scale"]]
        covered = (shown["conf_low"] <= effect) & (effect <= shown["conf_high"])
        on_scale = significant[significant["same_scale"]]
        rows.append(
            {
                "n_participants": int(n),
                "n_trials": int(n_trials),
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
