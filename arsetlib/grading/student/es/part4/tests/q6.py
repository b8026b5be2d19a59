from otter.test_files import test_case

OK_FORMAT = False

name = "q6"
points = 3
all_or_nothing = True

@test_case(points=None, hidden=False)
def test_q6(survey):
    from arsetlib.grading import require
    require('part4.q6', survey)
