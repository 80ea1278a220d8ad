"""forgetting: values of actions that are not chosen decay."""

from model_contract import FORGET, ModelContract
from numpy_learners import log_odds

CHOSEN = "x_value_reward_chosen"


class TestForgetting(ModelContract):
    name = "forgetting"
    known = {(CHOSEN, "1"): -0.4, (CHOSEN, CHOSEN): 0.7, (CHOSEN, "c_reward"): 0.9} | FORGET
    learner = staticmethod(log_odds)
