"""What a command sets before JAX opens a device: flags, memory, the compilation cache, hosts."""

import ctypes
import os
import pathlib
import re
import sys

import jax
from jaxlib import version as jaxlib_version

# XLA's new CPU library runs kernel gradients of convolutions two to eight times slower than the
# old one. An unknown flag aborts the process, so it is given only to versions that were tried.
_CPU_FLAG = "--xla_cpu_experimental_ynn_fusion_type=-individual_convolution"
_CPU_FLAG_VERSIONS = ((0, 10, 2), (0, 13))


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def xla_flags(present: str, version: str) -> str:
    """`present` with the flags that make the CPU fast, for this version of jaxlib.

    A flag that the user has set already is left alone.
    """
    low, high = _CPU_FLAG_VERSIONS
    name = _CPU_FLAG.partition("=")[0]
    if name in present or not low <= _version(version) < high:
        return present
    return f"{present} {_CPU_FLAG}".strip()


def cache_dir() -> pathlib.Path:
    """Where downloads and compiled programs are kept.

    `$JAXALL_CACHE`, or jaxall's folder in `$XDG_CACHE_HOME` or `~/.cache`.
    """
    if chosen := os.environ.get("JAXALL_CACHE"):
        return pathlib.Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME", "")
    # the XDG specification has relative paths ignored
    parent = pathlib.Path(base) if os.path.isabs(base) else pathlib.Path.home() / ".cache"
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


def configure() -> None:
    """Sets what must be set before anything opens a device.

    XLA's flags, the C library's way with memory, and the cache of compiled programs.
    """
    keep_memory()
    os.environ["XLA_FLAGS"] = xla_flags(os.environ.get("XLA_FLAGS", ""), jaxlib_version.__version__)
    jax.config.update("jax_compilation_cache_dir", str(cache_dir() / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)


def join_hosts(coordinator: str, count: int, index: int) -> None:
    """Joins the processes of a pod; "auto" finds them out from the TPU's own surroundings.

    Args:
        coordinator: "host:port" of process 0, "auto", or "" for a single process.
        count: number of processes.
        index: of this process.
    """
    if coordinator == "auto":
        jax.distributed.initialize()
    elif coordinator:
        jax.distributed.initialize(coordinator, num_processes=count, process_id=index)
