"""What a plan is asked for: options of the command line before the settings, the settings before defaults.

Belongs here: choosing area, years and products. Does not: counting (`plan.py`), reading options
(`orchestration/plan_command.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from transforms.area import Area, area_of_boxes
from warehouse.area_of_interest import read_area
from warehouse.errors import SettingsError
from warehouse.products import Product, load_registry
from warehouse.sections import AREA_KEYS, AreaSettings, Bbox, KeepSettings, UpsampleSettings
from warehouse.settings import Settings
from warehouse.source_settings import CacheSettings, SourceSettings

#: The pair that is planned where no settings file says another.
_DEFAULT_PAIR = ("aef", "eg")
_WHO = "isthmus plan"


@dataclass(frozen=True)
class PlanRequest:
    """What is asked.

    Attributes:
        area: the area of interest.
        years: calendar years.
        products: the compared pair, or one of them.
        sources: where products are; those in local folders are counted by their index.
        keep: which pixels are stored; None = a sample that suits the area.
        upsample: which operators are stored.
        network_mb_s: assumed rate of the network, 10^6 bytes a second; 0 = files are here.
        cache_gb: size of the block cache, 10^9 bytes: what fits is fetched once.
    """

    area: Area
    years: tuple[int, ...]
    products: tuple[Product, ...]
    sources: dict[str, SourceSettings]
    keep: KeepSettings | None
    upsample: UpsampleSettings
    network_mb_s: float
    cache_gb: float


@dataclass(frozen=True)
class PlanOptions:
    """Options of `isthmus plan`; what is None or empty, the settings say.

    Attributes:
        country: name or code.
        geometry: file of polygons.
        tiles: names of MGRS squares.
        bbox: west, south, east, north in degrees.
        boundaries: file of countries.
        years: calendar years.
        network_mb_s: assumed rate of the network, 10^6 bytes a second.
    """

    country: str | None
    geometry: Path | None
    tiles: tuple[str, ...]
    bbox: Bbox | None
    boundaries: Path | None
    years: tuple[int, ...]
    network_mb_s: float

    def names_area(self) -> bool:
        """Tell whether an option says where the area is."""
        return any(getattr(self, name) for name in AREA_KEYS)


def choose_area(options: PlanOptions, settings: Settings | None) -> AreaSettings:
    """Give the area of the options, else that of the settings.

    Raises:
        SettingsError: options say no area, several, or one that cannot be.
    """
    if settings is not None and not options.names_area():
        return settings.area
    given: dict[str, Any] = {name: getattr(options, name) for name in AREA_KEYS}
    boundaries = options.boundaries or (settings.area.boundaries if settings is not None else None)
    try:
        return AreaSettings(**given, boundaries=boundaries)
    except ValidationError as error:
        problems = [item["msg"].removeprefix("Value error, ") for item in error.errors()]
        raise SettingsError("the area of isthmus plan", problems) from error


def make_request(options: PlanOptions, settings: Settings | None, area: AreaSettings) -> PlanRequest:
    """Put together what is planned; reads the file of the area.

    Args:
        options: of the command line.
        settings: of a settings file, or None.
        area: of `choose_area`.

    Raises:
        SettingsError: neither options nor settings say the years or an area.
        IsthmusError: see `read_area`.
    """
    products, sources = _choose_products(settings)
    return PlanRequest(
        area=_read_ground(area),
        years=_choose_years(options, settings),
        products=products,
        sources=sources,
        keep=settings.keep if settings is not None else None,
        upsample=settings.upsample if settings is not None else UpsampleSettings(),
        network_mb_s=options.network_mb_s,
        cache_gb=(settings.cache if settings is not None else CacheSettings()).max_gb,
    )


def _choose_years(options: PlanOptions, settings: Settings | None) -> tuple[int, ...]:
    years = options.years or (settings.years if settings is not None else ())
    if not years:
        raise SettingsError(_WHO, ["found no years, expected --years, e.g. --years 2023-2024"])
    return years


def _read_ground(settings: AreaSettings) -> Area:
    area, regions = read_area(settings), list(settings.regions.values())
    if area is None and not regions:
        raise SettingsError(_WHO, ["found no area, expected one in the settings or as an option"])
    return area if area is not None else area_of_boxes(regions)


def _choose_products(settings: Settings | None) -> tuple[tuple[Product, ...], dict[str, SourceSettings]]:
    """Give the compared products, and where they are."""
    if settings is None:
        registry = load_registry()
        return tuple(registry[name] for name in _DEFAULT_PAIR), {}
    registry = settings.registry()
    names = [name for name in (settings.compare.pixels, settings.compare.patches) if name is not None]
    return tuple(registry[name] for name in names), dict(settings.sources)
