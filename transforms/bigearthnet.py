"""The nomenclatures of BigEarthNet: 43 CORINE classes of level 3, and the 19 classes that they are merged to.

Belongs here: class names, the map between them, names to flags. Does not: reading patches or metadata
(`warehouse/sources/bigearthnet.py`).

Source: Sumbul et al. 2020, "BigEarthNet Dataset with A New Class-Nomenclature for Remote Sensing Image
Understanding", arXiv 2001.06372, table 1; names as in the published label files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from transforms.errors import IsthmusError

_AGRICULTURE = "Land principally occupied by agriculture, with significant areas of natural vegetation"
_GRASSLAND = "Natural grassland and sparsely vegetated areas"
_MOORS = "Moors, heathland and sclerophyllous vegetation"

#: Each of the 43 CORINE classes, in the order of their codes, with the one of the 19 that it is merged to; None =
#: left out of the 19.
MERGED_CLASS = MappingProxyType(
    {
        "Continuous urban fabric": "Urban fabric",
        "Discontinuous urban fabric": "Urban fabric",
        "Industrial or commercial units": "Industrial or commercial units",
        "Road and rail networks and associated land": None,
        "Port areas": None,
        "Airports": None,
        "Mineral extraction sites": None,
        "Dump sites": None,
        "Construction sites": None,
        "Green urban areas": None,
        "Sport and leisure facilities": None,
        "Non-irrigated arable land": "Arable land",
        "Permanently irrigated land": "Arable land",
        "Rice fields": "Arable land",
        "Vineyards": "Permanent crops",
        "Fruit trees and berry plantations": "Permanent crops",
        "Olive groves": "Permanent crops",
        "Pastures": "Pastures",
        "Annual crops associated with permanent crops": "Permanent crops",
        "Complex cultivation patterns": "Complex cultivation patterns",
        _AGRICULTURE: _AGRICULTURE,
        "Agro-forestry areas": "Agro-forestry areas",
        "Broad-leaved forest": "Broad-leaved forest",
        "Coniferous forest": "Coniferous forest",
        "Mixed forest": "Mixed forest",
        "Natural grassland": _GRASSLAND,
        "Moors and heathland": _MOORS,
        "Sclerophyllous vegetation": _MOORS,
        "Transitional woodland/shrub": "Transitional woodland, shrub",
        "Beaches, dunes, sands": "Beaches, dunes, sands",
        "Bare rock": None,
        "Sparsely vegetated areas": _GRASSLAND,
        "Burnt areas": None,
        "Inland marshes": "Inland wetlands",
        "Peatbogs": "Inland wetlands",
        "Salt marshes": "Coastal wetlands",
        "Salines": "Coastal wetlands",
        "Intertidal flats": None,
        "Water courses": "Inland waters",
        "Water bodies": "Inland waters",
        "Coastal lagoons": "Marine waters",
        "Estuaries": "Marine waters",
        "Sea and ocean": "Marine waters",
    }
)
CLASSES_43 = tuple(MERGED_CLASS)
#: In the published order, which is that of the first CORINE class of each.
CLASSES_19 = tuple(dict.fromkeys(name for name in MERGED_CLASS.values() if name is not None))
#: CORINE classes that the 19 leave out.
DROPPED_CLASSES = tuple(name for name, merged in MERGED_CLASS.items() if merged is None)


class UnknownClassError(IsthmusError):
    """A class name is none of BigEarthNet's. Permanent."""

    def __init__(self, name: str, n_classes: int) -> None:
        super().__init__(
            f"BigEarthNet class: found {name!r}, expected one of the {n_classes} published names. "
            "Is the file damaged, or from another data set? See transforms/bigearthnet.py for the names."
        )


def merge_class(name: str) -> str | None:
    """Give the one of the 19 classes that a CORINE class belongs to; None where it is dropped.

    Raises:
        UnknownClassError: `name` is none of the 43.
    """
    if name not in MERGED_CLASS:
        raise UnknownClassError(name, len(CLASSES_43))
    return MERGED_CLASS[name]


def flag_classes(labels: Sequence[Iterable[str]], n_classes: int) -> npt.NDArray[np.bool_]:
    """Turn the class names of patches into flags.

    Args:
        labels: names of one nomenclature per patch; the 43 names are merged where 19 classes are asked for.
        n_classes: 19 or 43, columns in the order of `CLASSES_19` or `CLASSES_43`.

    Returns:
        bool (n, n_classes); a patch all of whose classes are dropped has none.

    Raises:
        UnknownClassError: a name is not of the nomenclature; names of the 19 cannot be told apart into 43.
    """
    names = CLASSES_19 if n_classes == len(CLASSES_19) else CLASSES_43
    column = {name: number for number, name in enumerate(names)}
    flags = np.zeros((len(labels), len(names)), bool)
    for row, of_patch in enumerate(labels):
        for name in of_patch:
            merged = merge_class(name) if n_classes == len(CLASSES_19) and name not in column else name
            if merged is None:
                continue
            if merged not in column:
                raise UnknownClassError(name, n_classes)
            flags[row, column[merged]] = True
    return flags
