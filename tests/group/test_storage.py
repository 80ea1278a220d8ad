"""Results that are pickled, or saved and loaded: the same for every method, or an error where files are damaged."""

import json
import pickle
import sys
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import spicestat
from spicestat._files.sealed import read_sealed, write_sealed
from spicestat.errors import ConfigError, DataError, ExclusionWarning, StorageError
from spicestat.group import load_group, spice_group
from spicestat.group.methods.registry import METHODS, find_method
from spicestat.group.posterior.engine import _load

sys.path.insert(0, str(Path(__file__).parent))

from toy_choices import gaussian_study, toy_fit  # noqa: E402

FEW = {"draws": 60, "tune": 100, "chains": 2}
SAMPLED = {"bayes": {**FEW, "n_nodes": 64}, "bayes_meta": FEW}
SETTINGS = {**SAMPLED, "permutation": {"n_permutations": 99}}
FORMULA = "~ scale(age) + sex"


def people_of(n, seed=0):
    rng = np.random.default_rng(seed)
    # labels of two types, which a column of a file cannot hold
    labels = [str(row) if row % 2 else row for row in range(n)]
    sex = np.where(np.arange(n) % 3 == 0, "f", "m")
    return pd.DataFrame({"participant": labels, "age": rng.uniform(20, 60, n), "sex": sex})


def study(n=24):
    """Coefficients of three terms, one of which half of the people have."""
    rng, people = np.random.default_rng(1), people_of(n)
    frames = [
        people[["participant"]].assign(
            module=module,
            term=term,
            estimate=0.3 + 0.01 * people["age"] + rng.normal(0, 0.3, n),
            std_error=rng.uniform(0.05, 0.2, n),
            selected=(rng.uniform(size=n) < 0.6) if term == "reward" else True,
        )
        for module, term in (("x_value", "1"), ("x_value", "reward"), ("beta", "x_value"))
    ]
    return pd.concat(frames, ignore_index=True), people


@cache
def result(method, conf_level=0.95):
    settings = {"conf_level": conf_level, **SETTINGS.get(method, {})}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so few draws
        if find_method(method).reads_choices:
            likelihood, X = gaussian_study(20, np.array([[0.5, 0.2], [0.2, 0.3]]), links=("identity", "logit"))
            fit = toy_fit(likelihood, people_of(20).assign(age=X[:, 1]))
            return spice_group(fit, FORMULA, method=method, links={"module1": "logit"}, **settings)
        frame, people = study()
        return spice_group(frame, FORMULA, data=people, method=method, **settings)


@pytest.fixture(params=list(METHODS))
def group(request):
    if request.param in SAMPLED:
        pytest.importorskip("numpyro")
    return result(request.param)


def tables(group):
    """All that a result can show."""
    found = {
        "rows": group.tidy(["fixed", "ran_pars"]),
        "other level": group.tidy(["fixed", "ran_pars"], conf_level=0.8),
        "glance": group.glance(),
        "vcov": group.vcov(),
        "skipped": group.skipped,
        "augment": group.augment(),
        "means": group.marginal_means("sex", at={"age": [30.0]}).frame,
        "contrasts": group.contrasts("sex"),
        "terms": group.term_tests(),
    }
    if group.ran_vals is not None:
        found["ran_vals"] = group.ran_vals
    if group.shrunken is not None:
        found["shrunken"] = group.shrunken
    if group.joint_covariance is not None:
        found["joint"] = group.joint_covariance
    if group.presence is not None:
        found["ratio_tests"] = group.presence.ratio_tests
        found["n_present"] = pd.Series(group.presence.n_present).to_frame()
    if group.posterior is not None:
        found["diagnostics"] = group.diagnostics()
        found |= {} if group.posterior.approximation is None else {"approximation": group.posterior.approximation}
    return found


def check_same(again, group):
    here, there = tables(group), tables(again)
    assert there.keys() == here.keys()
    for name, frame in here.items():
        pd.testing.assert_frame_equal(there[name], frame, check_exact=True, obj=name)
    for name in ("formula", "method", "adjust", "conf_level", "messages", "exact"):
        assert getattr(again, name) == getattr(group, name)
    assert dict(again.links) == dict(group.links)
    assert repr(again) == repr(group)
    assert again.summary() == group.summary()
    new = pd.DataFrame({"age": [25.0, 61.5], "sex": ["m", "f"]})
    np.testing.assert_array_equal(again.design.design_for(new), group.design.design_for(new))
    if group.posterior is not None:
        for part in group.posterior.inference_data.groups():
            assert again.posterior.inference_data[part].equals(group.posterior.inference_data[part]), part


