"""Likelihoods of the models of tasks, one person and one trial at a time, written from the papers' equations.

They take trials under the column names of `Task.columns`, know nothing of the engine, and leave out what the engine
does not predict: a block's first choice where nothing was shown before it.
"""

import math
from collections import defaultdict


def log_softmax(utilities, chosen):
    top = max(utilities.values())
    return utilities[chosen] - top - math.log(sum(math.exp(u - top) for u in utilities.values()))


def softmax(utilities, chosen):
    return math.exp(log_softmax(utilities, chosen))


def pst(block, p):
    q, total = defaultdict(float), 0.0
    for row in block:
        items = {"left": row["stim_left"], "right": row["stim_right"]}
        total += log_softmax({side: p["beta"] * q[item] for side, item in items.items()}, row["response"])
        item = items[row["response"]]
        d = row["feedback"] - q[item]
        q[item] += p["alpha_gain"] * max(d, 0.0) + p["alpha_loss"] * min(d, 0.0)
    return total


def bandit(block, p):
    q, total = dict.fromkeys("abc", 0.0), 0.0
    for t, row in enumerate(block):
        if t:
            total += log_softmax({arm: p["beta"] * q[arm] for arm in q}, row["choice"])
        q[row["choice"]] += p["alpha"] * (row["reward"] - q[row["choice"]])
    return total


def restless(block, p):
    mean, variance, total = dict.fromkeys("abcd", p["theta"]), dict.fromkeys("abcd", 16.0), 0.0
    for t, row in enumerate(block):
        c = row["choice"]
        if t:
            total += log_softmax({arm: p["beta"] * mean[arm] for arm in mean}, c)
        k = variance[c] / (variance[c] + 16.0)
        mean[c] += k * (row["points"] - mean[c])
        variance[c] *= 1.0 - k
        for arm in mean:
            mean[arm] = p["lambda"] * mean[arm] + (1.0 - p["lambda"]) * p["theta"]
            variance[arm] = p["lambda"] ** 2 * variance[arm] + p["sigma"] ** 2
    return total


def reversal(block, p):
    q, total = {"left": 0.0, "right": 0.0}, 0.0
    for t, row in enumerate(block):
        c = row["choice"]
        u = "left" if c == "right" else "right"
        if t:
            total += log_softmax({side: p["beta"] * q[side] for side in q}, c)
        q[c] += p["alpha"] * (row["outcome"] - q[c])
        q[u] += p["alpha"] * (-row["outcome"] - q[u])
    return total


def reversal_ewa(block, p):
    v, n, total = {"left": 0.0, "right": 0.0}, {"left": 0.0, "right": 0.0}, 0.0
    for t, row in enumerate(block):
        c = row["choice"]
        if t:
            total += log_softmax({side: p["beta"] * v[side] for side in v}, c)
        old = n[c]
        n[c] = p["rho"] * old + 1.0
        v[c] = (p["phi"] * old * v[c] + row["outcome"]) / n[c]
    return total


def go_nogo(block, p):
    v, q, total = defaultdict(float), defaultdict(float), 0.0
    for row in block:
        s, c, r = row["cue"], row["action"], row["outcome"]
        w = q[s, "go"] + p["bias"] + p["pi"] * v[s] - q[s, "nogo"]
        go = (1.0 - p["xi"]) / (1.0 + math.exp(-w)) + p["xi"] / 2.0
        total += math.log(go if c == "go" else 1.0 - go)
        rho = p["rho_gain"] if r >= 0 else p["rho_loss"]
        v[s] += p["epsilon"] * (rho * r - v[s])
        q[s, c] += p["epsilon"] * (rho * r - q[s, c])
    return total


