"""What README and docs say is so: examples run as written, links lead somewhere, the contract names every option."""

import json
import re
import shlex
from pathlib import Path

import pytest
import typer

from voxelsmith.cli import app, run
from voxelsmith.plugin.docks.prompt.keys import KEYS, shown

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CONTRACT = ROOT / "docs" / "command-line.md"


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(page):
    lines = "".join(blocks(page, "sh")).splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("voxelsmith ")]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=lambda p: p.stem)
def test_python_runs_as_written(page):
    exec(compile("\n".join(blocks(page, "python")), page, "exec"), {})


@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=lambda p: p.stem)
def test_commands_run_as_written_and_json_fields_are_named(page, capsys):
    contract = CONTRACT.read_text(encoding="utf-8")
    for arguments in commands(page):
        assert run(arguments) == 0, capsys.readouterr().err
        out = capsys.readouterr().out
        if "--json" in arguments:
            record = json.loads(out)
            scores = [v for value in record.values() if isinstance(value, dict) for v in value.values()]
            fields = {*record, *(name for row in scores if isinstance(row, dict) for name in row)}
            assert [field for field in fields if f"`{field}`" not in contract] == []


def leaves(group, prefix=""):
    """Commands with their full names, also those inside groups."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def test_the_contract_names_every_command_and_option():
    text = CONTRACT.read_text(encoding="utf-8")
    for name, command in leaves(typer.main.get_command(app)):
        assert f"\n## {name}\n" in text
        options = [option for p in command.params for option in (*p.opts, *p.secondary_opts) if option.startswith("-")]
        assert options
        assert [option for option in options if f"`{option}" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        file, _, heading = target.partition("#")
        if "://" in target:
            continue
        there = page.parent / file if file else page
        assert there.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.+)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles], target


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "prompt-dock.md"], ids=lambda p: p.stem)
def test_the_table_of_keys_names_every_key(page):
    text = page.read_text(encoding="utf-8")
    keys = {key for row in re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE) for key in row.split(", ")}
    assert {shown(action) for action in KEYS} <= keys
