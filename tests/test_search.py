"""The search goes on where it stopped, prunes, and refuses wrong options."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import few
import pytest

from arsetlib import training

FAST = {"epochs": 3, "patience": 2, "batch": 64, "model": "toy", "options": {"padding": "same", "pool": 2}}
RATES = {"learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}}


@pytest.fixture(scope="module")
def sides():
    return few.make_sides()


def run(sides, space=RATES, **options):
    return training.search(space, sides, few.STUDY, progress=False, **{**FAST, **options})


def test_a_search_goes_on_where_it_stopped_and_tries_the_same(sides, tmp_path):
    first = run(sides, trials=2, storage=tmp_path / "a.sqlite")
    assert len(first.table) == 2
    both = run(sides, trials=4, storage=tmp_path / "a.sqlite")
    assert len(both.table) == 4
    straight = run(sides, trials=4)
    columns = ["trial", "learning_rate", "val_macro_f1"]
    assert both.table[columns].equals(straight.table[columns])
    assert both.best["learning_rate"] == both.table["learning_rate"][0]
    assert both.table["val_macro_f1"].max() == both.study.best_value


def test_a_killed_trial_is_done_again(sides, tmp_path):
    import optuna

    found = run(sides, trials=1, storage=tmp_path / "a.sqlite")
    found.study.ask()  # begun by a process that died
    again = run(sides, trials=2, storage=tmp_path / "a.sqlite")
    states = [t.state for t in again.study.trials]
    assert states.count(optuna.trial.TrialState.COMPLETE) == 2
    assert states.count(optuna.trial.TrialState.RUNNING) == 0


def test_a_grid_tries_each_combination_once(sides):
    space = {"learning_rate": [0.01, 0.001], "options.units": {"low": 4, "high": 8, "step": 4}}
    found = run(sides, space, sampler="grid", pruner=None, trials=99)
    tried = set(zip(found.table["learning_rate"], found.table["options.units"], strict=True))
    assert len(found.table) == 4 == len(tried)
    assert found.best["options"]["units"] in (4, 8)
    assert found.best["options"]["pool"] == 2


def test_a_poor_trial_is_ended_early(sides):
    space = {"learning_rate": [0.05, 1e-6]}
    found = run(sides, space, sampler="grid", pruner="halving", trials=2, epochs=6, batch=16)
    assert set(found.table["state"]) <= {"complete", "pruned"}
    assert found.study.pruner.__class__.__name__ == "SuccessiveHalvingPruner"
    assert len(found.study.trials[0].intermediate_values) >= 2  # each epoch was told


def test_a_trial_that_fails_is_told_and_the_others_go_on(sides):
    found = run(sides, {"options.kernel": [3, 5]}, sampler="grid", trials=2, options={"padding": "valid", "pool": 3})
    assert sorted(found.table["state"]) == ["complete", "fail"]
    assert "toy" in found.table["error"].dropna().item()


def test_plots_of_optuna_are_made_without_a_network(sides):
    import optuna

    found = run(sides, {**RATES, "options.units": [4, 8]}, trials=3, sampler="random", pruner=None)
    for plot in (optuna.visualization.plot_optimization_history, optuna.visualization.plot_intermediate_values,
                 optuna.visualization.plot_parallel_coordinate, optuna.visualization.plot_slice):  # fmt: skip
        assert plot(found.study).to_dict()["data"]


@pytest.mark.parametrize(
    ("space", "options", "words"),
    [
        ({}, {}, "empty space"),
        ({"rate": [1]}, {}, "received 'rate'"),
        ({"batch": [16], "epochs": [3]}, {}, "'batch' is both"),
        ({"learning_rate": 3}, {}, "list of choices"),
        ({"learning_rate": {"low": 1, "high": 0}}, {}, "low < high"),
        (RATES, {"sampler": "grid"}, "needs a step"),
        (RATES, {"sampler": "genetic"}, "'grid' or 'random' or 'tpe'"),
        (RATES, {"pruner": "thesis"}, "'median' or 'halving' or 'bandit' or None"),
        (RATES, {"colour": 1}, r"received \['colour'\]"),
    ],
)
def test_wrong_searches_are_refused(sides, space, options, words):
    with pytest.raises(training.TrainingError, match=words):
        run(sides, space, **options)


def test_a_storage_with_another_search_is_refused(sides, tmp_path):
    run(sides, trials=1, storage=tmp_path / "a.sqlite")
    with pytest.raises(training.TrainingError, match="another search: space was"):
        run(sides, {"learning_rate": [1.0]}, trials=1, storage=tmp_path / "a.sqlite")
