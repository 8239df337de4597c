"""`tminus sql`: what does the lake say?"""

import sys
from pathlib import Path

import click

from streams.cli.options import json_option, lake_option


@click.command("sql")
@click.argument("query")
@lake_option
@json_option
def command(query: str, lake: Path | None, as_json: bool) -> int:
    """Ask the lake one QUERY that reads; it may run beside the pipeline at any time.

    A terminal gets a table, a pipe tab-separated lines. What there is: tminus sql 'SHOW TABLES'.
    """
    from streams.lake import sql
    from streams.settings import lake_folder

    return sql.run(lake_folder(lake), query, as_json=as_json, out=sys.stdout, err=sys.stderr)
