"""Does the documentation do what it says?

`console` blocks are run, in order, page by page, in an empty folder that holds the examples; what they show is
compared (a line of `...` stands for any lines). SQL is asked of a lake that such a block made. Links, `make` targets,
commands and their options must exist.
"""

import itertools
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest

from streams.cli.main import main
from streams.lake.sql import query
from tests.architecture.documents import PAGES, ROOT, anchors, blocks, code, prose

LAKE_PAGE = ROOT / "docs" / "lake.md"
README = ROOT / "README.md"
#: What console blocks find in their folder.
_THERE = ("docs/examples", "streams/stories")
_MARK = "@@ next command @@"


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def run_block(text: str, folder: Path) -> None:
    """Run the lines behind `$ ` in one shell and compare what each prints with the lines below it."""
    parts = re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
    commands = [part.split("\n", 1)[0] for part in parts]
    shown = [part.split("\n", 1)[1] for part in parts]
    script = "".join(f"{command}\ns=$?; echo '{_MARK}'; (exit $s)\n" for command in commands)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environ = {k: v for k, v in os.environ.items() if not k.startswith("TMINUS_")} | {"PATH": path}
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    for command, expected, found in zip(commands, shown, done.stdout.split(_MARK + "\n"), strict=False):
        pattern = "".join(
            r"(?:.*\n)*?" if line.strip() == "..." else re.escape(line.rstrip()) + r"[ ]*\n"
            for line in expected.splitlines()
        )
        assert re.fullmatch(pattern, found), f"$ {command}\nexpected:\n{expected}\nfound:\n{found}"


def folder_with_examples(folder: Path) -> Path:
    for there in _THERE:
        (folder / there).parent.mkdir(parents=True, exist_ok=True)
        (folder / there).symlink_to(ROOT / there)
    return folder


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake that the first console block of docs/lake.md makes."""
    folder = folder_with_examples(tmp_path_factory.mktemp("lake"))
    run_block(blocks(LAKE_PAGE, "console")[0].text, folder)
    return folder / "shop-lake"


@pytest.mark.parametrize(
    "page", [p for p in PAGES if blocks(p, "console") and p != LAKE_PAGE], ids=name
)  # that of lake.md is run by the fixture
def test_console_blocks_print_what_they_show(page: Path, tmp_path: Path):
    """The first thing that a newcomer does is to copy these lines."""
    folder_with_examples(tmp_path)
    for block in blocks(page, "console"):
        run_block(block.text, tmp_path)


_SQL = [b for b in blocks(LAKE_PAGE) if b.kind in ("sql", "text")]
QUESTIONS = [
    pytest.param(question.text, answer.text, id=f"line {question.line}")
    for question, answer in itertools.pairwise(_SQL)
    if question.kind == "sql"
]


def test_the_lake_page_has_ten_questions():
    """A pattern that matches nothing would let everything pass."""
    assert len(QUESTIONS) == 10


@pytest.mark.parametrize(("question", "answer"), QUESTIONS)
def test_questions_have_the_answers_shown(question: str, answer: str, lake: Path):
    """An analyst copies the question and trusts the answer."""
    found = query(lake, question)
    rows = [found.columns, *([("NULL" if cell is None else str(cell)) for cell in row] for row in found.rows)]
    assert [re.split(r" {2,}", line.strip()) for line in answer.splitlines()] == rows


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "sql") and p != LAKE_PAGE], ids=name)
def test_sql_elsewhere_is_understood_by_a_lake(page: Path, lake: Path):
    """Column names change; pages are forgotten."""
    for block in blocks(page, "sql"):
        query(lake, block.text)


def test_queries_of_findings_are_answered(lake: Path):
    """The finding itself says so: `sql` shows its evidence."""
    ((text,),) = query(lake, "SELECT sql FROM findings").rows
    assert len(query(lake, text).rows) == 3


def test_every_view_and_macro_is_on_the_page(lake: Path):
    """What is not listed is not found."""
    page = LAKE_PAGE.read_text()
    views = query(lake, "SELECT view_name FROM duckdb_views() WHERE NOT internal").rows
    macros = query(lake, "SELECT DISTINCT function_name FROM duckdb_functions() WHERE NOT internal").rows
    assert [v for (v,) in views if f"`{v}`" not in page] == []
    assert [m for (m,) in macros if f"`{m}(" not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path):
    """To a file of the repository and, if they say so, to a heading in it."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_absolute_path_and_no_download_address(page: Path):
    """Neither is true on another machine."""
    text = page.read_text()
    assert re.findall(r"(?<![\w./}])/(?:home|root|work|tmp|usr|opt|srv|Users)/\S*", text) == []
    hosts = r"https?://[^\s)`]*(?:pypi|pythonhosted|maven|repo1|ghcr|docker\.io|/releases/|\.whl|\.jar|\.t?gz|\.zip)"
    assert re.findall(hosts, text) == []


TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_and_targets_exist(page: Path):
    """A command that is not there is the end of trust in a page."""
    for line in code(page):
        assert set(re.findall(r"(?:^|[\s$;])make ([a-z]+)", line)) <= TARGETS, line
        for said in re.findall(r"(?:^|[\s$/])tminus ([a-z-][^|;#)]*)", line):
            _check_command(said)


def _check_command(said: str) -> None:
    words = shlex.split(said.replace("…", "").replace("'", "").replace('"', ""))
    command: Any = main
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        inner = command.get_command(click.Context(command), words.pop(0))
        assert inner is not None, said
        command = inner
    known = {option for p in command.get_params(click.Context(command)) for option in p.opts}
    assert {w.partition("=")[0] for w in words if re.match(r"--?[a-z]", w)} <= known, said


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_samples_of_code_can_be_read(page: Path):
    """Python compiles and imports what exists; TOML is TOML."""
    for block in blocks(page, "toml"):
        tomllib.loads(block.text)
    for block in blocks(page, "python"):
        compile(block.text, name(page), "exec")
        for line in re.findall(r"^(?:from|import) .*$", block.text, re.MULTILINE):
            exec(line, {})


def test_the_readme_begins_with_the_two_commands():
    """Whoever reads only one line reads this one."""
    assert re.match(r"(?:# .*\n+)?```sh\nmake demo .*\nmake test .*\n```\n", README.read_text())
