"""choice: learning_rate and a trace of past choices."""

import numpy as np
from model_contract import BETA, EVERY_RATE, FORGET, ModelContract
from numpy_learners import each, learning_rate, polynomial

CHOICE = "x_value_choice"


class TestChoice(ModelContract):
    name = "choice"
    known = EVERY_RATE | FORGET | {(CHOICE, CHOICE): 0.6, (CHOICE, "c_action"): -0.4, BETA: 3.0}

    @staticmethod
    def learner(equations, actions, rewards, logits):
        learning_rate(equations, actions, rewards, logits)
        trace = np.zeros(actions.shape[1])
        for step, action, chosen, _ in each(actions, rewards):
            trace[action] = polynomial(equations[CHOICE], x_value_choice=trace[action], c_action=float(chosen))
            logits[step, action] += trace[action]
