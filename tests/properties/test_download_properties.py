"""A file put together from pieces is the file, whoever receives which piece when."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from builders import entry_of
from confusius_datasets._cache import Folder
from confusius_datasets._download.assembly import Assembly, Piece
from confusius_datasets._download.partial import PartialFile

STEPS = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 20), st.booleans()), max_size=80)
"""Who receives, how many bytes, and whether it then gives up."""


def receive(assembly: Assembly, piece: Piece, data: bytes, nbytes: int) -> bool:
    """Hand the next bytes of a piece in; say whether it has no use for more."""
    given = data[piece.position : piece.position + nbytes]
    return assembly.take(piece, given) < len(given) or piece.is_whole


@pytest.mark.slow
@example(  # a piece that is given back and cut again, with others behind it
    data=bytes(9) + b"\1" + bytes(7),
    steps=[(0, 1, False), (1, 1, False), (0, 1, True), (0, 2, False)],
    known=False,
)
@settings(max_examples=500)
@given(data=st.binary(min_size=1, max_size=300), steps=STEPS, known=st.booleans())
def test_pieces_in_any_order_make_the_file(
    data: bytes, steps: list[tuple[int, int, bool]], known: bool
) -> None:
    """Receivers come, take turns, give up and come back: the result is the bytes in their order.

    What is on disk is a beginning of the whole at every moment, and its hash is right.
    """
    entry = entry_of("a", data)
    with (
        tempfile.TemporaryDirectory() as folder,
        PartialFile(Folder.at(Path(folder)), entry) as partial,
    ):
        assembly = Assembly(partial, len(data) if known else None, window=4, piece=8)
        pieces: dict[int, Piece] = {}
        for number, nbytes, gives_up in steps:
            # The first one runs the transfer, the others help where there is something to share.
            if number not in pieces and (number == 0 or assembly.share()):
                claimed = assembly.claim()
                if claimed is not None:
                    pieces[number] = claimed
            if number in pieces:
                done = receive(assembly, pieces[number], data, nbytes)
                assembly.learn_size(len(data))  # as the first answer says it
                if done or gives_up:
                    assembly.give_back(pieces.pop(number))
            assert partial.path.read_bytes() == data[: partial.position]
        for piece in pieces.values():
            assembly.give_back(piece)
        while not assembly.is_whole:
            rest = assembly.claim()
            assert rest is not None
            receive(assembly, rest, data, len(data))
            assembly.learn_size(len(data))
            assembly.give_back(rest)

        partial.check()
