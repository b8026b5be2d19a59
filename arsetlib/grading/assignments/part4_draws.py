"""What a learner draws for homework 4, and the choices of its reasoned question."""

from __future__ import annotations

import numpy as np

from arsetlib.grading.assignments import shuffled
from arsetlib.translation import N_

# Choices and reasons → why they are wrong; for the right one this is empty.
AREA = {
    N_("Neither the area nor its interval holds: train with these 300, and draw others at random for the area"): "",
    N_("The area holds if each of the 300 is weighted by the mapped hectares of its class"): (
        N_("Weights repair how many samples a class got. Inside each class these are still the unsure pixels")
    ),
    N_("The area holds, but its interval is too narrow: label more pixels of small margin"): (
        N_("More pixels of that kind make the interval narrower, and the area stays as wrong as before")
    ),
    N_("Both hold: 300 labels are more than enough for an interval of 95 %"): (
        N_("The formula of the interval needs samples that were drawn at random. Their number does not replace that")
    ),
}
AREA_REASONS = {
    N_("The unsure pixels lie where classes look alike, so their mix of classes is not that of the map"): "",
    N_("The model that chose them was trained with too few labels"): (
        N_("A better model would choose unsure pixels, too, and their mix of classes would not be that of the map")
    ),
    N_("The labels of unsure pixels contain more errors than those of others"): (
        N_("Even if all 300 labels are right, the share of corn among them is not that of the map")
    ),
    N_("The 300 lie close together, so they count as fewer"): (
        N_("That would make the interval wider. Here the share itself is off, however far apart the pixels lie")
    ),
}
TRIAL = {
    N_("Neither is shown: repeat all three with several seeds on the same test, and compare the spread"): "",
    N_("Both are shown, because all three were scored on the same test"): (
        N_("One test for all is needed, but it is not enough: each score comes from one draw of 50 labels")
    ),
    N_("Only the gain of the embeddings is shown, because it is the larger one"): (
        N_("How large a gain must be depends on the spread of such scores, and one run shows no spread")
    ),
    N_("Neither is shown: score each model on the samples that its own method would choose"): (
        N_("Then each model would have another test, and chosen samples do not stand for the map")
    ),
}
TRIAL_REASONS = {
    N_("With another random draw of 50 labels, or another seed, the scores may change as much as they differ"): "",
    N_("A test drawn at random favours training labels drawn at random"): (
        N_("A test drawn at random stands for the map. It favours no way to choose labels")
    ),
    N_("A higher score is a better method, however small the difference"): (
        N_("Run one method twice with other seeds: its own two scores differ, too")
    ),
    N_("Published studies found that unsure samples and embeddings help"): (
        N_("It depends on the place, the model and the number of labels, so measure it where you use it")
    ),
}


def draw(rng: np.random.Generator) -> dict:
    """A learner's own numbers."""
    return {
        "forest": int(rng.integers(1, 10_000)),
        "noise": float(rng.choice([0.1, 0.15, 0.2])),
        "alpha": float(rng.choice([0.1, 0.2, 0.25])),
        "trained_on": int(rng.choice([2019, 2020, 2021])),
        "survey": survey(rng),
        "farm": farm(rng),
        "pool": pool(rng),
        "count": int(rng.integers(4, 7)),
        "area": shuffled(rng, "abcd", AREA),
        "area_reasons": shuffled(rng, "1234", AREA_REASONS),
        "trial": shuffled(rng, "abcd", TRIAL),
        "trial_reasons": shuffled(rng, "1234", TRIAL_REASONS),
    }


def survey(rng: np.random.Generator) -> dict:
    """A small map with four strata, what is expected in each of them, and what came back from the visits."""
    pixels = np.array([2600, 900, 340, 120]) + rng.integers(-30, 31, 4)
    expected = np.array([0.04, 0.3, 0.8, 0.5]) + rng.integers(-2, 3, 4) / 100
    visited = np.array([70, 50, 40, 30]) + rng.integers(-4, 5, 4)
    stratum = np.repeat(np.arange(4), visited)
    hits = np.round(visited * (expected + rng.uniform(-0.06, 0.06, 4))).clip(1, visited - 1).astype(int)
    crop = np.concatenate([np.arange(n) < hit for n, hit in zip(visited, hits, strict=True)])
    order = rng.permutation(len(stratum))
    return {
        "pixels": pixels.tolist(),
        "expected": [round(float(share), 2) for share in expected],
        "size": int(rng.integers(15, 26) * 10),
        "stratum": stratum[order].tolist(),
        "crop": crop[order].astype(int).tolist(),
    }


def farm(rng: np.random.Generator) -> dict:
    """A map of 12 × 12 pixels with parcels of 3 × 4 pixels, a border outside all parcels, and speckles."""
    row, column = np.divmod(np.arange(144), 12)
    number = rng.permutation(np.arange(3, 90))[:12]
    parcel = number[row // 3 * 3 + column // 4]
    truth = rng.integers(0, 4, 90)[parcel]
    predicted = np.where(rng.random(144) < 0.72, truth, rng.integers(0, 4, 144))
    parcel = np.where((row == 11) | (column == 0), -1, parcel)
    return {"parcel": parcel.tolist(), "predicted": predicted.tolist(), "truth": truth.tolist()}


def pool(rng: np.random.Generator) -> list[list[float]]:
    """Probabilities of four classes of 40 pixels without labels; no two have the same margin."""
    while True:
        shares = (rng.dirichlet(np.full(4, 0.8), 40) * 1000).round().astype(int)
        shares[np.arange(40), shares.argmax(1)] += 1000 - shares.sum(1)
        two = np.sort(shares, 1)[:, -2:]
        margin = two[:, 1] - two[:, 0]
        entropy = (shares * np.log(shares.clip(1) / 1000)).sum(1)
        orders = [np.argsort(by, kind="stable") for by in (margin, two[:, 1], entropy)]
        differ = all(len({frozenset(order[:count].tolist()) for order in orders}) == 3 for count in (4, 5, 6))
        if differ and (np.diff(np.sort(margin))[:7] > 0).all():
            return (shares / 1000).tolist()
