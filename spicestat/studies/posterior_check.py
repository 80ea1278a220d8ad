"""posterior_check: compares choice curves predicted by a Bayesian group model with those observed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch

from spicestat.agents.simulation import simulate_model
from spicestat.equations.estimate.forward import equation_logits
from spicestat.equations.structure.equation_set import EquationSet
from spicestat.errors import ConfigError
from spicestat.fit.network_fit import SpiceFit
from spicestat.group.inputs.contract import Posterior
from spicestat.group.inputs.links import find_link
from spicestat.studies.choice_curves import choice_curve_check, choice_events, reference_actions
from spicestat.trials.sequences import SequenceDataset

__all__ = ["posterior_check"]


class HasDraws(Protocol):
    """A Bayesian group result."""

    @property
    def links(self) -> Mapping[tuple[str, str], str]:
        """Link of each equation term."""

    @property
    def posterior(self) -> Posterior | None:
        """The draws."""


def posterior_check(
    fit: SpiceFit,
    group: HasDraws,
    *,
    event: str = "repeated",
    better: np.ndarray | None = None,
    environment: Any = None,
    by: str | None = None,
    n_bins: int = 10,
    n_replicates: int = 200,
    conf_level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare observed choice curves with those that a Bayesian group model predicts.

    Without an environment every replicated choice is made after the trials as they were observed (one step
    ahead). With one, participants play the whole task anew by their equations.

    Parameters
    ----------
    fit : SpiceFit
        The fit behind the group model.
    group : GroupResult
        Of ``method="bayes"`` or ``"bayes_meta"``.
    event : {"repeated", "most_rewarded", "better"}, default "repeated"
        Which choices are counted; see `reference_actions`.
    better : int ndarray of shape (S, T), optional
        For ``event="better"``: the best action, from 0, on every trial of the fit's S sequences, T being the
        trials of the longest one.
    environment : Bandits, or anything that `as_environment` takes, optional
        The task to play anew, with as many blocks and trials as the fit's.
    by : str, optional
        Covariate of the participants: one curve for each of its values, besides that of all.
    n_bins, n_replicates, conf_level, seed
        See `choice_curve_check`.

    Returns
    -------
    DataFrame
        See `choice_curve_check`.

    Raises
    ------
    ConfigError
        The group model has no posterior draws, or the settings contradict each other.
    """
    labels, draws = _draws(fit, group)
    data = SequenceDataset.from_trials(fit.trials)
    codes = [fit.trials.participants.index(label) for label in labels]
    rows = np.flatnonzero(np.isin(data.participant.numpy(), codes))
    choice, reward = _history(data.select(torch.from_numpy(rows)))
    reference = reference_actions(event, choice, reward, None if better is None else np.asarray(better)[rows])
    if environment is not None:
        if by is not None or event == "better":
            raise ConfigError(
                "choices in an environment can be compared for all participants together, by what they did before",
                got=f"by={by!r}, event={event!r}",
                do="leave out `environment`, or use event='repeated' or 'most_rewarded'",
            )
        replicate = _playing(fit, codes, data, environment, event)
    else:
        replicate = _one_step_ahead(fit, codes, data, rows, reference)
    groups = None
    if by is not None:
        values = fit.people.set_index("participant")[by]
        groups = [values[fit.trials.participants[code]] for code in data.participant.numpy()[rows].tolist()]
    return choice_curve_check(
        choice_events(choice, reference),
        replicate,
        draws,
        groups=groups,
        n_bins=n_bins,
        n_replicates=n_replicates,
        conf_level=conf_level,
        seed=seed,
    )


def _draws(fit: SpiceFit, group: HasDraws) -> tuple[list[object], np.ndarray]:
    """Labels of P participants and draws (n, P, K) of all coefficients of the equations, on their natural scale."""
    if group.posterior is None:
        raise ConfigError("the group model has no posterior draws", do='use method="bayes" or method="bayes_meta"')
    posterior = group.posterior.inference_data.posterior["coefficient"]
    labels = posterior["participant"].to_numpy().tolist()
    values = posterior.to_numpy().reshape(-1, len(labels), posterior.sizes["equation_term"])
    terms = fit.model.equations.terms
    # what the group model leaves out stays as the participants' own estimates have it
    known = [fit.trials.participants.index(label) for label in labels]
    draws = np.broadcast_to(fit.model.equations.coefficients[known], (len(values), len(labels), len(terms))).copy()
    names, factors = [f"{module}:{term}" for module, term in terms], fit.model.unit_factors
    for column, name in enumerate(posterior["equation_term"].to_numpy().tolist()):
        position = names.index(name)
        link = find_link(group.links.get(terms[position], "identity"))
        draws[:, :, position] = link.to_natural(values[:, :, column]) / factors[position]
    return labels, draws


def _history(data: SequenceDataset) -> tuple[np.ndarray, np.ndarray]:
    """Choices (S, T + 1), -1 where missing, and the rewards of what was chosen, NaN where not shown."""
    actions = data.actions.numpy()
    first = np.where(actions[:, :1].sum(axis=2) > 0, actions[:, :1].argmax(axis=2), -1)
    later = np.where(data.mask.numpy(), data.targets.numpy(), -1)
    choice = np.concatenate([first, later], axis=1)
    shown = np.take_along_axis(data.rewards.numpy(), choice[:, :-1, None].clip(0), axis=2)[..., 0]
    reward = np.where(choice[:, :-1] >= 0, shown, np.nan)
    return choice, np.concatenate([reward, np.full((len(reward), 1), np.nan)], axis=1)


def _equations(fit: SpiceFit, codes: list[int], coefficients: np.ndarray) -> EquationSet:
    """Equations of everybody, with new coefficients (P, K) for some."""
    equations = fit.model.equations
    full = equations.coefficients.copy()
    full[codes] = coefficients
    return equations.with_coefficients(full)


def _one_step_ahead(
    fit: SpiceFit, codes: list[int], data: SequenceDataset, rows: np.ndarray, reference: np.ndarray
) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    some = data.select(torch.from_numpy(rows))
    known = some.mask.numpy()

    def replicate(coefficients: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        logits = equation_logits(fit.model.network, some, _equations(fit, codes, coefficients))
        policy = torch.softmax(logits.double(), dim=-1).numpy()
        passed = np.cumsum(policy[..., :-1], axis=2) < rng.random((*known.shape, 1))
        choice = np.where(known, passed.sum(axis=2), -1)
        return choice_events(np.concatenate([np.full((len(choice), 1), -1), choice], axis=1), reference)

    return replicate


def _playing(
    fit: SpiceFit, codes: list[int], data: SequenceDataset, environment: Any, event: str
) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    n_blocks = max(1, round(data.n_sequences / max(1, len(set(data.participant.tolist())))))

    def replicate(coefficients: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        played = simulate_model(
            fit.model.network,
            _equations(fit, codes, coefficients),
            environment,
            data.n_steps + 1,
            n_blocks,
            participants=codes,
            seed=int(rng.integers(2**31)),
        )
        received = np.take_along_axis(played.rewards, played.choice[..., None], axis=2)[..., 0]
        reference = reference_actions(event, played.choice, received)
        return choice_events(played.choice, reference)

    return replicate
