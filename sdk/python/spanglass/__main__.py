"""`python -m spanglass`."""

import sys

from spanglass import _main

sys.exit(_main(sys.argv[1:]))
