"""Whatever a host answers, a listing is an index or an error of ours."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from confusius_datasets._index import FileEntry
from confusius_datasets._sources import (
    ArchiveSource,
    DataverseSource,
    HttpClient,
    ManifestSource,
    OpenNeuroSource,
    OSFSource,
    S3Source,
    Source,
    ZenodoSource,
)
from confusius_datasets._sources.connections import PLAIN_ADDRESS
from confusius_datasets.errors import ConfusiusDatasetsError
from confusius_datasets.testing import (
    LocalDataverse,
    LocalHost,
    LocalOpenNeuro,
    LocalOSF,
    LocalS3,
    LocalWeb,
    LocalZenodo,
    Request,
    ZipMember,
    build_zip,
)
from confusius_datasets.testing.answers import Answer
from downloads import FAST

FILES = {"README": b"read", "sub-01/sub-01_pwd.json": b"{}", "sub-01/sub-01_pwd.nii": bytes(99)}
ARCHIVE = build_zip(ZipMember(relpath, data) for relpath, data in FILES.items())

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, 10**40, -1, 1e400, float("nan"), "", "../x", "/", "a\0", "\ud800"])
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


class _Altering(LocalHost):
    """A host whose documents are changed on their way out."""

    alter: Callable[[bytes], bytes] | None = None

    def answer(self, request: Request) -> Answer:
        """Answer with another document, where there is one."""
        found = super().answer(request)
        is_listing = found.status == 200 and found.name not in {
            relpath.rpartition("/")[2] for relpath in FILES
        }
        if self.alter is None or not is_listing:
            return found
        return replace(found, body=type(self).alter(found.body))


@dataclass(frozen=True)
class Case:
    """A kind of host, how files get there, and the source that lists them."""

    host: type[LocalHost]
    serve: Callable[[Any], None]
    source: Callable[[Any], Source]


CASES = {
    "osf walk": Case(
        LocalOSF,
        lambda host: [host.add_file("abcde", f"f/{path}", data) for path, data in FILES.items()],
        lambda host: OSFSource("abcde", "f"),
    ),
    "osf index": Case(
        LocalOSF,
        lambda host: host.add_dataset("abcde", "f", FILES),
        lambda host: OSFSource("abcde", "f"),
    ),
    "web": Case(
        LocalWeb,
        lambda host: host.add_folder("f", FILES),
        lambda host: ManifestSource(f"{host.url('web')}/f/manifest.json"),
    ),
    "s3": Case(
        LocalS3, lambda host: host.add_release("f", "1.0.0", FILES), lambda host: S3Source("f")
    ),
    "dataverse": Case(
        LocalDataverse,
        lambda host: host.add_dataset("doi:10.1/x", FILES),
        lambda host: DataverseSource("https://dataverse.example", "doi:10.1/x"),
    ),
    "zenodo": Case(
        LocalZenodo, lambda host: host.add_record("1", FILES), lambda host: ZenodoSource("1")
    ),
    "openneuro": Case(
        LocalOpenNeuro,
        lambda host: host.add_snapshot("ds000001", "1.0.0", FILES),
        lambda host: OpenNeuroSource("ds000001", "1.0.0"),
    ),
    "zip": Case(
        LocalWeb,
        lambda host: host.put("f/data.zip", ARCHIVE),
        lambda host: ArchiveSource(ManifestSource(f"{host.url('web')}/f/x"), FileEntry("data.zip")),
    ),
}


def list_places(document: Any) -> list[tuple[Any, ...]]:
    """List where in a document something is, the whole of it first."""
    places: list[tuple[Any, ...]] = [()]
    inner = document.items() if isinstance(document, dict) else ()
    inner = enumerate(document) if isinstance(document, list) else inner
    for key, value in inner:
        places += [(key, *place) for place in list_places(value)]
    return places


def put(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    """Put something else at a place of a document."""
    if not place:
        return value
    key, *rest = place
    changed = dict(document) if isinstance(document, dict) else list(document)
    changed[key] = put(changed[key], tuple(rest), value)
    return changed


@dataclass(frozen=True)
class Change:
    """What is changed in an answer: one place of a document, or some bytes of what is none."""

    place: float
    value: Any
    bytes_: list[tuple[float, int]]
    kept: float

    def __call__(self, body: bytes) -> bytes:
        """Change an answer."""
        try:
            document = json.loads(body)
        except ValueError:
            return self._change_bytes(body)
        places = list_places(document)
        return json.dumps(put(document, places[int(self.place * len(places))], self.value)).encode()

    def _change_bytes(self, body: bytes) -> bytes:
        changed = bytearray(body)
        for where, byte in self.bytes_:
            changed[int(where * len(changed))] = byte
        return bytes(changed[: int(self.kept * len(changed))])


shares = st.floats(0, 1, exclude_max=True)
changes = st.builds(
    Change,
    shares,
    json_values,
    st.lists(st.tuples(shares, st.integers(0, 255)), max_size=3),
    st.just(1.0) | shares,
)


@pytest.fixture(params=CASES)
def served(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Any, Source]]:
    """Run each kind of host."""
    case = CASES[request.param]
    altering: Any = type("Altering", (_Altering, case.host), {})
    with altering() as host:
        case.serve(host)
        for name, value in host.environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("OSF_TOKEN", "t")  # without one, listings are paced
        yield host, case.source(host)


@pytest.mark.slow
@settings(max_examples=200)
@given(change=changes)
def test_answer_of_any_kind_is_an_index_or_an_error_of_ours(
    served: tuple[Any, Source], change: Change
) -> None:
    """No other exception comes of a listing, nor of files that it names."""
    host, source = served
    client = HttpClient(replace(FAST, retries=0))

    type(host).alter = change
    try:
        for entry in source.list_files(client).values():
            assert entry.size is None or 0 <= entry.size < 2**63
            with source.open(entry, client=client) as stream:
                b"".join(stream)
    except ConfusiusDatasetsError as error:
        assert str(error)
    finally:
        type(host).alter = None
        client.close()


PIECES = st.one_of(
    st.text("abXY09-._~!$&'()*+,;=:@/?", max_size=8),
    st.sampled_from(["/", "/.", "/..", "?", "//", "#", " ", "%", "%4", "[", "é", "\n", '"', "^"]),
    st.integers(0, 255).map("%{:02X}".format),
    st.integers(0, 255).map("%{:02x}".format),
)
"""What addresses are made of, and a few things that have no place in them."""


@settings(max_examples=200, suppress_health_check=[HealthCheck.filter_too_much])
@given(
    host=st.sampled_from(["http://127.0.0.1:80", "https://a.b-c", "https://A.b", "http://x."]),
    parts=st.lists(PIECES, max_size=5),
)
def test_address_that_is_sent_as_it_is_is_what_requests_would_send(
    host: str, parts: list[str]
) -> None:
    """`requests` encodes and shortens addresses; those that skip it are not changed by it."""
    address = f"{host}/{''.join(parts)}"
    assume((match := PLAIN_ADDRESS.fullmatch(address)) is not None)
    assert match is not None
    prepared = requests.Request("GET", address).prepare()

    assert prepared.path_url == (match[2] or "/")
    assert prepared.url == match[1] + (match[2] or "/")
