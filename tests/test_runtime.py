import os
import pathlib
import platform
import resource
import subprocess
import sys

import pytest

from jaxall import runtime
from jaxall.errors import UserError

FLAG = "--xla_cpu_experimental_ynn_fusion_type=-individual_convolution"


@pytest.fixture
def library(tmp_path: pathlib.Path) -> pathlib.Path:
    """A build of XLA that knows the flag, as far as its strings tell."""
    name = FLAG.removeprefix("--").partition("=")[0].encode()
    path = tmp_path / "library.so"
    path.write_bytes(b"\0".join([b"ELF", name, b"LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION", b""]))
    return path


def test_a_build_that_knows_the_flag_gets_it(library: pathlib.Path):
    assert runtime.xla_flags("", library) == FLAG
    assert runtime.xla_flags("--xla_dump_to=/tmp/a", library) == f"--xla_dump_to=/tmp/a {FLAG}"


@pytest.mark.parametrize("gone", [b"ynn_fusion_type", b"INDIVIDUAL_CONVOLUTION"])
def test_a_build_that_lacks_the_flag_or_its_value_gets_none(library: pathlib.Path, gone: bytes):
    library.write_bytes(library.read_bytes().replace(gone, b"another"))
    assert runtime.xla_flags("", library) == ""
    assert runtime.xla_flags("--xla_dump_to=/tmp/a", library) == "--xla_dump_to=/tmp/a"


def test_another_layout_of_jaxlib_gets_none(tmp_path: pathlib.Path):
    (tmp_path / "empty.so").touch()
    assert runtime.xla_flags("", tmp_path / "empty.so") == ""
    assert runtime.xla_flags("", tmp_path / "absent.so") == ""


def test_a_flag_that_the_user_has_set_is_left_alone(library: pathlib.Path):
    present = "--a=1 --xla_cpu_experimental_ynn_fusion_type= --b=2"
    assert runtime.xla_flags(present, library) == present


def test_the_flag_is_given_once(library: pathlib.Path):
    once = runtime.xla_flags("", library)
    assert runtime.xla_flags(once, library) == once


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JAXALL_CACHE", "/somewhere/else")
    assert runtime.cache_dir() == pathlib.Path("/somewhere/else")
    monkeypatch.setenv("JAXALL_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert runtime.cache_dir() == pathlib.Path("/caches/jaxall")
    monkeypatch.delenv("JAXALL_CACHE")
    monkeypatch.setenv("HOME", "/home/somebody")
    for unset in ("", "caches"):
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
        assert runtime.cache_dir() == pathlib.Path("/home/somebody/.cache/jaxall")
    monkeypatch.setenv("JAXALL_CACHE", "~/c")
    assert runtime.cache_dir() == pathlib.Path("/home/somebody/c")


def test_the_installed_jax_takes_the_flags_and_uses_the_cache(tmp_path: pathlib.Path):
    # An unknown flag aborts the process, and JAX reads them once: only another process can tell.
    program = """
import os, jax
from jaxall import runtime
runtime.configure()
assert len(jax.devices()) == 2, jax.devices()
print(os.environ["XLA_FLAGS"])
print(jax.config.jax_compilation_cache_dir)
"""
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_PLATFORMS": "cpu",
        "JAXALL_CACHE": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    flags, cache = done.stdout.splitlines()
    # Every version that may be installed knows it.
    assert flags == f"{environment['XLA_FLAGS']} {FLAG}"
    assert cache == str(tmp_path / "compiled")


def test_a_single_process_joins_nobody():
    runtime.join_hosts("", 1, 0)


def test_freed_memory_is_kept_where_the_c_library_is_glibc():
    # In a process of its own: the setting can't be taken back. The third use of as much memory
    # must not ask the kernel for its pages again.
    program = """
import resource, sys
from jaxall import runtime
from jaxall.errors import UserError
kept = runtime.keep_memory()
def faults():
    bytearray(2**28)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
first, second = faults(), faults()
print(kept, faults() - second)
"""
    outcome = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    kept, faults = outcome.stdout.split()
    if platform.libc_ver()[0] == "glibc":
        assert kept == "True"
        assert int(faults) < 2**28 // resource.getpagesize() // 100
    else:
        assert kept == "False"


@pytest.mark.parametrize(
    ("coordinator", "count", "index"),
    [("", 4, 2), ("", 1, 1), ("h:1", 1, 0), ("h:1", 2, 2), ("h:1", 2, -1), ("h:1", 0, 0)],
)
def test_hosts_that_do_not_fit_one_another_are_refused(coordinator: str, count: int, index: int):
    with pytest.raises(UserError, match=r"several hosts need --coordinator host:port"):
        runtime.join_hosts(coordinator, count, index)
