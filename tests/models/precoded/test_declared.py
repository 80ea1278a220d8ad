"""Models declared by naming states, modules and inputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from spicestat._files.sealed import read_sealed, write_sealed
from spicestat.equations.estimate.forward import equation_nll
from spicestat.errors import ConfigError, StorageError
from spicestat.fit.api import spice_fit
from spicestat.fit.loading import load_fit
from spicestat.fit.play import simulate_fit
from spicestat.models.precoded import LearningRateRNN, ModelDeclaration, ModuleDeclaration
from spicestat.simulate import simulate_cohort
from spicestat.trials.reading import read_trials
from spicestat.trials.sequences import SequenceDataset

RATE = ModuleDeclaration("x_learning_rate_reward", "x_value_reward", ["c_reward", "x_value_reward"], "rate", "chosen")
FORGETTING = ModuleDeclaration("x_value_reward_not_chosen", "x_value_reward", cells="not_chosen")
LEARNING = ModelDeclaration([RATE, FORGETTING], {"x_value_reward": 0.5})


def test_a_declared_model_is_the_precoded_one_with_the_same_parts() -> None:
    cohort = simulate_cohort(4, 240, n_blocks=12)
    own = spice_fit(cohort.trials, block="block", model=LEARNING, epochs=20)
    precoded = spice_fit(cohort.trials, block="block", model="learning_rate", epochs=20)
    pd.testing.assert_frame_equal(own.coefficients.frame, precoded.coefficients.frame)
    assert own.scores.equals(precoded.scores)
    assert own.glance()["model"].item() == "declared"


def test_its_forward_pass_is_that_of_the_precoded_model() -> None:
    torch.manual_seed(0)
    precoded = LearningRateRNN(n_actions=3, n_participants=2)
    declared = LEARNING.build()[0](n_actions=3, n_participants=2)
    declared.load_state_dict(precoded.state_dict())
    xs = torch.zeros(2, 5, 9)
    xs[..., 0], xs[..., 3], xs[1, 2, 3] = 1.0, 0.7, torch.nan
    xs[..., -1] = torch.tensor([[0.0], [1.0]])
    with torch.no_grad():
        for model in (precoded.eval(), declared.eval()):
            assert model(xs, batch_first=True)[0].shape == (2, 5, 3)
        assert torch.equal(declared(xs, batch_first=True)[0], precoded(xs, batch_first=True)[0])


def test_an_additional_input_reaches_the_choices(tmp_path: Path) -> None:
    cohort = simulate_cohort(4, 240, n_blocks=4, seed=3)
    rng = np.random.default_rng(0)
    # a cue that says which action was rewarded leads to the choice of that action
    trials = cohort.trials.assign(cue=rng.normal(size=len(cohort.trials)))
    model = ModelDeclaration(
        [ModuleDeclaration("x_cued", "x_cued", ["c_action", "c_cue"], cells="chosen")],
        {"x_cued": 0.0},
        betas=[],
        inputs=["cue"],
        name="cued",
    )
    fit = spice_fit(trials, block="block", model=model, epochs=20)
    assert fit.glance()["model"].item() == "cued"
    assert ("x_cued", "c_cue") in fit.model.equations.terms
    fit.save(tmp_path / "fit")
    again = load_fit(tmp_path / "fit")
    assert again.estimator.rnn_class is fit.estimator.rnn_class
    data = SequenceDataset.from_trials(again.trials)
    nll = equation_nll(again.model.network, data, again.model.equations)
    assert nll == pytest.approx(fit.scores.set_index("model")["nll"]["refit"], abs=1e-9)
    with pytest.raises(ConfigError, match="additional inputs cannot play a task.*Got: cue"):
        simulate_fit(fit)
    with pytest.raises(ConfigError, match="additional inputs of the trials"):
        spice_fit(read_trials(cohort.trials, block="block"), model=model, epochs=1)


def test_the_saved_model_is_data_and_checked(tmp_path: Path) -> None:
    fit = spice_fit(simulate_cohort(3, 120, n_blocks=6).trials, block="block", model=LEARNING, epochs=2)
    fit.save(tmp_path / "fit")
    manifest = tmp_path / "fit" / "fit.json"
    stored = json.loads(manifest.read_text())
    assert ModelDeclaration.from_dict(stored["declaration"]) == LEARNING
    stored["declaration"]["modules"][0]["kind"] = "__import__('os')"
    files = read_sealed(tmp_path / "fit", "fit")
    write_sealed(tmp_path / "fit", "fit", files | {"fit.json": json.dumps(stored).encode()})
    with pytest.raises(StorageError, match="unknown `kind`"):
        load_fit(tmp_path / "fit")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"states": {}}, "one module and one state"),
        ({"states": {"x_value": 0.5}}, "`target`"),
        ({"states": {"x_value_reward": "high"}}, "starting value"),
        ({"modules": [RATE, RATE]}, "the same name"),
        ({"modules": [FORGETTING, ModuleDeclaration("x_all", "x_value_reward")]}, "the same values"),
        ({"modules": [ModuleDeclaration("x_a", "x_value_reward", ["c_price"])]}, "`inputs` of 'x_a'"),
        ({"modules": [ModuleDeclaration("x_a", "x_value_reward", ["x_value_reward"])]}, "`inputs` of 'x_a'"),
        ({"modules": [ModuleDeclaration("x_a", "x_value_reward", ["c_reward", "c_reward"])]}, "twice"),
        ({"modules": [ModuleDeclaration("x_a", "x_value_reward", kind="rate", toward="c_price")]}, "`toward`"),
        ({"betas": ["x_other"]}, "`betas`"),
        ({"betas": "x_value_reward"}, "list of names"),
        ({"hidden": ["x_value_reward"]}, "hidden"),
        ({"hidden": ["x_value_reward"], "betas": []}, "all states are hidden"),
        ({"inputs": ["value_reward"]}, "the same name"),
        ({"name": ""}, "`name`"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], match: str) -> None:
    given: dict[str, Any] = {"modules": [RATE, FORGETTING], "states": {"x_value_reward": 0.5}}
    with pytest.raises(ConfigError, match=match):
        ModelDeclaration(**{**given, **changes})


def test_bad_modules_and_dicts_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown `cells`"):
        ModuleDeclaration("x", "x", cells="left")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="plain name"):
        ModuleDeclaration("x.y", "x")
    with pytest.raises(ConfigError, match="cannot be made"):
        ModelDeclaration.from_dict({"modules": [{"name": "x"}], "states": []})
    with pytest.raises(ConfigError, match="cannot be made"):
        ModelDeclaration.from_dict({})


def test_a_hidden_state_drives_choices_only_through_others() -> None:
    modules = [
        ModuleDeclaration("x_trace", "x_trace", ["c_action"]),
        ModuleDeclaration("x_value", "x_value", ["x_trace"]),
    ]
    model = ModelDeclaration(modules, {"x_value": 0.0, "x_trace": 0.0}, betas=[], hidden=["x_trace"])
    rnn_class, config = model.build()
    assert config.signals("x_value") == ("c_trace",)
    network = rnn_class(n_actions=2).eval()
    logits, state = network(torch.tensor([[[1.0, 0, 1, 0, 0]]]), batch_first=True)
    assert torch.equal(logits[:, 0], state["x_value"])
