"""`out_patch__{product}_basis` and `out_pixel__{product}_codebook`: what is fitted for maps and search, once a year.

Source: `core_{product}__patches` and the sampled pixels of `core_{product}__pixels`, all shards of one year. Grain:
component of the basis, centre of a codebook. Both have a version; rows of codes and of pooled vectors carry it. Neither
serves evidence: an evaluation fits its own inside each training fold.
"""

import dagster as dg

from orchestration.engines import EngineResource
from orchestration.partitions import YEAR_OF_PAIR, YEARS, read_key
from orchestration.pools import MEMORY
from orchestration.resources import WarehouseResource
from orchestration.results import Stopwatch, describe_written
from transforms.codebook_rows import codebook_table
from transforms.pooling.codebook import fit_codebook
from transforms.upsampled_rows import basis_rows
from warehouse.derived_schemas import fitted_columns
from warehouse.fields import sample_patch_vectors, sample_pixel_vectors
from warehouse.layout import PartitionKey
from warehouse.products import Product
from warehouse.store import Warehouse
from warehouse.writer import WrittenPartition

#: Of the draws that bases are fitted on: one basis for one set of patches.
_SEED = 0
#: Vectors that are drawn from all shards together; more change nothing that a map shows.
_SAMPLE = 50_000


def write_basis(warehouse: Warehouse, patches: Product, key: PartitionKey) -> WrittenPartition:
    """Fit and write the basis of one year, with what is lost by it; no rows where the year has no patch."""
    vectors, is_simulated = sample_patch_vectors(warehouse, patches, key.year, _SAMPLE, _SEED)
    width = min(warehouse.settings.upsample.basis_dims, patches.dims)
    rows = basis_rows(vectors, width, seed=_SEED, is_simulated=is_simulated)
    inputs = [f"core_{patches.name}__patches"]
    provenance = warehouse.product_provenance(patches, (), is_simulated=is_simulated, inputs=inputs)
    return warehouse.write(f"out_patch__{patches.name}_basis", key, rows, provenance)


def write_codebooks(warehouse: Warehouse, pixels: Product, key: PartitionKey) -> WrittenPartition:
    """Fit and write the codebooks of the stored operators that need one."""
    vectors = sample_pixel_vectors(warehouse, pixels, key.year, _SAMPLE, _SEED)
    size = warehouse.settings.pool.codebook_size
    is_simulated = warehouse.is_simulated(pixels, warehouse.read(f"raw_{pixels.name}__index"))
    codebooks = {name: fit_codebook(vectors, size, _SEED) for name in fitted_columns(warehouse.settings.pool)}
    inputs = [f"core_{pixels.name}__pixels"]
    provenance = warehouse.product_provenance(pixels, (), is_simulated=is_simulated, inputs=inputs)
    rows = codebook_table(codebooks, is_simulated=is_simulated)
    return warehouse.write(f"out_pixel__{pixels.name}_codebook", key, rows, provenance)


def build_basis_asset(patches: Product) -> dg.AssetsDefinition:
    """Declare the basis of one patch product."""

    @dg.asset(
        name=f"out_patch__{patches.name}_basis",
        deps=[dg.AssetDep(f"core_{patches.name}__patches", partition_mapping=YEAR_OF_PAIR)],
        partitions_def=YEARS,
        group_name="5_bases",
        pool=MEMORY,
        description=f"Principal components of {patches.title}: the dimensions of upsampled windows, and their loss.",
        kinds={"parquet"},
    )
    def basis(
        context: dg.AssetExecutionContext, isthmus: WarehouseResource, engine: EngineResource
    ) -> dg.MaterializeResult:
        watch = Stopwatch()
        return describe_written(engine.run(write_basis, isthmus.open(), patches, read_key(context)), watch)

    return basis


def build_codebook_asset(pixels: Product) -> dg.AssetsDefinition:
    """Declare the codebooks of one pixel product."""

    @dg.asset(
        name=f"out_pixel__{pixels.name}_codebook",
        deps=[dg.AssetDep(f"core_{pixels.name}__pixels", partition_mapping=YEAR_OF_PAIR)],
        partitions_def=YEARS,
        group_name="5_bases",
        pool=MEMORY,
        description=f"Centres of pixels of {pixels.title}, for the stored columns `vlad` and `bow`.",
        kinds={"parquet"},
    )
    def codebook(
        context: dg.AssetExecutionContext, isthmus: WarehouseResource, engine: EngineResource
    ) -> dg.MaterializeResult:
        watch = Stopwatch()
        return describe_written(engine.run(write_codebooks, isthmus.open(), pixels, read_key(context)), watch)

    return codebook
