"""rescorla_wagner: only the value of the chosen action changes."""

import numpy as np
import torch
from model_contract import ModelContract, ragged_data
from numpy_learners import log_odds, logits_of

from spicestat.equations.estimate.forward import equation_logits
from spicestat.models.precoded import RESCOLA_WAGNER_CONFIG, RESCORLA_WAGNER_CONFIG

CHOSEN = "x_value_reward_chosen"


class TestRescorlaWagner(ModelContract):
    name = "rescorla_wagner"
    known = {(CHOSEN, "1"): -0.4, (CHOSEN, CHOSEN): 0.7, (CHOSEN, "c_reward"): 0.9}
    learner = staticmethod(log_odds)


def test_quadratic_terms_of_the_state_and_products_agree_with_numpy(build, equations_of):
    data = ragged_data(2, seed=5)
    values = {(CHOSEN, "1"): 0.1, (CHOSEN, f"{CHOSEN}^2"): 0.4, (CHOSEN, f"{CHOSEN} c_reward"): 0.5}
    equations = equations_of("rescorla_wagner", 3, values, degree=2)
    logits = equation_logits(build("rescorla_wagner"), data, equations).numpy()
    expected = logits_of(log_odds, data, equations.coefficients, equations.terms)
    np.testing.assert_allclose(logits[data.valid], expected[data.valid], rtol=0, atol=1e-12)


def test_values_of_actions_not_chosen_stay(build):
    model = build("rescorla_wagner", 3)
    xs = torch.tensor([[[1.0, 0, 0, 1, 0, 0, 0]]])
    with torch.no_grad():
        _, state = model(xs, batch_first=True)
    value = state["x_value_reward"][0]
    assert value[1:].tolist() == [0.0, 0.0]
    assert value[0] != 0.0


def test_the_spelling_of_the_spice_documentation_is_kept():
    assert RESCOLA_WAGNER_CONFIG is RESCORLA_WAGNER_CONFIG
