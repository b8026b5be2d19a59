"""The assignments, one module each, and what they share. `arsetlib.grading` explains the form of such a module."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from arsetlib.grading.questions import Wrong, choice
from arsetlib.translation import _

__all__ = ["picked", "shuffled"]


def shuffled(rng: np.random.Generator, keys: str, texts: Iterable[str]) -> dict[str, str]:
    """Letters or digits → texts, in an order of the learner's own."""
    texts = list(texts)
    return {key: _(texts[index]) for key, index in zip(keys, rng.permutation(len(texts)).tolist(), strict=True)}


def picked(
    answer: Any, options: dict[str, str], why_not: dict[str, str], reasons: dict[str, str],
    why_no_reason: dict[str, str], where: str,
) -> None:  # fmt: skip
    """The choice and its reason are right.

    Args:
        answer: The learner's pair of a letter and a digit.
        options: Letter → text of the choice.
        why_not: Text of the choice → why it is wrong; empty for the right one.
        reasons: Digit → text of the reason.
        why_no_reason: Text of the reason → why it is wrong; empty for the right one.
        where: Section of the lab, for the message.

    Raises:
        Wrong: One of them is not right.
    """
    letter, digit = choice(answer, "".join(options), "".join(reasons), hint=where)
    if why := _why(why_not, options[letter]):
        raise Wrong(
            _("Expected another choice than {letter} ({text}). {why}. {where}.").format(
                letter=letter, text=options[letter].rstrip("."), why=why, where=where
            )
        )
    if why := _why(why_no_reason, reasons[digit]):
        raise Wrong(
            _("{letter} is right. Expected another reason than {digit} ({text}). {why}. {where}.").format(
                letter=letter, digit=digit, text=reasons[digit].rstrip("."), why=why, where=where
            )
        )


def _why(texts: dict[str, str], picked: str) -> str:
    """Why a text is wrong, both in the reader's language; empty for the right one."""
    return _({_(text): why for text, why in texts.items()}[picked])
