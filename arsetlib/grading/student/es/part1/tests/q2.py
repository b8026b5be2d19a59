from otter.test_files import test_case

OK_FORMAT = False

name = "q2"
points = 4
all_or_nothing = True

@test_case(points=None, hidden=False)
def test_q2(class_of):
    from arsetlib.grading import require
    require('part1.q2', class_of)