def test_pickled(group):
    check_same(pickle.loads(pickle.dumps(group)), group)


def test_saved_and_loaded(group, tmp_path):
    folder = group.save(tmp_path / "group")
    check_same(load_group(folder), group)
    # over an older one, beside a file of somebody else
    (folder / "notes.txt").write_text("mine")
    check_same(spicestat.load_group(load_group(folder).save(folder)), group)
    assert (folder / "notes.txt").read_text() == "mine"
    assert not [path.name for path in folder.rglob("*") if path.suffix in (".pkl", ".pickle", ".joblib")]


def test_intervals_at_another_level_are_the_methods_own(group):
    rows = group.tidy(["fixed", "ran_pars"], conf_level=0.8)
    again = result(group.method, 0.8).tidy(["fixed", "ran_pars"])
    pd.testing.assert_frame_equal(rows, again)


DAMAGES = {
    "no rows": lambda files: files.pop("rows.parquet"),
    "no arrays": lambda files: files.pop("group.safetensors"),
    "no table": lambda files: files.pop("table/coefficients.parquet"),
    "no covariates": lambda files: files.pop("covariates.parquet"),
    "rows of glance": lambda files: files.update({"rows.parquet": files["glance.parquet"]}),
    "no Parquet": lambda files: files.update({"ran_vals.parquet": b"PAR1"}),
    "no safetensors": lambda files: files.update({"group.safetensors": b"12345678{}"}),
    "no JSON": lambda files: files.update({"group.json": b"[1"}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_sealed_folder_with_other_content_is_damaged(damage, tmp_path):
    files = read_sealed(result("multivariate_meta").save(tmp_path / "whole"), "group")
    DAMAGES[damage](files)
    with pytest.raises(StorageError):
        load_group(write_sealed(tmp_path / "damaged", "group", files))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("formula", None),
        ("conf_level", "much"),
        ("links", [["x"]]),
        ("messages", 3),
        ("covariance", [["x_value", "1", ["one name"]]]),
        ("joint", [["x_value"]]),
        ("design", {"formula": "~ age", "names": ["(Intercept)", "age"], "n": 24}),
        ("design", {"formula": "~ __import__('os').system('true')", "names": [], "n": 24}),
        ("design", {"formula": "~ scale(age) + sex", "names": ["(Intercept)", "sexm", "scale(age)"], "n": 24}),
        ("frames", {}),
        ("shrunken", {"people": [99], "columns": [["x", "1"]]}),
        ("presence", {"n_present": 3}),
    ],
)
def test_a_manifest_with_other_values_is_damaged(name, value, tmp_path):
    files = read_sealed(result("multivariate_meta").save(tmp_path / "whole"), "group")
    manifest = json.loads(files["group.json"])
    files["group.json"] = json.dumps({**manifest, name: value}).encode()
    if value is None:
        del manifest[name]
        files["group.json"] = json.dumps(manifest).encode()
    with pytest.raises(StorageError):
        load_group(write_sealed(tmp_path / "damaged", "group", files))


def test_damaged_draws_are_told(tmp_path):
    pytest.importorskip("numpyro")
    files = read_sealed(result("bayes_meta").save(tmp_path / "whole"), "group")
    files["draws.nc"] = files["draws.nc"][:1000]
    with pytest.raises(StorageError):
        load_group(write_sealed(tmp_path / "damaged", "group", files))


def test_draws_without_arviz_say_what_to_install(tmp_path, monkeypatch):
    pytest.importorskip("numpyro")
    folder = result("bayes_meta").save(tmp_path / "whole")
    monkeypatch.setitem(sys.modules, "arviz", None)
    monkeypatch.setattr("spicestat.group.storage.load_arviz", lambda: _load("arviz", "arviz"))
    with pytest.raises(ConfigError, match=r"spicestat\[bayes\]"):
        load_group(folder)


def test_changed_and_missing_files_are_found(tmp_path):
    folder = result("meta").save(tmp_path / "group")
    content = (folder / "rows.parquet").read_bytes()
    (folder / "rows.parquet").write_bytes(content[:-1] + b"x")
    with pytest.raises(StorageError, match="has changed"):
        load_group(folder)
    (folder / "rows.parquet").unlink()
    with pytest.raises(StorageError, match="missing"):
        load_group(folder)


