"""Buckets of objects as S3 serves them, and a server that emulates the release bucket."""

from __future__ import annotations

import base64
import functools
import json
import urllib.parse
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import ClassVar
from xml.sax.saxutils import escape

from confusius_datasets.testing.answers import Answer
from confusius_datasets.testing.faults import Fault, Request
from confusius_datasets.testing.host import LocalHost, md5_of, sha256_of

__all__ = ["Bucket", "LocalS3", "s3_error"]

XML = {"Content-Type": "application/xml"}

PART_NBYTES = 8 << 20
"""Size of the parts in which larger files were uploaded."""


def s3_error(status: int, code: str, message: str, *, key: str = "") -> Answer:
    """Answer with an error, as S3 does.

    Parameters
    ----------
    status : int
        The status.
    code, message : str
        What S3 calls it, and says.
    key : str, default: nothing
        The object asked for.

    Returns
    -------
    Answer
        A document with `Error`.
    """
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{message}</Message><Key>{escape(key)}</Key>"
        "<RequestId>0000000000000000</RequestId><HostId>local</HostId></Error>"
    )
    return Answer(status, body.encode(), XML, key.rpartition("/")[2])


class Bucket:
    """One bucket: objects with their versions, and a listing.

    Parameters
    ----------
    name : str
        The bucket's name.
    part_nbytes : int, default: 8 MiB
        Size of the parts in which larger objects were uploaded, which their `ETag` tells.

    Attributes
    ----------
    listable : bool
        Whether anybody may list it. If not, a missing object is 403, not 404.
    etags : bool
        Whether objects are sent with validators.
    """

    def __init__(self, name: str, *, part_nbytes: int = PART_NBYTES) -> None:
        self.name = name
        self.part_nbytes = part_nbytes
        self.listable = True
        self.etags = True
        self._versions: dict[str, dict[str, bytes]] = defaultdict(dict)
        self._newest: dict[str, str] = {}  # a deleted object has versions, but no newest one
        self._n_versions = 0

    def put(self, key: str, data: bytes) -> str:
        """Add a version of an object, the newest from now on.

        Parameters
        ----------
        key : str
            The object's key.
        data : bytes
            Its content.

        Returns
        -------
        str
            The version's id.
        """
        self._n_versions += 1
        version = f"v{self._n_versions:04d}.{sha256_of(key.encode())[:8]}"
        self._versions[key][version] = data
        self._newest[key] = version
        return version

    def spoil(self, key: str, data: bytes) -> None:
        """Let the newest version of an object give other bytes under the same id.

        Parameters
        ----------
        key : str
            The object's key.
        data : bytes
            What is sent.
        """
        self._versions[key][self._newest[key]] = data

    def delete(self, key: str) -> None:
        """Put a delete marker on an object: it is gone, but its versions are not.

        Parameters
        ----------
        key : str
            The object's key.
        """
        del self._newest[key]

    def keys(self) -> list[str]:
        """List the objects that are there.

        Returns
        -------
        list of str
            Their keys, in S3's order.
        """
        return sorted(self._newest, key=str.encode)

    def answer_get(self, key: str, request: Request) -> Answer:
        """Answer with an object.

        Parameters
        ----------
        key : str
            Its key.
        request : Request
            What was asked.

        Returns
        -------
        Answer
            The object, or what S3 says without it.
        """
        if request.method not in ("GET", "HEAD"):
            return s3_error(403, "AccessDenied", "Access Denied", key=key)
        version = request.query.get("versionId", self._newest.get(key, ""))
        data = self._versions.get(key, {}).get(version)
        if data is None:
            return self._answer_missing(key, request)
        invalid = s3_error(
            416, "InvalidRange", "The requested range is not satisfiable", key=key
        ).body
        headers = {"Content-Type": "binary/octet-stream", "x-amz-version-id": version}
        etag = self.etag(data) if self.etags else None
        name = key.rpartition("/")[2]
        # Of an empty object every range lies outside, so 416 is the answer there too.
        return Answer(200, data, headers, name, etag, ranges="all", invalid_range=invalid)

    def etag(self, data: bytes) -> str:
        """Make the `ETag` of an object: its md5, or that of its parts' md5s and their number.

        Parameters
        ----------
        data : bytes
            The content.

        Returns
        -------
        str
            With its quotes.
        """
        if len(data) <= self.part_nbytes:
            return f'"{md5_of(data)}"'
        return _etag_of_parts(data, self.part_nbytes)

    def _answer_missing(self, key: str, request: Request) -> Answer:
        """Say that an object is not there, as far as one may know."""
        if not self.listable:
            return s3_error(403, "AccessDenied", "Access Denied", key=key)
        if "versionId" in request.query:
            return s3_error(404, "NoSuchVersion", "The specified version does not exist.", key=key)
        return s3_error(404, "NoSuchKey", "The specified key does not exist.", key=key)

    def answer_list(self, query: Mapping[str, str]) -> Answer:
        """Answer `list-type=2`.

        Parameters
        ----------
        query : mapping of str to str
            The query.

        Returns
        -------
        Answer
            One page of at most 1000 keys and common prefixes.
        """
        if not self.listable:
            return s3_error(403, "AccessDenied", "Access Denied")
        after = query.get("start-after", "")
        if token := query.get("continuation-token"):
            try:
                after = base64.urlsafe_b64decode(token).decode()
            except ValueError:
                message = "The continuation token provided is incorrect"
                return s3_error(400, "InvalidArgument", message)
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        most = min(int(query.get("max-keys", 1000)), 1000)
        page, cut = self._cut_page(_fold(self.keys(), prefix, delimiter), after, most)
        return Answer(200, self._write_page(page, cut, most, query).encode(), XML)

    @staticmethod
    def _cut_page(
        names: Iterable[tuple[str, bool]], after: str, most: int
    ) -> tuple[list[tuple[str, bool]], bool]:
        """Take the names of one page; say whether there are more."""
        page: list[tuple[str, bool]] = []
        for name, folded in names:
            if name.encode() > after.encode():
                if len(page) == most:
                    return page, True
                page.append((name, folded))
        return page, False

    def _write_page(
        self, page: list[tuple[str, bool]], cut: bool, most: int, query: Mapping[str, str]
    ) -> str:
        """Write the document of one page."""
        quoted = query.get("encoding-type") == "url"

        def write(text: str) -> str:
            return urllib.parse.quote(text, safe="/") if quoted else escape(text)

        fields = {"Name": self.name, "Prefix": write(query.get("prefix", ""))}
        fields |= {"MaxKeys": str(most), "KeyCount": str(len(page))}
        if "delimiter" in query:
            fields["Delimiter"] = write(query["delimiter"])
        if quoted:
            fields["EncodingType"] = "url"
        fields["IsTruncated"] = "true" if cut else "false"
        if cut:
            # The token is opaque; a client that reads a key from it gets nowhere.
            fields["NextContinuationToken"] = base64.urlsafe_b64encode(
                page[-1][0].encode()
            ).decode()
        text = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
        for name, folded in page:
            if folded:
                text += f"<CommonPrefixes><Prefix>{write(name)}</Prefix></CommonPrefixes>"
            else:
                text += self._write_object(name, write(name))
        namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
        return (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="{namespace}">'
            f"{text}</ListBucketResult>"
        )

    def _write_object(self, key: str, written: str) -> str:
        """Write what a listing says of an object."""
        data = self._versions[key][self._newest[key]]
        etag = self.etag(data).replace('"', "&quot;")
        return (
            f"<Contents><Key>{written}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>{etag}</ETag><Size>{len(data)}</Size><StorageClass>STANDARD</StorageClass>"
            "</Contents>"
        )


