"""The training loop: AdamW on the masked likelihood, with all ensemble members in one batch."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import torch
from torch import Tensor

from spicestat._files.atomic import DAMAGE
from spicestat._runtime.progress import Progress
from spicestat._runtime.threads import one_thread, seeded
from spicestat.errors import ConfigError, NumericalError, StorageError
from spicestat.models.base import BaseRNN
from spicestat.training.checkpoint import Checkpoint
from spicestat.training.config import TrainingConfig
from spicestat.training.evaluate import repeat_members, rnn_nll
from spicestat.training.identity import run_identity
from spicestat.training.loss import check_times
from spicestat.training.result import TrainingResult
from spicestat.training.state import TrainingState, moments_of, random_states, set_moments, set_random_states
from spicestat.trials.sequences import SequenceDataset

__all__ = ["train"]

_CLIP_NORM = 1.0
_SMOOTHING = 0.95
_EVALUATE_EVERY = 8


def train(
    model: BaseRNN,
    data: SequenceDataset,
    config: TrainingConfig,
    validation: SequenceDataset | None = None,
    progress: Progress | None = None,
    checkpoint: str | Path | None = None,
) -> TrainingResult:
    """Fit a model's networks in place.

    Ctrl-C is raised as KeyboardInterrupt, for a half-trained network must not pass for a trained one; with a
    checkpoint the same call goes on from there. The global random state is left as it was.

    Parameters
    ----------
    model : BaseRNN
        With M ensemble members; it is moved to no other device.
    data : SequenceDataset
        Training sequences; targets outside its mask do not count.
    config : TrainingConfig
        Settings.
    validation : SequenceDataset, optional
        With it, the weights of the best validation loss are kept, else the last ones.
    progress : callable, optional
        Called after each epoch with ("rnn", epoch, epochs, message).
    checkpoint : path, optional
        Folder for the state of the run, which is written every ten seconds and whenever training ends,
        by Ctrl-C or an error, too. If it holds one, training goes on from there, and on the CPU ends with
        the same bits as if it had never stopped. A finished run is not trained again, unless ``epochs`` is
        larger than it was. Each run needs a folder of its own. Default: None, nothing is written.

    Returns
    -------
    TrainingResult

    Raises
    ------
    ConfigError
        ``patience`` without validation data, or a model that needs response times without them.
    NumericalError
        The loss is not finite.
    StorageError
        The checkpoint is damaged, or of other data, settings or another model; nothing is trained.

    Warns
    -----
    StorageWarning
        A checkpoint cannot be written, as on a full disk; training goes on.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from spicestat.models.precoded import RescorlaWagnerRNN
    >>> data = SequenceDataset.from_arrays(torch.ones(1, 3, 7), torch.ones(1, 3, 2), n_participants=2)
    >>> with TemporaryDirectory() as folder:
    ...     model = RescorlaWagnerRNN(2, n_participants=2)
    ...     first = train(model, data, TrainingConfig(epochs=2, convergence_threshold=0), checkpoint=folder)
    ...     more = train(model, data, TrainingConfig(epochs=4, convergence_threshold=0), checkpoint=folder)
    >>> more.train_nll[:2] == first.train_nll, len(more.train_nll)
    (True, 4)
    """
    if config.patience is not None and validation is None:
        raise ConfigError("patience needs validation data", got=config.patience, do="pass validation data, or None")
    for part in (data, validation):
        if part is not None:
            check_times(model, part)
    run = _Run(model, data, config, validation)
    saved = None if checkpoint is None else Checkpoint(checkpoint, run_identity(model, data, config, validation))
    with seeded(config.seed, _cuda(data)), one_thread():
        if saved is not None:
            _resume(run, saved)
        model.train()
        try:
            stopped = _run_epochs(run, saved, progress)
        finally:
            model.eval()
    run.restore_best()
    return TrainingResult(tuple(run.train_nll), tuple(run.validation_nll), stopped, run.best_epoch)


def _resume(run: _Run, saved: Checkpoint) -> None:
    """Go on from the checkpoint, if there is one."""
    state = saved.load()
    if state is None:
        return
    if len(state.train_nll) > run.config.epochs:
        raise StorageError(
            f"the checkpoint '{saved.path}' belongs to a longer training run",
            got=f"epochs={run.config.epochs}",
            allowed=f"{len(state.train_nll)} or more",
            do="pass more epochs, name another folder, or delete it to start afresh",
        )
    try:
        run.restore(state)
    except DAMAGE as error:
        raise saved.damaged(error) from error


def _run_epochs(run: _Run, saved: Checkpoint | None, progress: Progress | None) -> str:
    """Train until there is a reason to stop, and return it."""
    try:
        # a run that goes on may have been interrupted just when it had a reason to stop
        while not (reason := run.reason_to_stop()):
            loss = run.epoch()
            if saved is not None:
                saved.keep(run.state())
            if progress is not None:
                progress("rnn", run.n_epochs, run.config.epochs, f"training NLL {loss:.4f}")
        run.evaluate_end()
    finally:
        # Ctrl-C may have come within an epoch; what is kept is from between two of them
        if saved is not None:
            saved.write()
    return reason


class _Run:
    """The state of one training run."""

    def __init__(
        self, model: BaseRNN, data: SequenceDataset, config: TrainingConfig, validation: SequenceDataset | None
    ) -> None:
        self.model, self.data, self.config, self.validation = model, data, config, validation
        self.generator = torch.Generator().manual_seed(config.seed)
        self.features = data.xs
        self.weights = self._sequence_weights()
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.learning_rate, weight_decay=config.l2_weight_decay
        )
        self.schedule = (
            torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(self.optimizer, T_0=64, T_mult=2)
            if config.scheduler
            else None
        )
        self.train_nll: list[float] = []
        self.validation_nll: list[tuple[int, float]] = []
        self.best_epoch = 0
        self._smooth = float("nan")
        self._change = float("inf")
        self._best: dict[str, Tensor] | None = None

    def _sequence_weights(self) -> Tensor:
        """Weight of each sequence for each member, shape (M, S)."""
        n_members, participant = self.model.n_members, self.data.participant.cpu()
        weights = torch.ones(n_members, self.data.n_sequences)
        if self.config.bagging:
            weights.zero_()
            for code in sorted(set(participant.tolist())):
                own = torch.nonzero(participant == code).squeeze(1)
                drawn = own[torch.randint(len(own), (n_members, len(own)), generator=self.generator)]
                weights.scatter_add_(1, drawn, torch.ones(n_members, len(own)))
        return weights.to(self.data.mask.device)

    @property
    def n_epochs(self) -> int:
        """Number of epochs so far."""
        return len(self.train_nll)

    def epoch(self) -> float:
        """Train one epoch and return its mean NLL."""
        order = torch.randperm(self.data.n_sequences, generator=self.generator)
        size = self.config.batch_size or self.data.n_sequences
        total, count = 0.0, 0.0
        for rows in torch.split(order, size) if size < self.data.n_sequences else [None]:
            batch_total, batch_count = self._batch(rows)
            total, count = total + batch_total, count + batch_count
        if self.schedule is not None:
            self.schedule.step()
        loss = total / max(count, 1.0)
        self._follow(loss)
        if not math.isfinite(loss):
            raise NumericalError(
                "the training loss is not a number",
                got=f"{loss} in epoch {self.n_epochs}",
                do="lower learning_rate, or rescale rewards and inputs to about 1",
            )
        if self.validation is not None and self.n_epochs % _EVALUATE_EVERY == 0:
            self._evaluate(self.validation)
        return loss

    def state(self) -> TrainingState:
        """Return a copy of all that changes."""
        parts = {
            "model": self.model.state_dict(),
            "best": self._best or {},
            "adamw": moments_of(self.optimizer),
            "random": random_states(self.generator, self.data.mask.device),
        }
        return TrainingState.of(tuple(self.train_nll), tuple(self.validation_nll), self.best_epoch, parts)

    def restore(self, state: TrainingState) -> None:
        """Go on from a state; torch's random generators change, too."""
        self.model.load_state_dict(state.part("model"))
        self._best = state.part("best") or None
        set_moments(self.optimizer, state.part("adamw"))
        set_random_states(state.part("random"), self.generator, self.data.mask.device)
        for loss in state.train_nll:
            self._follow(loss)
        self.validation_nll, self.best_epoch = list(state.validation_nll), state.best_epoch
        if self.schedule is not None:
            self.schedule.step(self.n_epochs)

    def _batch(self, rows: Tensor | None) -> tuple[float, float]:
        """One pass over sequences (all if None), with a step of the optimizer per chunk of time."""
        n_members = self.model.n_members
        pick = slice(None) if rows is None else rows
        features = repeat_members(self.features[pick], n_members)
        targets, times, mask = (
            repeat_members(part[pick], n_members) for part in (self.data.targets, self.data.times, self.data.mask)
        )
        weights = self.weights[:, pick].reshape(-1)
        chunk = self.config.n_steps_per_call or self.data.n_steps
        state, total, count = None, 0.0, 0.0
        for start in range(0, self.data.n_steps, chunk):
            steps = slice(start, start + chunk)
            logits, last = self.model(features[:, steps], prev_state=state, batch_first=True)
            state = {name: value.detach() for name, value in last.items()}
            log_likelihood = weights * self.model.log_likelihood(
                logits, last, targets[:, steps], times[:, steps], mask[:, steps]
            )
            n_choices = (mask[:, steps].sum(dim=1) * weights).sum()
            if n_choices == 0:
                continue
            # members are independent, so each gets the gradient of its own mean
            self._step(-log_likelihood.sum() / n_choices * n_members)
            total, count = total - float(log_likelihood.detach().sum()), count + float(n_choices)
        return total, count

    def _step(self, loss: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        _clip_gradients([weights.grad for weights in self.model.parameters()], self.model.n_members)
        self.optimizer.step()

    def _follow(self, loss: float) -> None:
        """Smooth the training loss and remember how fast it still changes."""
        self.train_nll.append(loss)
        if len(self.train_nll) == 1:
            self._smooth = loss
            return
        before = self._smooth
        self._smooth = _SMOOTHING * before + (1 - _SMOOTHING) * loss
        self._change = abs(self._smooth - before)

    def _converged(self) -> bool:
        return self._change < self.config.convergence_threshold

    def _evaluate(self, validation: SequenceDataset) -> None:
        loss = rnn_nll(self.model, validation) if bool(validation.mask.any()) else 0.0
        if not self.validation_nll or loss < min(value for _, value in self.validation_nll):
            self.best_epoch = self.n_epochs
            self._best = copy.deepcopy(self.model.state_dict())
        self.validation_nll.append((self.n_epochs, loss))
        self.model.train()

    def _is_evaluated(self) -> bool:
        return bool(self.validation_nll) and self.validation_nll[-1][0] == self.n_epochs

    def evaluate_end(self) -> None:
        """Evaluate the last epoch, too; no state has this, so that a run of more epochs can go on from it."""
        if self.validation is not None and not self._is_evaluated():
            self._evaluate(self.validation)

    def reason_to_stop(self) -> str | None:
        """Say whether and why to stop after the epochs so far."""
        if self._converged():
            return "converged"
        patience = self.config.patience
        if patience is not None and self._is_evaluated() and self.n_epochs - self.best_epoch >= patience:
            return "patience"
        return "epochs" if self.n_epochs >= self.config.epochs else None

    def restore_best(self) -> None:
        """Load the weights of the best validation loss; without validation, keep the last ones."""
        if self._best is None:
            self.best_epoch = len(self.train_nll)
        else:
            self.model.load_state_dict(self._best)


def _cuda(data: SequenceDataset) -> list[torch.device]:
    """List the device whose random state seeding would change, besides the CPU's."""
    return [data.mask.device] if data.mask.is_cuda else []


def _clip_gradients(gradients: list[Tensor | None], n_members: int) -> None:
    """Scale each member's gradient to a norm of at most `_CLIP_NORM`, so that members train as they would alone."""
    present = [gradient for gradient in gradients if gradient is not None]
    own = [gradient for gradient in present if gradient.shape[:1] == (n_members,)]
    shared = [gradient for gradient in present if gradient.shape[:1] != (n_members,)]
    for group, n_parts in ((own, n_members), (shared, 1)):
        if not group:
            continue
        norm = torch.stack([part.reshape(n_parts, -1).square().sum(dim=1) for part in group]).sum(dim=0).sqrt()
        factor = (_CLIP_NORM / (norm + 1e-6)).clamp(max=1.0)
        for part in group:
            part.reshape(n_parts, -1).mul_(factor.unsqueeze(1))
