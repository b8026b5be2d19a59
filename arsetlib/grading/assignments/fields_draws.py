"""What a learner of case study B draws, and the choices of its reasoned questions."""

from __future__ import annotations

import numpy as np

from arsetlib.grading.assignments import shuffled
from arsetlib.translation import N_

# Choices and reasons → why they are wrong; the right one has no why.
FEED = {
    N_("Read a batch when it is requested, use it, and release it"): "",
    N_("Load all images as bytes, and convert them to floats in memory"): (
        N_("Then they need all of the memory that you have just computed")
    ),
    N_("Load a tenth of the set, and train only on that"): N_("The network would never see nine tenths of the fields"),
    N_("Buy memory until the set fits"): N_("The next set is larger, and more memory is not necessary"),
}
FEED_REASONS = {
    N_("Memory holds one batch and what is read ahead, however large the set is"): "",
    N_("A disk is as fast as memory, so there is no waiting"): N_("It is slower; therefore batches are read ahead"),
    N_("A network learns more from images that it sees only once"): N_(
        "It sees them once in each epoch, in both cases"
    ),
    N_("A JPEG takes as many bytes on the disk as in memory"): N_("Decoded, it takes many times as many"),
}
NEXT = {
    N_("Reduce the images once, at conversion, so that each epoch decodes less"): "",
    N_("Put all records into one large shard"): N_("Requests do not take most of the time here"),
    N_("Read from a faster disk"): N_("You have computed how little that can gain at most"),
    N_("Train on a faster card"): N_("The network already waits for images"),
}
NEXT_REASONS = {
    N_("Decoding takes most of the time per image, so only less decoding gains much"): "",
    N_("One file needs the fewest requests, and requests take most of the time"): N_("Look at the parts again"),
    N_("The disk is the slowest part at every epoch, even when files are in memory"): N_(
        "Warm, nothing is fetched from it"
    ),
    N_("In any training the network is the slowest part"): N_("Here the network was not even measured"),
}
LICENCE = {
    N_("No: use images whose owners allow it"): "",
    N_("Yes, because weights are sold and not images"): N_("The weights were trained on the images"),
    N_("Yes, if the images are converted to TFRecord"): N_("They are the same images in another format"),
    N_("Yes, if its F1 is high enough"): N_("A score gives no right to use the images"),
}
LICENCE_REASONS = {
    N_("The licence excludes commercial use, and a model trained on the images is a use of them"): "",
    N_("Weights contain no image, so the licence does not apply to them"): N_("Training is a use of the images"),
    N_("Whoever converts images becomes their owner"): N_("A copy has the same owner"),
    N_("A licence restricts only passing on files, not their use"): N_("This one restricts both"),
}
CARDS = {
    N_("The figures cannot show it: repeat both on one card, with nothing else changed"): "",
    N_("It is true: both used the same images and the same number of epochs"): N_(
        "On which card did each of them run?"
    ),
    N_("It is false: the file format never matters"): N_("That does not follow from these figures either"),
    N_("It is true, and the gain is even larger: the V100 is the slower card"): N_("The V100 is the faster card"),
}
CARDS_REASONS = {
    N_("Two things changed at once, the format and the card, and the ratio mixes both effects"): "",
    N_("The same images and epochs make any two runs comparable"): N_("Only if everything else is the same as well"),
    N_("Minutes on a card are too short to be measured"): N_("They are long enough, but they measure two effects"),
    N_("A card reads both formats equally fast, so any difference is random"): N_("Nobody has measured that here"),
}
MIRRORED = {
    N_("It shows only the cost of sharing: there was one device to share the work with"): "",
    N_("It is true: averaging gradients costs more than it can gain"): N_(
        "With several devices each does a part of the work"
    ),
    N_("It is false: with the strategy fewer epochs were needed"): N_("Both ran fifty epochs"),
    N_("It shows that the batch was too small for the card"): N_("The batch was not what changed"),
}
MIRRORED_REASONS = {
    N_("A gain comes from the work of further devices; with one, there is only the extra cost"): "",
    N_("The averaged gradient of two halves is not that of the whole, so it learns more slowly"): (
        N_("It is the same, except for rounding")
    ),
    N_("Each device gets the whole batch, so all work is done twice"): N_("Each gets a part of the batch"),
    N_("The strategy lowers the learning rate, so steps take longer"): N_(
        "A rate does not change how long a step takes"
    ),
}
GAP = {
    N_("It has memorised its training images: get more fields, augment, take weights learnt elsewhere"): "",
    N_("It is too small for its task: take a larger network"): N_("A larger one can memorise even more"),
    N_("The validation was unfair: split by chip and not by field, and the gap will close"): (
        N_("It may close, because the network then knows the fields; the score says less about new ones than before")
    ),
    N_("It is not finished: train longer, and the validation will follow"): N_(
        "At 0.98 to 1.0 little is left to learn"
    ),
}
GAP_REASONS = {
    N_("Only new fields show what was learnt, and there little more than half of the answers are right"): "",
    N_("A network that is right for all training images has learnt the task"): N_("It has learnt these images"),
    N_("Chips of one field in both sets make a validation fairer"): N_("They make it easier"),
    N_("Validation images are always harder than training images"): N_("They are similar, but new"),
}
PAIRS = {
    "feed": (FEED, FEED_REASONS),
    "next": (NEXT, NEXT_REASONS),
    "licence": (LICENCE, LICENCE_REASONS),
    "cards": (CARDS, CARDS_REASONS),
    "mirrored": (MIRRORED, MIRRORED_REASONS),
    "gap": (GAP, GAP_REASONS),
}


