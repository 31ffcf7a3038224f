"""The page of operators: one place, and what each arm makes of it.

Belongs here: the cards of the page, each with a picture of the arm's first three principal components, the map of its
held-out predictions, its score and its bytes. Does not: the main page (`page.py`), the registries
(`transforms/pooling`, `transforms/upsampling`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.spatial import cKDTree

from transforms.arms import ARMS, CLAIMS, Arm
from transforms.pooling.operators import POOLING_OPERATORS
from transforms.report.data import ReportData
from transforms.report.maps import class_colors, encode_png
from transforms.report.scores import ArmScore, score_arms
from transforms.report.wording import TASK_TITLES, arm_title, metric_title, number
from transforms.tasks import Task
from transforms.upsampling.operators import UPSAMPLERS

ColorArray = npt.NDArray[np.uint8]
IntArray = npt.NDArray[np.int64]

#: Longest side of a picture; larger windows are thinned.
_MAX_SIDE_PX = 320
#: Pictures of patches are painted on cells of this pitch, each with the nearest patch: patches of two lattices overlap.
_PATCH_CELL_M = 80.0
#: Cells farther from every patch than this stay empty: half the diagonal of a patch of 320 m.
_PATCH_REACH_M = 227.0
_BYTES_PER_FLOAT = 4


@dataclass(frozen=True)
class Card:
    """One arm at one place.

    Attributes:
        arm: key of the arm.
        title: in words.
        score: primary metric with its interval, in words.
        dims: width of the features; None where the arm was not scored.
        bytes: stored bytes of one vector.
        facts: cost, what it learns from, reference; empty for natives.
        when: when to use it; empty for natives.
        components: picture, a data URI.
        classes: picture, a data URI.
        is_reference: True for the native arm.
    """

    arm: str
    title: str
    score: str
    dims: int | None
    bytes: int | None
    facts: str
    when: str
    components: str
    classes: str
    is_reference: bool


@dataclass(frozen=True)
class Sheet:
    """All arms of one task at one place.

    Attributes:
        title: the task in words.
        metric: of the scores.
        place: name and size of the window.
        year: embedding year.
        labels: picture of the labels.
        cards: natives first, then by score.
        legend: (class name, colour).
    """

    title: str
    metric: str
    place: str
    year: int
    labels: str
    cards: tuple[Card, ...]
    legend: tuple[tuple[str, str], ...]


def build_sheets(data: ReportData) -> list[Sheet]:
    """Build one sheet per task that has predictions inside a kept window."""
    rows = data.queries["predictions"].rows
    scheme = data.answering_scheme
    rows = rows.filter((pc.field("scheme") == scheme) & (pc.field("label_source") == data.label_name))
    if not rows.num_rows:
        return []
    scores = [score for score in score_arms(data) if score.scheme == scheme]
    sheets = (_build_sheet(data, task, rows.filter(pc.field("task") == task), scores) for task in CLAIMS)
    return [sheet for sheet in sheets if sheet is not None]


def _build_sheet(data: ReportData, task: Task, rows: pa.Table, scores: Sequence[ArmScore]) -> Sheet | None:
    if not rows.num_rows:
        return None
    year = pc.max(rows["year"]).as_py()
    rows = rows.filter(pc.field("year") == year)
    window, epsg = _largest_place(rows)
    rows = rows.filter((pc.field("window") == window) & (pc.field("epsg") == epsg))
    pitch_m = data.pixel_m if task == "T5" else _PATCH_CELL_M
    frame = _Frame.around(rows, pitch_m, is_dense=task == "T5")
    colors = class_colors(data.class_names)
    by_arm = {score.arm: score for score in scores if (score.task, score.year) == (task, year)}
    arms = sorted(set(rows["arm"].to_pylist()), key=lambda arm: _rank(arm, by_arm))
    facts = {row["arm"]: row for row in data.rows("cells") if row["task"] == task and row["year"] == year}
    first = rows.filter(pc.field("arm") == arms[0])
    cards = [
        _build_card(ARMS[arm], rows.filter(pc.field("arm") == arm), frame, colors, by_arm.get(arm), facts.get(arm))
        for arm in arms
    ]
    seen = sorted({int(k) for name in ("truth", "pred") for k in pc.unique(rows[name]).to_pylist() if k is not None})
    return Sheet(
        TASK_TITLES[task], metric_title(CLAIMS[task].metric), f"{window}, {frame.size()}", int(year),
        frame.draw(first, _class_colors_of(first, "truth", colors)), tuple(cards),
        tuple((data.class_names[k], colors[k]) for k in seen),
    )  # fmt: skip


def _rank(arm: str, scores: dict[str, ArmScore]) -> tuple[bool, float, str]:
    return (ARMS[arm].family != "native", -scores[arm].value if arm in scores else 0.0, arm)


def _largest_place(rows: pa.Table) -> tuple[str, int]:
    """Give the (window, zone) with the most rows: a window across two zones is two pictures."""
    counted = rows.group_by(["window", "epsg"]).aggregate([("unit_id", "count")]).to_pylist()
    best = max(counted, key=lambda row: (row["unit_id_count"], row["window"], row["epsg"]))
    return str(best["window"]), int(best["epsg"])


def _build_card(
    arm: Arm,
    rows: pa.Table,
    frame: _Frame,
    colors: Sequence[str],
    score: ArmScore | None,
    cell: dict[str, Any] | None,
) -> Card:
    rgb = np.stack([rows[band].to_numpy() for band in ("red", "green", "blue")], axis=1)
    dims = cell["dims"] if cell is not None else None
    facts, when = _describe(arm)
    words = "not scored" if score is None else f"{number(score.value)} ({number(score.lo)} to {number(score.hi)})"
    return Card(
        arm.name, arm_title(arm.name), words, dims, None if dims is None else dims * _BYTES_PER_FLOAT, facts, when,
        frame.draw(rows, rgb), frame.draw(rows, _class_colors_of(rows, "pred", colors)), arm.family == "native",
    )  # fmt: skip


def _describe(arm: Arm) -> tuple[str, str]:
    """Give what the registry says of an operator: facts, and when to use it."""
    if arm.family == "pooled":
        pooling = POOLING_OPERATORS[str(arm.operator)]
        learns = "a codebook, fitted in the fold" if pooling.is_fitted else "nothing"
        return f"cost: {pooling.cost.replace('_', ' ')}; learns: {learns}; {pooling.reference}", pooling.when
    if arm.family in ("upsampled", "guided"):
        upsampling = UPSAMPLERS[str(arm.operator)]
        return f"cost: {upsampling.cost}; learns from: {upsampling.needs}; {upsampling.reference}", upsampling.when
    return "", ""


def _class_colors_of(rows: pa.Table, column: str, colors: Sequence[str]) -> ColorArray:
    palette = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colors] + [[255, 255, 255]], np.uint8)
    ids = rows[column].fill_null(-1).to_numpy()
    return np.asarray(palette[np.where(ids < 0, len(colors), ids)])


@dataclass(frozen=True)
class _Frame:
    """The grid on which all pictures of a sheet are painted, north up.

    Attributes:
        west: x of the first column's centre, metres.
        north: y of the first row's centre, metres.
        pitch_m: of the grid.
        width: columns.
        height: rows.
        is_dense: True where every unit is one cell; else cells take the nearest unit.
    """

    west: float
    north: float
    pitch_m: float
    width: int
    height: int
    is_dense: bool

    @classmethod
    def around(cls, rows: pa.Table, pitch_m: float, *, is_dense: bool) -> _Frame:
        """Build the frame that holds all places of a table."""
        x, y = rows["x_m"].to_numpy(), rows["y_m"].to_numpy()
        width, height = (round(float(v.max() - v.min()) / pitch_m) + 1 for v in (x, y))
        return cls(float(x.min()), float(y.max()), pitch_m, width, height, is_dense)

    def size(self) -> str:
        """Spell the extent."""
        return f"{self.width * self.pitch_m / 1000:.3g} x {self.height * self.pitch_m / 1000:.3g} km, north up"

    def draw(self, rows: pa.Table, colors: ColorArray) -> str:
        """Paint one colour per row; cells without a unit are transparent."""
        picture = np.zeros((self.height, self.width, 4), np.uint8)
        row, col, unit = self._cells(rows["x_m"].to_numpy(), rows["y_m"].to_numpy())
        picture[row, col, :3] = colors[unit]
        picture[row, col, 3] = 255
        step = -(-max(picture.shape[:2]) // _MAX_SIDE_PX)
        return encode_png(picture[::step, ::step])

    def _cells(self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> tuple[IntArray, IntArray, IntArray]:
        """Give (row, column, unit) of the cells that show something."""
        if self.is_dense:
            row = np.rint((self.north - y) / self.pitch_m).astype(np.int64)
            return row, np.rint((x - self.west) / self.pitch_m).astype(np.int64), np.arange(len(x))
        row, col = (a.ravel() for a in np.mgrid[0 : self.height, 0 : self.width])
        cells = np.stack([self.west + col * self.pitch_m, self.north - row * self.pitch_m], axis=1)
        distance, unit = cKDTree(np.stack([x, y], axis=1)).query(cells, distance_upper_bound=_PATCH_REACH_M)
        near = np.flatnonzero(np.isfinite(distance))
        return row[near], col[near], unit[near].astype(np.int64)
