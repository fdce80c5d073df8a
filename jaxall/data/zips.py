"""Zip archives; each member's checksum is verified while it is read."""

import pathlib
import stat
import zipfile
from collections.abc import Iterator

from jaxall.data import containers


class Zip(containers.Archive):
    """A zip file."""

    def __init__(self, path: pathlib.Path, limits: containers.Limits) -> None:
        super().__init__(path)
        self._limits = limits
        with containers.damaged(path):
            self._zip = zipfile.ZipFile(path)

    def close(self) -> None:
        """Lets go of the file."""
        self._zip.close()

    def entries(self, progress: containers.Progress) -> Iterator[containers.Entry]:
        """As its directory lists them, which is all that is read."""
        end = 0
        overlapping = set()
        for info in sorted(self._zip.infolist(), key=lambda info: info.header_offset):
            if info.header_offset < end:
                overlapping.add(id(info))
            end = info.header_offset + info.compress_size
        for info in self._zip.infolist():
            is_overlapping = id(info) in overlapping
            yield containers.Entry(
                name=info.orig_filename,  # `filename` ends before the first NUL
                size=info.file_size,
                is_folder=info.orig_filename.endswith("/"),
                problem="shares its bytes with another" if is_overlapping else self._problem(info),
                crc=info.CRC,
                handle=info,
            )

    def chunks(self, entry: containers.Entry) -> Iterator[bytes]:
        """Inflated."""
        with (
            containers.damaged(self.path, repr(entry.name)),
            self._zip.open(entry.handle) as file,
        ):
            while chunk := file.read(containers.CHUNK):
                yield chunk

    def _problem(self, info: zipfile.ZipInfo) -> str:
        kind = stat.S_IFMT(info.external_attr >> 16)  # of Unix; 0 where the archive has none
        if stat.S_ISLNK(kind):
            return "is a link"
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            return "is a device or a pipe"
        if info.flag_bits & 0x2041:  # by password, by certificate, the directory too
            return "is encrypted"
        # The other methods' decompressors can't be told how much to unpack at a time.
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            return f"is packed by method {info.compress_type}, wanted stored or deflated"
        if self._limits.is_bomb(info.file_size, info.compress_size):
            return f"unpacks to more than {self._limits.ratio} times its size"
        return ""
