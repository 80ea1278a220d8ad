"""plot_session draws what agents believed, and leaves matplotlib's settings alone."""

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

from spicestat.agents.agents import AgentNetwork
from spicestat.errors import ConfigError, DataError, StorageError
from spicestat.models.precoded import ChoiceRNN, LearningRateRNN
from spicestat.simulate.agentq import AgentQ
from spicestat.simulate.environments import BanditsDrift
from spicestat.spice.session_plot import plot_session
from spicestat.spice.sessions import BanditSession, create_dataset, get_update_dynamics, run_experiment


@pytest.fixture(autouse=True)
def _close():
    before = set(plt.get_fignums())
    yield
    for number in set(plt.get_fignums()) - before:
        plt.close(number)


@pytest.fixture(scope="module")
def dataset():
    return create_dataset(AgentQ(alpha_reward=0.8, seed=1), BanditsDrift(0.2, seed=1), 30, 2)[0]


def _agents():
    return {"groundtruth": AgentQ(alpha_reward=0.8), "rnn": AgentNetwork(LearningRateRNN(2))}


def _lines(axis):
    return {line.get_label(): line for line in axis.lines}


def test_lines_are_the_replayed_values(dataset):
    agents = _agents()
    _, axes = plot_session(agents, dataset.xs[0])
    for key, agent in agents.items():
        (q, signals), probabilities, _ = get_update_dynamics(dataset.xs[0], agent)
        drawn = [probabilities, q, signals["x_value_reward"], signals["x_learning_rate_reward"]]
        for axis, values in zip(axes, drawn, strict=False):
            np.testing.assert_array_equal(_lines(axis)[key].get_ydata(), values[:, 0])
            np.testing.assert_array_equal(_lines(axis)[key].get_xdata(), np.arange(1, 31))


def test_there_is_a_panel_for_each_documented_quantity(dataset):
    _, axes = plot_session(_agents(), dataset.xs[0])
    names = [axis.get_ylabel().replace("\n", " ") for axis in axes]
    assert names == ["P(action 0)", "Q-value", "reward value × β", "learning rate", "choice value × β", ""]
    assert axes[-1].get_xlabel() == "trial"


def test_agents_have_their_colours(dataset):
    keys = ["groundtruth", "rnn", "spice", "benchmark"]
    _, axes = plot_session({key: AgentQ(alpha_reward=0.1 + 0.2 * at) for at, key in enumerate(keys)}, dataset.xs[0])
    colours = {key: line.get_color() for key, line in _lines(axes[0]).items()}
    assert colours == {"groundtruth": "tab:blue", "rnn": "tab:orange", "spice": "tab:pink", "benchmark": "tab:grey"}
    assert len({str(line.get_linestyle()) + str(line.get_linewidth()) for line in axes[0].lines}) > 2


def test_labels_name_the_agents_in_their_order(dataset):
    _, axes = plot_session({"spice": AgentQ(), "groundtruth": AgentQ()}, dataset.xs[0], labels=["fitted", "true"])
    assert [text.get_text() for text in axes[0].get_legend().get_texts()] == ["fitted", "true"]
    assert _lines(axes[0])["fitted"].get_color() == "tab:pink"


def test_keys_may_be_upper_case_and_sindy_means_spice(dataset):
    """0.2.0 compares lower-case keys and then looks up the original ones: KeyError."""
    _, axes = plot_session({"RNN": AgentQ(), "SINDy": AgentQ()}, dataset.xs[0])
    assert [line.get_color() for line in axes[0].lines] == ["tab:orange", "tab:pink"]


def test_the_displayed_action_is_the_wanted_one():
    """0.2.0 always shows the logits of action 0."""
    rng = np.random.default_rng(1)
    session = BanditSession(rng.integers(3, size=20), rng.random((20, 3)), np.zeros(20, dtype=int), 20)
    agent = AgentQ(n_actions=3)
    _, axes = plot_session({"groundtruth": agent}, session, display_choice=2)
    (q, _), probabilities, _ = get_update_dynamics(session, agent)
    np.testing.assert_array_equal(axes[0].lines[0].get_ydata(), probabilities[:, 2])
    np.testing.assert_array_equal(axes[1].lines[0].get_ydata(), q[:, 2])
    assert axes[0].get_ylabel() == "P(action 2)"
    assert [label.get_text() for label in axes[-1].get_yticklabels()] == ["action 0", "action 1", "action 2"]


def _marks(axis):
    """Positions (N, 2) of the circles with their grey level, and of the other marks."""
    circles, unseen, missed = axis.collections
    return circles.get_offsets(), circles.get_facecolors()[:, 0], unseen.get_offsets(), missed.get_offsets()


def test_choices_and_rewards_are_marked():
    nan = np.nan
    features = np.array(
        [
            [1, 0, 1.0, nan, 0],
            [0, 1, nan, 0.0, 0],
            [0, 1, nan, nan, 0],
            [0, 0, nan, nan, 0],
            [1, 0, 0.5, nan, 0],
            [nan, nan, nan, nan, 0],
        ]
    )
    _, axes = plot_session({"groundtruth": AgentQ()}, features)
    circles, greys, unseen, missed = _marks(axes[-1])
    np.testing.assert_array_equal(circles, [[1, 0], [2, 1], [5, 0]])
    np.testing.assert_allclose(greys, [0.0, 1.0, 0.5])
    np.testing.assert_array_equal(unseen, [[3, 1]])
    np.testing.assert_array_equal(missed[:, 0], [4])
    assert len(axes[0].lines[0].get_ydata()) == 5
    assert [text.get_text() for text in axes[-1].get_legend().get_texts()] == [
        "reward 1",
        "reward 0",
        "reward not seen",
        "no choice",
    ]


