"""`python -m dialgate`: the same as the command `dialgate`."""

import sys

from dialgate.cli import main

if __name__ == "__main__":
    sys.exit(main())
