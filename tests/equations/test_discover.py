"""From a network to equations: candidates, starts, and what ensembles agree on."""

import copy
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from spicestat.equations.discover import SparseSettings, discover, member_stability, sparse_equations
from spicestat.equations.sparse import group_threshold, independent_terms, polynomial_library, stlsq
from spicestat.equations.structure.equation_set import EXCLUDED, FREE, KEPT
from spicestat.equations.trajectories import record_trajectories
from spicestat.errors import ConfigError
from spicestat.models.base import BuildSettings, building
from spicestat.models.config import SpiceConfig
from spicestat.models.precoded import LEARNING_RATE_RNN_CONFIG, LearningRateRNN
from spicestat.simulate import simulate_cohort
from spicestat.trials.reading import read_trials
from spicestat.trials.sequences import SequenceDataset

CONFIG = LEARNING_RATE_RNN_CONFIG
RATE, NOT_CHOSEN = CONFIG.rnn_modules
MEMBERS = 3


@pytest.fixture(scope="module")
def data():
    """Three participants with two blocks of 15 trials."""
    return SequenceDataset.from_trials(read_trials(simulate_cohort(3, 30, n_blocks=2, seed=1).trials, block="block"))


def network(n_members=1, seed=0):
    """Untrained networks with weights so large that members differ."""
    with building(BuildSettings(n_members=n_members)), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LearningRateRNN(2, n_participants=3).eval()
        with torch.no_grad():
            for weights in model.submodules_rnn.parameters():
                weights.mul_(6.0)
    return model


def member_of(model, number):
    """One member of an ensemble as a model of its own."""
    single = LearningRateRNN(2, n_participants=3).eval()
    single.load_state_dict({name: value[number : number + 1] for name, value in model.state_dict().items()})
    return single


@pytest.fixture(scope="module")
def ensemble():
    return network(MEMBERS)


# --- what members agree on ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("structure", "search"), [("participant", stlsq), ("population", group_threshold)])
@pytest.mark.parametrize("degree", [1, 2])
def test_stability_is_the_share_of_members_that_select_a_term(structure, search, degree, ensemble, data):
    """By hand: the regression on each member's own trajectories."""
    settings = SparseSettings(degree=degree, threshold=0.15, structure=structure)
    expected = []
    for number in range(MEMBERS):
        recorded = record_trajectories(member_of(ensemble, number), data, CONFIG)
        own = []
        for module in CONFIG.rnn_modules:
            library = polynomial_library(module, CONFIG.signals(module), degree)
            terms = independent_terms(recorded[module], library)
            own.append(search(recorded[module], library, 3, 0.15, settings.alpha, candidates=terms).selected)
        expected.append(np.concatenate(own, axis=1))
    found = member_stability(ensemble, data, CONFIG, settings)
    np.testing.assert_allclose(found[:, :-1], np.mean(expected, axis=0))
    assert (found[:, -1] == 1).all()
    assert ((found >= 0) & (found <= 1)).all()
    assert ((found > 0) & (found < 1)).any(), "the members do not differ: this test says nothing"


def test_one_network_is_as_stable_as_its_own_regression(data):
    model, settings = network(seed=4), SparseSettings(threshold=0.1, structure="participant")
    sparse = sparse_equations(model, data, CONFIG, settings, record_trajectories(model, data, CONFIG))
    np.testing.assert_array_equal(member_stability(model, data, CONFIG, settings), sparse.status == FREE)


def test_participants_without_data_have_no_stability(ensemble, data):
    settings = SparseSettings(structure="participant")
    rows = torch.nonzero(data.participant != 1).squeeze(1)
    found = member_stability(ensemble, data.select(rows), CONFIG, settings)
    assert np.isnan(found[1, :-1]).all()
    np.testing.assert_array_equal(found[[0, 2]], member_stability(ensemble, data, CONFIG, settings)[[0, 2]])


@pytest.mark.parametrize("structure", ["participant", "population"])
def test_a_higher_stability_leaves_fewer_candidates(structure, ensemble, data, monkeypatch):
    """And only terms that the members agree on; inverse temperatures always stay."""
    seen, kept = [], {}

    def no_search(_model, _data, _start, allowed, **_settings):
        seen.append(allowed)
        return SimpleNamespace(result=None, inclusion=None)

    monkeypatch.setattr("spicestat.equations.discover.select_structure", no_search)
    for level in (0.0, 0.5, 1.0):
        settings = SparseSettings(degree=2, threshold=0.15, stability=level, structure=structure)
        found = discover(ensemble, data, CONFIG, settings)
        kept[level] = found.sparse.status == FREE
        assert (found.stability[kept[level]] >= level).all()
        assert kept[level][:, -1].all()
    assert (kept[1.0] <= kept[0.5]).all()
    assert (kept[0.5] <= kept[0.0]).all()
    assert kept[1.0].sum() < kept[0.0].sum()
    allowed = np.array(seen)
    assert (allowed[2] <= allowed[1]).all()
    assert (allowed[1] <= allowed[0]).all()


# --- candidates and starts ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found(data):
    model = network(seed=2)
    return discover(model, data, CONFIG, SparseSettings(degree=2, threshold=0.2, structure="participant"))


