from otter.test_files import test_case

OK_FORMAT = False

name = "q7"
points = 4
all_or_nothing = True

@test_case(points=None, hidden=False)
def test_q7(real_time):
    from arsetlib.grading import require
    require('groves.q7', real_time)
