"""The suite that every source of data must pass."""
# ruff: noqa: S101 - asserts are what a suite is made of

from __future__ import annotations

import pickle
from collections.abc import Mapping

from confusius_datasets._sources import Source
from confusius_datasets.errors import SourceError

__all__ = ["SourceTests"]

CONTENT = {
    "README": b"",
    "dataset_description.json": b'{"Name": "suite"}\n',
    "sub-01/fusi/sub-01_task-rest_pwd.nii.gz": bytes(range(256)) * 4096,
}
"""The files a source under test must serve: an empty one, a small one, and one of 1 MiB."""

LARGE = "sub-01/fusi/sub-01_task-rest_pwd.nii.gz"


class SourceTests:
    """What holds for every source; subclass it, say how to make one, and pytest runs the rest.

    Examples
    --------
    A source is tested by a class whose name begins with `Test`::

        class TestMySource(SourceTests):
            def make_source(self, files):
                upload(files)
                return MySource("somewhere")
    """

    def make_source(self, files: Mapping[str, bytes]) -> Source:
        """Put files on a host, and return the source that serves them.

        Parameters
        ----------
        files : mapping of str to bytes
            Content by path below the root.

        Returns
        -------
        Source
            A source whose index lists exactly these files.
        """
        raise TypeError(f"{type(self).__name__} does not say how to make a source")

    def test_index_lists_every_file_with_its_size(self) -> None:
        """The index has the files there are, and not itself."""
        index = self.make_source(CONTENT).fetch_index()

        assert set(index) == set(CONTENT)
        for relpath, data in CONTENT.items():
            assert index[relpath].size in (None, len(data))

    def test_whole_file_is_streamed_in_bounded_pieces(self) -> None:
        """A stream gives all bytes, in pieces whose size does not grow with the file."""
        source = self.make_source(CONTENT)
        index = source.fetch_index()

        for relpath, data in CONTENT.items():
            with source.open(index[relpath]) as stream:
                pieces = list(stream)
            assert b"".join(pieces) == data
            assert stream.start == 0
            assert stream.total in (None, len(data))
            assert max(map(len, pieces), default=0) <= 1 << 20

    def test_stream_starts_where_asked_or_says_that_it_does_not(self) -> None:
        """What a stream gives are the bytes from its `start` on."""
        source = self.make_source(CONTENT)
        entry = source.fetch_index()[LARGE]

        for start in (1, 1000, len(CONTENT[LARGE]) - 1):
            with source.open(entry, start=start) as stream:
                assert b"".join(stream) == CONTENT[LARGE][stream.start :]
                assert stream.start in ((start,) if stream.ranges else (0, start))

    def test_stream_stops_where_asked_if_it_honours_ranges(self) -> None:
        """Between a start and a stop lie exactly the bytes asked for."""
        source = self.make_source(CONTENT)
        entry = source.fetch_index()[LARGE]

        with source.open(entry, start=500, stop=70_000) as stream:
            received = b"".join(stream)

        if stream.ranges:
            assert received == CONTENT[LARGE][500:70_000]
            assert stream.total in (None, len(CONTENT[LARGE]))

    def test_validator_of_the_same_content_resumes(self) -> None:
        """A validator that was given still holds while nothing changes."""
        source = self.make_source(CONTENT)
        entry = source.fetch_index()[LARGE]
        with source.open(entry) as stream:
            validator = stream.validator

        with source.open(entry, start=1000, validator=validator) as stream:
            assert b"".join(stream) == CONTENT[LARGE][stream.start :]

    def test_changed_content_is_not_resumed(self) -> None:
        """With the validator of an older content, the new one comes from its start."""
        source = self.make_source(CONTENT)
        with source.open(source.fetch_index()[LARGE]) as stream:
            validator = stream.validator
        changed = CONTENT | {LARGE: b"another" * 1000}
        source = self.make_source(changed)

        with source.open(source.fetch_index()[LARGE], start=70, validator=validator) as stream:
            received = b"".join(stream)

        if validator is not None:
            assert stream.start == 0
        assert received == changed[LARGE][stream.start :]

    def test_file_that_is_gone_is_an_error_of_ours(self) -> None:
        """An entry the host no longer has is a `SourceError` that names an address."""
        entry = self.make_source(CONTENT).fetch_index()[LARGE]
        source = self.make_source({"README": b""})

        try:
            with source.open(entry) as stream:
                b"".join(stream)
        except SourceError as error:
            assert error.url
        else:
            raise AssertionError("a file that is gone was opened")

    def test_stream_can_be_closed_early(self) -> None:
        """Closing in the middle is no error, and the source goes on working."""
        source = self.make_source(CONTENT)
        entry = source.fetch_index()[LARGE]

        with source.open(entry) as stream:
            next(iter(stream))
        with source.open(entry) as stream:
            assert b"".join(stream) == CONTENT[LARGE]

    def test_source_is_a_value(self) -> None:
        """A source pickles, and its copy equals it."""
        source = self.make_source(CONTENT)

        assert pickle.loads(pickle.dumps(source)) == source  # noqa: S301 - our own bytes
