"""What Dagster's history says of partitions. No deferred annotations: Dagster reads those of assets."""

import dagster as dg
import pytest

from orchestration.partition_failures import find_failures
from orchestration.partitions import YEAR_SHARDS, format_key
from warehouse.layout import PartitionKey

GOOD, BAD = PartitionKey(2024, "47PRP"), PartitionKey(2024, "48PSU")


class History:
    """Two tables of one job, one of which fails for one shard until it is mended."""

    def __init__(self) -> None:
        self.instance = dg.DagsterInstance.ephemeral()
        self.instance.add_dynamic_partitions("year", ["2024"])
        self.instance.add_dynamic_partitions("shard", ["47PRP", "48PSU"])
        self.is_mended = False

        @dg.asset(name="core_aef__pixels", partitions_def=YEAR_SHARDS)
        def pixels(context: dg.AssetExecutionContext) -> None:
            if "48PSU" in context.partition_key and not self.is_mended:
                raise ValueError("x.tiff: found 63 bands, expected 64")

        @dg.asset(name="core_eg__patches", partitions_def=YEAR_SHARDS)
        def patches() -> None:
            """Never fails."""

        jobs = [dg.define_asset_job("ingest", selection="*")]
        self.defs = dg.Definitions(assets=[pixels, patches], jobs=jobs)

    def run(self, key: PartitionKey) -> None:
        job = self.defs.resolve_job_def("ingest")
        job.execute_in_process(instance=self.instance, partition_key=format_key(key), raise_on_error=False)

    def failures(self) -> dict[tuple[str, PartitionKey], str]:
        wanted = {"core_aef__pixels": [GOOD, BAD], "core_eg__patches": [GOOD, BAD], "raw_aef__index": [PartitionKey()]}
        return find_failures(self.instance, self.defs, wanted)


@pytest.fixture
def history() -> History:
    return History()


def test_a_failed_partition_has_the_message_of_its_body(history: History) -> None:
    history.run(GOOD)
    history.run(BAD)
    assert history.failures() == {("core_aef__pixels", BAD): "x.tiff: found 63 bands, expected 64"}


def test_a_run_that_went_well_since_clears_it(history: History) -> None:
    history.run(BAD)
    history.is_mended = True
    history.run(BAD)
    assert history.failures() == {}


def test_what_was_never_run_has_not_failed(history: History) -> None:
    assert history.failures() == {}
