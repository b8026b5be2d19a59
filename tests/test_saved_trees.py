"""Files of forests and boosting: whatever numbers they hold, they predict or are refused, and never crash."""

import copy
import shutil
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arsetlib import models
from arsetlib.models import ModelError, trees

SIZES = {"steps": 3, "bands": 2, "classes": 4}  # 11 features
SMALL = {"random_forest": {"trees": 3}, "gradient_boosting": {"rounds": 2}}
COUNT = 120


def build(name):
    return models.build(name, **SIZES, **SMALL[name])


def inputs():
    random = np.random.default_rng(0)
    return {
        "series": random.normal(size=(COUNT, 3, 2)).astype("f4"),
        "seen": random.random((COUNT, 3)) < 0.6,
        "day_of_year": random.integers(1, 201, COUNT).astype("i4"),
    }


def fitted(name, classes=4):
    y = np.random.default_rng(1).integers(0, classes, COUNT)
    return build(name).fit([(inputs(), np.eye(4, dtype="f4")[y])])


def again(model, tmp_path):
    """Written and read."""
    model.save(tmp_path / "model.skops")
    return build(model.name).read(tmp_path / "model.skops")


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("classes", [1, 2, 4])
def test_what_was_saved_predicts_the_same(tmp_path, name, classes):
    model = fitted(name, classes)
    np.testing.assert_array_equal(again(model, tmp_path).predict(inputs()), model.predict(inputs()))


def change_tree(model, column, value, node=0):
    tree = model.estimator.estimators_[1].tree_
    state = tree.__getstate__()
    state["nodes"] = state["nodes"].copy()
    state["nodes"][column][node] = value
    tree.__setstate__(state)


@pytest.mark.parametrize("column", ["left_child", "right_child"])
@pytest.mark.parametrize("child", [0, 10**6, -5, -1, 2**62, -(2**62)])
def test_a_child_outside_the_tree_or_above_its_parent_is_refused(tmp_path, column, child):
    model = fitted("random_forest")
    change_tree(model, column, child)
    with pytest.raises(ModelError, match="model.skops cannot predict: tree 1: "):
        again(model, tmp_path)


@pytest.mark.parametrize("feature", [-1, -2, 11, 10**9])
def test_a_feature_that_is_not_there_is_refused(tmp_path, feature):
    model = fitted("random_forest")
    change_tree(model, "feature", feature)
    with pytest.raises(ModelError, match=f"tree 1: node 0 asks feature {feature}, expected one from 0 to 10"):
        again(model, tmp_path)


def test_more_nodes_than_there_are_is_refused(tmp_path):
    model = fitted("random_forest")
    tree = model.estimator.estimators_[0].tree_
    state = tree.__getstate__()
    tree.__setstate__(state | {"node_count": state["node_count"] - 2})  # so that it can be saved; children lead out
    with pytest.raises(ModelError, match="tree 0: "):
        again(model, tmp_path)


@pytest.mark.parametrize(
    ("column", "value"),
    [("left", 0), ("left", 10**6), ("right", 2**32 - 1), ("feature_idx", -1), ("feature_idx", 11),
     ("is_categorical", 1), ("value", np.nan)],
)  # fmt: skip
def test_a_tree_of_boosting_that_leads_out_of_itself_is_refused(tmp_path, column, value):
    model = fitted("gradient_boosting")
    nodes = model.estimator._predictors[1][2].nodes
    nodes[column][0 if column != "value" else -1] = value
    with pytest.raises(ModelError, match="model.skops cannot predict: round 1: "):
        again(model, tmp_path)


@pytest.fixture(scope="module")
def both():
    return {name: fitted(name) for name in SMALL}


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_numbers_in_a_tree_predict_or_are_refused(both, data):
    name = data.draw(st.sampled_from(sorted(SMALL)))
    model = copy.deepcopy(both[name])
    number = data.draw(st.integers(-3, 40))
    if name == "random_forest":
        column = data.draw(st.sampled_from(["left_child", "right_child", "feature"]))
        count = model.estimator.estimators_[1].tree_.node_count
        change_tree(model, column, number, data.draw(st.integers(0, count - 1)))
    else:
        nodes = model.estimator._predictors[1][2].nodes
        column = data.draw(st.sampled_from(["left", "right", "feature_idx", "is_leaf"]))
        nodes[column][data.draw(st.integers(0, len(nodes) - 1))] = number if column == "feature_idx" else abs(number)
    try:
        trees.check_trees(model.estimator, 11, 4)
    except trees.TreeError:
        return
    assert np.isfinite(model.predict(inputs())).all()


def test_parts_of_another_kind_are_refused(tmp_path):
    from sklearn.preprocessing import FunctionTransformer

    def refuse(name, change, says):
        model = fitted(name)
        change(model)
        with pytest.raises(ModelError, match=says):
            again(model, tmp_path)

    refuse("random_forest", lambda m: m.estimator.estimators_.append(FunctionTransformer(np.exp)), "of another kind")
    refuse("random_forest", lambda m: setattr(m.estimator, "estimators_", []), "trees: expected a list")
    refuse("random_forest", lambda m: setattr(m.estimator, "n_classes_", 10**12), "classes: expected 4")
    refuse("random_forest", lambda m: setattr(m.estimator, "n_features_in_", 900), "features: expected 11")
    other = FunctionTransformer(np.exp)
    refuse("gradient_boosting", lambda m: setattr(m.estimator, "_preprocessor", other), "NoneType")
    refuse("gradient_boosting", lambda m: setattr(m.estimator, "n_trees_per_iteration_", 9), "trees of a round")
    refuse("gradient_boosting", lambda m: setattr(m, "present", np.array([0, 1, 2, 9])), "which classes")
    refuse("random_forest", lambda m: setattr(m, "present", np.array([0, 1, 1, 2])), "which classes")
    refuse("random_forest", lambda m: setattr(m, "share", np.array([0.5, np.nan, 0.5, 0])), "add up to 1")
    refuse("random_forest", lambda m: setattr(m, "share", m.share[:2]), "has 2 classes")


def test_a_file_that_grows_when_it_is_read_is_refused(tmp_path):
    fitted("random_forest").save(tmp_path / "model.skops")
    with zipfile.ZipFile(tmp_path / "model.skops") as held, zipfile.ZipFile(tmp_path / "bomb.skops", "w") as out:
        for part in held.infolist():
            out.writestr(part.filename, held.read(part), zipfile.ZIP_DEFLATED)
    shutil.move(tmp_path / "bomb.skops", tmp_path / "model.skops")
    with pytest.raises(ModelError, match="compressed parts"):
        build("random_forest").read(tmp_path / "model.skops")
