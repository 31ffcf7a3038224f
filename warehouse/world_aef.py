"""The AlphaEarth side of a simulated world: COG tree, `.vrt` companions and both forms of the index.

Belongs here: which files there are and what they are called. Does not: vectors
(`transforms/simulation/pixel_vectors.py`), the TIFF container (`world_cog.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyproj
import shapely

from transforms.quantization import NODATA
from transforms.simulation.landscape import Landscape
from transforms.simulation.master import outline
from transforms.simulation.noise import derive_rng
from transforms.simulation.pixel_vectors import (
    DIMS,
    PixelModel,
    PixelPlaces,
    build_pixel_model,
    render_codes,
)
from transforms.simulation.pyramid import halve_sums, overview_codes, sum_codes
from transforms.simulation.spec import (
    AEF_FILE_M,
    AEF_IMAGE_M,
    PIXEL_M,
    ZONE_EDGE_LON,
    SignalStrengths,
    WorldSpec,
)
from transforms.utm import UtmBox, project, unproject
from warehouse.world_cog import CogLayout, SparseCogWriter

CodeArray = npt.NDArray[np.int8]
FloatArray = npt.NDArray[np.float32]
Progress = Callable[[float], None]

AEF_ROOT = Path("aef/v1/annual")
#: Prefix of the paths in the published index.
_PUBLISHED = "s3://us-west-2.opendata.source.coop/tge-labs/aef/v1/annual"
_FILE_PX = 8192
_BLOCK_PX = 1024
_OVERVIEW_TILE_PX = 256
_BLOCKS = _FILE_PX // _BLOCK_PX
_BLOCK_M = _BLOCK_PX * PIXEL_M
#: Overview level at which a block is one pixel.
_BLOCK_LEVEL = _BLOCK_PX.bit_length() - 1
_ZONES = (47, 48)
_NAME_LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz0123456789"))


@dataclass(frozen=True)
class AefFile:
    """One file of the tree.

    Attributes:
        year: calendar year.
        zone: UTM zone, north.
        west_m: left edge, a multiple of 81,920.
        south_m: lower edge, a multiple of 81,920.
        stem: published name without suffix.
        data: the part of the file that may hold data.
    """

    year: int
    zone: int
    west_m: float
    south_m: float
    stem: str
    data: UtmBox

    @property
    def epsg(self) -> int:
        """CRS of the file."""
        return 32600 + self.zone

    @property
    def path(self) -> Path:
        """Path of the raster below the world's root."""
        return AEF_ROOT / str(self.year) / f"{self.zone}N" / f"{self.stem}.tiff"


def list_aef_world(spec: WorldSpec, seed: int) -> list[AefFile]:
    """List the files of a world: per year and zone, the 81,920 m cells that its ground touches."""
    files = []
    for year in spec.years:
        for zone in _ZONES:
            data = _zone_extent(spec, year, zone)
            for west in _cells(data.west, data.east):
                for south in _cells(data.south, data.north):
                    stem = _stem(seed, year, zone, west, south)
                    files.append(AefFile(year, zone, west, south, stem, data))
    return files


def write_aef_world(
    root: Path,
    landscape: Landscape,
    strengths: SignalStrengths,
    seed: int,
    pool: ThreadPoolExecutor,
    progress: Progress,
) -> None:
    """Write all rasters, their `.vrt` and the two index files.

    Args:
        root: the world's root.
        landscape: the ground.
        strengths: of the pixel vectors.
        seed: the world's seed.
        pool: threads that compute and compress.
        progress: called with the share done.
    """
    files = list_aef_world(landscape.spec, seed)
    total = sum(len(_touched_blocks(file)) for file in files)
    done = 0
    for year in landscape.spec.years:
        model = build_pixel_model(landscape, strengths, seed, year)
        for file in (file for file in files if file.year == year):
            for _ in _write_file(root, file, landscape, model, seed, pool):
                done += 1
                progress(done / total)
    _write_index(root, files)


