"""The simulated studies: who takes part, and what the covariate does to them."""

from dataclasses import dataclass

LINKS = {
    "x_learning_rate_reward:1": "logit",
    "x_value_reward_not_chosen:x_value_reward_not_chosen": "logit",
    "beta:x_value_reward": "log",
}
"""The scales on which the simulated coefficients are normal."""


@dataclass(frozen=True)
class Cell:
    """A kind of study. Effects are on the scales of the links, per unit of the covariate.

    n_participants, n_trials; effect on the learning rate and on the inverse temperature; mean log inverse
    temperature; whether the covariate is a diagnosis (0 or 1), trials differ between people (a fifth to all), person
    effects correlate (.5), and values of what is not chosen are forgotten towards where they start instead of 0.
    """

    n_participants: int
    n_trials: int
    effect: float = 0.0
    beta_effect: float = 0.0
    log_beta: float = 1.6
    binary: bool = False
    unequal: bool = False
    correlated: bool = False
    forget_to_start: bool = False


MAIN = {f"N{n} T{t} g={effect}": Cell(n, t, effect) for t in (100, 400) for n in (40, 100) for effect in (0.0, 0.4)}
CONFOUNDED = {f"conf N{n} T100": Cell(n, 100, beta_effect=-0.4) for n in (40, 100)}
LOW_BETA = {f"lowb N100 T100 g={effect}": Cell(100, 100, effect, log_beta=0.7) for effect in (0.0, 0.4)}
LOWER = {
    f"lowb start N100 T100 g={effect}": Cell(100, 100, effect, log_beta=0.7, forget_to_start=True)
    for effect in (0.0, 0.4)
}
EXTRA = (
    {
        f"{name} g={effect}": Cell(100, 100, effect, **options)
        for name, options in {
            "diagnosis": {"binary": True},
            "unequal T": {"unequal": True},
            "correlated": {"correlated": True},
        }.items()
        for effect in (0.0, 0.4)
    }
    | {f"short T40 g={effect}": Cell(100, 40, effect) for effect in (0.0, 0.4)}
    | {"two coefficients": Cell(100, 100, 0.4, beta_effect=0.2)}
)
CELLS = {**MAIN, **CONFOUNDED, **LOW_BETA, **LOWER, **EXTRA}
