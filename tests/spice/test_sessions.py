"""Sessions: what create_dataset writes is what was played, and get_update_dynamics replays it."""

# ruff: noqa: NPY002  (the seed API promises to follow NumPy's global state)

import numpy as np
import pytest
import torch

from spicestat.errors import ConfigError, DataError, ShapeError
from spicestat.simulate import (
    Agent,
    AgentQ,
    AgentQSampleZeros,
    BanditsDrift,
    BanditsStandard,
)
from spicestat.spice import BanditSession, create_dataset, get_update_dynamics, run_experiment
from spicestat.trials.sequences import SequenceDataset

NAN = np.nan


@pytest.fixture
def played():
    agent = AgentQ(3, alpha_reward=0.6, forget_rate=0.2, beta_choice=0.5, seed=1)
    return agent, *create_dataset(agent, BanditsDrift(0.2, 3, seed=1), n_trials=30, n_sessions=4)


def session_of(choices, n_actions=2, number=0):
    choices = np.asarray(choices)
    rewards = np.where(choices[:, None] == np.arange(n_actions), 1.0, NAN)
    return BanditSession(choices, rewards, np.full(len(choices), number), len(choices))


def test_a_dataset_holds_what_was_played(played):
    agent, dataset, sessions, parameters = played
    assert dataset.xs.shape == (4, 30, 7)
    assert dataset.ys.shape == (4, 30, 3)
    assert dataset.xs.dtype == torch.float32
    for number, session in enumerate(sessions):
        features = dataset.xs[number].numpy()
        np.testing.assert_array_equal(features[:, :3].argmax(axis=1), session.choices)
        np.testing.assert_array_equal(features[:, :3].sum(axis=1), 1)
        np.testing.assert_array_equal(features[:, 3:6], session.rewards)
        np.testing.assert_array_equal(features[:, 6], number)
        np.testing.assert_array_equal(session.session, number)
        # the target is the next choice
        np.testing.assert_array_equal(dataset.ys[number, :-1].numpy(), features[1:, :3])
        assert dataset.ys[number, -1].sum() == 1
        assert session.n_trials == 30
    assert parameters == [agent.parameters] * 4


def test_rewards_not_shown_are_missing_and_not_minus_one(played):
    """SPICE writes -1, which its reader takes for a reward in tasks with losses."""
    features = played[1].xs.numpy()
    np.testing.assert_array_equal(np.isnan(features[..., 3:6]), features[..., :3] == 0)


def test_the_reader_gets_rewards_and_participants_right(played):
    """Regression: SPICE 0.2.0 writes 2A + 1 columns and reads the rewards as block and experiment."""
    dataset = played[1]
    data = SequenceDataset.from_arrays(dataset.xs, dataset.ys)
    assert data.participant.tolist() == [0, 1, 2, 3]
    assert data.block.tolist() == data.experiment.tolist() == [0] * 4
    torch.testing.assert_close(data.rewards, dataset.xs[..., 3:6], equal_nan=True)
    assert data.mask.all()


def test_counterfactual_rewards_are_all_shown():
    dataset, _, _ = create_dataset(AgentQ(seed=1), BanditsDrift(0.1, counterfactual=True, seed=1), 10, 2)
    assert not dataset.xs.isnan().any()


def test_the_tutorials_calls_work():
    np.random.seed(42)
    environment = BanditsDrift(sigma=0.2, n_actions=2)
    agent = AgentQ(n_actions=2, alpha_reward=0.8, forget_rate=0.2)
    dataset, _, _ = create_dataset(agent=agent, environment=environment, n_trials=100, n_sessions=5)
    dataset.xs[..., -1] = 0
    assert dataset.xs.shape == torch.Size([5, 100, 5])
    assert dataset.xs[..., -1].unique().tolist() == [0]


def test_the_dataset_follows_the_agents_policy():
    """10 sessions of 200; the agents' own probabilities predict the choices, |z| > 4.5 has probability 1e-5."""
    agent = AgentQ(alpha_reward=0.4, beta_reward=4.0, seed=3)
    dataset, _, _ = create_dataset(agent, BanditsDrift(0.2, seed=3), 200, 10)
    surprise = variance = 0.0
    for features in dataset.xs:
        _, probabilities, _ = get_update_dynamics(features, agent)
        taken = features[:, 0].numpy()
        surprise += (taken - probabilities[:, 0]).sum()
        variance += (probabilities[:, 0] * probabilities[:, 1]).sum()
    assert variance > 50
    assert abs(surprise / np.sqrt(variance)) < 4.5


def test_numpys_seed_reproduces_a_dataset_and_sessions_differ():
    def dataset():
        np.random.seed(42)
        return create_dataset(AgentQ(), BanditsDrift(0.2), 50, 3)[0].xs

    torch.testing.assert_close(dataset(), dataset(), equal_nan=True)
    choices = dataset()[..., 0]
    assert len(np.unique(choices.numpy(), axis=0)) == 3


