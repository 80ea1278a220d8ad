"""Learners in plain Python and numpy, one sequence at a time, trial by trial and action by action.

A learner is a function of ``equations`` ({module: {term: coefficient}}), ``actions`` and ``rewards`` (T, A), which
writes the logits of the choice after each trial into ``logits`` (T, A).
"""

import numpy as np

NOT_CHOSEN = "x_value_reward_not_chosen"


def logits_of(learner, data, coefficients, terms):
    """Run a learner on all sequences: (S, T, A); structure in ``terms``, values (P, K)."""
    actions, rewards = data.actions.numpy().astype(float), data.rewards.numpy().astype(float)
    logits = np.zeros(actions.shape)
    for sequence in range(data.n_sequences):
        equations = {}
        for (module, term), number in zip(terms, coefficients[int(data.participant[sequence])], strict=True):
            equations.setdefault(module, {})[term] = number
        learner(equations, actions[sequence], rewards[sequence], logits[sequence])
    return logits


def log_likelihood_of(learner, data, coefficients, terms):
    """Log-likelihood of each participant's choices: (P,)."""
    logits = logits_of(learner, data, coefficients, terms)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_probability = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    chosen = np.take_along_axis(log_probability, data.targets.numpy()[..., None], axis=-1)[..., 0]
    per_sequence = np.where(data.mask.numpy(), chosen, 0.0).sum(axis=1)
    return np.bincount(data.participant.numpy(), per_sequence, minlength=data.n_participants)


def polynomial(equation, **variables):
    """Evaluate ``{term: coefficient}``."""
    total = 0.0
    for term, coefficient in equation.items():
        product = coefficient
        for factor in term.split() if term != "1" else []:
            name, _, power = factor.partition("^")
            product *= variables[name] ** int(power or 1)
        total += product
    return total


def each(actions, rewards):
    """Yield (step, action, whether it is chosen, reward)."""
    for step in range(len(actions)):
        for action in range(actions.shape[1]):
            yield step, action, bool(actions[step, action]), rewards[step, action]


def log_odds(equations, actions, rewards, logits):
    """Rescorla-Wagner and forgetting: values in log odds."""
    chosen_module, q = "x_value_reward_chosen", np.zeros(actions.shape[1])
    for step, action, chosen, reward in each(actions, rewards):
        if chosen and not np.isnan(reward):
            q[action] = polynomial(equations[chosen_module], **{chosen_module: q[action], "c_reward": reward})
        elif not chosen and NOT_CHOSEN in equations:
            q[action] = polynomial(equations[NOT_CHOSEN], **{NOT_CHOSEN: q[action]})
        logits[step, action] = q[action]


def learning_rate(equations, actions, rewards, logits):
    """A learned rate in front of the prediction error, on which several models build."""
    value, rate = np.full(actions.shape[1], 0.5), np.zeros(actions.shape[1])
    for step, action, chosen, reward in each(actions, rewards):
        if not chosen:
            rate[action] = 0.0
            value[action] = polynomial(equations[NOT_CHOSEN], **{NOT_CHOSEN: value[action]})
        elif not np.isnan(reward):
            rate[action] = polynomial(
                equations["x_learning_rate_reward"],
                x_learning_rate_reward=rate[action],
                c_reward=reward,
                c_value_reward=value[action],
            )
            value[action] += rate[action] * (reward - value[action])
        logits[step, action] = equations["beta"]["x_value_reward"] * value[action]