def _write_file(
    root: Path, file: AefFile, landscape: Landscape, model: PixelModel, seed: int, pool: ThreadPoolExecutor
) -> Iterator[None]:
    """Write one raster and its `.vrt`; yields after each block."""
    path = root / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    layout = CogLayout(
        size=_FILE_PX, tile=_BLOCK_PX, overview_tile=_OVERVIEW_TILE_PX, bands=DIMS, nodata=NODATA, epsg=file.epsg,
        west_m=file.west_m, south_m=file.south_m, pixel_m=PIXEL_M,
        band_names=[f"A{band:02d}" for band in range(DIMS)],
    )  # fmt: skip
    codes = np.empty((DIMS, _BLOCK_PX, _BLOCK_PX), np.int8)
    with SparseCogWriter(path, layout, pool) as writer:
        overviews = _Overviews(writer)
        for row, col in _touched_blocks(file):
            places = _block_places(file, landscape, row, col)
            bands = places.split(2)
            list(
                pool.map(
                    lambda part: render_codes(landscape, model, part[1], seed, file.year, codes[:, part[0]]),
                    bands,
                )
            )
            writer.write_tile(0, row, col, codes)
            overviews.add(row, col, codes, pool)
            yield
        overviews.close()
    path.with_suffix(".vrt").write_text(_vrt(file, layout))