def test_explicit_seeds_ignore_the_global_state_and_leave_it():
    def dataset(global_seed, seed):
        np.random.seed(global_seed)
        before = np.random.get_state()[1].tolist()
        xs = create_dataset(AgentQ(seed=seed), BanditsDrift(0.2, seed=seed), 50, 3)[0].xs
        assert np.random.get_state()[1].tolist() == before
        return xs

    torch.testing.assert_close(dataset(1, 7), dataset(2, 7), equal_nan=True)
    assert not torch.equal(dataset(1, 7)[..., 0], dataset(1, 8)[..., 0])


def test_an_agent_and_an_environment_with_the_same_seed_are_independent():
    """1000 pairs of first numbers; |r| > .15 has probability 2e-6."""
    pairs = [(AgentQ(seed=seed).rng.random(), BanditsDrift(0.1, seed=seed).reward_probs[0]) for seed in range(1000)]
    assert abs(np.corrcoef(np.transpose(pairs))[0, 1]) < 0.15


def test_sampled_parameters_are_reported_per_session():
    agent = AgentQ(parameter_variance=-1, alpha_penalty=0.3, seed=1)
    _, sessions, parameters = create_dataset(agent, BanditsDrift(0.2, seed=1), 20, 6, sample_parameters=True)
    assert len({row["beta_reward"] for row in parameters}) == 6
    # the reported parameters are those that were played with
    replay = AgentQ(**parameters[2])
    (q, _), _, _ = get_update_dynamics(sessions[2], replay)
    agent.parameters = parameters[2]
    np.testing.assert_array_equal(q, get_update_dynamics(sessions[2], agent)[0][0])
    zeros = AgentQSampleZeros(seed=1)
    assert len(create_dataset(zeros, BanditsDrift(0.2, seed=1), 5, 3, sample_parameters=True)[2]) == 3


def test_a_list_has_one_agent_per_session():
    agents = [AgentQ(alpha_reward=rate, seed=number) for number, rate in enumerate((0.1, 0.5, 0.9))]
    _, sessions, parameters = create_dataset(agents, BanditsDrift(0.2, seed=1), 20, 3)
    assert [row["alpha_reward"] for row in parameters] == [0.1, 0.5, 0.9]
    for agent, session in zip(agents, sessions, strict=True):
        assert set(agent.state["x_value_reward"]) != {0.5}
        assert session.n_trials == 20
    for wrong in (agents[:2], [*agents[:2], AgentQ(3)]):
        with pytest.raises(ConfigError, match="one agent per session"):
            create_dataset(wrong, BanditsDrift(0.2), 20, 3)


def test_windows_and_device_reach_the_dataset():
    dataset, _, _ = create_dataset(
        AgentQ(seed=1), BanditsDrift(0.2, seed=1), 20, 2, sequence_length=5, stride=5, device="cpu"
    )
    assert dataset.xs.shape == (8, 5, 5)


def test_only_verbose_prints(capsys):
    """Regression: SPICE 0.2.0 prints and shows a progress bar regardless of verbose."""
    create_dataset(AgentQ(seed=1), BanditsDrift(0.2, seed=1), 5, 2)
    assert capsys.readouterr().out == ""
    create_dataset(AgentQ(seed=1), BanditsDrift(0.2, seed=1), 5, 2, verbose=True)
    assert "Creating dataset" in capsys.readouterr().out


def test_sizes_and_actions_that_do_not_fit_are_refused():
    agent, environment = AgentQ(), BanditsDrift(0.2)
    for sizes in ((0, 3), (5, 0), (5.5, 3)):
        with pytest.raises(ConfigError):
            create_dataset(agent, environment, *sizes)
    with pytest.raises(ConfigError, match="number of actions"):
        create_dataset(agent, BanditsDrift(0.2, n_actions=3), 5, 2)
    with pytest.raises(ConfigError, match="number of actions"):
        run_experiment(AgentQ(3), environment, 5)


def test_experiments_follow_each_other_without_a_reset():
    agent = Agent(alpha_reward=0.5, deterministic=True)
    environment = BanditsStandard((1.0, 0.0), seed=1)
    experiment, choices, rewards = run_experiment(agent, environment, 3, session_id=7)
    assert (choices.tolist(), rewards[:, 0].tolist()) == ([0] * 4, [1] * 4)
    assert experiment.session.tolist() == [7] * 3
    assert agent.state["x_value_reward"][0] == 1 - 0.5**5
    run_experiment(agent, environment, 1)
    assert agent.state["x_value_reward"][0] == 1 - 0.5**7


def test_set_session_returns_a_copy():
    """Regression: BanditSession.set_session calls a tuple in SPICE 0.2.0."""
    session = session_of([0, 1, 1])
    moved = session.set_session(5)
    assert moved.session.tolist() == [5, 5, 5]
    assert session.session.tolist() == [0, 0, 0]
    assert moved.choices is session.choices


@pytest.mark.parametrize(
    ("trials", "expected"),
    [
        (slice(1, 3), [1, 1]),
        (slice(None, None, 2), [0, 1]),
        ([3, 0], [0, 0]),
        (np.array([False, True, False, False]), [1]),
        (2, [1]),
        (-1, [0]),
    ],
)
def test_a_session_can_be_sliced(trials, expected):
    part = session_of([0, 1, 1, 0])[trials]
    assert part.choices.tolist() == expected
    assert part.n_trials == len(part.rewards) == len(part.session) == len(expected)


