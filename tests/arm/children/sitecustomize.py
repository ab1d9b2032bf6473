"""Python on an emulated CPU starts others of itself by the program that emulated.py has written."""

import os
import sys

sys.executable = os.environ["EDGEXFER_EMULATED_PYTHON"]
