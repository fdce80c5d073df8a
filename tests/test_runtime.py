import os
import pathlib
import platform
import resource
import subprocess
import sys

import jaxlib
import pytest

from jaxall import runtime

FLAG = "--xla_cpu_experimental_ynn_fusion_type=-individual_convolution"


@pytest.mark.parametrize("version", ["0.10.2", "0.11.0", "0.12.0.1", "0.12.9", "0.12.0rc1"])
def test_a_version_that_was_tried_gets_the_flag(version: str):
    assert runtime.xla_flags("", version) == FLAG
    assert runtime.xla_flags("--xla_dump_to=/tmp/a", version) == f"--xla_dump_to=/tmp/a {FLAG}"


@pytest.mark.parametrize("version", ["0.4.38", "0.9.3", "0.10.1", "0.13.0", "1.0.0", "0.13.0rc1"])
def test_a_version_that_was_not_tried_gets_none(version: str):
    assert runtime.xla_flags("", version) == ""
    assert runtime.xla_flags("--xla_dump_to=/tmp/a", version) == "--xla_dump_to=/tmp/a"


def test_a_flag_that_the_user_has_set_is_left_alone():
    present = "--a=1 --xla_cpu_experimental_ynn_fusion_type= --b=2"
    assert runtime.xla_flags(present, "0.10.2") == present


def test_the_flag_is_given_once():
    once = runtime.xla_flags("", "0.10.2")
    assert runtime.xla_flags(once, "0.10.2") == once


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
    assert flags == runtime.xla_flags(environment["XLA_FLAGS"], jaxlib.__version__)
    assert cache == str(tmp_path / "compiled")


def test_a_single_process_joins_nobody():
    runtime.join_hosts("", 1, 0)


def test_freed_memory_is_kept_where_the_c_library_is_glibc():
    # In a process of its own: the setting can't be taken back. The third use of as much memory
    # must not ask the kernel for its pages again.
    program = """
import resource, sys
from jaxall import runtime
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