def test_rewards_on_another_scale_use_their_own_range():
    session = BanditSession(np.array([0, 1, 0]), np.array([[-5, 0], [0, 10], [2.5, 0]]), np.zeros(3, dtype=int), 3)
    _, axes = plot_session({"groundtruth": AgentQ()}, session)
    np.testing.assert_allclose(_marks(axes[-1])[1], [1.0, 0.0, 0.5])
    _, axes = plot_session({"groundtruth": AgentQ()}, session, reward_range=(0, 20))
    np.testing.assert_allclose(_marks(axes[-1])[1], [1.0, 0.5, 0.875])


def test_all_forms_of_an_experiment_look_alike(dataset):
    session, _, _ = run_experiment(AgentQ(seed=3), BanditsDrift(0.2, seed=3), 15)
    short = np.concatenate([np.eye(2)[session.choices], session.rewards, np.zeros((15, 1))], axis=1)
    long = np.concatenate([short[:, :4], np.zeros((15, 3))], axis=1)
    padded = np.concatenate([long, np.full((4, 7), -1.0)])
    drawn = []
    for experiment in (session, short, torch.tensor(long), padded, padded[None]):
        _, axes = plot_session({"rnn": AgentNetwork(_seeded())}, experiment)
        drawn.append((axes[0].lines[0].get_ydata(), _marks(axes[-1])[0]))
    for probabilities, circles in drawn[1:]:
        np.testing.assert_allclose(probabilities, drawn[0][0])
        np.testing.assert_array_equal(circles, drawn[0][1])


def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return LearningRateRNN(2)


def test_a_state_that_an_agent_lacks_is_not_drawn(dataset):
    """Zeros would look like a value."""
    _, axes = plot_session(
        {"groundtruth": AgentQ(beta_choice=1.0), "rnn": AgentNetwork(LearningRateRNN(2))}, dataset.xs[0]
    )
    assert set(_lines(axes[4])) == {"groundtruth"}
    _, axes = plot_session({"rnn": AgentNetwork(LearningRateRNN(2))}, dataset.xs[0])
    assert not axes[4].lines
    assert axes[4].texts[0].get_text() == "no agent has it"
    _, axes = plot_session({"rnn": AgentNetwork(ChoiceRNN(2))}, dataset.xs[0])
    assert set(_lines(axes[4])) == {"rnn"}


def test_signals_choose_the_panels(dataset):
    _, axes = plot_session(_agents(), dataset.xs[0], signals=["x_learning_rate_reward"])
    assert [axis.get_ylabel() for axis in axes] == ["P(action 0)", "Q-value", "learning rate", ""]


class _TrialCounter(AgentQ):
    _INITIAL = {**AgentQ._INITIAL, "x_value_trial": 0.25}


def test_trial_values_get_a_panel_where_an_agent_has_them(dataset):
    _, axes = plot_session({"groundtruth": AgentQ(), "benchmark": _TrialCounter()}, dataset.xs[0])
    assert axes[5].get_ylabel() == "trial value\n× β"
    assert set(_lines(axes[5])) == {"benchmark"}
    assert len(axes) == 7


# --- what must not happen -------------------------------------------------------------------------------------------


def test_no_setting_of_matplotlib_changes(dataset):
    """0.2.0 changes fonts, grids and colours at import, and silences all warnings."""
    plt.close(plt.figure())  # pyplot settles its backend with the first figure
    before = dict(mpl.rcParams)
    plot_session(_agents(), dataset.xs[0])
    assert dict(mpl.rcParams) == before


def test_the_figure_can_be_shown_and_other_figures_stay(dataset):
    other = plt.figure()
    figure, _ = plot_session(_agents(), dataset.xs[0])
    assert {other.number, figure.number} <= set(plt.get_fignums())


def test_the_figure_is_saved(dataset, tmp_path):
    plot_session(_agents(), dataset.xs[0], save=tmp_path / "session.png")
    assert (tmp_path / "session.png").read_bytes().startswith(b"\x89PNG")
    for wrong in (tmp_path / "session.png" / "session.png", tmp_path / "session.nothing"):
        with pytest.raises(StorageError):
            plot_session(_agents(), dataset.xs[0], save=wrong)


@pytest.mark.parametrize(
    ("agents", "options"),
    [
        ({"truth": AgentQ()}, {}),
        ({}, {}),
        ({"rnn": AgentQ()}, {"labels": ["a", "b"]}),
        ({"rnn": AgentQ()}, {"labels": "r"}),
        ({"rnn": AgentQ(), "spice": AgentQ(n_actions=3)}, {}),
        ({"rnn": AgentQ()}, {"display_choice": 2}),
        ({"rnn": AgentQ()}, {"display_choice": -1}),
        ({"rnn": AgentQ()}, {"reward_range": (1, 0)}),
        ({"rnn": AgentQ()}, {"reward_range": (0, 1, 2)}),
    ],
)
def test_what_does_not_fit_is_refused(agents, options, dataset):
    count = len(plt.get_fignums())
    with pytest.raises(ConfigError):
        plot_session(agents, dataset.xs[0], **options)
    assert len(plt.get_fignums()) == count


def test_an_experiment_without_trials_is_refused():
    with pytest.raises(DataError):
        plot_session({"rnn": AgentQ()}, np.full((3, 5), -1.0))
