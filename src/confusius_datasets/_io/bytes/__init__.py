"""Ranges of a file's bytes, decompressed on the way. Nothing here knows what the bytes mean."""

from confusius_datasets._io.bytes.gzip_stream import GzipStream
from confusius_datasets._io.bytes.readers import PlainReader, Reader, Session, shared_reader

__all__ = ["GzipStream", "PlainReader", "Reader", "Session", "shared_reader"]
