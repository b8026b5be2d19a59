from otter.test_files import test_case

OK_FORMAT = False

name = "q8"
points = 4
all_or_nothing = True

@test_case(points=None, hidden=False)
def test_q8(area_with_interval):
    from arsetlib.grading import require
    require('part3.q8', area_with_interval)
