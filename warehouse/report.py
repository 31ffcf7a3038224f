"""The report as files: queries on the catalogue, and HTML pages beside the warehouse.

Belongs here: running `sql/report` and writing the pages. Does not: what they say (`transforms/report/`).
"""

from __future__ import annotations

from collections.abc import Mapping

from transforms.report import (
    Links,
    ProductFacts,
    Query,
    ReportData,
    render_labels,
    render_operators,
    render_report,
    render_study,
)
from transforms.report.labels import labels_year
from warehouse.file_access import remove_files
from warehouse.file_paths import FilePath
from warehouse.products import Product, find_product
from warehouse.projections import picture_labels
from warehouse.queries import Catalog, run_on
from warehouse.settings import Settings
from warehouse.sql_files import list_sql, read_sql
from warehouse.store import Warehouse
from warehouse.table_spec import TableSpec
from warehouse.unfinished import replace_file
from warehouse.write_errors import write_errors

#: Pitch of mapped pixels where no pixel product is compared.
_DEFAULT_PIXEL_M = 10.0


def write_report(settings: Settings, root: FilePath, specs: Mapping[str, TableSpec], path: FilePath) -> FilePath:
    """Write the report and its further pages; old ones are replaced atomically.

    The page of operators needs a mapped place, the page of labels scores on several labels a patch, the page of the
    study any scores.

    Args:
        settings: names the products, labels and fold schemes.
        root: the warehouse.
        specs: its tables.
        path: target; folders are made.

    Returns:
        `path`: an HTML file that opens offline. Beside it stand `{stem}_operators.html`,
            `{stem}_labels.html` and `{stem}_study.html`.

    Raises:
        DiskFullError: there is no room.
        NotWritableError: this user may not write there, or nobody may.
    """
    data = read_report_data(settings, root, specs)
    links = Links(
        operators=_write_further(path, "operators", render_operators(data, path.name)),
        labels=_write_further(path, "labels", _render_labels(settings, data, path.name)),
        study=_write_further(path, "study", render_study(data, path.name)),
    )
    _replace(path, render_report(data, links))
    return path


def _render_labels(settings: Settings, data: ReportData, main_page: str) -> str:
    """Render the page of labels; vectors are read only where it has scores."""
    year = labels_year(data)
    return render_labels(data, picture_labels(Warehouse(settings), year), main_page) if year is not None else ""


def _write_further(main: FilePath, name: str, page: str) -> str:
    """Write a further page, or remove an old one that has nothing to say any more; give its relative address."""
    path = main.with_name(f"{main.stem}_{name}.html")
    if not page:
        remove_files([path])
        return ""
    _replace(path, page)
    return path.name


def _replace(path: FilePath, page: str) -> None:
    with replace_file(path, "report") as temporary, write_errors("report", path):
        temporary.write_text(page, encoding="utf-8")


def read_report_data(settings: Settings, root: FilePath, specs: Mapping[str, TableSpec]) -> ReportData:
    """Run the queries of the report; tables that are not stored yet count as empty."""
    registry = settings.registry()
    pair = [name for name in (settings.compare.pixels, settings.compare.patches) if name is not None]
    products = [find_product(registry, name) for name in pair]
    evaluate = settings.evaluate
    label_name = evaluate.label if evaluate is not None else ""
    label = settings.labels.get(label_name)
    return ReportData(
        name=settings.name,
        years=settings.years,
        products=tuple(_product_facts(product) for product in products),
        label_name=label_name,
        label_title=(label.title or label_name) if label is not None else "",
        attributions=tuple(item.attribution for item in settings.labels.values() if item.attribution),
        class_names=tuple(label.classes) if label is not None else (),
        schemes=evaluate.schemes if evaluate is not None else (),
        diagnostic=evaluate.diagnostic if evaluate is not None else "",
        pixel_m=next((p.pixel_m for p in products if p.pixel_m is not None), _DEFAULT_PIXEL_M),
        seed=evaluate.seed if evaluate is not None else 0,
        queries=_run_queries(settings, root, specs),
    )


def _run_queries(settings: Settings, root: FilePath, specs: Mapping[str, TableSpec]) -> dict[str, Query]:
    texts = {name: read_sql("report", name).text for name in list_sql("report")}
    with Catalog(root, specs, settings.compare) as catalog:
        return catalog.ask(
            lambda connection: {name: Query(name, text, run_on(connection, text)) for name, text in texts.items()}
        )


def _product_facts(product: Product) -> ProductFacts:
    return ProductFacts(
        name=product.name,
        title=product.title,
        grain=product.grain,
        producer=product.producer,
        model=product.model,
        dims=product.dims,
        bytes_per_km2=product.bytes_per_km2,
        licence=product.licence,
        attribution=product.attribution,
    )
