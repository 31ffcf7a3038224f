"""What the report is made of: query results, and what the settings say about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.arms import CLAIMS
from transforms.fold_plan import ANSWERING_SCHEMES
from transforms.projection import Projection


@dataclass(frozen=True)
class Query:
    """One query that was run for the report.

    Attributes:
        name: file name below `sql/report`.
        text: the SQL as it was run.
        rows: its result.
    """

    name: str
    text: str
    rows: pa.Table


@dataclass(frozen=True)
class ProductFacts:
    """A compared product, as the registry has it."""

    name: str
    title: str
    grain: str
    producer: str
    model: str
    dims: int
    bytes_per_km2: float
    licence: str
    attribution: str


@dataclass(frozen=True)
class ReportData:
    """Everything that the page shows.

    Attributes:
        name: of the settings.
        years: embedding years of the settings.
        products: the compared products.
        label_name: label source that the questions were asked of; empty without evaluation.
        label_title: its title.
        attributions: of the label sources.
        class_names: in the order of class ids.
        schemes: fold schemes, in the order of the settings.
        diagnostic: why results are a diagnostic; empty: they may be a verdict.
        pixel_m: pitch of the mapped pixels, metres.
        seed: of the bootstrap behind the bars.
        queries: results by name.
    """

    name: str
    years: tuple[int, ...]
    products: tuple[ProductFacts, ...]
    label_name: str
    label_title: str
    attributions: tuple[str, ...]
    class_names: tuple[str, ...]
    schemes: tuple[str, ...]
    diagnostic: str
    pixel_m: float
    seed: int
    queries: Mapping[str, Query]

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Give the rows of a query."""
        rows: list[dict[str, Any]] = self.queries[name].rows.to_pylist()
        return rows

    @property
    def is_simulated(self) -> bool:
        """Tell whether anything in the report derives from simulated data."""
        return any(row["is_simulated"] for row in self.rows("simulated"))

    @property
    def answering_scheme(self) -> str:
        """The scheme that answers the questions: the first that may, else the first of all; empty without any."""
        may = [scheme for scheme in self.schemes if scheme in ANSWERING_SCHEMES]
        return next(iter([*may, *self.schemes]), "")

    def is_current(self, row: Mapping[str, Any]) -> bool:
        """Tell whether a row of evidence is about the label source of the settings."""
        return bool(row["label_source"] == self.label_name)


@dataclass(frozen=True)
class LabelPicture:
    """Vectors of labelled patches on a plane.

    Attributes:
        projection: n patches on a plane.
        flags: bool (n, k), which classes each has.
        n_labelled: patches that were drawn from.
    """

    projection: Projection
    flags: npt.NDArray[np.bool_]
    n_labelled: int


@dataclass(frozen=True)
class Contrast:
    """One row of `out_probe__contrasts`; values may be None or NaN where nothing could be computed."""

    year: int
    question: str
    scheme: str
    metric: str
    arm: str
    reference: str
    arm_value: float | None
    reference_value: float | None
    delta: float | None
    lo: float | None
    hi: float | None
    margin: float | None
    verdict: str | None
    is_primary: bool
    n_blocks: int | None
    block_wins: int | None
    p_holm: float | None
    status: str | None
    note: str | None


def read_contrasts(data: ReportData) -> list[Contrast]:
    """Read the contrasts of the settings' label source, in stored order."""
    names = Contrast.__dataclass_fields__
    known = {claim.question for claim in CLAIMS.values()}
    return [
        Contrast(**{name: row[name] for name in names})
        for row in data.rows("contrasts")
        if data.is_current(row) and row["question"] in known
    ]
