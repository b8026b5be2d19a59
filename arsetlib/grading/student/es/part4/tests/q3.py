from otter.test_files import test_case

OK_FORMAT = False

name = "q3"
points = 4
all_or_nothing = True

@test_case(points=None, hidden=False)
def test_q3(sets):
    from arsetlib.grading import require
    require('part4.q3', sets)
