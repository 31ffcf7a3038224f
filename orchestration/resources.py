"""Resources: what assets are handed.

Belongs here: objects that assets need and that settings configure. Does not: asset bodies, partitions.
"""

from __future__ import annotations

import dagster as dg

from warehouse.settings import load_settings
from warehouse.store import Warehouse


class WarehouseResource(dg.ConfigurableResource):
    """The warehouse that one settings file describes.

    Attributes:
        config: path of the settings file.
    """

    config: str

    def open(self) -> Warehouse:
        """Read the settings and open the warehouse; touches no table."""
        return Warehouse(load_settings(self.config))
