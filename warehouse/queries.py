"""Running SQL on a warehouse.

Belongs here: opening its catalogue, queries and their errors. Does not: the views (`catalog.py`), the SQL (`sql/`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from transforms.errors import IsthmusError
from warehouse.catalog import open_catalog
from warehouse.catalog_files import CatalogFiles
from warehouse.errors import SourceChangedError, SourceMissingError, StoredTableError
from warehouse.file_paths import FilePath
from warehouse.sections import CompareSettings
from warehouse.table_spec import TableSpec

T = TypeVar("T")
#: How often a question to an object store is asked because a run replaces files under it.
_REPLACED_TRIES = 4


class SqlError(IsthmusError):
    """A query cannot be run. Permanent; the text is the user's."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"sql: {problem}. `show tables` lists tables, `describe <table>` lists columns.")


class Catalog:
    """The catalogue of a warehouse, for questions one after the other; open inside a `with` block.

    In an object store a run may replace files under a question. It is asked again then, on the files as they are by
    now, and never sees two versions of one.

    Args:
        root: the warehouse.
        specs: its tables.
        compare: the pair of products behind the views `pair_*`.
    """

    def __init__(self, root: FilePath, specs: Mapping[str, TableSpec], compare: CompareSettings) -> None:
        self._root = root
        self._specs = specs
        self._compare = compare
        self._opened = ExitStack()
        self._files: CatalogFiles | None = None
        self._connection: duckdb.DuckDBPyConnection | None = None

    def __enter__(self) -> Catalog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def ask(self, body: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Run a body on a connection with all views.

        Args:
            body: asks only; it may be called several times.

        Raises:
            SqlError: DuckDB refuses the text of a query.
            SourceChangedError: files were replaced again and again meanwhile.
            SourceUnavailableError, SourceRefusedError: a store does not give a file.
        """
        for _ in range(_REPLACED_TRIES):
            try:
                return body(self._open())
            except (SqlError, StoredTableError, duckdb.Error, pa.ArrowException, OSError) as error:
                failure = self._files.failure if self._files is not None else None
                self._close()
                if failure is None:
                    raise
                if not isinstance(failure, SourceChangedError | SourceMissingError):
                    raise failure from error  # DuckDB keeps only its text
        raise SourceChangedError(
            str(self._root), f"other files at each of {_REPLACED_TRIES} tries", "those of a listing"
        )

    def _open(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            self._files = CatalogFiles(self._root)
            self._connection = self._opened.enter_context(open_catalog(self._files, self._specs, self._compare))
        return self._connection

    def _close(self) -> None:
        self._connection = None
        self._opened.close()


def run_sql(
    root: FilePath,
    specs: Mapping[str, TableSpec],
    compare: CompareSettings,
    text: str,
    params: Mapping[str, object] | None = None,
) -> pa.Table:
    """Run SQL on a fresh catalogue.

    Args:
        root: the warehouse.
        specs: its tables.
        compare: the pair of products behind the views `pair_*`.
        text: one or more statements; `$name` is a parameter.
        params: values by name; parameters without a value are NULL (our SQL files then take their defaults).

    Returns:
        The rows of the last statement.

    Raises:
        SqlError: DuckDB refuses the text, or a parameter is not in it.
        SourceChangedError, SourceUnavailableError, SourceRefusedError: see `Catalog.ask`.
    """
    with Catalog(root, specs, compare) as catalog:
        return catalog.ask(lambda connection: run_on(connection, text, params))


def run_on(connection: duckdb.DuckDBPyConnection, text: str, params: Mapping[str, object] | None = None) -> pa.Table:
    """Run SQL on an open catalogue (see `run_sql`)."""
    given = dict(params or {})
    try:
        statements = connection.extract_statements(text)
        named = set().union(*(statement.named_parameters for statement in statements))
        _check_query(len(statements), named, given)
        result = None
        for statement in statements:
            values = {name: given.get(name) for name in statement.named_parameters}
            result = connection.execute(statement, values or None)
        assert result is not None
        return result.to_arrow_table()
    except duckdb.Error as error:
        raise SqlError(str(error)) from error


def iterate_on(connection: duckdb.DuckDBPyConnection, text: str) -> pa.RecordBatchReader:
    """Run one statement on an open catalogue and give its rows a batch at a time (see `run_sql`)."""
    try:
        return connection.execute(text).to_arrow_reader()
    except duckdb.Error as error:
        raise SqlError(str(error)) from error


def _check_query(n_statements: int, named: Iterable[str], given: Mapping[str, Any]) -> None:
    """Refuse an empty text and parameters that the text does not have.

    Raises:
        SqlError: either of them.
    """
    if n_statements == 0:
        raise SqlError("found no statement, expected at least one")
    unknown = sorted(set(given) - set(named))
    if unknown:
        raise SqlError(f"found parameters {unknown}, expected none but {sorted(named)}")
