"""A model as users of SPICE write one: a `BaseRNN` whose own ``forward`` has no method for the logits.

`HandWritten` is the precoded ``participant_embedding`` model, written step by step.
"""

import torch

from spicestat.models.base import BaseRNN
from spicestat.models.config import SpiceConfig

RATE, KEPT, VALUE = "x_learning_rate_reward", "x_value_reward_not_chosen", "x_value_reward"

HAND_WRITTEN_CONFIG = SpiceConfig(
    [RATE, KEPT],
    ["c_action", "c_reward", "c_value_reward"],
    {RATE: ["c_reward", "c_value_reward"], KEPT: []},
    {RATE: ["c_action", 1, True], KEPT: ["c_action", 0, True]},
)


class HandWritten(BaseRNN):
    """A learned rate in a delta rule for the chosen action, a learned fate of the other; each participant's own."""

    init_values = {RATE: 0.0, VALUE: 0.5}  # noqa: RUF012  as users write it

    def __init__(self, n_actions, n_participants, **_ignored):
        super().__init__(n_actions=n_actions, embedding_size=4)
        width = self.embedding_size
        self.participant_embedding = self.setup_embedding(n_participants, width, dropout=0.0)
        self.betas[VALUE] = self.setup_constant(embedding_size=width)
        self.submodules_rnn.update({RATE: self.setup_module(2 + width), KEPT: self.setup_module(width)})
        self.submodules_eq["delta"] = lambda value, given: value + given[..., 1] * (given[..., 0] - value)

    def forward(self, inputs, prev_state=None, batch_first=False):
        (actions, rewards, *_), (codes, _), logits, steps = self.init_forward_pass(inputs, prev_state, batch_first)
        who = self.participant_embedding(codes[:, 0].int())
        of_participant = {"participant_embedding": who, "participant_index": codes}
        temperature = self.betas[VALUE](who)
        for step, action, reward in zip(steps, actions, rewards, strict=True):
            value = self.state[VALUE]
            signals = {
                "c_action": action,
                "c_reward": reward,
                "c_value_reward": value,
                RATE: self.state[RATE],
                KEPT: value,
            }
            for name, signal in signals.items():
                self.record_signal(name, signal)
            rate = self.call_module(RATE, RATE, action, (reward, value), activation_rnn=torch.sigmoid, **of_participant)
            chosen = self.call_module("delta", VALUE, action, (reward, rate), **of_participant)
            other = self.call_module(KEPT, VALUE, 1 - action, None, **of_participant)
            self.state.update({VALUE: chosen + other, RATE: rate})
            logits[step] = temperature * self.state[VALUE]
        return self.post_forward_pass(logits, batch_first), self.get_state()
