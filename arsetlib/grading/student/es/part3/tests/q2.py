from otter.test_files import test_case

OK_FORMAT = False

name = "q2"
points = 3
all_or_nothing = True

@test_case(points=None, hidden=False)
def test_q2(days_seen):
    from arsetlib.grading import require
    require('part3.q2', days_seen)
