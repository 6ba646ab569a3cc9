"""Damage to bytes and documents, and the loop that tries it: what the tests in `fuzz` share.

A trial is wrong when an exception leaves it that is not ours, when it takes too long, when a file
appears beyond its folder, or when the trial itself finds an answer wrong.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import signal
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from confusius_datasets.errors import ConfusiusDatasetsError

__all__ = ["Trials", "damage_bytes", "damage_json", "damage_some", "replace_file", "run_trials"]

LONGEST_TRIAL_S = 20
"""Seconds after which a trial hangs; the slowest takes less than one."""

LONGEST_MESSAGE = 2500
"""Characters of a message: a few quotes of 200 each, and paths of this machine."""

TEXTS = (
    *("", "x", ".", "..", "../../x", "/etc/passwd", "C:\\x", "a/b/../../../c", "con", "a\0b", "\n"),
    *("\\u0000", "sub-1/../../x", "é" * 300, "a" * 100_000, "/".join("a" * 300), "-1", "1e999"),
    *("\x1b[2J", "http://[::1", "ftp://x", "file:///etc/passwd", "%00", "0", "9" * 5000, "{}"),
)
"""Texts that should not be where they are."""

JSON_TEXTS = (
    *("null", "true", "false", "0", "-1", "1.5", "NaN", "Infinity", "1e999", "-1e999", "[]", "{}"),
    *("9" * 20, "9" * 400, "9" * 5000, "9223372036854775807", "9223372036854775808", "[null]"),
    *('"\\ud800"', '"\\u0000"', '[""]', '{"a": 1, "a": 2}', "[" * 100_000, '{"a":' * 100_000),
    *("[[[[[1]]]]]", "4294967296", "-9223372036854775809", "1e-400", "[1, 2, 3]", '{"": {}}'),
)
"""Values that should not be where they are; some are no JSON."""

MOST_LISTED = 20
"""Wrong outcomes that a failure lists, each with its seed."""

WORDS = tuple(
    number.to_bytes(width, "little", signed=number < 0)
    for width in (1, 2, 4, 8)
    for number in (0, 1, -1, 255, (1 << (8 * width - 1)) - 1, -(1 << (8 * width - 1)), 16)
    if number < 1 << (8 * width - 1)
)
"""Numbers at the edges of their types."""

TOKEN = re.compile(r'-?\d+(?:\.\d+)?|"(?:[^"\\]|\\.)*"|true|false|null|\[\]|\{\}')


def damage_bytes(rng: random.Random, data: bytes) -> bytes:
    """Cut, change, repeat or insert bytes, once or a few times."""
    content = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        place = rng.randrange(len(content) + 1)
        length = rng.choice((1, 1, 2, 4, 8, 64, 512))
        match rng.randrange(8):
            case 0:
                del content[place:]
            case 1:
                del content[place : place + length]
            case 2:
                content[place:place] = rng.randbytes(length)
            case 3:
                content[place : place + length] = rng.randbytes(length)
            case 4 | 5:
                word = rng.choice(WORDS)
                content[place : place + len(word)] = word
            case 6:
                content[place:place] = content[place : place + length] * rng.choice((1, 3, 100))
            case _:
                if place < len(content):
                    content[place] ^= 1 << rng.randrange(8)
    return bytes(content)


def damage_json(rng: random.Random, data: bytes) -> bytes:
    """Put odd values where others were, or damage the text."""
    text = data.decode("utf-8", "replace")
    for _ in range(rng.choice((1, 1, 2, 4))):
        tokens = list(TOKEN.finditer(text))
        if not tokens or len(text) > 10_000_000:
            break
        token = rng.choice(tokens)
        odd = json.dumps(rng.choice(TEXTS)) if rng.random() < 0.5 else rng.choice(JSON_TEXTS)
        text = text[: token.start()] + odd + text[token.end() :]
    return text.encode("utf-8", "surrogatepass")


def damage_some(rng: random.Random, data: bytes) -> bytes:
    """Damage a document as text more often than as bytes."""
    return damage_json(rng, data) if rng.random() < 0.7 else damage_bytes(rng, data)


class _HangError(BaseException):
    """A trial took too long; no `except Exception` stops it."""


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    """Raise after some seconds, where the system can and a library lets it."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def ring(*_: object) -> None:
        raise _HangError(f"longer than {LONGEST_TRIAL_S} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_TRIAL_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Trials:
    """The outcomes of many trials.

    Parameters
    ----------
    folder : pathlib.Path
        All that trials may write lies below it, and nothing beside it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._around = {path.name for path in folder.parent.iterdir()}

    def run(self, name: str, trial: Callable[[random.Random], object]) -> None:
        """Try once, from a seed that is the name."""
        try:
            with _alarm(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                trial(random.Random(name))
        except ConfusiusDatasetsError as error:
            self.outcomes[type(error).__name__] += 1
            if len(str(error)) > LONGEST_MESSAGE:
                self._note(name, f"a message of {len(str(error))} characters: {str(error)[:300]}")
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - all of these are what is looked for
            where = traceback.extract_tb(error.__traceback__)[-4:]
            lines = " < ".join(f"{Path(at.filename).name}:{at.lineno}" for at in reversed(where))
            self._note(name, f"{type(error).__name__}: {str(error)[:150]} ({lines})")
        else:
            self.outcomes["no error"] += 1
        if beside := {path.name for path in self.folder.parent.iterdir()} - self._around:
            self._around |= beside
            self._note(name, f"wrote beside its folder: {sorted(beside)}")

    def _note(self, name: str, what: str) -> None:
        """Remember a wrong outcome."""
        self.outcomes["wrong"] += 1
        self.wrong.append(f"{name}: {what}")


def run_trials(
    kind: str, count: int, folder: Path, trial: Callable[[random.Random], object]
) -> Counter[str]:
    """Try many times, each from its own seed, and raise if any outcome is wrong."""
    inside = folder / "inside"
    inside.mkdir(exist_ok=True)
    trials = Trials(inside)
    for number in range(count):
        trials.run(f"{kind} {number}", trial)
    print(f"\n{kind}: {dict(trials.outcomes)}")
    if trials.wrong:
        listed = "\n".join(trials.wrong[:MOST_LISTED])
        pytest.fail(f"{len(trials.wrong)} of {count} trials are wrong:\n{listed}", pytrace=False)
    return trials.outcomes


def replace_file(path: Path, content: bytes) -> Any:
    """Write a damaged file, and return what puts the good one back."""
    good = path.read_bytes()
    path.write_bytes(content)
    return lambda: path.write_bytes(good)
