"""Files that follow from code."""

from pathlib import Path

import pytest

from docs.generate import HERE, generated
from features.problems import Code
from streams.cli.errors import KINDS


@pytest.mark.parametrize("name", generated())
def test_generated_files_are_fresh(name: str):
    """They are contracts that others build on; `make docs` writes them."""
    assert (HERE / name).read_text() == generated()[name]


def test_every_code_has_a_page_and_every_page_a_code():
    """The code in a message is a promise that there is more to read."""
    codes = {code.value for code in Code} | {kind.code for kind in KINDS.values()}
    assert {Path(page).stem for page in (HERE / "errors").glob("*.md")} == codes
