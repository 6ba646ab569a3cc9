"""`python -m confusius_datasets` is the command `confusius-datasets`."""

from __future__ import annotations

import sys

from confusius_datasets._cli import main

sys.exit(main())
