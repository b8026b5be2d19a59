from otter.test_files import test_case

OK_FORMAT = False

name = "q7"
points = 3
all_or_nothing = True

@test_case(points=None, hidden=False)
def test_q7(counts):
    from arsetlib.grading import require
    require('part2.q7', counts)
