"""Labels with errors: which labels of a table are probably wrong, found in three ways and measured on simulated truth.

    held = audit.out_of_fold("data/pixels", study)                  # each row by a model that has not seen its block
    found = audit.confident(held.predictions.truth, held.predictions.probability)
    report = audit.run("data/pixels", study, "runs/audit")          # three ways, tables and maps: `arset audit`

Nothing is deleted: ``report.rows(…)`` gives the rows that remain for a training, where you ask for them.

Lab: part4_defend_the_map.
"""

from arsetlib.audit.confidence import AuditError, Confident, confident
from arsetlib.audit.fields import field_ids
from arsetlib.audit.folds import OutOfFold, out_of_fold
from arsetlib.audit.marked import LabelAudit
from arsetlib.audit.noise import Found, spoiled
from arsetlib.audit.runs import run
from arsetlib.audit.som import Neurons, Som, judge
from arsetlib.audit.votes import Votes, votes

__all__ = [
    "AuditError",
    "Confident",
    "Found",
    "LabelAudit",
    "Neurons",
    "OutOfFold",
    "Som",
    "Votes",
    "confident",
    "field_ids",
    "judge",
    "out_of_fold",
    "run",
    "spoiled",
    "votes",
]
