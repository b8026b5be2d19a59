"""Every Python process of the tests runs this first: conftest.py puts the folder on PYTHONPATH.

Files are not forced onto the disk. This protects from a power cut, which no test makes, and took minutes of the suite.
"""

import os

os.fsync = lambda handle: None
