from otter.test_files import test_case

OK_FORMAT = False

name = "q3"
points = 3
all_or_nothing = True

@test_case(points=None, hidden=False)
def test_q3(first_step):
    from arsetlib.grading import require
    require('part3.q3', first_step)
