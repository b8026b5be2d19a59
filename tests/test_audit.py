"""Audit of labels: confident learning, the self-organising map, votes, noise made on purpose, and the whole command."""

import json

import labelled
import numpy as np
import pandas as pd
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from arsetlib import audit, cli, pixels, samples
from arsetlib.audit.marked import LabelAudit
from arsetlib.translation import speaking

CORN, SOYBEANS, COTTON = 0, 1, 2
START = 105


def answers(n=400, classes=4, seed=0, rate=0.15, missing=()):
    """Labels, of which some are wrong, and probabilities of a model that is mostly right."""
    random = np.random.default_rng(seed)
    there = np.setdiff1d(np.arange(classes), missing)
    truth = random.choice(there, n)
    logits = random.normal(0, 1, (n, classes))
    logits[np.arange(n), truth] += 2.5
    probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    wrong = random.random(n) < rate
    return np.where(wrong, random.choice(there, n), truth), probability.astype(np.float32)


# -- confident learning ---------------------------------------------------------------------------------------------


def by_plain_loop(label, probability):
    classes = probability.shape[1]
    thresholds = [np.mean([p[k] for y, p in zip(label, probability, strict=True) if y == k] or [np.nan], dtype=float)
                  for k in range(classes)]  # fmt: skip
    guess, joint = [], np.zeros((classes, classes))
    for y, p in zip(label, probability, strict=True):
        sure = [k for k in range(classes) if p[k] >= thresholds[k] - 1e-6]
        guess.append(max(sure, key=lambda k: p[k]) if sure else y)
        if sure:
            joint[y, guess[-1]] += 1
    return np.array(thresholds), np.array(guess), joint


@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(20, 90))
def test_confident_learning_is_that_of_a_plain_loop(seed, classes, n):
    label, probability = answers(n, classes, seed)
    if len(np.unique(label)) < 2:
        return
    thresholds, guess, _ = by_plain_loop(label, probability)
    found = audit.confident(label, probability)
    np.testing.assert_allclose(found.thresholds, thresholds, rtol=1e-5)
    assert found.guess.tolist() == guess.tolist()


def test_the_joint_has_the_labels_shares_in_its_rows():
    label, probability = answers(1000, 4)
    found = audit.confident(label, probability)
    np.testing.assert_allclose(found.joint.sum(1), np.bincount(label, minlength=4) / 1000)
    assert 0.08 < found.noise < 0.25


def test_blocks_of_rows_give_what_all_rows_at_once_give(monkeypatch):
    label, probability = answers(1000, 4)
    whole = audit.confident(label, probability)
    monkeypatch.setattr("arsetlib.audit.confidence.PER_PASS", 77)
    parts = audit.confident(label, probability)
    for name in ("guess", "margin", "joint", "thresholds"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-6)


def test_a_class_that_no_label_has_is_never_guessed():
    label, probability = answers(500, 4, missing=(3,))
    found = audit.confident(label, probability)
    assert np.isnan(found.thresholds[3])
    assert 3 not in found.guess
    assert found.joint[:, 3].sum() == found.joint[3].sum() == 0


@pytest.mark.parametrize(
    ("label", "probability", "says"),
    [
        ([0, 0], [[0.9, 0.1], [0.2, 0.8]], "labels of at least two classes, received 1"),
        ([0, 1], [[0.9, 0.1]], r"of the same rows, received \(2,\) and \(1, 2\)"),
        ([0, 2], [[0.9, 0.1], [0.2, 0.8]], "whole numbers from 0 to 1"),
        ([0, 1], [[0.9, 0.1], [np.nan, 0.8]], "received NaN"),
        ([0.5, 1], [[0.9, 0.1], [0.1, 0.8]], "whole numbers"),
    ],
)
def test_labels_that_cannot_be_judged_are_refused(label, probability, says):
    with pytest.raises(audit.AuditError, match=says):
        audit.confident(label, probability)


# -- the self-organising map ----------------------------------------------------------------------------------------