def test_the_equations_of_the_search_have_all_parts(found):
    n_terms = len(found.sparse.terms)
    for part in (found.refit.equations.status, found.inclusion, found.stability):
        assert part.shape == (3, n_terms)
    assert found.refit.equations.terms == found.sparse.terms
    assert ((found.inclusion >= 0) & (found.inclusion <= 1)).all()
    assert (found.inclusion[:, -1] == 1).all()


def test_terms_of_a_higher_degree_need_the_networks_word(found):
    """Constants and linear terms are always candidates; where a square comes in, the regression had it."""
    degrees = np.concatenate([np.sum(library.powers, axis=1) for library in found.sparse.libraries] + [[1]])
    seen = (found.sparse.status != EXCLUDED).any(axis=0)
    used = (found.refit.equations.status != EXCLUDED).any(axis=0)
    assert not (used & (degrees > 1) & ~seen).any()
    assert ((degrees > 1) & ~seen).any(), "the regression took every term: this test says nothing"


def test_a_regression_that_was_run_before_is_not_run_again(data):
    model, settings = network(seed=2), SparseSettings(structure="participant")
    own = sparse_equations(model, data, CONFIG, settings, record_trajectories(model, data, CONFIG))
    other = own.with_status(np.where(np.arange(len(own.terms)) < 1, EXCLUDED, own.status).astype("int8"))
    assert discover(model, data, CONFIG, settings, sparse=other).sparse is other


def test_coefficients_of_the_regression_near_1_and_near_0_stay_as_they_are(data):
    """SPICE set coefficients within the threshold of 1 to 1, and those below it to 0 (fit_sindy.py:121-125)."""

    class Forgetting(torch.nn.Module):
        def forward(self, value, features):
            del features
            return 0.04 - 0.02 * value

    model = network()
    model.submodules_rnn[NOT_CHOSEN] = Forgetting()
    trajectories = record_trajectories(model, data, CONFIG)
    for structure in ("participant", "population"):
        settings = SparseSettings(threshold=0.03, alpha=0.0, structure=structure)
        sparse = sparse_equations(model, data, CONFIG, settings, trajectories)
        where = [sparse.terms.index((NOT_CHOSEN, term)) for term in ("1", NOT_CHOSEN)]
        assert (sparse.status[:, where] == FREE).all()
        np.testing.assert_allclose(sparse.coefficients[:, where], [[0.04, 0.98]] * 3, atol=1e-4)


# --- arguments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("structure", ["participant", "population"])
def test_nothing_that_is_handed_over_is_changed(structure, ensemble, data):
    """SPICE changed the config's lists and the default settings in place (fit_sindy.py:18, 33, 54)."""
    filters = {name: [["c_action", number, True]] for number, name in ((1, RATE), (0, NOT_CHOSEN))}
    config = SpiceConfig(
        list(CONFIG.rnn_modules), list(CONFIG.control_parameters), copy.deepcopy(dict(CONFIG.library_setup)), filters
    )
    settings = SparseSettings(structure=structure)
    before = copy.deepcopy((asdict(config), asdict(settings)))
    weights = {name: value.clone() for name, value in ensemble.state_dict().items()}
    tensors = {name: value.clone() for name, value in data.__dict__.items() if isinstance(value, torch.Tensor)}
    discover(ensemble, data, config, settings)
    assert (asdict(config), asdict(settings)) == before
    assert all(torch.equal(value, weights[name]) for name, value in ensemble.state_dict().items())
    for name, value in tensors.items():
        assert torch.equal(torch.nan_to_num(getattr(data, name)), torch.nan_to_num(value)), name


def test_results_do_not_depend_on_what_was_run_before(data):
    """No state is left anywhere, not even in NumPy's and torch's generators."""
    model, settings = network(seed=2), SparseSettings(structure="participant", criterion="evidence")
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    one, other = (discover(model, data, CONFIG, settings) for _ in range(2))
    np.testing.assert_array_equal(one.refit.equations.coefficients, other.refit.equations.coefficients)
    np.testing.assert_array_equal(one.inclusion, other.inclusion)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_state)


@pytest.mark.parametrize(
    "bad",
    [
        {"structure": "everybody"},
        {"degree": 0},
        {"threshold": -0.1},
        {"alpha": -1.0},
        {"stability": 1.5},
        {"stability": -0.1},
        {"criterion": "dic"},
        {"significance": 0.0},
        {"optimizer": "LASSO"},
    ],
)
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ConfigError):
        SparseSettings(**bad)


def test_unstable_terms_do_not_start(ensemble, data):
    """The simple start of each module is one term, whatever the regression found."""
    settings = SparseSettings(structure="participant", significance=1e-300, criterion="aic")
    found = discover(ensemble, data, CONFIG, settings).refit.equations
    for library in found.libraries:
        own = found.status[:, found.positions(library)]
        assert ((own != EXCLUDED).sum(axis=1) <= 1).all()
    assert (found.coefficients[found.status == KEPT] == 1).all()


def test_who_is_missing_does_not_change_the_others(data):
    """A participant code without data, after the others."""
    settings = SparseSettings(structure="participant", criterion="evidence")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = LearningRateRNN(2, n_participants=4)
    one = discover(model, data, CONFIG, settings)
    other = discover(model, replace(data, n_participants=4), CONFIG, settings)
    np.testing.assert_array_equal(other.refit.equations.status[:3], one.refit.equations.status)
    np.testing.assert_allclose(other.refit.equations.coefficients[:3], one.refit.equations.coefficients, atol=1e-4)
    assert np.isnan(other.stability[3, :-1]).all()
