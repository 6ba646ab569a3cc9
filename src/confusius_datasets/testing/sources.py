"""The suite that every source of data must pass."""
# ruff: noqa: S101 - asserts are what a suite is made of

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import replace

from confusius_datasets._index import Checksum, LocalVersion
from confusius_datasets._sources import ByteRange, From, FromTo, Last, Source, get_client
from confusius_datasets.errors import DatasetIndexError, SourceError

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
        index = self.make_source(CONTENT).list_files(get_client())

        assert set(index) == set(CONTENT)
        for relpath, data in CONTENT.items():
            assert index[relpath].size in (None, len(data))

    def test_index_that_is_written_is_read_as_it_was(self) -> None:
        """The source's index file says all that the source said."""
        source = self.make_source(CONTENT)
        index = source.list_files(get_client())

        assert source.read_index(source.format_index(index), "x") == index
        assert "/" not in source.index_name
        assert source.index_name not in index

    def test_index_file_says_what_is_on_disk_and_keeps_news_apart(self) -> None:
        """A file of which the host has a newer version is read back with both versions."""
        source = self.make_source(CONTENT)
        index = source.list_files(get_client())
        older = LocalVersion(7, (Checksum("md5", "0" * 32),))
        index = index.updated([replace(index[LARGE], local=older)])

        assert source.read_index(source.format_index(index), "x") == index

    def test_damaged_index_file_is_an_error_that_names_it(self) -> None:
        """An index file that was cut short is refused."""
        source = self.make_source(CONTENT)
        data = source.format_index(source.list_files(get_client()))

        for damaged in (data[: len(data) // 2], b"<html>", b"\xff"):
            try:
                source.read_index(damaged, "the-origin")
            except DatasetIndexError as error:
                assert "the-origin" in str(error)
            else:
                raise AssertionError("a damaged index was read")

    def test_whole_file_is_streamed_in_bounded_pieces(self) -> None:
        """A stream gives all bytes, in pieces whose size does not grow with the file."""
        source = self.make_source(CONTENT)
        index = source.list_files(get_client())

        for relpath, data in CONTENT.items():
            with source.open(index[relpath], client=get_client()) as stream:
                pieces = list(stream)
            assert b"".join(pieces) == data
            assert stream.start == 0
            assert stream.total in (None, len(data))
            assert max(map(len, pieces), default=0) <= 1 << 20

    def test_part_is_what_was_asked_for_or_the_whole(self) -> None:
        """From an offset, between two, at the end: exactly these bytes, or the file from 0."""
        source = self.make_source(CONTENT)
        entry, data = source.list_files(get_client())[LARGE], CONTENT[LARGE]
        parts: dict[ByteRange, tuple[int, bytes]] = {
            From(1): (1, data[1:]),
            From(len(data) - 1): (len(data) - 1, data[-1:]),
            FromTo(0, 10): (0, data[:10]),
            FromTo(500, 70_000): (500, data[500:70_000]),
            FromTo(500, 2 * len(data)): (500, data[500:]),
            Last(1): (len(data) - 1, data[-1:]),
            Last(65_536): (len(data) - 65_536, data[-65_536:]),
            Last(2 * len(data)): (0, data),
        }

        for part, (start, expected) in parts.items():
            with source.open(entry, part, client=get_client()) as stream:
                received = b"".join(stream)
            whole = not stream.ranges or len(received) == len(data)
            assert (stream.start, received) == ((0, data) if whole else (start, expected)), part
            assert stream.total in (None, len(data))

    def test_part_of_an_empty_file_is_empty(self) -> None:
        """An empty file has no ranges, and can be asked for one all the same."""
        source = self.make_source(CONTENT)
        entry = source.list_files(get_client())["README"]

        for part in (From(0), Last(10)):
            with source.open(entry, part, client=get_client()) as stream:
                assert b"".join(stream) == b""

    def test_tag_of_the_same_content_resumes(self) -> None:
        """An entity tag that was given still holds while nothing changes."""
        source = self.make_source(CONTENT)
        entry = source.list_files(get_client())[LARGE]
        with source.open(entry, client=get_client()) as stream:
            etag = stream.etag

        with source.open(entry, From(1000), client=get_client(), etag=etag) as stream:
            assert b"".join(stream) == CONTENT[LARGE][stream.start :]
            assert stream.start in ((1000,) if stream.ranges else (0, 1000))

    def test_changed_content_is_not_resumed(self) -> None:
        """With the entity tag of an older content, the new one comes from its start."""
        source = self.make_source(CONTENT)
        entry = source.list_files(get_client())[LARGE]
        with source.open(entry, client=get_client()) as stream:
            etag = stream.etag
        changed = CONTENT | {LARGE: b"another" * 1000}
        source = self.make_source(changed)
        entry = source.list_files(get_client())[LARGE]

        with source.open(entry, From(70), client=get_client(), etag=etag) as stream:
            received = b"".join(stream)

        if etag is not None:
            assert stream.start == 0
        assert received == changed[LARGE][stream.start :]

    def test_file_that_is_gone_is_an_error_of_ours(self) -> None:
        """An entry the host no longer has is a `SourceError` that names an address."""
        entry = self.make_source(CONTENT).list_files(get_client())[LARGE]
        source = self.make_source({"README": b""})

        try:
            with source.open(entry, client=get_client()) as stream:
                b"".join(stream)
        except SourceError as error:
            assert error.url
        else:
            raise AssertionError("a file that is gone was opened")

    def test_stream_can_be_closed_early(self) -> None:
        """After a stream was closed in the middle, the source still works."""
        source = self.make_source(CONTENT)
        entry = source.list_files(get_client())[LARGE]

        with source.open(entry, client=get_client()) as stream:
            next(iter(stream))
        with source.open(entry, client=get_client()) as stream:
            assert b"".join(stream) == CONTENT[LARGE]

    def test_source_is_a_value(self) -> None:
        """A source pickles, and its copy equals it."""
        source = self.make_source(CONTENT)

        assert pickle.loads(pickle.dumps(source)) == source  # noqa: S301 - our own bytes
