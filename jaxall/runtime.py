"""What a command sets before JAX opens a device: flags, memory, the compilation cache, hosts."""

import ctypes
import mmap
import os
import pathlib
import resource
import sys

import jax
import jaxlib

from jaxall import files
from jaxall.errors import UserError

# XLA's new CPU library runs kernel gradients of convolutions two to eight times slower than the
# old one.
_CPU_FLAG = ("xla_cpu_experimental_ynn_fusion_type", "individual_convolution")


def xla_flags(present: str, library: pathlib.Path) -> str:
    """`present` with the flags that make the CPU fast, where this build of XLA knows them.

    XLA aborts the process at a flag that it doesn't know, so its name and its value are looked
    for in the library. A flag that the user has set already is left alone.

    Args:
        present: the environment's XLA_FLAGS.
        library: jaxlib's own.
    """
    name, value = _CPU_FLAG
    if name in present or not _holds(library, name, f"LIBRARY_FUSION_TYPE_{value}".upper()):
        return present
    return f"{present} --{name}=-{value}".strip()


def _holds(library: pathlib.Path, *words: str) -> bool:
    try:
        with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as m:
            return all(m.find(word.encode()) >= 0 for word in words)
    except (OSError, ValueError):  # another layout of jaxlib, or an empty file
        return False


def cache_dir() -> pathlib.Path:
    """Where downloads and compiled programs are kept.

    `$JAXALL_CACHE`, or jaxall's folder in `$XDG_CACHE_HOME` or `~/.cache`.

    Raises:
        UserError: none is set and there is no home folder.
    """
    if chosen := os.environ.get("JAXALL_CACHE"):
        return files.home(chosen)
    base = os.environ.get("XDG_CACHE_HOME", "")
    # the XDG specification has relative paths ignored
    parent = pathlib.Path(base) if os.path.isabs(base) else files.home("~/.cache")
    return parent / "jaxall"


def keep_memory() -> bool:
    """Has the C library keep freed memory, where it is glibc; returns whether it does.

    A program's buffers are allocated anew at every step. By default glibc gives gigabytes back to
    the kernel in between, which then has to clear every page again: up to half of a step's time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    # From malloc.h: one arena (threads' own ones can't grow large), no mapping of single
    # allocations, and no trimming.
    settings = {-8: 1, -4: 0, -1: -1}
    return all(mallopt(name, value) == 1 for name, value in settings.items())


def command() -> list[str]:
    """The command line of this process, as it can be typed."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return ["python", "-m", spec.name, *sys.argv[1:]] if spec else list(sys.argv)


def peak_memory() -> dict[str, float]:
    """MiB that this process and its fullest device have held at most; devices that don't say: none.

    The process's are resident, decoded pictures and compilation included.
    """
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in KiB, on macOS in bytes
    found = {"peak_host_mib": resident / (2**20 if sys.platform == "darwin" else 2**10)}
    statistics = [device.memory_stats() or {} for device in jax.local_devices()]
    if peaks := [one["peak_bytes_in_use"] for one in statistics if "peak_bytes_in_use" in one]:
        found["peak_device_mib"] = max(peaks) / 2**20
    return found


def configure() -> None:
    """Sets what must be set before anything opens a device.

    XLA's flags, the C library's way with memory, and the cache of compiled programs.
    """
    keep_memory()
    library = pathlib.Path(jaxlib.__file__).with_name("libjax_common.so")
    os.environ["XLA_FLAGS"] = xla_flags(os.environ.get("XLA_FLAGS", ""), library)
    jax.config.update("jax_compilation_cache_dir", str(cache_dir() / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)


def join_hosts(coordinator: str, count: int, index: int) -> None:
    """Joins the processes of a pod; "auto" finds them out from the TPU's own surroundings.

    Args:
        coordinator: "host:port" of process 0, "auto", or "" for a single process.
        count: number of processes.
        index: of this process.

    Raises:
        UserError: the three don't fit one another, or the coordinator can't be reached.
    """
    is_alone = not coordinator and (count, index) == (1, 0)
    is_member = bool(coordinator) and 0 <= index < count > 1
    if not (is_alone or is_member or coordinator == "auto"):
        raise UserError(
            "several hosts need --coordinator host:port (or auto), --processes above 1 and "
            f"--process from 0 to one less; got {coordinator!r}, {count} and {index}"
        )
    try:
        if coordinator == "auto":
            jax.distributed.initialize()
        elif coordinator:
            jax.distributed.initialize(coordinator, num_processes=count, process_id=index)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"can't join the hosts by {coordinator!r}: {error}") from error
