"""`python -m confusius_datasets` is the command `confusius-datasets`."""

from __future__ import annotations

import sys

from confusius_datasets._cli import main

if __name__ == "__main__":
    sys.exit(main())