def two_step(block, p):
    """Left leads to red and right to blue with .7."""
    m, s, total, last = {"left": 0.0, "right": 0.0}, defaultdict(float), 0.0, None
    common = {"left": "red", "right": "blue"}
    for t, row in enumerate(block):
        c, state, c2 = row["choice1"], row["state2"], row["choice2"]
        utilities = {}
        for j in m:
            b = sum(
                (0.7 if common[j] == each else 0.3) * max(s[each, "up"], s[each, "down"]) for each in ("red", "blue")
            )
            utilities[j] = p["beta1"] * (p["w"] * b + (1.0 - p["w"]) * m[j]) + p["pi"] * (j == last)
        if t:
            total += log_softmax(utilities, c)
            total += log_softmax({k: p["beta2"] * s[state, k] for k in ("up", "down")}, c2)
        before = s[state, c2]
        m[c] += p["alpha1"] * (before - m[c]) + p["lambda"] * p["alpha1"] * (row["reward"] - before)
        s[state, c2] += p["alpha2"] * (row["reward"] - before)
        last = c
    return total


def rlwm(block, p):
    keys = ("j", "k", "l")
    q, w, total = defaultdict(lambda: 1 / 3), defaultdict(lambda: 1 / 3), 0.0
    for row in block:
        s, c, r = row["image"], row["key"], row["correct"]
        h = p["rho"] * min(1.0, p["capacity"] / row["set_size"])
        both = h * softmax({k: 50.0 * w[s, k] for k in keys}, c) + (1.0 - h) * softmax(
            {k: 50.0 * q[s, k] for k in keys}, c
        )
        total += math.log((1.0 - p["epsilon"]) * both + p["epsilon"] / 3.0)
        share = 1.0 if r > 0 else p["gamma"]
        q[s, c] += p["alpha"] * share * (r - q[s, c])
        w[s, c] += share * (r - w[s, c])
        for place in list(w):
            w[place] += p["phi"] * (1 / 3 - w[place])
    return total


def igt(block, p):
    decks, total = "ABCD", 0.0
    v, f, s = dict.fromkeys(decks, 0.0), dict.fromkeys(decks, 0.0), dict.fromkeys(decks, 0.0)
    for t, row in enumerate(block):
        c, x = row["deck"], (row["gain"] + row["loss"]) / 100.0
        if t:
            total += log_softmax({d: v[d] + p["beta_f"] * f[d] + p["beta_p"] * s[d] for d in decks}, c)
        own, other = (p["a_rew"], p["a_pun"]) if x >= 0 else (p["a_pun"], p["a_rew"])
        sign = (x > 0) - (x < 0)
        v[c] += own * (x - v[c])
        for d in decks:
            f[d] += own * (sign - f[d]) if d == c else other * (-sign / 3.0 - f[d])
        s[c] = 1.0
        for d in decks:
            s[d] /= 1.0 + (3.0 ** p["K"] - 1.0)
    return total


def igt_pvl_delta(block, p):
    e, total = dict.fromkeys("ABCD", 0.0), 0.0
    for t, row in enumerate(block):
        c, x = row["deck"], (row["gain"] + row["loss"]) / 100.0
        if t:
            total += log_softmax({d: (3.0 ** p["c"] - 1.0) * e[d] for d in e}, c)
        u = x ** p["A"] if x >= 0 else -p["lambda"] * (-x) ** p["A"]
        e[c] += p["a"] * (u - e[c])
    return total


def of_offers(value):
    """Likelihood of choices between offers with a value each."""

    def likelihood(block, p):
        return sum(log_softmax(value(row, p), row["chosen"]) for row in block)

    return likelihood


def two_offers(names, value):
    return of_offers(lambda row, p: {name: p["beta"] * value(row, name, p) for name in names})


def sigmoid_cost(e, p):
    c, zero = (1.0 / (1.0 + math.exp(-p["k"] * (x - p["p"]))) for x in (e, 0.0))
    return (c - zero) / (1.0 - zero)


def risky(row, p):
    gamble = 0.5 * row["gain"] ** p["rho"] - 0.5 * p["lambda"] * abs(row["loss"]) ** p["rho"]
    return {"gamble": p["tau"] * gamble, "certain": p["tau"] * row["certain"] ** p["rho"]}


