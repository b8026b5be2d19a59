from otter.test_files import test_case

OK_FORMAT = False

name = "q6"
points = 4
all_or_nothing = True

@test_case(points=None, hidden=False)
def test_q6(late_sgd):
    from arsetlib.grading import require
    require('fields.q6', late_sgd)