class _Overviews:
    """Writes the overviews of a file, block by block."""

    def __init__(self, writer: SparseCogWriter) -> None:
        self._writer = writer
        self._shared: dict[tuple[int, int, int], CodeArray] = {}
        self._block_sums = np.zeros((DIMS, _BLOCKS, _BLOCKS), np.float32)

    def add(self, row: int, col: int, codes: CodeArray, pool: ThreadPoolExecutor) -> None:
        """Add a full-resolution block."""
        halves = np.array_split(codes, 2)
        sums = np.concatenate(list(pool.map(sum_codes, halves)))
        for level in range(1, _BLOCK_LEVEL + 1):
            if level > 1:
                sums = halve_sums(sums)
            self._place(level, row, col, overview_codes(sums))
        self._block_sums[:, row, col] = sums[:, 0, 0]

    def close(self) -> None:
        """Write the tiles that several blocks share, and the levels in which a block is less than a pixel."""
        for (level, row, col), codes in self._shared.items():
            self._writer.write_tile(level, row, col, codes)
        sums, level = self._block_sums, _BLOCK_LEVEL
        while sums.shape[1] > 1:
            sums, level = halve_sums(sums), level + 1
            self._writer.write_tile(level, 0, 0, overview_codes(sums))

    def _place(self, level: int, row: int, col: int, codes: CodeArray) -> None:
        """Write the tiles that a block fills alone; keep its part of a tile that it shares."""
        edge, tile = codes.shape[1], min(_OVERVIEW_TILE_PX, _FILE_PX >> level)
        if edge >= tile:
            per_block = edge // tile
            for i, j in np.ndindex(per_block, per_block):
                part = codes[:, i * tile : (i + 1) * tile, j * tile : (j + 1) * tile]
                self._writer.write_tile(level, row * per_block + i, col * per_block + j, part)
            return
        per_tile = tile // edge
        key = (level, row // per_tile, col // per_tile)
        shared = self._shared.setdefault(key, np.full((DIMS, tile, tile), NODATA, np.int8))
        i, j = (row % per_tile) * edge, (col % per_tile) * edge
        shared[:, i : i + edge, j : j + edge] = codes


def _zone_extent(spec: WorldSpec, year: int, zone: int) -> UtmBox:
    """Give the bounds of a year's ground within a zone and its overlap past the zone's edge."""
    epsg = 32600 + zone
    west, south, east, north = spec.year_bbox(year)
    # generously in degrees, exactly per row in `_block_places`
    overlap_deg = spec.overlap_m / 100_000.0
    if zone == _ZONES[0]:
        east = min(east, ZONE_EDGE_LON + overlap_deg)
    else:
        west = max(west, ZONE_EDGE_LON - overlap_deg)
    x, y = outline((west, south, east, north), epsg)
    return UtmBox(epsg, float(x.min()), float(y.min()), float(x.max()), float(y.max()))


def _block_places(file: AefFile, landscape: Landscape, row: int, col: int) -> PixelPlaces:
    """Locate the pixels of a block on the master grid, and where the zone's file ends in each row."""
    west, south = file.west_m + col * _BLOCK_M, file.south_m + row * _BLOCK_M
    rows, cols = landscape.grid.window_positions((west, south), (PIXEL_M, PIXEL_M), (_BLOCK_PX, _BLOCK_PX), file.epsg)
    edge = ((_zone_edge_x(file, south) - west) / PIXEL_M).astype(np.int64)
    reach = round(landscape.spec.overlap_m / PIXEL_M)
    is_west = file.zone == _ZONES[0]
    first = np.zeros_like(edge) if is_west else edge - reach
    last = edge + reach if is_west else np.full_like(edge, _BLOCK_PX)
    return PixelPlaces(file.epsg, west, south, rows, cols, first, last)


def _zone_edge_x(file: AefFile, south: float) -> npt.NDArray[np.float64]:
    """Give x of the zone's edge at the centres of a block's rows (the meridian, interpolated)."""
    y = south + (np.arange(_BLOCK_PX) + 0.5) * PIXEL_M
    ends = np.array([south, south + _BLOCK_M])
    _, lat = unproject(np.full(2, file.data.west), ends, file.epsg)
    lat = np.linspace(lat[0] - 0.01, lat[1] + 0.01, 17)
    edge_x, edge_y = project(np.full(17, ZONE_EDGE_LON), lat, file.epsg)
    return np.interp(y, edge_y, edge_x)


def _touched_blocks(file: AefFile) -> list[tuple[int, int]]:
    """List (row, column) of the blocks that may hold data."""
    box = file.data
    return [
        (row, col)
        for row in range(_BLOCKS)
        for col in range(_BLOCKS)
        if box.intersects(
            UtmBox(
                file.epsg,
                file.west_m + col * _BLOCK_M,
                file.south_m + row * _BLOCK_M,
                file.west_m + (col + 1) * _BLOCK_M,
                file.south_m + (row + 1) * _BLOCK_M,
            )
        )
    ]


def _cells(low: float, high: float) -> list[float]:
    """Lower edges of the 81,920 m cells that an interval touches."""
    return [k * AEF_FILE_M for k in range(int(low // AEF_FILE_M), int(np.ceil(high / AEF_FILE_M)))]


def _stem(seed: int, year: int, zone: int, west: float, south: float) -> str:
    """Name a file as Earth Engine exports do: image name, then offsets in y and x within the image."""
    rng = derive_rng(seed, "image", year, zone, int(west // AEF_IMAGE_M), int(south // AEF_IMAGE_M))
    image = "x" + "".join(rng.choice(_NAME_LETTERS, 16))
    y_offset, x_offset = (round(edge % AEF_IMAGE_M / PIXEL_M) for edge in (south, west))
    return f"{image}-{y_offset:010d}-{x_offset:010d}"


def _vrt(file: AefFile, layout: CogLayout) -> str:
    """Describe the raster turned north-up, as the published companions do."""
    north = file.south_m + AEF_FILE_M
    step = layout.pixel_m
    wkt = pyproj.CRS.from_epsg(file.epsg).to_wkt("WKT1_GDAL").replace('"', "&quot;")
    bands = "\n".join(
        f'  <VRTRasterBand dataType="Int8" band="{k + 1}" subClass="VRTWarpedRasterBand">'
        f"<Description>{name}</Description><NoDataValue>{layout.nodata}</NoDataValue></VRTRasterBand>"
        for k, name in enumerate(layout.band_names)
    )
    mapping = "\n".join(
        f'      <BandMapping src="{k}" dst="{k}"><SrcNoDataReal>{layout.nodata}</SrcNoDataReal>'
        f"<SrcNoDataImag>0</SrcNoDataImag><DstNoDataReal>{layout.nodata}</DstNoDataReal>"
        f"<DstNoDataImag>0</DstNoDataImag></BandMapping>"
        for k in range(1, layout.bands + 1)
    )
    source = f"{file.west_m}, {step}, 0, {file.south_m}, 0, {step}"
    source_inverse = f"{-file.west_m / step}, {1 / step}, 0, {-file.south_m / step}, 0, {1 / step}"
    target = f"{file.west_m}, {step}, 0, {north}, 0, {-step}"
    target_inverse = f"{-file.west_m / step}, {1 / step}, 0, {north / step}, 0, {-1 / step}"
    return f"""<VRTDataset rasterXSize="{layout.size}" rasterYSize="{layout.size}" subClass="VRTWarpedDataset">
  <SRS dataAxisToSRSAxisMapping="1,2">{wkt}</SRS>
  <GeoTransform>{target}</GeoTransform>
{bands}
  <BlockXSize>512</BlockXSize>
  <BlockYSize>512</BlockYSize>
  <GDALWarpOptions>
    <WarpMemoryLimit>6.71089e+07</WarpMemoryLimit>
    <ResampleAlg>NearestNeighbour</ResampleAlg>
    <WorkingDataType>Int8</WorkingDataType>
    <Option name="INIT_DEST">NO_DATA</Option>
    <Option name="UNIFIED_SRC_NODATA">YES</Option>
    <SourceDataset relativeToVRT="1">{file.stem}.tiff</SourceDataset>
    <Transformer>
      <GenImgProjTransformer>
        <SrcGeoTransform>{source}</SrcGeoTransform>
        <SrcInvGeoTransform>{source_inverse}</SrcInvGeoTransform>
        <DstGeoTransform>{target}</DstGeoTransform>
        <DstInvGeoTransform>{target_inverse}</DstInvGeoTransform>
      </GenImgProjTransformer>
    </Transformer>
    <BandList>
{mapping}
    </BandList>
  </GDALWarpOptions>
</VRTDataset>
"""


def _write_index(root: Path, files: Sequence[AefFile]) -> None:
    """Write the index in both published forms: geometry column `geom` in one, `geometry` in the other."""
    shapes = [_outline_degrees(file) for file in files]
    plain = gpd.GeoDataFrame(
        pd.DataFrame(
            [{"fid": k} | _index_row(f, shape) for k, (f, shape) in enumerate(zip(files, shapes, strict=True))]
        ),
        geometry=gpd.GeoSeries(shapes, crs=4326),
    ).rename_geometry("geom")
    plain.to_parquet(root / AEF_ROOT / "aef_index.parquet", index=False)
    stac = gpd.GeoDataFrame(
        pd.DataFrame([_stac_row(f, shape) for f, shape in zip(files, shapes, strict=True)]),
        geometry=gpd.GeoSeries(shapes, crs=4326),
    )
    stac.to_parquet(root / AEF_ROOT / "aef_index_stac_geoparquet.parquet", index=False)


def _outline_degrees(file: AefFile) -> shapely.Polygon:
    west, south = file.west_m, file.south_m
    east, north = west + AEF_FILE_M, south + AEF_FILE_M
    lon, lat = unproject([west, east, east, west], [south, south, north, north], file.epsg)
    return shapely.Polygon(np.stack([lon, lat], axis=-1))


def _index_row(file: AefFile, shape: shapely.Polygon) -> dict[str, Any]:
    west, south, east, north = shape.bounds
    return {
        "crs": f"EPSG:{file.epsg}",
        "year": file.year,
        "utm_zone": f"{file.zone}N",
        "utm_west": file.west_m,
        "utm_south": file.south_m,
        "utm_east": file.west_m + AEF_FILE_M,
        "utm_north": file.south_m + AEF_FILE_M,
        "wgs84_west": west,
        "wgs84_south": south,
        "wgs84_east": east,
        "wgs84_north": north,
        "path": _published_path(file),
    }


def _stac_row(file: AefFile, shape: shapely.Polygon) -> dict[str, Any]:
    west, south, east, north = shape.bounds
    href = _published_path(file)
    media_type = "image/tiff; application=geotiff; profile=cloud-optimized"
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": f"{file.year}-{file.zone}N-{file.stem}",
        "collection": "aef-v1-annual",
        "bbox": {"xmin": west, "ymin": south, "xmax": east, "ymax": north},
        "datetime": pd.Timestamp(year=file.year, month=1, day=1, tz="UTC"),
        "proj:epsg": file.epsg,
        "links": [],
        "assets": {"data": {"href": href, "type": media_type, "roles": ["data"]}},
    }


def _published_path(file: AefFile) -> str:
    return f"{_PUBLISHED}/{file.path.relative_to(AEF_ROOT).as_posix()}"