def counterfactual_feedback(block, p):
    q, total = defaultdict(float), 0.0
    for row in block:
        s, c = row["pair"], row["symbol"]
        u = "left" if c == "right" else "right"
        total += log_softmax({side: p["beta"] * q[s, side] for side in ("left", "right")}, c)
        dc, du = row["outcome"] - q[s, c], row["outcome_unchosen"] - q[s, u]
        q[s, c] += p["alpha_conf"] * max(dc, 0.0) + p["alpha_disc"] * min(dc, 0.0)
        q[s, u] += p["alpha_disc"] * max(du, 0.0) + p["alpha_conf"] * min(du, 0.0)
    return total


def contextual(block, p):
    w, total = {arm: [0.0, 0.0, 0.0] for arm in "abc"}, 0.0
    for row in block:
        x = [row["x1"], row["x2"], row["x3"]]
        q = {arm: sum(a * b for a, b in zip(w[arm], x, strict=True)) for arm in w}
        total += log_softmax({arm: p["beta"] * q[arm] for arm in q}, row["choice"])
        error = row["reward"] - q[row["choice"]]
        w[row["choice"]] = [a + p["alpha"] * error * b for a, b in zip(w[row["choice"]], x, strict=True)]
    return total


def wiener(t, drift, boundary):
    """Density of a first passage at the lower boundary from half-way, by the series for long times with many terms."""
    if t <= 0:
        return 0.0
    series = sum(
        k * math.sin(k * math.pi / 2.0) * math.exp(-(k**2) * math.pi**2 * t / (2.0 * boundary**2))
        for k in range(1, 400)
    )
    return math.pi / boundary**2 * math.exp(-drift * boundary / 2.0 - drift**2 * t / 2.0) * series


def ddm(block, p):
    q, total = defaultdict(float), 0.0
    for row in block:
        s, c = row["pair"], row["choice"]
        v = p["drift"] * (q[s, "right"] - q[s, "left"])
        density = wiener(row["rt"] - p["t0"], v if c == "left" else -v, p["boundary"])
        total += math.log(0.99 * density + 0.01 / 20.0)
        q[s, c] += p["alpha"] * (row["reward"] - q[s, c])
    return total


LIKELIHOODS = {
    "bandit": bandit,
    "contextual": contextual,
    "counterfactual_feedback": counterfactual_feedback,
    "ddm": ddm,
    "discounting": two_offers(
        ("later", "sooner"), lambda row, n, p: row[f"amount_{n}"] / (1.0 + p["k"] * row[f"delay_{n}"])
    ),
    "discounting_constant_sensitivity": two_offers(
        ("later", "sooner"), lambda row, n, p: row[f"amount_{n}"] * math.exp(-((p["r"] * row[f"delay_{n}"]) ** p["s"]))
    ),
    "effort": two_offers(("rest", "work"), lambda row, n, p: row[f"reward_{n}"] - p["k"] * row[f"effort_{n}"] ** 2),
    "effort_sigmoid": two_offers(
        ("rest", "work"), lambda row, n, p: row[f"reward_{n}"] * (1.0 - sigmoid_cost(row[f"effort_{n}"], p))
    ),
    "go_nogo": go_nogo,
    "igt": igt,
    "igt_pvl_delta": igt_pvl_delta,
    "pst": pst,
    "restless": restless,
    "reversal": reversal,
    "reversal_ewa": reversal_ewa,
    "risky_choice": of_offers(risky),
    "rlwm": rlwm,
    "two_step": two_step,
}


def log_likelihoods(task, trials, parameters):
    """Log-likelihood of each person's choices; ``parameters`` has a row with names for each person."""
    blocks = ["participant", task.columns["block"]] if task.columns.get("block") else ["participant"]
    found = dict.fromkeys(dict.fromkeys(trials["participant"]), 0.0)
    rows = parameters.set_index("participant").to_dict("index")
    for _, block in trials.groupby(blocks, sort=False):
        who = block["participant"].iloc[0]
        found[who] += LIKELIHOODS[task.name](block.to_dict("records"), rows[who])
    return found
