import dagster as dg

from orchestration.progress_log import PROGRESS_LOGGER, listen_to_bodies, progress_logger


@dg.asset
def talker(context: dg.AssetExecutionContext) -> None:
    context.log.info("[1/2] first cell: ok")
    context.log.debug("not for users")
    context.log.info("[2/2] second cell: ok")


def run_talker() -> None:
    defs = dg.Definitions([talker], jobs=[dg.define_asset_job("talk")], loggers={PROGRESS_LOGGER: progress_logger})
    config = {"loggers": {PROGRESS_LOGGER: {}}}
    assert defs.resolve_job_def("talk").execute_in_process(run_config=config).success


def test_bodies_are_heard_and_events_of_dagster_are_not() -> None:
    heard: list[str] = []
    with listen_to_bodies(heard.append):
        run_talker()
    assert heard == ["[1/2] first cell: ok", "[2/2] second cell: ok"]


def test_nobody_is_told_after_listening() -> None:
    heard: list[str] = []
    with listen_to_bodies(heard.append):
        pass
    run_talker()
    assert heard == []
