from otter.test_files import test_case

OK_FORMAT = False

name = "q1"
points = 2
all_or_nothing = True

@test_case(points=None, hidden=False)
def test_q1(hectares):
    from arsetlib.grading import require
    require('part1.q1', hectares)
