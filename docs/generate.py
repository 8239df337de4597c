"""Contracts and pictures that follow from code; `python -m docs.generate` writes them, a test fails on stale ones."""

import json
from pathlib import Path
from typing import Any

from docs.pictures import pictures
from features.declared import json_schema
from streams.topics import TABLE, Row

HERE = Path(__file__).parent


def generated() -> dict[str, str]:
    """Path below `docs` -> text."""
    return {
        "schemas/tminus.schema.json": _text(json_schema()),
        "asyncapi.json": _text(asyncapi()),
        **pictures(),
    }


def asyncapi() -> dict[str, Any]:
    """The topics as an AsyncAPI 3.0 document."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "tminus",
            "version": "1",
            "description": "Topics of an installation with the default prefix. N is [run] partitions.",
        },
        "defaultContentType": "application/json",
        "channels": {_identifier(row): _channel(row) for row in TABLE},
    }


def _channel(row: Row) -> dict[str, Any]:
    kafka = {"bindingVersion": "0.5.0", "x-partitions": "N" if row.partitions == "entity" else 1, "x-key": row.key}
    config = {key: value.split(",") if key == "cleanup.policy" else value for key, value in row.config.items()}
    channel: dict[str, Any] = {
        "address": f"tminus.{row.name}".replace("<type>.<source>", "{type}.{source}"),
        "description": row.content + (" (planned: written by nobody yet)" if row.is_planned else ""),
        "messages": {"record": {"contentType": _content_type(row)}},
        "bindings": {"kafka": {**kafka, "topicConfiguration": config}},
    }
    if "{" in channel["address"]:
        channel["parameters"] = {"type": {"description": "entity type"}, "source": {"description": "name of a source"}}
    return channel


def _identifier(row: Row) -> str:
    return "by" if row.name.startswith("by-") else row.name


def _content_type(row: Row) -> str:
    return {"scored": "application/vnd.apache.arrow.stream", "dlq": "application/octet-stream"}.get(
        row.name, "application/json"
    )


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"


def main() -> None:
    """Write every generated file."""
    for name, text in generated().items():
        path = HERE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
