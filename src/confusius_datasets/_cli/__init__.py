"""The command `confusius-datasets`: arguments in, the same public calls, text or JSON out.

`parser.py` says which arguments there are, `commands.py` what each command does.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence

from confusius_datasets._cli.parser import make_parser
from confusius_datasets.errors import ArgumentError, ConfusiusDatasetsError, SettingError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status."""
    parser = make_parser()
    if "_ARGCOMPLETE" in os.environ:  # set by the shell when it asks for completions
        import argcomplete

        argcomplete.autocomplete(parser)
    options = parser.parse_args(arguments)
    try:
        with warnings.catch_warnings():
            # The line of code that a warning points at is none of the user's here.
            warnings.showwarning = lambda message, *_, **__: _say(message)
            status: int = options.command(options)
        print(end="", flush=True)  # an output that cannot be written fails here at the latest
    except (ArgumentError, SettingError) as error:
        return _fail(error, 2)
    except BrokenPipeError:  # the reader has closed the pipe, as `head` does
        _drop_output()
        return 1
    except (ConfusiusDatasetsError, OSError) as error:
        return _fail(error, 1)
    except KeyboardInterrupt as error:  # that of a download says what was kept
        return _fail(str(error) or "Interrupted.", 130)
    return status


def _fail(error: object, status: int) -> int:
    """Say on standard error what went wrong, and return the exit status."""
    _drop_output()
    _say(error)
    return status


def _say(message: object) -> None:
    """Say something on standard error, where it is in nobody's way."""
    print(f"confusius-datasets: {message}", file=sys.stderr)


def _drop_output() -> None:
    """Write what is left of the output, or discard it if that fails."""
    try:
        print(end="", flush=True)
    except OSError:
        # Python would try it again at exit, and fail with a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
