"""Maps side by side: labels, two predictions, and where they differ, as PNG in data URIs.

Belongs here: pixels in rows to pictures. Does not: choosing the arms (`page.py`).
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.image
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

ColorArray = npt.NDArray[np.uint8]
ClassArray = npt.NDArray[np.int16]

#: Paul Tol's "muted" qualitative scheme, safe for colour-blind readers (https://personal.sron.nl/~pault/).
_PALETTE = {
    "rose": "#cc6677",
    "indigo": "#332288",
    "sand": "#ddcc77",
    "green": "#117733",
    "cyan": "#88ccee",
    "wine": "#882255",
    "teal": "#44aa99",
    "olive": "#999933",
    "purple": "#aa4499",
    "grey": "#bbbbbb",
}
#: Colours that readers expect; tried in this order, each colour once.
_EXPECTED = (
    ("water", "cyan"),
    ("river", "cyan"),
    ("mangrove", "teal"),
    ("wetland", "indigo"),
    ("flood", "indigo"),
    ("tree", "green"),
    ("forest", "green"),
    ("crop", "sand"),
    ("field", "sand"),
    ("grass", "olive"),
    ("pasture", "olive"),
    ("built", "rose"),
    ("urban", "rose"),
    ("residential", "rose"),
    ("road", "wine"),
    ("highway", "wine"),
    ("shrub", "purple"),
    ("bare", "grey"),
)
#: Agreement of two arms with the labels: both right, only the first, only the second, neither; nodata.
AGREEMENT = (
    ("both right", "#e4e4de"),
    ("only native right", "#0072b2"),
    ("only upsampled right", "#e69f00"),
    ("both wrong", "#6b6b6b"),
)
#: Larger windows are thinned to this many pixels a side.
_MAX_SIDE_PX = 800


@dataclass(frozen=True)
class MapPanel:
    """One picture.

    Attributes:
        caption: what it shows.
        alt: what a reader who cannot see it should know.
        uri: PNG as a data URI.
    """

    caption: str
    alt: str
    uri: str


@dataclass(frozen=True)
class MapStrip:
    """The pictures of one window, with their legends.

    Attributes:
        window: name.
        size: extent and pixel pitch in words.
        panels: labels, native, upsampled, difference.
        legend: (class name, colour) of the classes that occur.
        shares: (agreement, colour, share of the pixels).
        is_magnified: whether a pixel is larger than a screen pixel.
    """

    window: str
    size: str
    panels: tuple[MapPanel, ...]
    legend: tuple[tuple[str, str], ...]
    shares: tuple[tuple[str, str, float], ...]
    is_magnified: bool


def class_colors(names: Sequence[str]) -> list[str]:
    """Choose one colour per class: the expected one where the name gives a hint, else the next free one."""
    chosen: dict[int, str] = {}
    free = dict(_PALETTE)
    for hint, color in _EXPECTED:
        for index, name in enumerate(names):
            if index not in chosen and color in free and hint in name.lower():
                chosen[index] = free.pop(color)
    spare = list(free.values()) or list(_PALETTE.values())
    for count, index in enumerate(i for i in range(len(names)) if i not in chosen):
        chosen[index] = spare[count % len(spare)]
    return [chosen[index] for index in range(len(names))]


def encode_png(picture: ColorArray) -> str:
    """Give uint8 (height, width, 4) colours as a PNG in a data URI."""
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, np.ascontiguousarray(picture), format="png", pil_kwargs={"optimize": True})
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def draw_maps(
    native: pa.Table, upsampled: pa.Table, class_names: Sequence[str], pixel_m: float, titles: tuple[str, str]
) -> MapStrip | None:
    """Draw the window with the most pixels that both arms predict.

    Args:
        native: rows of `out_probe__predictions` of one arm: window, epsg, x_m, y_m, truth, pred.
        upsampled: the same of the other arm.
        class_names: in the order of class ids.
        pixel_m: pixel pitch, metres.
        titles: names of the two arms.

    Returns:
        The pictures, or None where the arms share no window.
    """
    place = _largest_window(native, upsampled)
    if place is None:
        return None
    grids = _to_grids(_of_window(native, place), _of_window(upsampled, place), pixel_m)
    colors = class_colors(class_names)
    truth, first, second = (_thin(grid) for grid in grids)
    agreement = _agreement(truth, first, second)
    known = agreement >= 0
    shares = tuple(
        (name, color, float((agreement[known] == code).mean())) for code, (name, color) in enumerate(AGREEMENT)
    )
    panels = (
        _panel("Labels", truth, colors, "Class of the label source at each pixel."),
        _panel(titles[0], first, colors, f"Held-out prediction of {titles[0]}."),
        _panel(titles[1], second, colors, f"Held-out prediction of {titles[1]}."),
        _panel(
            "Difference",
            agreement,
            [color for _, color in AGREEMENT],
            "; ".join(f"{name} {share:.0%}" for name, _, share in shares),
        ),
    )
    present = sorted({int(v) for grid in (truth, first, second) for v in np.unique(grid) if v >= 0})
    height, width = grids[0].shape
    size = f"{width * pixel_m / 1000:.3g} x {height * pixel_m / 1000:.3g} km, {pixel_m:g} m pixels, north up"
    legend = tuple((class_names[k], colors[k]) for k in present)
    return MapStrip(place[0], size, panels, legend, shares, max(truth.shape) < 400)


def _largest_window(native: pa.Table, upsampled: pa.Table) -> tuple[str, int] | None:
    """Give (window, epsg) of the shared window with the most pixels; a window across two zones is two."""
    pairs = [set(zip(t["window"].to_pylist(), t["epsg"].to_pylist(), strict=True)) for t in (native, upsampled)]
    shared = sorted(place for place in pairs[0] & pairs[1] if place[0])
    return max(shared, key=lambda place: _of_window(native, place).num_rows, default=None)


def _of_window(table: pa.Table, place: tuple[str, int]) -> pa.Table:
    return table.filter((pc.field("window") == place[0]) & (pc.field("epsg") == place[1]))


def _to_grids(native: pa.Table, upsampled: pa.Table, pixel_m: float) -> tuple[ClassArray, ClassArray, ClassArray]:
    """Put labels and both predictions on one north-up grid; -1 where there is no pixel."""
    x = np.concatenate([t["x_m"].to_numpy() for t in (native, upsampled)])
    y = np.concatenate([t["y_m"].to_numpy() for t in (native, upsampled)])
    col = np.rint((x - x.min()) / pixel_m).astype(np.int64)
    row = np.rint((y.max() - y) / pixel_m).astype(np.int64)
    shape = (int(row.max()) + 1, int(col.max()) + 1)
    split = native.num_rows

    def grid(part: slice, values: npt.NDArray[np.int16]) -> ClassArray:
        filled = np.full(shape, -1, np.int16)
        filled[row[part], col[part]] = values
        return filled

    truth = grid(slice(None), np.concatenate([t["truth"].fill_null(-1).to_numpy() for t in (native, upsampled)]))
    first = grid(slice(0, split), native["pred"].to_numpy())
    second = grid(slice(split, None), upsampled["pred"].to_numpy())
    return truth, first, second


def _thin(grid: ClassArray) -> ClassArray:
    step = -(-max(grid.shape) // _MAX_SIDE_PX)
    return grid[::step, ::step]


def _agreement(truth: ClassArray, first: ClassArray, second: ClassArray) -> ClassArray:
    """Code each pixel by index in `AGREEMENT`; -1 where one of the three is missing."""
    code = np.where(first == truth, np.where(second == truth, 0, 1), np.where(second == truth, 2, 3))
    return np.where((truth < 0) | (first < 0) | (second < 0), -1, code).astype(np.int16)


def _panel(caption: str, grid: ClassArray, colors: Sequence[str], alt: str) -> MapPanel:
    lookup = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] + [255] for c in colors] + [[0, 0, 0, 0]], np.uint8)
    return MapPanel(caption, f"Map. {alt}", encode_png(lookup[np.where(grid < 0, len(colors), grid)]))
