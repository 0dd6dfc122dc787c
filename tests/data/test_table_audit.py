"""The table audit: missing cells, columns left out, leaks; its statistics against scikit-learn and scipy."""

import numpy as np
import pytest

from netwright.data.source import Table
from netwright.data.tables.audit import auc, audit, correlation, ranks


def made(**columns):
    return Table({name: np.array(list(values), dtype=object) for name, values in columns.items()})


def told(table, targets, train=None):
    found = audit(table, np.array(targets, object), np.arange(len(table)) if train is None else train)
    return {problem.where: problem.what for problem in found}


RNG = np.random.default_rng(0)
N = 400
CLASSES = RNG.choice(["no", "yes"], N)
NOISE = RNG.normal(size=N)


def test_statistics_against_references():
    from scipy.stats import pearsonr, rankdata
    from sklearn.metrics import roc_auc_score

    x = RNG.integers(0, 30, N).astype(float)
    np.testing.assert_allclose(ranks(x), rankdata(x))
    assert auc(x, CLASSES == "yes") == pytest.approx(roc_auc_score(CLASSES == "yes", x))
    assert correlation(x, NOISE) == pytest.approx(pearsonr(x, NOISE)[0])
    assert correlation(x, np.ones(N)) == 0


def test_clean_table_tells_nothing():
    assert told(made(x=NOISE, c=RNG.choice(["a", "b"], N)), CLASSES) == {}
    assert told(made(x=NOISE), NOISE * 3 + RNG.normal(size=N)) == {}


def test_missing_cells_are_counted():
    cells = [None if n % 4 == 0 else value for n, value in enumerate(NOISE)]
    assert told(made(x=cells, z=NOISE), CLASSES) == {"column x": "100 of 400 cells are missing (25.0%)"}


def test_copies_of_a_class_leak():
    table = made(
        x=NOISE, copy=["j" if name == "yes" else "n" for name in CLASSES], score=(CLASSES == "yes") + NOISE / 20
    )
    found = told(table, CLASSES)
    assert "100.0%" in found["column copy"]
    assert "AUC 1.0000" in found["column score"]
    assert "column x" not in found


def test_absence_leaks():
    assert "column when" in told(made(x=NOISE, when=["2024" if c == "yes" else None for c in CLASSES]), CLASSES)


def test_ordered_numbers_in_a_sorted_file_leak():
    classes = np.repeat(["a", "b", "c"], 50)
    found = audit(made(row_id=range(150), x=NOISE[:150], z=NOISE[150:300]), classes.astype(object), np.arange(150))
    leaks = [problem for problem in found if "one interval a class" in problem.what]
    assert [(problem.where, problem.action) for problem in leaks] == [("column row_id", "left out")]


def test_numeric_targets_leak_by_value_rank_and_group():
    y = np.exp(NOISE)
    table = made(x=RNG.normal(size=N), cents=y * 100, log=NOISE, grade=[f"g{value}" for value in np.round(NOISE)])
    found = told(table, y)
    assert set(found) >= {"column cents", "column log"}
    assert "column x" not in found
    by_group = RNG.integers(0, 30, N) * 1.37
    assert "mean of each value" in told(made(x=NOISE, g=[f"g{value:.2f}" for value in by_group]), by_group)["column g"]


def test_only_training_rows_are_looked_at():
    copy = [c if n < 50 else f"x{n % 4}" for n, c in enumerate(CLASSES)]
    assert "tell the class" in told(made(x=NOISE, copy=copy), CLASSES, np.arange(50))["column copy"]
    assert "tell the class" not in told(made(x=NOISE, copy=copy), CLASSES, np.arange(45, N)).get("column copy", "")


def test_a_class_called_na_counts():
    classes = np.where(CLASSES == "yes", "NA", "no")
    assert "column copy" in told(made(x=NOISE, copy=["k" if c == "NA" else "l" for c in classes]), classes)


def test_encoder_problems_are_repeated():
    found = told(made(key=[f"k{n}" for n in range(N)], same=["s"] * N, x=NOISE), CLASSES)
    assert "identifier" in found["column key"]
    assert "the same value" in found["column same"]


@pytest.mark.shared_data
def test_real_tables_have_no_leaks(shared_data):
    from netwright.data.files.opening import open_tree
    from netwright.data.readers.table import table

    for path, target in [
        ("titanic", "Survived"),
        ("california-housing", "median_house_value"),
        ("iris/iris.csv", "column5"),
    ]:
        source = table(open_tree(shared_data / path), target=target)
        found = audit(source.examples, source.targets, np.arange(len(source.targets)))
        assert not [problem for problem in found if problem.action.startswith("kept")], path
