# What the package gives, and where it is: lazy_loader and type checkers read this.
from .hidden_checks import require as require
from .homework import (
    ASSIGNMENTS as ASSIGNMENTS, Homework as Homework, HomeworkError as HomeworkError, check as check,
    open_homework as open_homework, start as start,
)
from .questions import (
    LearnerFunction as LearnerFunction, Question as Question, Result as Result, Wrong as Wrong, assess as assess,
)