def clouds(n=600, seed=0):
    """Three clouds of series, and their labels."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 3, n)
    centres = random.normal(0, 4, (3, 20))
    return (centres[truth] + random.normal(0, 1, (n, 20))).astype(np.float32), truth


def test_series_go_to_the_nearest_neuron():
    x, _ = clouds()
    found = audit.Som.fit(x, 5)
    apart = ((x[:, None] - found.weights) ** 2).sum(-1)
    assert (apart[np.arange(len(x)), found.neurons(x)] <= apart.min(1) + 1e-3).all()


def test_neighbouring_neurons_are_more_alike_than_distant_ones():
    x, _ = clouds()
    found = audit.Som.fit(x, 6)
    grid = found.weights.reshape(6, 6, -1)
    near = np.linalg.norm(np.diff(grid, axis=0), axis=-1).mean()
    far = np.linalg.norm(grid[:1] - grid[-1:], axis=-1).mean()
    assert near < far / 2


def test_a_seed_gives_one_map():
    x, _ = clouds()
    one, other = (audit.Som.fit(x, 4, seed=3).weights for _ in range(2))
    assert np.array_equal(one, other)


def test_wrong_labels_are_rare_in_their_neuron():
    x, truth = clouds()
    wrong = np.random.default_rng(1).random(len(x)) < 0.1
    label = np.where(wrong, (truth + 1) % 3, truth)
    som = audit.Som.fit(x, 4)
    judged = audit.judge(som.neurons(x), label, som.side, 3)
    found = audit.Found.of(judged.verdict == 2, wrong)
    assert found.recall > 0.95
    assert found.precision > 0.95


def test_the_posterior_is_that_of_a_plain_loop():
    random = np.random.default_rng(0)
    side, classes = 3, 2
    neuron, label = random.integers(0, 8, 60), random.integers(0, classes, 60)  # neuron 8 has no rows
    judged = audit.judge(neuron, label, side, classes)
    share = np.array([[np.mean(label[neuron == m] == k) if (neuron == m).any() else 0 for k in range(classes)]
                      for m in range(9)])  # fmt: skip
    for m in range(9):
        around = [o for o in range(9) if o != m and (neuron == o).any()
                  and abs(o // 3 - m // 3) <= 1 and abs(o % 3 - m % 3) <= 1]  # fmt: skip
        for k in range(classes):
            mean, variance = share[around, k].mean(), share[around, k].var(ddof=1)
            mixed = max(1 - share[m].max(), 1e-7)
            assert judged.posterior[m, k] == pytest.approx((variance * share[m, k] + mixed * mean) / (variance + mixed))
    for i in range(60):
        enough, agreed = share[neuron[i], label[i]] >= 0.6, judged.posterior[neuron[i], label[i]] >= 0.6
        assert judged.verdict[i] == (2 if not enough else 0 if agreed else 1)


@pytest.mark.parametrize(
    ("x", "side", "says"),
    [(np.full((9, 2), np.nan), 2, "NaN"), (np.zeros((9, 2)), 4, "no more neurons than the 9 rows, received 4")],
)
def test_a_map_that_cannot_be_trained_is_refused(x, side, says):
    with pytest.raises(audit.AuditError, match=says):
        audit.Som.fit(x, side)


# -- votes ----------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(2, 4))
def test_votes_are_those_of_a_plain_loop(seed, models):
    parts = [answers(40, 3, seed + i)[1] for i in range(models)]
    label = answers(40, 3, seed)[0]
    found = audit.votes(label, parts)
    for i in range(40):
        named = [int(p[i].argmax()) for p in parts]
        assert found.against[i] == pytest.approx(np.mean([k != label[i] for k in named]))
        assert found.unanimous[i] == (len(set(named)) == 1 and named[0] != label[i])
        assert named.count(found.guess[i]) == max(map(named.count, named))


def test_one_model_is_no_vote():
    label, probability = answers(9, 2)
    with pytest.raises(audit.AuditError, match="at least two models, received 1"):
        audit.votes(label, [probability])


# -- noise ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["random", "edges", "swap"])
def test_noise_has_its_rate_and_its_kind(kind):
    table, study = labelled.table(), labelled.study()
    before = table["label_code"].to_numpy()
    after = audit.spoiled(table, study, 0.1, kind, seed=1)["label_code"].to_numpy()
    wrong = before != after
    assert wrong.mean() == pytest.approx(0.1, abs=0.001)
    assert np.array_equal(after, audit.spoiled(table, study, 0.1, kind, seed=1)["label_code"].to_numpy())
    assert not np.array_equal(after, audit.spoiled(table, study, 0.1, kind, seed=2)["label_code"].to_numpy())
    grid = before.reshape(labelled.SIDE, labelled.SIDE)
    if kind == "swap":
        assert len({(a, b) for a, b in zip(before[wrong], after[wrong], strict=True)}) == 1
    if kind == "edges":
        padded = np.pad(grid, 2, constant_values=-1)
        around = [padded[2 + r : 2 + r + grid.shape[0], 2 + c : 2 + c + grid.shape[1]].ravel()
                  for r, c in ((-1, 0), (1, 0), (0, -1), (0, 1), (-2, 0), (2, 0), (0, -2), (0, 2))]  # fmt: skip
        assert (np.stack(around) == after).any(0)[wrong].all()


def test_a_rate_that_a_kind_cannot_reach_is_refused():
    with pytest.raises(audit.AuditError, match="can be made wrong by kind='swap', received 0.5"):
        audit.spoiled(labelled.table(), labelled.study(), 0.5, "swap")


# -- folds ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spoiled():
    return audit.spoiled(labelled.table(), labelled.study(), 0.1, seed=1)


@pytest.fixture(scope="module")
def wrong(spoiled):
    return spoiled["label_code"].to_numpy() != labelled.table()["label_code"].to_numpy()


def test_every_row_is_predicted_once_by_a_model_that_has_not_seen_its_block(spoiled, monkeypatch):
    from arsetlib import training

    seen, whole = [], training.fit

    def fit(model, sides, *args, **options):
        seen.append((set(sides["train"].column("block")), set(sides["validation"].column("block"))))
        return whole(model, sides, *args, **options)

    monkeypatch.setattr(training, "fit", fit)
    held = audit.out_of_fold(spoiled, labelled.study(), "majority", start=START, folds=4)
    assert held.index.tolist() == list(range(len(spoiled)))
    assert held.predictions.pixel.tolist() == spoiled["pixel"].to_pylist()
    assert sum(held.lost.values()) == 0
    for train, test in seen:
        assert not train & test
    assert set().union(*(test for _, test in seen)) == set(spoiled["block"].to_pylist())


def test_a_network_stops_by_a_fold_that_it_neither_trains_on_nor_predicts(spoiled, monkeypatch):
    from arsetlib import training

    sides_of = []

    def fit(model, sides, study, **options):
        sides_of.append({name: set(rows.column("block")) for name, rows in sides.items()})
        raise training.TrainingError("enough")

    monkeypatch.setattr(training, "fit", fit)
    rows = samples.Rows.of(spoiled)
    parts = samples.kfold(rows, 4, 0)
    with pytest.raises(training.TrainingError, match="enough"):
        audit.folds.fold_of(parts, 3, labelled.study(), "toy", START, 0)
    test = set(parts[3]["test"].column("block"))
    (sides,) = sides_of
    assert not sides["train"] & sides["validation"]
    assert not test & (sides["train"] | sides["validation"])


def test_rows_of_a_class_that_other_folds_lack_are_counted_and_not_judged():
    table = labelled.table()
    code, block = table["label_code"].to_numpy().copy(), table["block"].to_numpy()
    code[(code == 2) & (block != block[0])] = 1  # cotton in one block only
    table = table.set_column(8, table.schema.field("label_code"), [code])
    held = audit.out_of_fold(table, labelled.study(), "majority", start=START, folds=4)
    assert held.lost["class_not_in_training"] == int((code == 2).sum()) > 0
    assert COTTON not in held.predictions.truth


def test_a_whole_audit_finds_the_labels_that_were_made_wrong(spoiled, wrong):
    held = audit.out_of_fold(spoiled, labelled.study(), start=START, folds=3, options={"trees": 20})
    found = audit.confident(held.predictions.truth, held.predictions.probability)
    score = audit.Found.of(found.wrong, wrong[held.index])
    assert score.precision > 0.9
    assert score.recall > 0.6


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"folds": 99}, "folds from 2 to 16, the number of blocks with rows, received 99"),
        ({"start": 300}, "start from 1 to 200"),
        ({"names": ["random_forest"]}, "at least two models"),
        ({"names": ["random_forest", "forst"]}, "no model 'forst'"),
        ({"fields": "nowhere.gpkg"}, "cannot be read as a vector file"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_trained_or_written(spoiled, tmp_path, options, says):
    with pytest.raises(ValueError, match=says):
        audit.run(samples.Rows.of(spoiled), labelled.study(), tmp_path / "out", **{"start": START, **options})
    assert not (tmp_path / "out").exists()


def test_a_table_of_one_class_is_refused(tmp_path):
    with pytest.raises(audit.AuditError, match=r"at least two classes, received 1,296 rows of \['corn'\]"):
        audit.run(samples.Rows.of(labelled.table(codes=(1,))), labelled.study(), tmp_path / "out", start=START)


# -- the run and its files ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored(spoiled, tmp_path_factory):
    file = tmp_path_factory.mktemp("stored") / "pixels.parquet"
    pixels.write(spoiled, file, pixels.Meta.of(spoiled))
    return file


@pytest.fixture(scope="module")
def made(stored, tmp_path_factory):
    out = tmp_path_factory.mktemp("audit") / "out"
    names = ("random_forest", "majority")
    return out, audit.run(stored, labelled.study(), out, names=names, start=START, folds=2, epochs=1, progress=False)


def test_the_files_say_what_the_report_says(made):
    out, report = made
    frame = pd.read_csv(out / "top.csv")
    assert len(frame) == min(1000, int((report.found_by > 0).sum()))
    assert (np.diff(frame.found_by) <= 0).all()
    assert set(frame.columns) >= {"pixel", "year", "lon", "lat", "label", "guess", "margin", "found_by"}
    assert (frame.label != frame.guess).all()
    assert "labels" in (out / "summary.txt").read_text("utf-8")
    assert json.loads((out / "audit.json").read_text("utf-8"))["labels"] == len(report) == labelled.SIDE**2


def test_the_map_shows_for_each_pixel_how_many_ways_call_its_label_wrong(made):
    out, report = made
    with rasterio.open(out / "place_2021.tif") as source:
        values = source.read(1)
        rows, cols = np.array(rasterio.transform.rowcol(source.transform, report.x, report.y), int)
        assert source.tags()["simulated"] == "yes"
    assert values[rows, cols].tolist() == report.found_by.tolist()
    assert (values == 255).sum() == values.size - len(report)


def test_the_same_call_reads_what_is_there_and_trains_nothing(made, stored, monkeypatch):
    out, report = made
    monkeypatch.setattr("arsetlib.audit.runs.fold_of", None)
    names = ("random_forest", "majority")
    again = audit.run(stored, labelled.study(), out, names=names, start=START, folds=2, epochs=1, progress=False)
    assert np.array_equal(again.found_by, report.found_by)
    with pytest.raises(audit.AuditError, match="differs in: start"):
        audit.run(stored, labelled.study(), out, names=names, start=START + 1, folds=2, epochs=1, progress=False)


def test_a_stopped_audit_keeps_its_folds_and_ends_alike(made, stored, tmp_path, monkeypatch):
    from arsetlib.audit import runs as module

    whole, calls = module.fold_of, []

    def stops(*args, **options):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(*args, **options)

    monkeypatch.setattr("arsetlib.audit.runs.fold_of", stops)
    options = {"names": ("random_forest", "majority"), "start": START, "folds": 2, "epochs": 1, "progress": False}
    with pytest.raises(KeyboardInterrupt):
        audit.run(stored, labelled.study(), tmp_path / "out", **options)
    with pytest.raises(audit.AuditError, match="found unfinished"):
        LabelAudit.load(tmp_path / "out")
    again = audit.run(stored, labelled.study(), tmp_path / "out", **options)
    assert len(calls) == 5  # the one that was stopped, and the one after it
    assert np.array_equal(again.found_by, made[1].found_by)
    assert np.array_equal(again.margin, made[1].margin)


def test_rows_without_the_suspicious_ones_are_given_and_the_table_is_unchanged(made, stored):
    _, report = made
    rows = samples.Rows.of(stored)
    kept = report.rows(rows, least=1)
    bad = report.found_by >= 1
    assert len(rows) - len(kept) == int(bad.sum()) > 0
    assert not set(kept.column("pixel")) & set(report.pixel[bad])
    assert pixels.read(stored).num_rows == labelled.SIDE**2


def test_fields_are_counted_with_their_suspicious_pixels(made):
    _, report = made
    ids = np.where(report.x < np.median(report.x), 0, 1)
    ids[:5] = -1
    table = report.by_field(ids, least=1)
    for number in (0, 1):
        mine = (ids == number) & (report.found_by >= 1)
        assert table.loc[number, "pixels"] == (ids == number).sum()
        assert table.loc[number, "suspicious"] == mine.sum()
    assert table.share.is_monotonic_decreasing


def test_pixels_are_in_the_field_that_a_plain_loop_finds(made, tmp_path):
    pyogrio = pytest.importorskip("pyogrio")
    import shapely

    _, report = made
    boxes = [shapely.box(700_000, 3_699_700, 700_200, 3_700_000), shapely.box(700_100, 3_699_700, 700_400, 3_700_000)]
    pyogrio.raw.write(tmp_path / "fields.gpkg", shapely.to_wkb(np.array(boxes, object)), [], [], crs="EPSG:32615",
                      geometry_type="Polygon")  # fmt: skip
    ids = audit.field_ids(tmp_path / "fields.gpkg", report.x, report.y, "EPSG:32615")
    for i in range(0, len(report), 17):
        inside = [n for n, one in enumerate(boxes) if one.contains(shapely.Point(report.x[i], report.y[i]))]
        assert ids[i] == (inside[0] if inside else -1)
    with pytest.raises(audit.AuditError, match="Is it of another place"):
        audit.field_ids(tmp_path / "fields.gpkg", report.x + 9999, report.y, "EPSG:32615")


def test_the_summary_is_in_the_readers_language(made):
    _, report = made
    with speaking("es"):
        text = str(report)
    assert "etiquetas" in text
    assert "SIMULADO" in text


def test_the_command_says_what_it_refuses_in_its_own_words(made, stored, tmp_path, monkeypatch):
    monkeypatch.setattr("arsetlib.cli.learn.load", lambda *_: labelled.study())
    command = [
        "audit",
        str(stored),
        "study.toml",
        "--out",
        str(tmp_path / "out"),
        "--start",
        str(START),
        "--folds",
        "2",
    ]
    done = CliRunner().invoke(cli.app, [*command, "--model", "majority"])
    assert "at least two models" in str(done.exception)
    asked = {}
    monkeypatch.setattr(audit, "run", lambda table, study, out, **options: asked.update(options) or made[1])
    done = CliRunner().invoke(cli.app, [*command, "--model", "a", "--model", "b", "--epochs", "1", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["labels"] == labelled.SIDE**2
    wanted = {"names": ["a", "b"], "start": START, "folds": 2, "seed": 0, "epochs": 1, "fields": None}
    assert asked == wanted | {"progress": False}


def test_an_audit_can_lie_in_an_object_store(made, stored, bucket):
    names = ("random_forest", "majority")
    options = {"names": names, "start": START, "folds": 2, "epochs": 1, "progress": False}
    found = audit.run(stored, labelled.study(), bucket / "audit", **options)
    assert np.array_equal(found.found_by, made[1].found_by)
    assert (bucket / "audit" / "place_2021.tif").is_file()


def test_rows_that_only_some_deals_of_the_folds_can_judge_are_counted_and_not_judged(tmp_path):
    table = labelled.table()
    code, block = table["label_code"].to_numpy().copy(), table["block"].to_numpy()
    code[(code == 2) & ~np.isin(block, np.unique(block)[:2])] = 1  # cotton in two blocks: in one deal both in one fold
    table = table.set_column(8, table.schema.field("label_code"), [code])
    options = {"names": ("majority",) * 4, "start": START, "folds": 2, "progress": False}
    found = audit.run(samples.Rows.of(table), labelled.study(), tmp_path / "out", **options)
    lost = found.facts["lost"]
    assert lost["class_not_in_training"] > 0
    assert len(found) + sum(lost.values()) == len(table)


# -- careless hands ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [[0.9, 0.9], [3.0, -2.0], [0.0, 0.0]])
def test_rows_that_are_no_probabilities_are_refused(row):
    probability = np.array([[0.9, 0.1], row, [0.2, 0.8]])
    for judge in (lambda: audit.confident([0, 0, 1], probability), lambda: audit.votes([0, 0, 1], [probability] * 2)):
        with pytest.raises(audit.AuditError, match=r"each row sums to 1, received .* in row 1"):
            judge()


@pytest.mark.parametrize(
    ("neuron", "label"), [([0, 4], [0, 0]), ([0, -1], [0, 0]), ([0, 1], [0, 2]), ([0, 1], [0, -1])]
)
def test_a_neuron_or_a_label_that_is_none_is_refused_and_not_counted_as_another(neuron, label):
    with pytest.raises(audit.AuditError, match="as a whole number from 0"):
        audit.judge(neuron, label, 2, 2)


def test_series_that_differ_in_one_direction_only_have_a_map_without_nan():
    for seed in range(20):
        way = np.random.default_rng(seed).normal(size=(1, 7))
        x = (np.linspace(-1, 1, 200)[:, None] * way).astype(np.float32)
        assert np.isfinite(audit.Som.fit(x, 4, rounds=2).weights).all()


@pytest.mark.parametrize("least", [0, 4])
def test_a_number_of_ways_that_keeps_all_or_none_is_refused(made, least):
    with pytest.raises(audit.AuditError, match="least from 1 to 3"):
        made[1].suspicious(least)


def test_rows_of_another_table_than_the_audited_one_are_refused(tmp_path):
    table = labelled.table(noise=0.1)
    report = audit.run(table, labelled.study(), tmp_path / "audit", start=100, folds=2, progress=False)
    assert len(report.rows(samples.Rows.of(table))) == len(table) - report.suspicious().sum()
    with pytest.raises(audit.AuditError, match="None of the .* rows was judged"):
        report.rows(samples.Rows.of(labelled.table(noise=0.1, year=2020)))
    with pytest.raises(audit.AuditError, match="judged rows have another label"):
        report.rows(samples.Rows.of(audit.spoiled(table, labelled.study(), 0.2, seed=1)))
