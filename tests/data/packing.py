"""Archives as tests draw them, honest and hostile."""

import io
import pathlib
import tarfile
import zipfile
from collections.abc import Callable, Mapping

from PIL import Image

from jaxall.data import archives


def picture(colour: int = 0, kind: str = "PNG", side: int = 8) -> bytes:
    """A picture file of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (colour, 255 - colour, 90)).save(buffer, kind)
    return buffer.getvalue()


def zip_info(name: str, **fields: object) -> zipfile.ZipInfo:
    """An entry whose name `zipfile` hasn't cleaned."""
    info = zipfile.ZipInfo("x", (2021, 1, 1, 0, 0, 0))
    info.filename = name
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def write_zip(
    path: pathlib.Path,
    members: Mapping[str, bytes],
    spoil: Callable[[list[zipfile.ZipInfo]], object] = lambda entries: None,
    method: int = zipfile.ZIP_DEFLATED,
) -> pathlib.Path:
    """A zip; `spoil` may change its directory, which is written last."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(zip_info(name, compress_type=method), content)
        spoil(archive.filelist)
    return path


def write_tar(
    path: pathlib.Path, members: Mapping[str, bytes], *special: tarfile.TarInfo
) -> pathlib.Path:
    """A tar or, by its name, a tar.gz; `special` are entries without content."""
    mode = "w" if path.suffix == ".tar" else "w:gz"
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in special:
            archive.addfile(info)
    return path


def tar_info(name: str, kind: bytes, **fields: object) -> tarfile.TarInfo:
    """An entry that is no file."""
    info = tarfile.TarInfo(name)
    info.type = kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def write(path: pathlib.Path, members: Mapping[str, bytes]) -> pathlib.Path:
    """An archive of the kind that its name says, or a folder."""
    if path.suffix == ".zip":
        return write_zip(path, members)
    if path.suffix:
        return write_tar(path, members)
    for name, content in members.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def survey(path: pathlib.Path, **limits: int) -> archives.Contents:
    """What is taken from it."""
    made = archives.Limits(**limits)
    with archives.opened(path, made) as container:
        return archives.survey(container, made)


def tree(folder: pathlib.Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones included."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
