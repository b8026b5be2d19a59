from otter.test_files import test_case

OK_FORMAT = False

name = "q6"
points = 4
all_or_nothing = True

@test_case(points=None, hidden=False)
def test_q6(class_in_window):
    from arsetlib.grading import require
    require('part2.q6', class_in_window)
