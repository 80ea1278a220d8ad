"""Every precoded model once more: one sequence, trial by trial and action by action, in plain Python and numpy."""

import numpy as np
import pytest

CHOSEN, NOT_CHOSEN = "x_value_reward_chosen", "x_value_reward_not_chosen"


@pytest.fixture(scope="session")
def numpy_logits():
    """Give the function that runs a model's equations: (S, T, A); structure in ``terms``, values (P, K)."""
    return _numpy_logits


@pytest.fixture(scope="session")
def numpy_log_likelihood():
    """Give the log-likelihood per participant under `numpy_logits`."""
    return _numpy_log_likelihood


def _numpy_logits(name, data, coefficients, terms):
    actions, rewards = data.actions.numpy().astype(float), data.rewards.numpy().astype(float)
    logits = np.zeros(actions.shape)
    for sequence in range(data.n_sequences):
        equations = {}
        for (module, term), number in zip(terms, coefficients[int(data.participant[sequence])], strict=True):
            equations.setdefault(module, {})[term] = number
        LEARNERS[name](equations, actions[sequence], rewards[sequence], logits[sequence])
    return logits


def _numpy_log_likelihood(name, data, coefficients, terms):
    logits = _numpy_logits(name, data, coefficients, terms)
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
    q = np.zeros(actions.shape[1])
    for step, action, chosen, reward in each(actions, rewards):
        if chosen and not np.isnan(reward):
            variables = {CHOSEN: q[action], "c_reward": reward}
            q[action] = polynomial(equations[CHOSEN], **variables)
        elif not chosen and NOT_CHOSEN in equations:
            q[action] = polynomial(equations[NOT_CHOSEN], **{NOT_CHOSEN: q[action]})
        logits[step, action] = q[action]


def learning_rate(equations, actions, rewards, logits):
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


def choice(equations, actions, rewards, logits):
    learning_rate(equations, actions, rewards, logits)
    trace = np.zeros(actions.shape[1])
    for step, action, chosen, _ in each(actions, rewards):
        trace[action] = polynomial(equations["x_value_choice"], x_value_choice=trace[action], c_action=float(chosen))
        logits[step, action] += trace[action]


def asymmetric(equations, actions, rewards, logits):
    n_actions = actions.shape[1]
    value, rates = np.full(n_actions, 0.5), {"positive": np.zeros(n_actions), "negative": np.zeros(n_actions)}
    for step, action, chosen, reward in each(actions, rewards):
        before = {sign: rate[action] for sign, rate in rates.items()}
        for rate in rates.values():
            rate[action] = 0.0
        if not chosen:
            value[action] = polynomial(equations[NOT_CHOSEN], **{NOT_CHOSEN: value[action]})
        elif not np.isnan(reward) and reward != value[action]:
            sign = "positive" if reward > value[action] else "negative"
            module = f"x_learning_rate_{sign}"
            rates[sign][action] = polynomial(
                equations[module], **{module: before[sign], "c_value_reward": value[action]}
            )
            value[action] += rates[sign][action] * (reward - value[action])
        logits[step, action] = equations["beta"]["x_value_reward"] * value[action]


def counterfactual(equations, actions, rewards, logits):
    modules = {True: "x_learning_rate_reward", False: "x_learning_rate_counterfactual"}
    value = np.full(actions.shape[1], 0.5)
    rates = {chosen: np.zeros(actions.shape[1]) for chosen in modules}
    for step, action, chosen, reward in each(actions, rewards):
        rates[not chosen][action] = 0.0
        if not np.isnan(reward):
            module, rate = modules[chosen], rates[chosen]
            rate[action] = polynomial(
                equations[module], **{module: rate[action], "c_reward": reward, "c_value_reward": value[action]}
            )
            value[action] += rate[action] * (reward - value[action])
        logits[step, action] = equations["beta"]["x_value_reward"] * value[action]


def working_memory(equations, actions, rewards, logits):
    learning_rate(equations, actions, rewards, logits)
    earned = np.nan_to_num(rewards) * actions
    for step, action, _, _ in each(actions, rewards):
        lags = {
            f"c_{what}_lag{lag}": history[step - lag, action] if step >= lag else 0.0
            for what, history in (("choice", actions), ("reward", earned))
            for lag in range(4)
        }
        logits[step, action] += polynomial(equations["x_value_memory"], x_value_memory=0.0, **lags)


LEARNERS = {
    "rescorla_wagner": log_odds,
    "forgetting": log_odds,
    "learning_rate": learning_rate,
    "choice": choice,
    "participant_embedding": learning_rate,
    "asymmetric": asymmetric,
    "counterfactual": counterfactual,
    "working_memory": working_memory,
}
