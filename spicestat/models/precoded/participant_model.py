"""ParticipantModel: what all precoded models share, an optional participant embedding."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from spicestat.errors import ConfigError
from spicestat.models.base import BaseRNN

__all__ = ["ParticipantModel", "delta_rule"]


class ParticipantModel(BaseRNN):
    """A `BaseRNN` with a participant embedding of size 4 (or the estimator's) when ``n_participants > 0``.

    A model sets its modules up in ``__init__`` (`setup_network`) and writes `update` and, where
    more than the reward values drives the choices, `logits`.
    """

    def __init__(
        self, n_actions: int, n_participants: int = 0, embedding_size: int = 4, n_experiments: int = 0
    ) -> None:
        if n_participants < 0:
            raise ConfigError("n_participants must be 0 or more", got=n_participants)
        super().__init__(n_actions=n_actions, embedding_size=embedding_size)
        if not n_participants:
            self.embedding_size = 0
        self.n_participants = n_participants
        if self.embedding_size:
            self.participant_embedding = self.setup_embedding(n_participants, self.embedding_size)

    def setup_network(self, name: str, n_inputs: int) -> None:
        """Add an RNN module with ``n_inputs`` control signals and the embedding."""
        self.submodules_rnn[name] = self.setup_module(input_size=n_inputs + self.embedding_size)

    def embed(self, participant_id: Tensor) -> Tensor | None:
        """Map participant codes (R, 1) to embeddings (R, E), or None without an embedding."""
        if not self.embedding_size:
            return None
        embedding: Tensor = self.participant_embedding(participant_id[:, 0])
        return embedding

    def forward(
        self, inputs: Tensor, prev_state: Mapping[str, Tensor] | None = None, batch_first: bool = False
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Map features (R, T, F) to logits (R, T, A) and the last states; see `BaseRNN`."""
        signals, ids, logits, timesteps = self.init_forward_pass(inputs, prev_state, batch_first)
        embedding = self.embed(ids[0])
        beta = self.inverse_temperature(embedding, signals[0])
        for timestep, action, reward in zip(timesteps, signals[0], signals[1], strict=True):
            self.record_signal("c_action", action)
            self.record_signal("c_reward", reward)
            self.update(action, reward, embedding)
            logits[timestep] = self.logits(beta)
        return self.post_forward_pass(logits, batch_first), self.get_state()

    def inverse_temperature(self, embedding: Tensor | None, like: Tensor) -> Tensor:
        """Return the inverse temperature (R, 1) of the reward values; 1 where values are log odds already."""
        if "x_value_reward" not in self.betas:
            return like.new_ones(())
        beta: Tensor = self.betas["x_value_reward"](embedding)
        return beta

    def update(self, action: Tensor, reward: Tensor, embedding: Tensor | None) -> None:
        """Advance the states by one trial, given the choices and rewards (R, A); each model has its own."""
        raise NotImplementedError(f"{type(self).__name__} does not implement update()")

    def logits(self, beta: Tensor) -> Tensor:
        """Logits (R, A) of the next choice."""
        return self.state["x_value_reward"] * beta


def delta_rule(value: Tensor, inputs: Tensor) -> Tensor:
    """Return ``value + learning_rate * (reward - value)`` with inputs (reward, learning_rate)."""
    return value + inputs[..., 1] * (inputs[..., 0] - value)
