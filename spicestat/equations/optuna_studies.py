"""Optuna studies over a few positive numbers: seeded, resumable, quiet (the only import of Optuna)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import optuna

from spicestat.errors import ConfigError, StorageError

__all__ = ["Study", "open_storage", "quiet_optuna"]

_BATCH = 8
"""Trials that are drawn before any of them is evaluated; fixed, so that results do not depend on ``n_jobs``."""

_FINGERPRINT = "spicestat"


class Study:
    """One minimisation by the TPE sampler, asked and told by one process.

    Trials are drawn in batches, each trial with a seed that depends on its number only. A study that is
    continued from its storage after a whole batch therefore ends as if it had not stopped.

    Parameters
    ----------
    name : str
        Name in the storage.
    start : mapping of str to float
        Values of the first trial, above 0; a 0 leaves the first trial to the sampler.
    ranges : mapping of str to (low, high)
        Where to search, on a log scale; they are widened to hold ``start``.
    seed : int
        Seed of Optuna's sampler.
    storage : Optuna storage
        From `open_storage`.
    fingerprint : str
        Identifies what the values depend on.

    Raises
    ------
    ConfigError
        The storage holds a study of this name with another fingerprint.
    StorageError
        The storage cannot be used.

    Examples
    --------
    >>> with quiet_optuna(), open_storage(None) as storage:
    ...     study = Study("parabola", {"x": 1.0}, {"x": (0.1, 10.0)}, 0, storage, "1")
    ...     asked = study.ask(3)
    ...     study.tell(asked, [(trial.params["x"] - 3) ** 2 for trial in asked])
    >>> asked[0].params["x"], study.n_finished, study.best_value <= 4
    (1.0, 3, True)
    """

    def __init__(
        self,
        name: str,
        start: Mapping[str, float],
        ranges: Mapping[str, tuple[float, float]],
        seed: int,
        storage: optuna.storages.BaseStorage,
        fingerprint: str,
    ) -> None:
        self.name, self._seed = name, seed
        self._ranges = {
            key: optuna.distributions.FloatDistribution(
                min(low, start[key]) if start[key] > 0 else low, max(high, start[key]), log=True
            )
            for key, (low, high) in ranges.items()
        }
        try:
            self._study = optuna.create_study(storage=storage, study_name=name, load_if_exists=True)
        except (OSError, optuna.exceptions.OptunaError) as error:
            raise _unusable(error) from error
        known = self._study.user_attrs.get(_FINGERPRINT)
        if known not in (None, fingerprint):
            raise ConfigError(
                f"the storage holds a study '{name}' of other data or settings", do="pass another study_name or storage"
            )
        if known is None:
            self._study.set_user_attr(_FINGERPRINT, fingerprint)
            if min(start.values()) > 0:
                self._study.enqueue_trial(dict(start))

    @property
    def n_finished(self) -> int:
        """Number of finished trials, earlier runs with the same storage included."""
        return len(self._finished())

    @property
    def best_value(self) -> float:
        """Smallest value; infinite before the first trial and where no trial gave a number."""
        return min((float(trial.value) for trial in self._finished()), default=float("inf"))

    @property
    def best_params(self) -> dict[str, float]:
        """What gave the smallest value; among equals the earliest trial."""
        best = min(self._finished(), key=lambda trial: (trial.value, trial.number))
        return {key: float(best.params[key]) for key in self._ranges}

    def ask(self, n_trials: int) -> list[optuna.trial.Trial]:
        """Draw the next batch of a study that is to have ``n_trials`` trials in all; empty when it has them."""
        done = self.n_finished
        asked = []
        for number in range(done, min(n_trials, (done // _BATCH + 1) * _BATCH)):
            seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
            self._study.sampler = optuna.samplers.TPESampler(seed=seed)
            asked.append(self._study.ask(self._ranges))
        return asked

    def tell(self, asked: Sequence[optuna.trial.Trial], values: Sequence[float]) -> None:
        """Finish trials with their values."""
        for trial, value in zip(asked, values, strict=True):
            self._study.tell(trial, value)

    def _finished(self) -> list[optuna.trial.FrozenTrial]:
        return list(self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)))


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna's log lines and its notes on experimental features away, inside the ``with`` block only."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


@contextmanager
def open_storage(storage: str | Path | None) -> Iterator[optuna.storages.BaseStorage]:
    """Open what keeps the trials for the ``with`` block.

    Parameters
    ----------
    storage : str or Path, optional
        A journal file, or a database address such as ``sqlite:///tuning.db``; default: memory.

    Raises
    ------
    StorageError
        It cannot be opened.
    """
    try:
        opened = _opened(storage)
    except Exception as error:  # every database driver has errors of its own
        raise _unusable(error, storage) from error
    try:
        yield opened
    finally:
        if isinstance(opened, optuna.storages.RDBStorage):
            opened.remove_session()
            opened.engine.dispose()


def _opened(storage: str | Path | None) -> optuna.storages.BaseStorage:
    if storage is None:
        return optuna.storages.InMemoryStorage()
    if "://" in str(storage):
        return optuna.storages.RDBStorage(str(storage))
    return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(storage)))


def _unusable(error: Exception, storage: str | Path | None = None) -> StorageError:
    return StorageError(
        f"the storage of the tuning cannot be used: {error}",
        got=storage,
        do="pass a file in a folder that exists, or sqlite:///<file>",
    )
