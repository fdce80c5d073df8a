"""Every command of the README and of docs/ is one that could be typed."""

import functools
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from jaxall import config_flag
from tests import programs

# ml_collections loads config files by a method that is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

PAGES = (programs.ROOT / "README.md", *sorted((programs.ROOT / "docs").glob("*.md")))


def commands() -> list[str]:
    """Each `python -m jaxall...` of a code block, continued lines joined."""
    found = {}
    for page in PAGES:
        for block in re.findall(r"^```\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
            for line in block.replace("\\\n", " ").splitlines():
                if command := re.search(r"python -m jaxall\.[^#\"]*", line):
                    found[" ".join(command[0].split())] = None
    return list(found)


@functools.cache
def help_of(module: str) -> str:
    command = [sys.executable, "-m", module, "--help"]
    return subprocess.run(command, capture_output=True, text=True, cwd=programs.ROOT).stdout


@pytest.mark.parametrize("command", commands())
def test_its_module_flags_and_settings_exist(command, monkeypatch):
    monkeypatch.chdir(programs.ROOT)
    _, _, module, *arguments = shlex.split(command)
    flags = [argument.partition("=") for argument in arguments if argument.startswith("--")]
    for name, *_ in flags:
        known = rf"^  --(\[no\])?{name.removeprefix('--')}[: ]"
        assert name.startswith("--config.") or re.search(known, help_of(module), re.MULTILINE), name
    settings = ["".join(flag) for flag in flags if flag[0].startswith("--config.")]
    if "--config" in arguments:
        file = arguments[arguments.index("--config") + 1]
        config_flag.resolve(file, [text.replace("FILE.pth", __file__) for text in settings])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_config_on_a_page_is_possible(page: pathlib.Path):
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        names = {}
        exec(block, names)
        names["get_config"]().validate()


def test_there_are_commands_to_check():
    assert {command.split()[2] for command in commands()} == {
        f"jaxall.{name}"
        for name in ("train", "evaluate", "predict", "port", "prepare", "report", "sweep")
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_is_there(page: pathlib.Path):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_are_there(page: pathlib.Path):
    for name in re.findall(r"`((?:tests|ops|configs|benchmarks)/[\w/]+\.py)`", page.read_text()):
        folder = programs.ROOT / "jaxall" if name.startswith("ops/") else programs.ROOT
        assert (folder / name).exists(), name
