"""How do the frames of a notebook reach the command, and how does the corrected frame come back in their kind?

pandas and Polars are never imported: a frame of theirs is here because the caller has imported them. A frame comes back
as the very frame that was given, with other values in the cells that did not pass; so indexes, types and columns that
nobody audited stay as they were.
"""

from __future__ import annotations

import collections
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tminus import AuditError


class Given:
    """A table as the caller gave it; the least that every kind of it can do: a path."""

    def __init__(self, table: Any, name: str) -> None:
        self.table, self.name = table, name

    def expect(self, **roles: str | None) -> None:
        """Complain where a column is out of the command's sight; what else is missing, the command says itself."""

    def stored(self, folder: Path) -> str:
        """Where the command finds it."""
        path: str = os.path.abspath(self.table)
        if not os.path.exists(path):
            raise AuditError(f"expected a file {os.fspath(self.table)} as {self.name}, found none", status=4)
        return path

    def corrected(self, table: Any, changed: Mapping[str, Any]) -> Any:
        """The training set with the values of `table` in the rows (bool[n]) of each column that changed."""
        return table

    def like(self, table: Any) -> Any:
        """An Arrow table with one row per row of this one, as a frame of this kind."""
        return table

    def _distinct(self, names: Sequence[str]) -> None:
        repeated = [name for name, n in collections.Counter(names).items() if n > 1]
        if repeated:
            raise AuditError(
                f"{self.name}: expected every column to have a name of its own, found {', '.join(map(repr, repeated))} "
                "more than once; rename or drop the others",
                status=4,
            )

    def _put(self, table: Any, folder: Path) -> str:
        from pyarrow import parquet

        try:
            parquet.write_table(table, folder / f"{self.name}.parquet")
        except Exception as error:  # a type that Parquet does not have
            raise AuditError(f"{self.name}: expected columns that Parquet can hold, found: {error}", status=4) from None
        return f"{self.name}.parquet"


class Arrow(Given):
    def stored(self, folder: Path) -> str:
        import pyarrow as pa

        self.table = self.table if isinstance(self.table, pa.Table) else pa.table(self.table)
        self._distinct(self.table.column_names)
        return self._put(self.table, folder)

    def corrected(self, table: Any, changed: Mapping[str, Any]) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        result = self.table
        for name, rows in changed.items():
            column, wanted = result[name], result.schema.field(name)
            plain = wanted.type.value_type if pa.types.is_dictionary(wanted.type) else wanted.type
            fixed = pc.if_else(rows, table[name].cast(plain), column.cast(plain))
            field = pa.field(name, wanted.type, metadata=wanted.metadata)  # a value may be missing now
            result = result.set_column(result.column_names.index(name), field, fixed.cast(wanted.type))
        return result


class Polars(Given):
    def stored(self, folder: Path) -> str:
        if hasattr(self.table, "collect"):
            self.table = self.table.collect()
        try:
            self.table.write_parquet(folder / f"{self.name}.parquet")
        except Exception as error:  # a column of Python objects
            raise AuditError(f"{self.name}: expected columns that Parquet can hold, found: {error}", status=4) from None
        return f"{self.name}.parquet"

    def like(self, table: Any) -> Any:
        return sys.modules["polars"].from_arrow(table)

    def corrected(self, table: Any, changed: Mapping[str, Any]) -> Any:
        columns = []
        for name, rows in changed.items():
            old, new, mask = self.table[name], self.like(table[name]), self.like(rows)
            cast = new.cast(old.dtype, strict=False)
            if cast.null_count() > new.null_count():  # a word that an Enum does not have
                old = old.cast(new.dtype)
                cast = new
            columns.append(cast.zip_with(mask, old).alias(name))
        return self.table.with_columns(columns)


