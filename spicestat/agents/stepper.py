"""Stepper: runs a model one trial at a time, for many sequences at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from spicestat.equations.estimate.forward import copied, row_equations
from spicestat.equations.structure.equation_set import EquationSet
from spicestat.errors import ConfigError
from spicestat.models.base import BaseRNN
from spicestat.models.module_equation import ModuleEquation
from spicestat.models.pieces import EnsembleEmbedding, keep_first_member
from spicestat.models.precoded.participant_model import ParticipantModel

__all__ = ["Stepper", "n_embedded"]


def n_embedded(model: BaseRNN) -> int:
    """Count the participants that a model's embedding knows; 0 if it treats everybody alike."""
    sizes = [0]
    for name, module in model.named_modules():
        if "experiment" in name:
            continue
        if isinstance(module, EnsembleEmbedding):
            sizes.append(int(module.weight.shape[1]))
        elif isinstance(module, nn.Embedding):
            sizes.append(module.num_embeddings)
    return max(sizes)


class Stepper:
    """A model that is stepped through R sequences together.

    Probabilities agree with those of the whole-sequence functions: `rnn_logits` for networks,
    `equation_logits` for equations.

    Parameters
    ----------
    model : BaseRNN
        It is copied and left as it is.
    equations : EquationSet, optional
        With them the modules run as equations, in double precision; default: the networks. A model
        without participant embedding takes every code for the same participant when it runs by its
        networks, or by the equations of one participant.
    device : str or torch.device
        Where to compute.

    Attributes
    ----------
    logits : Tensor of shape (R, A)
        Of the next choice. For an ensemble: the log of the members' mean probability, shifted to the
        mean level of their logits.
    state : dict of str to Tensor of shape (R, A)
        Current states, averaged over ensemble members.
    betas : dict of str to Tensor of shape (R, 1)
        Scaling constants of the sequences, averaged over ensemble members. For a model with additional
        inputs that were not given to `start`, they are known after the first step.
    n_participants : int
        Number of participant codes that mean different things, at least 1.
    distinguishes : bool
        Whether participant codes mean anything.

    Examples
    --------
    >>> from spicestat.models.precoded import RescorlaWagnerRNN
    >>> run = Stepper(RescorlaWagnerRNN(n_actions=2))
    >>> run.start(np.array([0, 0, 0]))
    >>> run.step(np.array([0, 1, -1]), np.array([[1, np.nan], [np.nan, 0], [np.nan, np.nan]]))
    >>> tuple(run.logits.shape), bool(run.logits[2, 0] == run.logits[2, 1])  # nothing chosen, nothing learned
    ((3, 2), True)
    """

    def __init__(
        self, model: BaseRNN, equations: EquationSet | None = None, device: str | torch.device = "cpu"
    ) -> None:
        self.model = copied(model).to(device)
        self.equations = equations
        self.device = torch.device(device)
        self.dtype = torch.float32
        self.n_participants = max(n_embedded(model), 1) if equations is None else equations.n_participants
        self.distinguishes = self.n_participants > 1 or n_embedded(model) > 0
        if equations is not None:
            self.model.double()
            keep_first_member(self.model)
            self.model.n_members = 1
            self.dtype = torch.float64
        self._seen: dict[str, Tensor] = {}
        self.logits, self.state, self.betas = torch.zeros(0), dict[str, Tensor](), dict[str, Tensor]()

    def start(
        self, participant: np.ndarray, experiment: np.ndarray | None = None, inputs: np.ndarray | None = None
    ) -> None:
        """Begin new sequences.

        Parameters
        ----------
        participant, experiment : int ndarray of shape (R,)
            Codes; default experiment: 0.
        inputs : ndarray of shape (R, I), optional
            Additional inputs of steps for which none are given.

        Raises
        ------
        ConfigError
            A participant has no equations or no embedding.
        """
        codes = self._codes(participant)
        zeros = np.zeros(len(codes))
        ids = np.stack([zeros if experiment is None else experiment, codes], axis=1)
        self._ids = torch.as_tensor(ids, dtype=torch.float32)
        self._inputs = np.zeros((len(codes), 0)) if inputs is None else inputs
        self._modules, constants = self._row_equations(codes)
        nothing = self._features(np.full(len(codes), -1), np.full((len(codes), self.model.n_actions), np.nan), 0, None)
        self._constants, self._seen = constants, {}
        with self._running():
            signals, (who, _), _, _ = self.model.init_forward_pass(nothing, None, True)
            self._raw = self.model.get_state()
            own = _precoded_logits(self.model, who, signals[0])
            self._try_out(nothing, needs_inputs=inputs is None)
        self._read(self._weighted_states() if own is None else own)

    def _try_out(self, nothing: Tensor, needs_inputs: bool) -> None:
        """Make forward() compute the constants, by an empty trial; what it does to the states is not kept."""
        try:
            self.model(nothing, prev_state=self._raw, batch_first=True)
        except (IndexError, RuntimeError, ConfigError):
            # a model with additional inputs, of which nothing is known before the first trial
            if not needs_inputs:
                raise

    def step(
        self,
        choice: np.ndarray,
        rewards: np.ndarray,
        block: int | np.ndarray = 0,
        inputs: np.ndarray | None = None,
    ) -> None:
        """Tell what happened on one trial.

        Parameters
        ----------
        choice : int ndarray of shape (R,)
            Chosen actions from 0; -1 where the choice is missing.
        rewards : ndarray of shape (R, A)
            NaN where a reward was not observed.
        block : int or int ndarray of shape (R,)
            Block codes.
        inputs : ndarray of shape (R, I), optional
            Additional inputs; default: those of `start`.
        """
        features = self._features(choice, rewards, block, inputs)
        with self._running():
            logits, self._raw = self.model(features, prev_state=self._raw, batch_first=True)
        self._read(logits[:, 0])

    def _codes(self, participant: np.ndarray) -> np.ndarray:
        codes = np.asarray(participant) if self.distinguishes else np.zeros_like(participant)
        outside = (codes < 0) | (codes >= self.n_participants)
        if outside.any():
            raise ConfigError(
                "no such participant", got=int(codes[outside][0]), allowed=f"0 to {self.n_participants - 1}"
            )
        return codes

    def _row_equations(self, codes: np.ndarray) -> tuple[dict[str, ModuleEquation], dict[str, Tensor]]:
        """Every sequence's own equations and inverse temperatures; empty for networks."""
        if self.equations is None:
            return {}, {}
        coefficients = torch.from_numpy(self.equations.coefficients).to(self.device)
        return row_equations(self.equations, coefficients[torch.as_tensor(codes, dtype=torch.int64)])

    @contextmanager
    def _running(self) -> Iterator[None]:
        """Run the model with the sequences' equations, and see its constants, inside the ``with`` block."""
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            stack.enter_context(_constants_seen(self.model, self._seen))
            if self.equations is not None:
                stack.enter_context(self.model.equations(self._modules, self._constants))
            yield

    def _features(
        self, choice: np.ndarray, rewards: np.ndarray, block: int | np.ndarray, inputs: np.ndarray | None
    ) -> Tensor:
        """One trial as features (M * R, 1, F)."""
        n_actions = self.model.n_actions
        actions = np.asarray(choice)[:, None] == np.arange(n_actions)
        given = self._inputs if inputs is None else inputs
        # data sets hold single precision, and the numbers here must be the same
        blocks = np.broadcast_to(block, len(actions))[:, None]
        parts = [torch.as_tensor(np.array(part), dtype=torch.float32) for part in (actions, rewards, given, blocks)]
        features = torch.cat([*parts, self._ids], dim=1)
        return features.to(self.device, self.dtype).repeat(self.model.n_members, 1).unsqueeze(1)

    def _weighted_states(self) -> Tensor:
        """Logits (M * R, A) of the initial states, for models that only say what follows a trial."""
        weighted = [self._raw[name] * beta for name, beta in self._seen.items() if name in self._raw]
        # without constants the states that are called values are the logits, as in SPICE
        values = weighted or [value for name, value in self._raw.items() if "x_value" in name]
        return torch.stack(values).sum(dim=0) if values else torch.zeros_like(next(iter(self._raw.values())))

    def _read(self, logits: Tensor) -> None:
        self.logits = self._members_logits(logits)
        self.state = {name: self._members_mean(value) for name, value in self._raw.items()}
        n_rows = self.model.n_members * len(self._ids)
        self.betas = {name: self._members_mean(value.expand(n_rows, 1)) for name, value in self._seen.items()}

    def _members_logits(self, logits: Tensor) -> Tensor:
        members = self.model.n_members
        if members == 1:
            return logits
        each = logits.reshape(members, -1, logits.shape[-1])
        together = torch.logsumexp(torch.log_softmax(each, dim=-1), dim=0)
        return together + each.mean(dim=(0, 2))[:, None] - together.mean(dim=1, keepdim=True)

    def _members_mean(self, rows: Tensor) -> Tensor:
        return rows.reshape(self.model.n_members, -1, rows.shape[-1]).mean(dim=0)


def _precoded_logits(model: BaseRNN, participant: Tensor, actions: Tensor) -> Tensor | None:
    """Logits (M * R, A) of the current states of a model that has a method for them, None for others."""
    if not isinstance(model, ParticipantModel) or type(model).forward is not ParticipantModel.forward:
        return None
    logits = model.logits(model.inverse_temperature(model.embed(participant), actions))
    return logits.expand(participant.shape[0], model.n_actions)


@contextmanager
def _constants_seen(model: BaseRNN, seen: dict[str, Tensor]) -> Iterator[None]:
    """Leave in ``seen`` what the model's scaling constants give inside the ``with`` block."""

    def remember(name: str, constant: nn.Module) -> RemovableHandle:
        def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen[name] = output.detach()

        return constant.register_forward_hook(hook)

    handles = [remember(name, constant) for name, constant in model.betas.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
