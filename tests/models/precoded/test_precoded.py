"""What precoded models have in common; each has a test file of its own beside this one."""

from pathlib import Path

import pytest
import torch

from spicestat.errors import ConfigError
from spicestat.models.precoded import PRECODED


def test_every_model_has_a_test_file_of_its_own():
    """`ModelContract` compares a model with a learner in numpy; response times have tests of another kind."""
    for name, (rnn_class, _) in PRECODED.items():
        text = Path(__file__).with_name(f"test_{name}.py").read_text(encoding="utf-8")
        assert rnn_class.needs_times or ("(ModelContract):" in text and f'name = "{name}"' in text), name


@pytest.mark.parametrize("name", ["rescorla_wagner", "forgetting", "learning_rate"])
def test_negative_numbers_of_participants_are_refused(name, build):
    with pytest.raises(ConfigError, match="n_participants"):
        build(name, 2, -1)


@pytest.mark.parametrize("name", ["rescorla_wagner", "forgetting", "learning_rate"])
def test_without_participants_there_is_one_network_for_everybody(name, build):
    model = build(name, 2)
    xs = torch.tensor([[[1.0, 0, 1, 0, 0]], [[1.0, 0, 1, 0, 7]]])
    logits, _ = model(xs, batch_first=True)
    assert torch.equal(logits[0], logits[1])
    assert not hasattr(model, "participant_embedding")
