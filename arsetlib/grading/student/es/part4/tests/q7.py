from otter.test_files import test_case

OK_FORMAT = False

name = "q7"
points = 2
all_or_nothing = True

@test_case(points=None, hidden=False)
def test_q7(by_parcel):
    from arsetlib.grading import require
    require('part4.q7', by_parcel)
