import numpy as np
import pandas as pd
import pytest

from spicestat.errors import ColumnError, CovariateError, DataError, ExclusionWarning
from spicestat.group.inputs.alignment import align_people

PEOPLE = pd.DataFrame({"subject": [1, 2, 3], "age": [20, 30, 40]})


@pytest.mark.parametrize("labels", [["3", "1"], [3, 1], [3.0, 1.0], [np.int64(3), "1 "]])
def test_labels_match_by_what_they_say(labels):
    aligned, positions = align_people(labels, PEOPLE, "subject")
    assert aligned["age"].tolist() == [40, 20]
    assert aligned["participant"].tolist() == labels
    assert positions.tolist() == [0, 1]


def test_missing_participants_are_counted_and_named():
    with pytest.warns(ExclusionWarning, match=r"2 of 4 participants have no row .*: 'x', 9\."):
        aligned, positions = align_people([1, "x", 2, 9], PEOPLE, "subject")
    assert positions.tolist() == [0, 2]
    assert aligned["age"].tolist() == [20, 30]


def test_no_overlap_shows_both_sides():
    with pytest.raises(DataError, match=r"'s1', 's2' in the coefficients and 1, 2, 3 in column 'subject'"):
        align_people(["s1", "s2"], PEOPLE, "subject")


@pytest.mark.parametrize("labels", [[1, 1, 2], [1, "1", 2]])
def test_duplicates_are_named(labels):
    people = pd.DataFrame({"subject": pd.Series(labels, dtype=object), "age": [1, 2, 3]})
    with pytest.raises(CovariateError, match="1 participants have more than one row"):
        align_people([1, 2], people, "subject")


def test_ambiguous_labels_of_the_coefficients_are_refused():
    with pytest.raises(DataError, match="read the same"):
        align_people([1, "1"], PEOPLE, "subject")


def test_absent_column_is_named():
    with pytest.raises(ColumnError, match="no column 'participant'"):
        align_people([1], PEOPLE)