@functools.lru_cache(maxsize=8)  # a large object is asked for in many ranges
def _etag_of_parts(data: bytes, part_nbytes: int) -> str:
    """Make the `ETag` of an object that was uploaded in parts."""
    firsts = range(0, len(data), part_nbytes)
    parts = [bytes.fromhex(md5_of(data[first : first + part_nbytes])) for first in firsts]
    return f'"{md5_of(b"".join(parts))}-{len(parts)}"'


def _fold(keys: Iterable[str], prefix: str, delimiter: str) -> Iterable[tuple[str, bool]]:
    """Give the keys below a prefix, those that share a folder as one; say which are folded."""
    last = None
    for key in keys:
        if not key.startswith(prefix):
            continue
        folder, found, _ = key[len(prefix) :].partition(delimiter or "\0")
        if not found:
            yield key, False
        elif last != (last := prefix + folder + found):
            yield last, True


class LocalS3(LocalHost):
    """A server on this machine that emulates the release bucket on S3; a context manager.

    Its servers: `bucket` is the bucket's own address (virtual-host style), `path` the region's
    endpoint (path style, `/<bucket>/<key>`). On `path`, a `Host` header that begins with the
    bucket's name is understood too.

    Parameters
    ----------
    bucket : str, default: "confusius-datasets"
        Name of the bucket.
    latency_s : float, default: 0
        Time that every request takes on the way, and every new connection once more.
    bandwidth : float, optional
        Bytes a second of each connection. If not provided, there is no limit.

    Attributes
    ----------
    bucket : Bucket
        The objects; `bucket.listable` says whether a missing one is 404 or 403.

    Examples
    --------
    >>> from confusius_datasets.testing import LocalS3
    >>> with LocalS3() as s3:
    ...     s3.add_release("nunez-elizalde-2022-bids", "1.0.0", {"README": b"x"})
    ...     sorted(s3.bucket.keys())[-1]
    'last_versions.conf'
    """

    ROLES: ClassVar[tuple[str, ...]] = ("bucket", "path")
    DATA_ROLE: ClassVar[str] = "bucket"

    def __init__(
        self,
        bucket: str = "confusius-datasets",
        *,
        latency_s: float = 0.0,
        bandwidth: float | None = None,
    ) -> None:
        super().__init__(latency_s=latency_s, bandwidth=bandwidth)
        self.bucket = Bucket(bucket)
        self._catalogue: dict[str, dict[str, str]] = {"datasets": {}, "templates": {}}

    @property
    def environ(self) -> dict[str, str]:
        """Variables that point the package at this server."""
        return {"CONFUSIUS_S3_URL": self.url("bucket")}

    def add_release(
        self,
        root: str,
        version: str,
        files: Mapping[str, bytes],
        *,
        kind: str = "datasets",
        newest: bool = True,
    ) -> None:
        """Publish a release: its files, then its manifest, then the catalogue.

        Parameters
        ----------
        root : str
            Root folder of the dataset or template.
        version : str
            The version.
        files : mapping of str to bytes
            Content by path below the version's folder.
        kind : {"datasets", "templates"}, default: "datasets"
            What it is.
        newest : bool, default: True
            Whether the catalogue names this version.
        """
        prefix = f"{kind}/{root}/{version}"
        for relpath, data in files.items():
            self.bucket.put(f"{prefix}/{relpath}", data)
        manifest = {
            relpath: {"sha256": sha256_of(data), "size": len(data)}
            for relpath, data in files.items()
        }
        self.replace_manifest(root, version, manifest, kind=kind)
        if newest:
            self._catalogue[kind][root] = version
            self.bucket.put("last_versions.conf", self._write_catalogue())

    def replace_manifest(
        self, root: str, version: str, manifest: object, *, kind: str = "datasets"
    ) -> None:
        """Replace what a manifest says, whatever the files are.

        Parameters
        ----------
        root : str
            Root folder of the dataset or template.
        version : str
            The version.
        manifest : object
            The new document.
        kind : {"datasets", "templates"}, default: "datasets"
            What it is.
        """
        text = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
        self.bucket.put(f"{kind}/{root}/{version}/manifest.json", text.encode())

    def slow_down(self, name: str = "*", *, times: int = 1, role: str | None = None) -> None:
        """Let the next requests be answered with 503 `SlowDown`.

        Parameters
        ----------
        name : str, default: "*"
            Name of a file, or `*` for any.
        times : int, default: 1
            How many requests; 0 means every one.
        role : str, optional
            The server. If not provided, the bucket's own address.
        """
        error = s3_error(503, "SlowDown", "Please reduce your request rate.")
        self.fail(
            name,
            Fault("status", status=503, body=error.body, headers=XML, times=times),
            role=role,
        )

    def refuse(self, request: Request, wait_s: int, name: str) -> Answer:
        """Say what a request over the limit is answered with: 503, without a time to wait.

        Parameters
        ----------
        request : Request
            The request.
        wait_s : int
            Seconds until the next one is answered, which S3 does not tell.
        name : str
            Name of the file it is about.

        Returns
        -------
        Answer
            `SlowDown`.
        """
        return s3_error(503, "SlowDown", "Please reduce your request rate.", key=name)

    def respond(self, request: Request) -> Answer:
        """Say what a request is answered with when nothing goes wrong.

        Parameters
        ----------
        request : Request
            The request.

        Returns
        -------
        Answer
            An object, a listing, or an error.
        """
        self.bucket.etags = self.etags
        path = urllib.parse.unquote(urllib.parse.urlsplit(request.path).path).removeprefix("/")
        host = request.headers.get("host", "")
        if request.role == "path" and not host.startswith(f"{self.bucket.name}."):
            bucket, _, path = path.partition("/")
            if bucket != self.bucket.name:
                return s3_error(404, "NoSuchBucket", "The specified bucket does not exist")
        if not path:
            return self.bucket.answer_list(request.query)
        return self.bucket.answer_get(path, request)

    def _write_catalogue(self) -> bytes:
        """Write the newest version of each root folder."""
        lines = []
        for kind, versions in self._catalogue.items():
            lines += [f"[{kind}]", *(f"{root} = {version}" for root, version in versions.items())]
            lines.append("")
        return "\n".join(lines).encode()
