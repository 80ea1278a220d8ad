"""Roles of what is on the screen: reading, checks, files, and columns that nobody named."""

import numpy as np
import pandas as pd
import pytest

from spicestat.errors import ColumnError, ConfigError, DataError, SuspiciousDataWarning
from spicestat.trials.reading import load_trials, read_trials
from spicestat.trials.sequences import SequenceDataset


def pairs(n=60, seed=0):
    """Two people, items A to D on two sides."""
    rng = np.random.default_rng(seed)
    drawn = np.array([rng.permutation(list("ABCD"))[:2] for _ in range(n)])
    side = rng.integers(0, 2, n)
    return pd.DataFrame(
        {
            "participant": np.repeat(["x", "y"], n // 2),
            "item_left": drawn[:, 0],
            "item_right": drawn[:, 1],
            "side": np.array(["left", "right"])[side],
            "item": drawn[np.arange(n), side],
            "points": rng.integers(0, 2, n),
            "other": rng.integers(0, 2, n),
        }
    )


ITEMS = {"choice": "item", "reward": "points", "options": ["item_left", "item_right"]}
PLACES = {"choice": "side", "reward": "points", "options": {"right": "item_right", "left": "item_left"}}


def test_choices_are_items_or_positions():
    frame = pairs()
    items, places = read_trials(frame.drop(columns="side"), **ITEMS), read_trials(frame.drop(columns="item"), **PLACES)
    assert items.actions == ("A", "B", "C", "D")
    assert places.actions == ("left", "right")
    assert places.record["columns"]["options"] == ["item_left", "item_right"]
    assert items.offered_actions[0].tolist() == [
        "ABCD".index(frame["item_left"][0]),
        "ABCD".index(frame["item_right"][0]),
    ]
    assert places.offered_actions is None
    for table in (items, places):
        again = table.to_frame()
        pd.testing.assert_frame_equal(again[["item_left", "item_right"]], frame[["item_left", "item_right"]])
        assert again["points"].tolist() == frame["points"].tolist()


def test_rewards_of_both_options_and_of_the_one_not_taken():
    frame = pairs().drop(columns="side")
    both = frame.assign(
        won_left=np.where(frame["item"] == frame["item_left"], frame["points"], frame["other"]),
        won_right=np.where(frame["item"] == frame["item_right"], frame["points"], frame["other"]),
    ).drop(columns=["points", "other"])
    each = read_trials(both, **{**ITEMS, "reward": ["won_left", "won_right"]})
    other = read_trials(frame, **ITEMS, foregone="other")
    pd.testing.assert_frame_equal(each.frame, other.frame)
    assert each.record["feedback"] == other.record["feedback"] == "counterfactual"
    assert each.to_frame()["won_right"].tolist() == both["won_right"].tolist()
    assert other.to_frame()["other"].tolist() == frame["other"].tolist()


def test_files_and_parts_keep_what_was_shown(tmp_path):
    frame = pairs().assign(size=3, cue=[1, 2] * 30, free=True)
    roles = {"context": "size", "stimulus": "cue", "forced": "free"}
    table = read_trials(frame.drop(columns="side"), **ITEMS, **roles)
    again = load_trials(table.save(tmp_path / "trials"))
    pd.testing.assert_frame_equal(again.shown, table.shown)
    pd.testing.assert_frame_equal(again.to_frame(), table.to_frame())
    part = table.select(np.arange(60) % 3 == 0)
    assert part.shown["cue"].tolist() == frame["cue"][::3].tolist()
    from_file = tmp_path / "trials.csv"
    frame.drop(columns="side").to_csv(from_file, index=False)
    pd.testing.assert_frame_equal(read_trials(from_file, **ITEMS, **roles).frame, table.frame)


def test_gains_and_losses():
    frame = pairs()[["participant", "side", "points"]].assign(fine=[0, 2, 5] * 20)
    sizes = read_trials(frame, choice="side", gain="points", loss="fine")
    signed = read_trials(frame.assign(fine=-frame["fine"]), choice="side", gain="points", loss="fine")
    pd.testing.assert_frame_equal(sizes.frame, signed.frame)
    # networks learn from the sum
    assert SequenceDataset.from_trials(sizes).largest_reward == 5
    received = sizes.frame[["reward_0", "reward_1"]].sum(axis=1)
    assert received.tolist() == (frame["points"] - frame["fine"]).tolist()
    assert sizes.to_frame()["fine"].tolist() == frame["fine"].tolist()
    with pytest.raises(DataError, match="loss column 'fine' has numbers of the wrong sign"):
        read_trials(frame.assign(fine=[1, -1] * 30), choice="side", gain="points", loss="fine")
    with pytest.raises(DataError, match="gain column 'fine'"):
        read_trials(frame.assign(fine=-1), choice="side", gain="fine")
    with pytest.raises(ConfigError, match="leave these out, or leave gain and loss out"):
        read_trials(frame, choice="side", reward="points", loss="fine")


def test_a_task_may_have_no_outcomes():
    frame = pairs()[["participant", "side"]]
    table = read_trials(frame, choice="side", reward=None)
    assert table.record["feedback"] == "none"
    assert table.record["reward_note"] == "no rewards"
    assert list(table.to_frame()) == ["participant", "trial", "side"]
    with pytest.raises(ConfigError, match="pass model='history'"):
        SequenceDataset.from_trials(table)


def test_networks_refuse_what_they_do_not_use():
    with pytest.raises(ConfigError, match="networks learn from choices and rewards") as caught:
        SequenceDataset.from_trials(read_trials(pairs().drop(columns="side"), **ITEMS))
    assert "options" in str(caught.value)


def test_an_option_that_is_not_there():
    frame = pairs().drop(columns="side")
    gone = frame["item"] != frame["item_right"]
    frame.loc[gone[gone].index[:3], "item_right"] = None
    table = read_trials(frame, **ITEMS)
    assert (table.offered_actions[:, 1] < 0).sum() == 3
    frame.loc[0, ["item_left", "item_right"]] = [None, None]
    with pytest.raises(DataError, match="choices were not on offer.*row 1"):
        read_trials(frame, **ITEMS)


@pytest.mark.parametrize(
    ("change", "roles", "error", "message"),
    [
        ({}, {**ITEMS, "choice": "side"}, DataError, r"options=\{'left': 'item_left', 'right': 'item_right'\}"),
        ({"item": "A"}, ITEMS, DataError, "choices were not on offer"),
        ({"item_right": "A", "item_left": "A"}, PLACES, DataError, "the same item is on offer twice"),
        (
            {},
            {**PLACES, "options": {"left": "item_left", "up": "item_right"}},
            ConfigError,
            "one column for each action",
        ),
        ({}, {**ITEMS, "options": "item_left"}, ConfigError, "`options` names two or more columns"),
        ({}, {**ITEMS, "attributes": ["amount"]}, ConfigError, "`attributes` says for each attribute"),
        ({"amount": 1.0}, {**PLACES, "attributes": {"amount": ["amount"]}}, ConfigError, "one column for each action"),
        ({"cue": [None] + [1.0] * 59}, {**PLACES, "stimulus": "cue"}, DataError, "stimulus column 'cue' has"),
        (
            {"size": [np.nan] + [1.0] * 59},
            {**PLACES, "context": "size"},
            DataError,
            "context column 'size' has",
        ),
        ({"forced": "maybe"}, {**PLACES, "forced": "forced"}, ColumnError, "must say which trials were forced"),
        ({}, {**PLACES, "stimulus": "item_left"}, ConfigError, "is used twice"),
        ({}, {**PLACES, "stimulus": "cues"}, ColumnError, "stimulus: the table of trials has no column 'cues'"),
        ({}, {**PLACES, "choice2": "other"}, ConfigError, "`choice2` needs `state2`"),
        ({}, {**PLACES, "reward": None, "foregone": "other"}, ConfigError, "`foregone` needs `reward`"),
    ],
)
def test_what_cannot_be_read_is_refused(change, roles, error, message):
    with pytest.raises(error, match=message):
        read_trials(pairs().assign(**change), **roles)


def test_missed_trials_need_no_stimulus():
    frame = pairs().assign(cue=["a", "b"] * 30)
    frame.loc[[0, 40], ["side", "points", "cue"]] = None
    table = read_trials(frame[["participant", "side", "points", "cue"]], choice="side", reward="points", stimulus="cue")
    assert table.record["n_missing_choices"] == 2


def test_an_attribute_is_needed_only_of_what_is_on_offer():
    frame = pairs().drop(columns="item").assign(a=1.0, b=2.0)
    roles = {**PLACES, "attributes": {"amount": ["a", "b"]}}
    frame.loc[0, ["side", "item_right", "b"]] = ["left", None, np.nan]
    read_trials(frame, **roles)
    frame.loc[1, "b"] = np.nan
    with pytest.raises(DataError, match="attribute 'amount' column 'b' has missing values.*row 2"):
        read_trials(frame, **roles)


@pytest.mark.parametrize(
    ("columns", "choice", "remedy"),
    [
        (["item_left", "item_right", "item"], "item", r"pass options=\['item_left', 'item_right'\]"),
        (["item_left", "item_right", "side"], "side", r"pass options=\{'.*': 'item_.*', '.*': 'item_.*'\}"),
        (["cue", "side"], "side", "pass stimulus='cue'"),
        (["amount", "side"], "side", "pass attributes="),
    ],
)
def test_columns_that_look_like_the_screen_are_noticed(columns, choice, remedy):
    frame = pairs(400).assign(cue=["a", "b"] * 200, amount=[1, 2, 3, 4, 5, 6, 7, 8] * 50)
    with pytest.warns(SuspiciousDataWarning, match=remedy):
        read_trials(frame[["participant", "points", *columns]], choice=choice, reward="points")


def test_columns_that_say_nothing_of_the_screen_are_not_noticed():
    frame = pairs(400).assign(state2=["a", "b"] * 200, condition="c", card_id=np.arange(400))
    read_trials(
        frame[["participant", "side", "points", "state2", "condition", "card_id"]], choice="side", reward="points"
    )


def test_the_outcome_of_what_was_not_chosen_is_no_reward_of_an_action():
    frame = pairs()[["participant", "side", "points", "other"]].rename(columns={"other": "points_unchosen"})
    with pytest.raises(ConfigError, match="pass reward='points' and foregone='points_unchosen'"):
        read_trials(frame, choice="side", reward=["points", "points_unchosen"])