class Pandas(Given):
    def expect(self, **roles: str | None) -> None:
        columns, index = {str(c) for c in self.table.columns}, {str(name) for name in self.table.index.names}
        for role, name in roles.items():
            if name not in columns and name in index:
                raise AuditError(
                    f"{self.name}: expected a column {role}={name!r}, found it as the index of the frame; "
                    f"pass {self.name}.reset_index()",
                    status=4,
                )

    def stored(self, folder: Path) -> str:
        import pyarrow as pa

        names = [str(name) for name in self.table.columns]
        self._distinct(names)
        columns = [self._column(self.table.iloc[:, i], name) for i, name in enumerate(names)]
        return self._put(pa.table(columns, names=names), folder)

    def like(self, table: Any) -> Any:
        frame = table.to_pandas()
        frame.index = self.table.index
        return frame

    def corrected(self, table: Any, changed: Mapping[str, Any]) -> Any:
        result = self.table.copy()
        places = {str(name): i for i, name in enumerate(result.columns)}
        for name, mask in changed.items():
            rows = mask.to_numpy(zero_copy_only=False).nonzero()[0]
            if rows.size:
                old = self.table.iloc[:, places[name]]
                result.isetitem(places[name], _replaced(old, rows, table[name].take(rows).to_pylist()))
        return result

    def _column(self, column: Any, name: str) -> Any:
        import pyarrow as pa

        if hasattr(column.dtype, "subtype") and hasattr(column, "sparse"):
            column = column.sparse.to_dense()
        try:
            values = pa.array(column, from_pandas=True)
        except (pa.ArrowException, ValueError, TypeError, OverflowError, NotImplementedError):
            kinds = sorted({type(value).__name__ for value in column[column.notna()]})
            if len(kinds) > 1:
                warnings.warn(
                    f"{self.name}: column {name!r} holds {' and '.join(kinds)}: its values are compared as text",
                    stacklevel=4,
                )
            return pa.array(_as_text(column), pa.string())
        # Periods and intervals would arrive as the numbers behind them.
        return pa.array(_as_text(column), pa.string()) if isinstance(values.type, pa.BaseExtensionType) else values


def _as_text(column: Any) -> list[str | None]:
    return [
        None if missing else value.isoformat() if hasattr(value, "isoformat") else str(value)
        for value, missing in zip(column, column.isna(), strict=True)
    ]


def _replaced(column: Any, rows: Any, values: list[Any]) -> Any:
    """The pandas column with other values in some rows, of its own type if that can hold them."""
    pandas, dtype = sys.modules["pandas"], column.dtype
    if None in values and isinstance(dtype, sys.modules["numpy"].dtype) and dtype.kind in "iub":
        dtype = "boolean" if dtype.kind == "b" else f"{'U' * (dtype.kind == 'u')}Int{dtype.itemsize * 8}"
    if hasattr(column, "cat"):
        strange = [value for value in dict.fromkeys(values) if value is not None and value not in dtype.categories]
        dtype = column.cat.add_categories(strange).dtype
    try:
        array = column.astype(dtype).array.copy()
        array[rows] = pandas.Series(values, dtype=object).astype(dtype).array
    except (ValueError, TypeError, OverflowError):
        array = column.astype(object).array.copy()
        array[rows] = pandas.Series(values, dtype=object).array
    return pandas.Series(array, index=column.index, dtype=array.dtype)


def given(table: Any, name: str) -> Given:
    if isinstance(table, (str, os.PathLike)):
        return Given(table, name)
    kinds = {(one.__module__.partition(".")[0], one.__name__) for one in type(table).__mro__}
    if ("pandas", "DataFrame") in kinds:
        return Pandas(table, name)
    if kinds & {("polars", "DataFrame"), ("polars", "LazyFrame")}:
        return Polars(table, name)
    if hasattr(table, "__arrow_c_stream__") or hasattr(table, "__arrow_c_array__"):
        return Arrow(table, name)
    raise AuditError(
        f"{name}: expected a pandas or Polars frame, an Arrow table or the path of a file, found {type(table).__name__}"
    )


def logs(log: Any) -> list[Given]:
    if not isinstance(log, (list, tuple)):
        return [given(log, "log")]
    if not log:
        raise AuditError("log: expected at least one table or path, found an empty list")
    return [given(one, f"log-{i}" if len(log) > 1 else "log") for i, one in enumerate(log, 1)]
