"""The assignments, one module each, and what they share. `arsetlib.grading` says what such a module holds."""

from arsetlib.grading.questions import Wrong, choice


def shuffled(rng, keys: str, texts) -> dict[str, str]:
    """Letters or digits → texts in an order of the learner's own."""
    texts = list(texts)
    return {key: texts[at] for key, at in zip(keys, rng.permutation(len(texts)).tolist(), strict=True)}


def picked(answer, options: dict, why_not: dict, reasons: dict, why_no_reason: dict, where: str) -> None:
    """Is the choice right, and its reason? Texts of the learner's letters and digits → why they are wrong."""
    letter, digit = choice(answer, "".join(options), "".join(reasons), hint=where)
    if why := why_not[options[letter]]:
        raise Wrong(f"Expected another choice than {letter} ({options[letter].rstrip('.')}). {why}. {where}.")
    if why := why_no_reason[reasons[digit]]:
        raise Wrong(
            f"{letter} is right. Expected another reason than {digit} ({reasons[digit].rstrip('.')}). {why}. {where}."
        )