def test_foreign_folders_are_refused(tmp_path):
    with pytest.raises(StorageError, match="no folder"):
        load_group(tmp_path / "nowhere")
    table = result("meta").table.save(tmp_path / "table")
    with pytest.raises(StorageError, match="something else"):
        load_group(table)
    with pytest.raises(StorageError, match="not a group folder"):
        result("meta").save(table)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    with pytest.raises(StorageError, match="not a group folder"):
        result("meta").save(tmp_path / "mine")


def test_what_only_others_write_is_no_name_of_a_folder(tmp_path):
    for name in ("group.xlsx", "group.doc"):
        with pytest.raises(StorageError, match="unknown kind of table file"):
            result("meta").save(tmp_path / name)
        assert not (tmp_path / name).exists()


def test_a_result_by_hand_lacks_what_is_to_be_saved(tmp_path):
    with pytest.raises(DataError, match="coefficient table"):
        replace(result("meta"), table=None).save(tmp_path / "group")


@pytest.mark.parametrize(
    "formula", ["~ 1", "~ C(visit) + poly(age, 2)", "~ bs(age, df=4) * sex", "~ `my age` + I(age^2)"]
)
def test_formulas_of_all_kinds_come_back(formula, tmp_path):
    frame, people = study(40)
    people = people.assign(visit=np.arange(40) % 3, **{"my age": people["age"].to_numpy()[::-1]})
    group = spice_group(frame, formula, data=people, modules="beta")
    again = load_group(group.save(tmp_path / "group"))
    pd.testing.assert_frame_equal(again.design.frame, group.design.frame)
    new = people.drop(columns="participant").iloc[[3, 1]].assign(age=33.0)
    np.testing.assert_array_equal(again.design.design_for(new), group.design.design_for(new))
    assert again.design.terms == group.design.terms


def test_participants_without_covariates_stay_left_out(tmp_path):
    frame, people = study()
    people.loc[2, "age"] = np.nan
    with pytest.warns(ExclusionWarning):
        group = spice_group(frame, FORMULA, data=people)
    again = load_group(group.save(tmp_path / "group"))
    pd.testing.assert_frame_equal(again.augment(), group.augment())
    assert again.nobs() == group.nobs() == 23


def test_participants_without_choices_stay_left_out(tmp_path):
    likelihood, X = gaussian_study(20, np.array([[0.5, 0.2], [0.2, 0.3]]))
    precision = likelihood.precision.copy()
    precision[3] = 0.0
    fit = toy_fit(replace(likelihood, precision=precision), people_of(20).assign(age=X[:, 1]))
    group = spice_group(fit, FORMULA)
    check_same(load_group(group.save(tmp_path / "group")), group)
    assert group.nobs() == 19


# verbs --------------------------------------------------------------------------------------------------------------


def test_coef_vcov_and_confint_are_those_of_tidy(group):
    fixed, names = group.tidy(), ["module", "sparse_term", "term"]
    coef, vcov, confint = group.coef(), group.vcov(), group.confint(0.8)
    assert list(coef.index.names)[:3] == names
    assert coef.index.is_unique and vcov.index.equals(coef.index) and vcov.columns.equals(coef.index)
    np.testing.assert_array_equal(coef, fixed["estimate"])
    np.testing.assert_allclose(np.sqrt(np.diag(vcov)), fixed["std_error"], rtol=1e-9)
    np.testing.assert_array_equal(confint, group.tidy(conf_level=0.8)[["conf_low", "conf_high"]])
    np.testing.assert_array_equal(group.confint(), fixed[["conf_low", "conf_high"]])
    keys = (fixed["module"] + ":" + fixed["sparse_term"]).to_numpy()
    same = keys[:, None] == keys
    if group.joint_covariance is not None:
        assert vcov.notna().all(axis=None)
        return
    if group.method == "hurdle":
        same = same & (fixed["group"].to_numpy()[:, None] == fixed["group"].to_numpy())
    np.testing.assert_array_equal(vcov.notna(), same)
    for (module, term), block in group.covariance.items():
        rows = [key for key in vcov.index if key[:2] == (module, term) and key[3:] in ((), ("magnitude",))]
        own = [key[2] for key in rows]
        np.testing.assert_array_equal(vcov.loc[rows, rows], block.loc[own, own])


def test_number_of_observations_and_likelihood(group):
    assert group.nobs() == group.glance()["nobs"].max()
    if group.glance()["log_lik"].isna().any():
        with pytest.raises(ConfigError, match="no likelihood"):
            group.log_lik()
    else:
        assert group.log_lik() == group.glance()["log_lik"].sum()


def test_a_level_outside_the_range_is_refused():
    with pytest.raises(ConfigError, match="conf_level"):
        result("meta").confint(95)
