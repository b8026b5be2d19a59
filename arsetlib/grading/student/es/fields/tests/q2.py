from otter.test_files import test_case

OK_FORMAT = False

name = "q2"
points = 4
all_or_nothing = True

@test_case(points=None, hidden=False)
def test_q2(split_by_field):
    from arsetlib.grading import require
    require('fields.q2', split_by_field)
