"""How many labels a new place needs: a model from elsewhere, fine-tuned, against one from scratch and a forest.

Two journeys: from one simulated year to another, and from the simulated delta to real points in Uganda and South Sudan
(the same ten bands and steps of 30 days). Each repeat deals blocks and labels anew; scores are those of blocks without
labels. The real points lie beside the project and are left out where they are absent.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import _points
import _sample
import measure

from arsetlib import samples, training

SMALL = {"filters": 32, "units": 64}


def tell(figures: measure.Figures, journey: str, curve, counts, goal: float | None) -> None:
    """Print the table and add, per number of labels, what fine-tuning reaches and by how much it leads."""
    table = training.mean_and_spread(curve)
    print(table.round(3).to_string())
    for count in counts:
        scores = {name: float(table.loc[count, (name, "mean")]) for name in training.transfer.METHODS}
        scores = {name: score for name, score in scores.items() if score == score}
        spread = {f"{name} spread": float(table.loc[count, (name, "std")]) for name in scores}
        parts = scores | {k: v for k, v in spread.items() if v == v}
        figures.add(f"macro_f1_{journey}_with_{count}_labels", scores["fine-tuned"], None, "macro-F1", parts)
        if count:
            lead = scores["fine-tuned"] / scores["from scratch"]
            asked = goal if count == counts[1] else None  # with many labels any start will do
            figures.add(f"fine_tuned_over_scratch_{journey}_with_{count}_labels", lead, asked, "x", parts)


def main() -> None:
    measure.arguments(__doc__)
    figures = measure.Figures("transfer")
    counts, repeats = (0, 5, 20, 100), 5
    epochs = 40
    place, delta = _sample.pixel_table()

    sides = samples.split(place, delta)
    setting = {"epochs": epochs, "batch": 128, "options": SMALL, "progress": False, "seed": 0}
    before = training.fit("tempcnn", sides, delta, **setting)
    other = samples.split(place, delta)["test"]
    curve = training.learning_curve(before, other, delta, counts, repeats=repeats, epochs=epochs, starts=(60, 120, 180))
    tell(figures, "from_year_to_year", curve, counts, 1.0)

    if not _points.FILE.exists():
        print("The real points are not here: the journey to them is not measured.")
    else:
        sides, study = _points.pretraining(place, delta)
        before = training.fit("tempcnn", sides, study, choose="median", **setting)
        rows, here = _points.points()
        curve = training.learning_curve(before, rows, here, counts, repeats=repeats, epochs=epochs)
        tell(figures, "from_delta_to_real_points", curve, counts, None)
        names = {"majority": ("majority", {}), "random forest": ("random_forest", {}), "small CNN": ("tempcnn", SMALL)}
        found = _points.cross_validate(rows, here, names, k=5, epochs=epochs, batch=64)
        for name, predictions in found.items():
            score = predictions.confusion()
            parts = {"accuracy": score.accuracy, "macro_f1": score.macro_f1, "points": len(rows)}
            figures.add(f"real_points_accuracy_of_{name.replace(' ', '_')}", score.accuracy, None, "share", parts)
            figures.add(f"real_points_macro_f1_of_{name.replace(' ', '_')}", score.macro_f1, None, "macro-F1", parts)
    figures.finish()


if __name__ == "__main__":
    main()
