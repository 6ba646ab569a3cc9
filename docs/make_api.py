"""Write `docs/api.md` from the docstrings of the public names."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path

import confusius_datasets
from confusius_datasets import errors

PAGE = Path(__file__).with_name("api.md")

ITEM_SECTIONS = ("Parameters", "Returns", "Raises", "Yields")
"""Sections of a docstring that are lists."""

HEAD = """# API reference

Drawn from the docstrings by `docs/make_api.py`. All names are in `confusius_datasets`; the errors
are in `confusius_datasets.errors`.
"""


def make_page() -> str:
    """Put the page together.

    Returns
    -------
    str
        Markdown: a section for each public name, its methods below it.
    """
    sections = [HEAD]
    for name in confusius_datasets.__all__:
        value = getattr(confusius_datasets, name)
        if value.__module__.partition(".")[0] == "confusius_datasets":
            sections.append(_section(name, value, level=2))
            if inspect.isclass(value):
                sections += _members(name, value)
        else:
            sections.append(
                f"## `{name}`\n\nPyBIDS's own `{value.__module__}.{name}`, unchanged.\n"
            )
    drawn = inspect.cleandoc(errors.__doc__ or "").partition("::\n\n")[2].rpartition("\n\n")[0]
    sections.append(f"## Errors\n\n```text\n{inspect.cleandoc(drawn)}\n```\n")
    return "\n".join(sections)


def _members(owner: str, value: type) -> list[str]:
    """Make the sections of a class's public methods and properties, those of our bases first."""
    ours = [base for base in value.__mro__ if base.__module__.startswith("confusius_datasets")]
    members = {name: member for base in reversed(ours) for name, member in vars(base).items()}
    sections = []
    for name, member in members.items():
        target = getattr(member, "__func__", None) or getattr(member, "func", None) or member
        target = getattr(target, "fget", None) or target
        if not name.startswith("_") and inspect.isfunction(target):
            is_attribute = target is not member and not isinstance(
                member, (classmethod, staticmethod)
            )
            sections.append(_section(f"{owner}.{name}", target, level=3, attribute=is_attribute))
    return sections


def _section(name: str, value: object, *, level: int, attribute: bool = False) -> str:
    """Make the section of one name: its signature, then its docstring."""
    title = f"{'#' * level} `{name}`\n"
    body = _to_markdown(inspect.getdoc(value) or "")
    if attribute:
        return f"{title}\n{body}\n"
    signature = re.sub(r"<object object at 0x\w+>", "…", str(inspect.signature(value)))  # type: ignore[arg-type]
    signature = re.sub(r"\((self|cls),? ?", "(", signature)
    signature = re.sub(r"(: |-> )'([^']*)'", r"\1\2", signature)  # annotations are text
    return f"{title}\n```text\n{name.rpartition('.')[2]}{_wrap(signature)}\n```\n\n{body}\n"


def _wrap(signature: str) -> str:
    """Put each parameter of a long signature on a line of its own."""
    if len(signature) < 80:
        return signature
    inside, arrow, result = signature.rpartition(" -> ")
    inside = inside or signature
    depth, lines, line = 0, [], ""
    for character in inside[1:-1]:
        depth += character in "([{"
        depth -= character in ")]}"
        if character == "," and depth == 0:
            lines.append(line.strip())
            line = ""
        else:
            line += character
    lines.append(line.strip())
    return "(\n" + "".join(f"    {line},\n" for line in lines if line) + f"){arrow}{result}"


def _to_markdown(docstring: str) -> str:
    """Turn numpydoc sections into Markdown: bold titles, lists of items, fenced code."""
    text = re.sub(r"^(\w[\w ]*)\n-{3,}$", r"**\1**\n", docstring, flags=re.MULTILINE)
    text = re.sub(r"^\.\. \[(\d+)\] ", r"[\1] ", text, flags=re.MULTILINE)
    lines: list[str] = []
    section = ""
    given = text.splitlines()
    position = 0
    while position < len(given):
        line = given[position]
        following = given[position + 1] if position + 1 < len(given) else ""
        if re.fullmatch(r"\*\*.*\*\*", line):
            section = line.strip("*")
            lines.append(line)
        elif line.startswith(">>> "):
            position = _fence(given, position, lines, "pycon", lambda text: bool(text))
            continue
        elif line.endswith("::"):
            lines += [line[:-1]] if line != "::" else []
            skip = position + 2
            position = _fence(given, skip, lines, "text", lambda text: not text or text[0] == " ")
            continue
        elif section in ITEM_SECTIONS and line and line[0] != " " and following[:1] == " ":
            name, colon, kind = line.partition(" : ")
            lines.append(f"- `{name}` : {kind}" if colon else f"- `{line}`")
        else:
            lines.append(f"  {line.strip()}" if line.startswith("    ") else line)
        position += 1
    return "\n".join(lines)


def _fence(
    given: list[str], position: int, lines: list[str], tag: str, goes_on: Callable[[str], bool]
) -> int:
    """Put the lines from a position on into a fenced block; return where it ends."""
    block = []
    while position < len(given) and goes_on(given[position]):
        block.append(given[position])
        position += 1
    code = inspect.cleandoc("\n".join(block)) if tag == "text" else "\n".join(block)
    lines += [f"```{tag}", code, "```", ""]
    return position


if __name__ == "__main__":
    PAGE.write_text(make_page(), encoding="utf-8")
