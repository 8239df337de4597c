"""Which files of a Feast repository say something, and what does its settings file say?

Only a few keys of ``feature_store.yaml`` matter here, each a plain value, so no reader of the whole YAML is needed.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from streams.audit.unreadable import TableError

_KEY = re.compile(r"^(\s*)([A-Za-z_][\w.]*)\s*:\s*(.*?)\s*$")
_INLINE_TYPE = re.compile(r"""\btype\s*:\s*["']?([\w.]+)""")
#: Feast never looks into these.
_NEVER = frozenset({".git", ".venv", ".ipynb_checkpoints", ".pytest_cache", "__pycache__"})


class FeastError(TableError):
    """A repository that cannot be read: which file and line, what was expected, what was found, how to write it."""


def read_settings(root: Path, asked: Path) -> dict[str, str]:
    """``project`` and ``offline_store`` (its type) of the repository, as far as they are there.

    Raises
    ------
    FeastError
        There is no such file, or it is no text.
    """
    path = root / "feature_store.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        raise FeastError(f"{asked}: expected a Feast repository with feature_store.yaml, found none") from None
    except UnicodeDecodeError:
        raise FeastError(f"{path}: expected UTF-8 text, found other bytes") from None
    return parse_settings(text)


def parse_settings(text: str) -> dict[str, str]:
    """The keys ``project`` and ``offline_store`` (its type) of a ``feature_store.yaml``.

    Examples
    --------
    >>> parse_settings("project: rides  # ours\\nprovider: local\\noffline_store:\\n    type: duckdb\\n")
    {'project': 'rides', 'offline_store': 'duckdb'}
    >>> parse_settings("offline_store: {type: 'snowflake.offline'}")
    {'offline_store': 'snowflake.offline'}
    """
    settings: dict[str, str] = {}
    inside = ""
    for line in text.splitlines():
        match = _KEY.match(_without_comment(line))
        if match is None:
            continue
        indent, key, value = match.groups()
        value = value.strip("\"'")
        if indent:
            if inside == "offline_store" and key == "type":
                settings.setdefault("offline_store", value)
            continue
        inside = key
        inline = _INLINE_TYPE.search(value)
        if key == "offline_store" and (inline or value):
            settings[key] = inline[1] if inline else value
        elif key == "project" and value:
            settings[key] = value
    return settings


def _without_comment(line: str) -> str:
    return "" if line.lstrip().startswith("#") else re.split(r"\s#", line)[0]


def definition_files(root: Path) -> Iterator[Path]:
    """The Python files that ``feast apply`` would read, sorted: all but what ``.feastignore`` names."""
    ignored: set[Path] = set()
    listed = root / ".feastignore"
    if listed.is_file():
        for line in listed.read_text(encoding="utf-8").splitlines():
            pattern = line.partition("#")[0].strip()
            for match in root.glob(pattern) if pattern else ():
                ignored |= {match} if match.is_file() else set(match.rglob("*.py"))
    for path in sorted(root.rglob("*.py")):
        inner = path.relative_to(root).parts
        if path.name != "__init__.py" and path not in ignored and not _NEVER & set(inner):
            yield path
