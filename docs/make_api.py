"""Write `docs/api.md` from the docstrings of the public names."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import confusius_datasets
from confusius_datasets import errors

PAGE = Path(__file__).with_name("api.md")

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
    """Make the sections of a class's public methods and properties."""
    sections = []
    for name, member in vars(value).items():
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
    signature = re.sub(r"\(self,? ?", "(", signature)
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
    """Turn numpydoc sections into Markdown: bold titles, lists of parameters, fenced examples."""
    text = re.sub(r"^(\w[\w ]*)\n-{3,}$", r"**\1**\n", docstring, flags=re.MULTILINE)
    text = re.sub(r"\.\. \[(\d+)\] ", r"[\1] ", text)
    lines, fenced = [], False
    for line in text.splitlines():
        if line.startswith(">>> ") and not fenced:
            lines.append("```pycon")
            fenced = True
        elif fenced and not line:
            lines.append("```")
            fenced = False
        if re.match(r"^\S.* : ", line) and not fenced:
            line = f"- {re.sub(r'^([^:]+?) : (.*)$', lambda m: f'`{m[1]}` : {m[2]}', line)}"
        elif line.startswith("    ") and not fenced:
            line = f"  {line.strip()}"
        lines.append(line)
    if fenced:
        lines.append("```")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(make_page(), encoding="utf-8")