def draw(rng) -> dict:
    """A learner's own numbers."""
    numbers = {
        "set": {
            "chips": int(rng.integers(200, 950)) * 100,
            "side": 512,
            "channels": 4,
            "small_side": int(rng.choice([96, 128, 160, 192])),
            "memory_gb": int(rng.choice([8, 12, 16, 24])),
        },
        "names": names(rng),
        "seed": int(rng.integers(1, 1000)),
        **records(rng),
        "batch": int(rng.integers(3, 7)),
        "rate": float(rng.choice([0.001, 0.002, 0.0005])),
        "race": race(rng),
        "valley": {
            "start": round(float(rng.uniform(1, 4)), 1),
            "curve": round(float(rng.uniform(0.5, 2)), 1),
            "staleness": int(rng.integers(3, 8)),
        },
        "costs": costs(rng),
    }
    for key, (choices, reasons) in PAIRS.items():
        numbers[key] = shuffled(rng, "abcd", choices)
        numbers[f"{key}_reasons"] = shuffled(rng, "1234", reasons)
    return numbers


def records(rng) -> dict:
    """Records, shards and workers such that it matters which worker gets which shard."""
    while True:
        sizes = rng.integers(30_000, 90_000, int(rng.integers(110, 160))).tolist()
        limit, workers = int(rng.choice([400_000, 500_000, 600_000])), int(rng.integers(2, 5))
        counts = records_of(sizes, limit, workers)
        if max(counts) - min(counts) >= 4:
            return {"sizes": sizes, "limit": limit, "workers": workers}


def shards(sizes, limit) -> list[int]:
    """Shard of each record, filled one after the other."""
    numbers, shard, filled = [], 0, 0
    for size in sizes:
        if filled and filled + size > limit:
            shard, filled = shard + 1, 0
        filled += size
        numbers.append(shard)
    return numbers


def records_of(sizes, limit, workers) -> list[int]:
    """Records of each worker, which get the shards in turns."""
    counts = [0] * workers
    for shard in shards(sizes, limit):
        counts[shard % workers] += 1
    return counts


def names(rng) -> list[str]:
    """Names of chips, FIELD_x1-y1-x2-y2, of 13 to 21 fields, in random order."""
    letters = np.array(list("ABCDEFGHJKLMNPQRSTUVWXYZ23456789"))
    made = []
    for _field in range(int(rng.integers(13, 22))):
        field = "".join(rng.choice(letters, 9))
        for _chip in range(int(rng.integers(1, 7))):
            x, y = rng.integers(0, 6000, 2).tolist()
            made.append(f"{field}_{x}-{y}-{x + 512}-{y + 512}")
    return [made[at] for at in rng.permutation(len(made)).tolist()]


def race(rng) -> dict:
    """Three timed runs of 400 images for each format and state, some disturbed; the time per image by step, ms."""
    rows = []
    for state, slower in (("cold", (1.5, 1.12)), ("warm", (1.05, 1.0))):
        disturbed = int(rng.integers(2))
        for at, form in enumerate(("directory", "tfrecord")):
            seconds = 400 * 0.006 * slower[at] * rng.uniform(0.95, 1.05, 3)
            if at == disturbed:
                seconds[rng.integers(3)] *= rng.uniform(1.5, 2.2)  # another program ran
            rows.append({"form": form, "state": state, "seconds": [round(float(s), 2) for s in seconds]})
    parts = {"fetch": rng.uniform(0.3, 0.9), "decode": rng.uniform(3.5, 5.5), "shrink": rng.uniform(0.5, 1.2)}
    return {"images": 400, "rows": rows, "parts_ms": {part: round(float(ms), 2) for part, ms in parts.items()}}


def costs(rng) -> dict:
    """Machines for hire; measurements of several devices and of a conversion."""
    core = int(rng.integers(60, 100))
    fast, slow = int(rng.integers(18, 25)) * 100, int(rng.integers(5, 8)) * 100
    machines = [
        {"cores": 4, "card_images_s": fast, "price_h": round(float(rng.uniform(2.8, 3.6)), 2)},
        {"cores": 8, "card_images_s": slow, "price_h": round(float(rng.uniform(0.9, 1.8)), 2)},
        {"cores": 16, "card_images_s": fast, "price_h": round(float(rng.uniform(3.4, 4.0)), 2)},
        {"cores": 8, "card_images_s": 90, "price_h": round(float(rng.uniform(0.35, 0.5)), 2)},
    ]
    devices, alone = int(rng.choice([2, 4, 8])), int(rng.integers(20, 40)) * 10
    return {
        "images": int(rng.integers(30, 95)) * 1000,
        "epochs": int(rng.choice([20, 30, 40])),
        "core_images_s": core,
        "machines": [{"machine": name} | machines[at] for name, at in zip("PQRS", rng.permutation(4), strict=True)],
        "devices": devices,
        "one_device_images_s": alone,
        "all_devices_images_s": int(alone * devices * rng.uniform(0.6, 0.9)),
        "conversion_s": int(rng.integers(900, 2400)),
        "epoch_before_s": int(rng.integers(300, 420)),
        "epoch_after_s": int(rng.integers(110, 180)),
    }
