"""As much of GraphQL as clients of OpenNeuro use: one query, arguments, variables, aliases."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["GraphQLError", "Selection", "execute", "parse_query"]

TOKEN = re.compile(r'[\s,]+|#[^\n]*|(?P<token>"(?:\\.|[^"\\])*"|\$?\w+|-?\d+|[{}():=!\[\]@.])')


class GraphQLError(Exception):
    """A query that cannot be read, or asks for what there is not."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A field that is asked for, with what is asked for below it.

    Parameters
    ----------
    name : str
        Name of the field.
    key : str
        Its name in the answer, which is the alias if there is one.
    arguments : mapping of str to any
        Its arguments; a variable is still a text with `$`.
    below : list of Selection
        What is asked for of it.
    """

    name: str
    key: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    below: list[Selection] = field(default_factory=list)


def parse_query(text: str) -> list[Selection]:
    """Read a query.

    Parameters
    ----------
    text : str
        One query, with or without a name and declared variables.

    Returns
    -------
    list of Selection
        The fields of its outermost level.

    Raises
    ------
    GraphQLError
        If it is not one.
    """
    tokens = _split(text)
    for token in tokens:
        if token == "{":  # noqa: S105 - a brace
            found = list(_parse_selections(tokens))
            if found:
                return found
        elif token == "mutation":  # noqa: S105 - a keyword
            break
    raise GraphQLError("Syntax Error: Expected a query.")


def _split(text: str) -> Iterator[str]:
    """Split a query into its tokens."""
    position = 0
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            raise GraphQLError(f"Syntax Error: Unexpected character {text[position]!r}.")
        position = match.end()
        if match["token"]:
            yield match["token"]


def _parse_selections(tokens: Iterator[str]) -> Iterator[Selection]:
    """Read the fields between two braces, the first of which is read already."""
    pending = ""
    while (token := pending or next(tokens, "")) != "}":
        pending = ""
        if not re.fullmatch(r"\w+", token):
            raise GraphQLError(f"Syntax Error: Expected a name, found {token!r}.")
        name = key = token
        arguments: dict[str, Any] = {}
        below: list[Selection] = []
        pending = next(tokens, "")
        if pending == ":":
            name, pending = next(tokens, ""), next(tokens, "")
        if pending == "(":
            arguments, pending = _parse_arguments(tokens), next(tokens, "")
        if pending == "{":
            below, pending = list(_parse_selections(tokens)), next(tokens, "")
        yield Selection(name, key, arguments, below)


def _parse_arguments(tokens: Iterator[str]) -> dict[str, Any]:
    """Read arguments up to the closing parenthesis."""
    arguments: dict[str, Any] = {}
    while (name := next(tokens, "")) != ")":
        if next(tokens, "") != ":":
            raise GraphQLError(f"Syntax Error: Expected ':' after {name!r}.")
        value = next(tokens, "")
        try:
            arguments[name] = value if value.startswith("$") else json.loads(value)
        except ValueError as error:
            raise GraphQLError(f"Syntax Error: Unexpected {value!r}.") from error
    return arguments


def execute(
    selections: list[Selection], value: Mapping[str, Any], variables: Mapping[str, Any]
) -> dict[str, Any]:
    """Answer what is asked for.

    Parameters
    ----------
    selections : list of Selection
        What is asked for.
    value : mapping of str to any
        What there is, by the field's name: a value, or a function of the field's arguments.
    variables : mapping of str to any
        The variables' values.

    Returns
    -------
    dict
        The answer.

    Raises
    ------
    GraphQLError
        If a field does not exist.
    """
    answer = {}
    for one in selections:
        if one.name not in value:
            raise GraphQLError(f'Cannot query field "{one.name}".')
        found = value[one.name]
        if callable(found):
            given = one.arguments.items()
            found = found(**{name: _fill_in(argument, variables) for name, argument in given})
        answer[one.key] = _execute_below(one, found, variables)
    return answer


def _fill_in(argument: Any, variables: Mapping[str, Any]) -> Any:
    """Return an argument's value, which may be a variable's."""
    is_variable = isinstance(argument, str) and argument.startswith("$")
    return variables.get(argument[1:]) if is_variable else argument


def _execute_below(one: Selection, found: Any, variables: Mapping[str, Any]) -> Any:
    """Answer what is asked for of a value, or of each value of a list."""
    if isinstance(found, list) and one.below:
        return [execute(one.below, item, variables) for item in found]
    if isinstance(found, Mapping):
        if not one.below:
            raise GraphQLError(f'Field "{one.name}" must have a selection of subfields.')
        return execute(one.below, found, variables)
    return found
