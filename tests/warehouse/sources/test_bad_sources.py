"""Section 9: bad input ends in one message that names file, found, expected and fix; other files go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shapely

from transforms.lattice import LatticePlaces, enumerate_places
from transforms.utm import UtmBox
from warehouse.errors import BandCountError, SourceContentError, SourceFormatError, SourceMissingError
from warehouse.products import Product
from warehouse.source_settings import SourceSettings
from warehouse.sources.aef_cog import AefCogSource
from warehouse.sources.eg_geoparquet import read_patches
from warehouse.sources.index import read_index

GOOD, BAD = "annual/2024/48N/good.tiff", "annual/2024/48N/bad.tiff"
GOOD_BOX = UtmBox(32648, 300_000, 1_400_000, 300_960, 1_400_960)
BAD_BOX = UtmBox(32648, 200_000, 1_400_000, 200_960, 1_400_960)
EG_NAME = "48PTU_2024-01-01_2025-01-01.parquet"


@pytest.fixture
def open_pair(
    tmp_path: Path, products: dict[str, Product], write_tiff: Callable, write_index: Callable, make_aef_row: Callable
) -> Callable[..., AefCogSource]:
    """A good and a bad raster side by side in one index."""

    def build(spoil: Callable[[Path], None] | None = None, **bad: object) -> AefCogSource:
        write_tiff(tmp_path / GOOD, west=300_000.0)
        path = write_tiff(tmp_path / BAD, **bad)
        if spoil is not None:
            spoil(path)
        rows = [make_aef_row(f"s3://b/aef/v1/{GOOD}", west=300_000.0), make_aef_row(f"s3://b/aef/v1/{BAD}")]
        write_index(tmp_path / "annual/aef_index.parquet", rows)
        index = read_index(products["aef"], SourceSettings(root=tmp_path), [2024])
        assert index["path"].to_pylist() == [BAD, GOOD]
        return AefCogSource(products["aef"], tmp_path, index)

    return build


def check_only_bad_fails(source: AefCogSource, error: type[Exception], message: str) -> str:
    with pytest.raises(error, match=message) as caught:
        list(source.iter_blocks(2024, [BAD_BOX]))
    assert "bad.tiff" in str(caught.value)
    assert [w.bounds for w in source.iter_blocks(2024, [GOOD_BOX])] == [GOOD_BOX]
    return str(caught.value)


def test_truncated_cog(open_pair: Callable) -> None:
    sizes = []

    def cut(path: Path) -> None:
        data = path.read_bytes()
        sizes.append(len(data))
        path.write_bytes(data[: len(data) * 2 // 3])

    message = check_only_bad_fails(
        open_pair(cut), SourceFormatError, r"length: found \d+ bytes, expected at least \d+ bytes"
    )
    assert f"found {sizes[0] * 2 // 3} bytes, expected at least {sizes[0]} bytes" in message
    assert message.endswith("download it again.")


def test_cog_cut_inside_its_header(open_pair: Callable) -> None:
    check_only_bad_fails(
        open_pair(lambda path: path.write_bytes(path.read_bytes()[:100])),
        SourceFormatError,
        "found 100 bytes that GDAL",
    )


def test_cog_with_damaged_block(open_pair: Callable) -> None:
    def damage(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[-200:] = bytes(200)
        path.write_bytes(bytes(data))

    check_only_bad_fails(open_pair(damage), SourceFormatError, "does not decode.*download it again")


def test_63_bands(open_pair: Callable) -> None:
    check_only_bad_fails(open_pair(bands=63), BandCountError, r"bands: found 63, expected 64.*products\.toml")


def test_mixed_nodata_bands(open_pair: Callable) -> None:
    def holes(values: np.ndarray) -> None:
        values[17, 95, 2] = -128  # northernmost row, third column
        values[:60, 3, 4] = -128
        values[:, 0, 0] = -128  # proper nodata

    message = check_only_bad_fails(open_pair(change=holes), SourceContentError, "mixed nodata bands: found 2 pixels")
    assert "x 200025.0, y 1400955.0 (EPSG:32648) with 1 of 64 bands" in message
    assert "expected nodata in all bands or in none" in message


def test_index_row_without_file(open_pair: Callable) -> None:
    source = open_pair(lambda path: path.unlink())
    message = check_only_bad_fails(source, SourceMissingError, r"raw_aef__index\[2024\], row 'annual/2024/48N/bad")
    assert "remove its row from the index" in message
    with pytest.raises(SourceMissingError, match="bad"):
        source.read_window(BAD, BAD_BOX)


def test_missing_file_keeps_its_index_row(tmp_path: Path, products: dict[str, Product], open_pair: Callable) -> None:
    open_pair(lambda path: path.unlink())
    rows = read_index(products["aef"], SourceSettings(root=tmp_path), [2024]).to_pylist()
    assert [(row["size_bytes"] is None, row["etag"] is None) for row in rows] == [(True, True), (False, False)]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"dtype": "uint8", "nodata": 0}, r"data type, declared nodata: found uint8, 0\.0, expected int8, -128"),
        ({"epsg": 32647}, r"CRS: found EPSG:32647, expected EPSG:32648 \(index\)"),
        ({"west": 200_005.0}, r"bounds: found \(200005\.0.*expected \(200000\.0.*index"),
        ({"is_bottom_up": True, "south": 1_399_040.0}, "bounds"),
    ],
)
def test_headers_that_disagree_with_product_or_index(open_pair: Callable, bad: dict, message: str) -> None:
    check_only_bad_fails(open_pair(**bad), SourceFormatError, message)


@pytest.fixture
def places() -> LatticePlaces:
    return enumerate_places(102.0, 13.0, 102.02, 13.01)


def test_eg_with_383_dimensions(
    tmp_path: Path, products: dict[str, Product], write_eg: Callable, places: LatticePlaces
) -> None:
    rows = [np.ones(384, np.float32) for _ in range(len(places))]
    rows[3] = np.ones(383, np.float32)
    path = write_eg(tmp_path / EG_NAME, places, np.ones((len(places), 384)), embedding=pa.array(rows))
    with pytest.raises(SourceContentError, match="found 1 rows of 383 dimensions, expected 384 in every row") as caught:
        read_patches(path, products["eg"])
    assert str(path) in str(caught.value)


def test_eg_with_nan(tmp_path: Path, products: dict[str, Product], write_eg: Callable, places: LatticePlaces) -> None:
    vectors = np.ones((len(places), 384))
    vectors[5, 7] = np.nan
    path = write_eg(tmp_path / EG_NAME, places, vectors)
    with pytest.raises(SourceContentError, match=r"1 of \d+ rows with NaN.*row 5, element 7"):
        read_patches(path, products["eg"])


def test_eg_ids_that_disagree_with_geometry(
    tmp_path: Path, products: dict[str, Product], write_eg: Callable, places: LatticePlaces
) -> None:
    lat = places.lat.copy()
    lat[4] += 1.5 / 111_195  # 1.5 m on the sphere of radius 6,371 km
    lat[6] += 0.5 / 111_195
    lat[8] += 50 / 111_195
    geometry = pa.array(shapely.to_wkb(shapely.points(places.lon, lat)), pa.binary())
    path = write_eg(tmp_path / EG_NAME, places, np.ones((len(places), 384)), geometry=geometry)
    with pytest.raises(SourceContentError) as caught:
        read_patches(path, products["eg"])
    message = str(caught.value)
    assert f"found 2 of {len(places)} ids elsewhere than their geometry" in message
    assert "by 50.0 m" in message or "by 50.1 m" in message
    assert "expected less than 1 m" in message


def test_eg_off_the_lattice(
    tmp_path: Path, products: dict[str, Product], write_eg: Callable, places: LatticePlaces
) -> None:
    shifted = LatticePlaces(places.is_secondary, places.row, places.col, places.lon + 0.001, places.lat)
    path = write_eg(tmp_path / EG_NAME, shifted, np.ones((len(places), 384)))
    with pytest.raises(
        SourceContentError, match=r"48PTU_.*from the nearest lattice centroid.*version.*patch_geoparquet"
    ):
        read_patches(path, products["eg"])


def test_eg_without_id_column(
    tmp_path: Path, products: dict[str, Product], write_eg: Callable, places: LatticePlaces
) -> None:
    path = write_eg(tmp_path / EG_NAME, places, np.ones((len(places), 384)))
    product = products["eg"].model_copy(update={"vector_column": "vector"})
    with pytest.raises(Exception, match=r"column 'vector' is missing; found \['id', 'embedding', 'geometry'\]"):
        read_patches(path, product)
    with pytest.raises(SourceFormatError, match=r"file name: found patches\.parquet"):
        read_patches(path.rename(tmp_path / "patches.parquet"), products["eg"])


def test_truncated_parquet(
    tmp_path: Path, products: dict[str, Product], write_eg: Callable, places: LatticePlaces
) -> None:
    path = write_eg(tmp_path / EG_NAME, places, np.ones((len(places), 384)))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(
        SourceFormatError, match=r"48PTU_.*Parquet: found \d+ bytes that Arrow refuses.*Download it again"
    ):
        read_patches(path, products["eg"])
    with pytest.raises(SourceMissingError, match="no such file"):
        read_patches(tmp_path / "48PTV_2024-01-01_2025-01-01.parquet", products["eg"])
