"""Checks of a saved forest or boosting model before it predicts: compiled code follows its indices unchecked.

A child outside the tree would read other memory, a child that is its own ancestor would never end. skops checks the
types in a file, not these numbers.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from arsetlib.errors import ArsetError

LEAF = -1


class TreeError(ArsetError, ValueError):
    """A tree or estimator with values that no training gives."""


def check_file(file: Path) -> None:
    """Stop at a file whose parts are compressed or overlap: ``save`` stores them uncompressed, so that none can grow.

    Raises:
        TreeError: The file has such parts.
        zipfile.BadZipFile: It is not a zip file.
    """
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise TreeError("it has compressed parts")
    if sum(part.file_size for part in parts) > file.stat().st_size:
        raise TreeError("its parts are larger than the file")


def check_trees(estimator: Any, features: int, classes: int) -> None:
    """Stop at an estimator that would not predict safely.

    Args:
        estimator: A fitted ``RandomForestClassifier`` or ``HistGradientBoostingClassifier``.
        features: Columns of its input.
        classes: Classes that it was trained on, 2 or more.

    Raises:
        TreeError: It does not fit; the message says in what.
    """
    from sklearn.ensemble import RandomForestClassifier

    try:
        _equal("features", estimator.n_features_in_, features)
        if type(estimator) is RandomForestClassifier:
            _forest(estimator, features, classes)
        else:
            _boosting(estimator, features, classes)
    except (AttributeError, TypeError, KeyError, IndexError, OverflowError) as error:
        raise TreeError(f"a part is missing or of another kind ({error})") from error


def _forest(forest, features: int, classes: int) -> None:
    from sklearn.tree import DecisionTreeClassifier
    from sklearn.tree._tree import Tree

    _equal("classes", forest.n_classes_, classes)
    _equal("outputs", forest.n_outputs_, 1)
    trees = _list("trees", forest.estimators_)
    for number, one in enumerate(trees):
        name, tree = f"tree {number}: ", one.tree_
        _kind(name, one, DecisionTreeClassifier)
        _kind(name, tree, Tree)
        _equal(f"{name}features", (one.n_features_in_, tree.n_features), (features, features))
        _equal(f"{name}classes", (one.n_classes_, tree.max_n_classes), (classes, classes))
        _equal(f"{name}outputs", (one.n_outputs_, tree.n_outputs), (1, 1))
        _equal(f"{name}nodes", tree.node_count, tree.capacity)
        leaf = tree.children_left == LEAF
        _equal(f"{name}leaves", bool((leaf == (tree.children_right == LEAF)).all()), True)
        _nodes(name, leaf, (tree.children_left, tree.children_right), tree.feature, features)
        _finite(f"{name}values", tree.value, (tree.node_count, 1, classes), least=0)
    forest.set_params(n_jobs=None, verbose=0)


def _boosting(boosting, features: int, classes: int) -> None:
    from sklearn._loss.link import LogitLink, MultinomialLogit
    from sklearn._loss.loss import HalfBinomialLoss, HalfMultinomialLoss
    from sklearn.ensemble._hist_gradient_boosting.binning import _BinMapper
    from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

    each = 1 if classes == 2 else classes
    _equal("trees of a round", boosting.n_trees_per_iteration_, each)
    _finite("the first prediction", boosting._baseline_prediction, (1, each))
    _kind("loss: ", boosting._loss, HalfBinomialLoss if each == 1 else HalfMultinomialLoss)
    _kind("link: ", boosting._loss.link, LogitLink if each == 1 else MultinomialLogit)
    _kind("preprocessor: ", boosting._preprocessor, type(None))
    _kind("bins: ", boosting._bin_mapper, _BinMapper)
    _equal("categories", np.asarray(boosting._bin_mapper.is_categorical_).tolist(), [0] * features)
    for number, trees in enumerate(_list("rounds", boosting._predictors)):
        _equal(f"trees of round {number}", len(_list("trees", trees)), each)
        for one in trees:
            name = f"round {number}: "
            _kind(name, one, TreePredictor)
            nodes = one.nodes
            _kind(name, nodes, np.ndarray)
            _equal(f"{name}columns", (nodes.dtype, nodes.ndim), (PREDICTOR_RECORD_DTYPE, 1))
            _equal(f"{name}categories", bool(nodes["is_categorical"].any()), False)
            leaf = nodes["is_leaf"].astype(bool)
            _nodes(name, leaf, (nodes["left"], nodes["right"]), nodes["feature_idx"], features)
            _finite(f"{name}values", nodes["value"], nodes.shape)


def _nodes(name: str, leaf: np.ndarray, children: tuple, feature: np.ndarray, features: int) -> None:
    """Children lie in the tree and behind their parent, as training numbers them: so every path ends."""
    if not leaf.size:
        raise TreeError(f"{name}it has no node")
    number, inner = np.arange(leaf.size), ~leaf
    for child in children:
        child = child.astype(np.int64)
        odd = np.flatnonzero(inner & ((child <= number) | (child >= leaf.size)))
        if odd.size:
            raise TreeError(
                f"{name}node {odd[0]} has the child {child[odd[0]]}, expected one from {odd[0] + 1} to {leaf.size - 1}"
            )
    odd = np.flatnonzero(inner & ((feature < 0) | (feature >= features)))
    if odd.size:
        raise TreeError(f"{name}node {odd[0]} asks feature {feature[odd[0]]}, expected one from 0 to {features - 1}")


def _list(what: str, value) -> list:
    if type(value) is not list or not value:
        raise TreeError(f"{what}: expected a list, received {type(value).__name__}")
    return value


def _kind(name: str, value, kind: type) -> None:
    if type(value) is not kind:
        raise TreeError(f"{name}expected {kind.__name__}, received {type(value).__name__}")


def _equal(what: str, received, expected) -> None:
    if received != expected:
        raise TreeError(f"{what}: expected {expected}, received {received}")


def _finite(what: str, values, shape: tuple, least: float = -np.inf) -> None:
    values = np.asarray(values)
    if values.shape != shape or values.dtype.kind != "f" or not np.isfinite(values).all() or (values < least).any():
        raise TreeError(f"{what}: expected finite numbers of shape {shape}, received {values.dtype} {values.shape}")
