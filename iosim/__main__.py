"""``python -m iosim``: the command line."""

import sys

from iosim.cli import main

sys.exit(main())