def test_a_session_is_still_a_tuple():
    choices, rewards, numbers, n_trials = session_of([0, 1])
    assert (choices.tolist(), numbers.tolist(), n_trials, rewards.shape) == ([0, 1], [0, 0], 2, (2, 2))


def test_dynamics_are_those_of_the_agent_step_by_step(played):
    agent, dataset, sessions, _ = played
    (q, signals), probabilities, returned = get_update_dynamics(dataset.xs[1], agent)
    assert returned is agent
    assert q.shape == probabilities.shape == (30, 3)
    assert sorted(signals) == ["x_learning_rate_reward", "x_value_choice", "x_value_reward"]
    other = AgentQ(3, alpha_reward=0.6, forget_rate=0.2, beta_choice=0.5)
    for trial, (choice, rewards) in enumerate(zip(sessions[1].choices, sessions[1].rewards, strict=True)):
        np.testing.assert_allclose(q[trial], other.q, atol=1e-12)
        np.testing.assert_allclose(probabilities[trial], other.get_choice_probs(), atol=1e-12)
        for signal, values in signals.items():
            np.testing.assert_allclose(values[trial], other.get_state_value(signal), atol=1e-12)
        other.update(choice, rewards)
    np.testing.assert_allclose(agent.q, other.q, atol=1e-12)


def test_all_forms_of_an_experiment_give_the_same(played):
    agent, dataset, sessions, _ = played
    features = dataset.xs[2]
    long = torch.cat([features[:, :6], torch.zeros(30, 2), torch.full((30, 1), 2.0)], dim=1)
    padded = [torch.cat([long, torch.full((6, 9), filler)]) for filler in (-1.0, NAN)]
    padded.append(torch.cat([long, torch.cat([torch.full((6, 6), -1.0), torch.ones(6, 3)], dim=1)]))
    forms = [features, features[None], features.numpy(), sessions[2], long, *padded]
    expected = get_update_dynamics(features, agent)[1]
    for form in forms:
        (q, _), probabilities, _ = get_update_dynamics(form, agent)
        np.testing.assert_array_equal(probabilities, expected)
        assert q.shape == (30, 3)


def test_signals_the_agent_does_not_have_are_zero():
    (_, signals), _, _ = get_update_dynamics(session_of([0, 1]), Agent(), additional_signals=["x_value_other"])
    assert signals["x_value_other"].tolist() == [[0, 0], [0, 0]]


def test_a_missed_trial_in_between_is_no_choice_of_the_first_action():
    agent = AgentQ(alpha_reward=1.0, forget_rate=0.5)
    expected = [[0.5, 0.5], [1.0, 0.5], [0.75, 0.5]]
    for missed in (0.0, NAN, -1.0):
        features = np.array([[1, 0, 1, NAN, 0], [missed, missed, NAN, NAN, 0], [0, 1, NAN, 1, 0]], dtype="float64")
        (_, signals), _, _ = get_update_dynamics(features, agent, ["x_value_reward"])
        np.testing.assert_allclose(signals["x_value_reward"], 3 * np.array(expected))
    (_, signals), _, _ = get_update_dynamics(
        BanditSession(np.array([0, -1, 1]), features[:, 2:4], np.zeros(3), 3), agent, ["x_value_reward"]
    )
    np.testing.assert_allclose(signals["x_value_reward"], 3 * np.array(expected))


class Recorder(Agent):
    """Writes down what it is told."""

    def new_sess(self, participant_id=0, experiment_id=0, additional_embedding_inputs=None, sample_parameters=False):
        super().new_sess()
        self.told = [(participant_id, experiment_id, list(additional_embedding_inputs))]

    def update(self, choice, reward, block=0, additional_inputs=None):
        self.told.append((choice, list(reward), block, list(additional_inputs)))


def test_agents_are_told_who_plays_and_with_which_inputs():
    features = np.array([[1, 0, 1, 0, 0.3, 7, 2, 1, 4], [0, 1, 0, 1, 0.4, 8, 2, 1, 4]], dtype="float64")
    _, _, agent = get_update_dynamics(features, Recorder())
    assert agent.told == [(4, 1, [0.3, 7]), (0, [1, 0], 2, [0.3, 7]), (1, [0, 1], 2, [0.4, 8])]
    short = np.array([[0, 1, 0, 1, 4.0]])
    assert get_update_dynamics(short, Recorder())[2].told == [(4, 0, []), (1, [0, 1], 0, [])]


def test_experiments_of_another_shape_are_refused(played):
    agent, dataset, _, _ = played
    for wrong in (dataset.xs, dataset.xs[0, :, :6], dataset.xs[0, 0], np.zeros((5, 8))):
        with pytest.raises(ShapeError):
            get_update_dynamics(wrong, agent)
    with pytest.raises(DataError, match="no trial"):
        get_update_dynamics(np.full((5, 7), -1.0), agent)
