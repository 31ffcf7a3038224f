from __future__ import annotations

import json
from dataclasses import replace

import pytest

from transforms.errors import ShapeError
from transforms.release_decisions import Decision, WatchRules, decide, note_failure
from transforms.releases import Look, PublishedFile, ReleaseState, YearLook, versions_of

SHARDS = ("48PTT", "48PTU", "48PTV")
RULES = WatchRules("eg", frozenset({2024}), follow=True, sources=frozenset({"eg", "aef"}), shards=SHARDS)


def files(*tiles: str, tag: str = "1") -> tuple[PublishedFile, ...]:
    return tuple(PublishedFile(tile, f"{tile}.parquet", tag, 10, (tile,)) for tile in tiles)


def year(number: int, tiles: tuple[PublishedFile, ...], **fields: object) -> YearLook:
    return YearLook(number, tiles, **{"belongs_to": "eg", **fields})  # type: ignore[arg-type]  # fields by name


def look(*years: YearLook, tag: str = "") -> Look:
    return Look("eg", years, tag)


def tick(state: ReleaseState, *looks: Look, rules: WatchRules = RULES) -> Decision:
    """Look several times; the last decision."""
    decision = Decision(state, ())
    for one in looks:
        decision = decide(decision.state, one, rules)
    return decision


def kinds(decision: Decision) -> list[tuple[str, int | None]]:
    return [(finding.kind, finding.year) for finding in decision.findings]


WHOLE = year(2024, files(*SHARDS))
ASKED = tick(ReleaseState(), look(WHOLE), look(WHOLE)).state


def test_a_year_is_asked_for_when_two_looks_find_the_same_files() -> None:
    first = tick(ReleaseState(), look(WHOLE))
    assert kinds(first) == [("settling", 2024)]
    assert not first.request
    second = tick(first.state, look(WHOLE))
    assert kinds(second) == [("new_year", 2024)]
    assert second.request.startswith("eg:1:")
    assert second.asking[0].shards == SHARDS
    third = tick(second.state, look(WHOLE))
    assert kinds(third) == [("unchanged", 2024)]
    assert (third.request, third.state) == ("", replace(second.state, years=third.state.years))


def test_a_tick_that_is_repeated_has_the_same_key() -> None:
    before = tick(ReleaseState(), look(WHOLE)).state
    assert decide(before, look(WHOLE), RULES) == decide(before, look(WHOLE), RULES)


def test_files_that_change_between_looks_are_waited_for() -> None:
    growing = [look(year(2024, files(*SHARDS, tag=tag))) for tag in ("1", "2", "3")]
    decision = tick(ReleaseState(), *growing)
    assert kinds(decision) == [("settling", 2024)]
    assert kinds(tick(decision.state, growing[-1])) == [("new_year", 2024)]


def test_an_index_that_is_being_rewritten_is_waited_for() -> None:
    decision = tick(ReleaseState(), look(WHOLE, tag="a"), look(WHOLE, tag="b"))
    assert kinds(decision) == [("settling", 2024)]
    assert kinds(tick(decision.state, look(WHOLE, tag="b"))) == [("new_year", 2024)]


def test_a_year_without_all_grounds_of_the_year_before_waits_and_names_them() -> None:
    part = look(WHOLE, year(2025, files("48PTT")))
    decision = tick(ASKED, part, part, part)
    assert kinds(decision) == [("unchanged", 2024), ("incomplete", 2025)]
    finding = decision.findings[1]
    assert finding.missing == ("48PTU", "48PTV")
    assert "2 of 3 files missing (48PTU, 48PTV)" in finding.message
    assert not decision.request


def test_a_listed_file_that_is_not_there_is_missing() -> None:
    bare = replace(files("48PTV")[0], size_bytes=None, etag=None)
    part = look(WHOLE, year(2025, (*files("48PTT", "48PTU"), bare)))
    assert tick(ASKED, part, part).findings[1].missing == ("48PTV",)


def test_the_first_year_of_all_needs_a_file_for_every_shard() -> None:
    part = look(year(2024, files("48PTT", "48PTU")))
    finding = tick(ReleaseState(), part, part).findings[0]
    assert (finding.kind, finding.missing) == ("incomplete", ("48PTV",))
    anywhere = replace(RULES, shards=())
    assert kinds(tick(ReleaseState(), part, part, rules=anywhere)) == [("new_year", 2024)]


def test_a_year_without_files_waits() -> None:
    nothing = look(year(2024, ()))
    assert kinds(tick(ReleaseState(), nothing, nothing)) == [("incomplete", 2024)]


@pytest.mark.parametrize(("count", "kind"), [(949, "incomplete"), (950, "new_year"), (1200, "new_year")])
def test_an_index_with_fewer_rows_than_95_percent_of_the_year_before_waits(count: int, kind: str) -> None:
    grown = look(year(2024, files(*SHARDS), n_published=1000), year(2025, files(*SHARDS, tag="n"), n_published=count))
    decision = tick(ASKED, grown, grown)
    assert kinds(decision)[1] == (kind, 2025)
    if kind == "incomplete":
        assert "949 rows in the zones of the area, 95% of the 1000 of 2024" in decision.findings[1].message


def test_two_files_on_one_ground_wait() -> None:
    twice = (*files(*SHARDS), PublishedFile("48PTT", "48PTT_v2.parquet", "2", 11, ("48PTT",)))
    finding = tick(ReleaseState(), look(year(2024, twice)), look(year(2024, twice))).findings[0]
    assert finding.kind == "incomplete"
    assert "48PTT.parquet, 48PTT_v2.parquet" in finding.message


def test_a_file_that_is_issued_again_asks_for_its_shards_only() -> None:
    again = look(year(2024, (*files("48PTT", "48PTU"), *files("48PTV", tag="2"))))
    assert kinds(tick(ASKED, again)) == [("settling", 2024)]
    decision = tick(ASKED, again, again)
    assert kinds(decision) == [("reissued", 2024)]
    assert decision.asking[0].shards == ("48PTV",)
    assert decision.request.startswith("eg:2:")
    assert kinds(tick(decision.state, again, again)) == [("unchanged", 2024)]


def test_going_back_to_older_files_is_a_release_of_its_own() -> None:
    other = look(year(2024, files(*SHARDS, tag="2")))
    keys = []
    state = ReleaseState()
    for one in (look(WHOLE), look(WHOLE), other, other, look(WHOLE), look(WHOLE), other, other):
        decision = decide(state, one, RULES)
        state = decision.state
        keys += [decision.request] if decision.request else []
    assert len(keys) == len(set(keys)) == 4


def test_a_file_under_another_name_on_the_same_ground_is_issued_again() -> None:
    renamed = (*files("48PTT", "48PTU"), replace(files("48PTV")[0], path="other.parquet"))
    decision = tick(ASKED, look(year(2024, renamed)), look(year(2024, renamed)))
    assert decision.asking[0].shards == ("48PTV",)


def test_a_file_that_is_added_to_a_year_asks_for_its_shards() -> None:
    more = look(year(2024, files(*SHARDS, "48PTS")))
    decision = tick(ASKED, more, more)
    assert decision.asking[0].shards == ("48PTS",)
    assert "1 file added" in decision.asking[0].message


def test_files_that_vanish_are_told_once_with_what_a_run_would_do_without_them() -> None:
    less = look(year(2024, files("48PTT")))
    first, second = tick(ASKED, less), tick(ASKED, less, less)
    assert kinds(first) == kinds(second) == [("withdrawn", 2024)]
    assert first.findings[0].missing == ("48PTU", "48PTV")
    assert first.findings[0].message.startswith("2024: 2 files gone from the source (48PTU, 48PTV). Nothing is run")
    assert "without them" in first.findings[0].message
    assert (first.findings[0].is_news, second.findings[0].is_news) == (True, False)
    assert kinds(tick(second.state, look(WHOLE))) == [("unchanged", 2024)]


def test_a_year_that_vanishes_keeps_what_is_stored_and_is_told_once() -> None:
    first, second = tick(ASKED, look()), tick(ASKED, look(), look())
    assert kinds(first) == kinds(second) == [("withdrawn", 2024)]
    assert first.findings[0].message.startswith("2024 is gone from the source. Nothing is run for that. No run changes")
    assert (first.findings[0].is_news, second.findings[0].is_news) == (True, False)
    assert kinds(tick(second.state, look(WHOLE))) == [("unchanged", 2024)]


def test_a_later_year_that_nobody_takes_is_available() -> None:
    more = look(WHOLE, year(2025, files(*SHARDS, tag="n")))
    decision = tick(ASKED, more, more, rules=replace(RULES, follow=False))
    assert kinds(decision) == [("unchanged", 2024), ("available", 2025)]
    assert "automation.follow" in decision.findings[1].message
    assert kinds(tick(decision.state, more))[1] == ("new_year", 2025)


def test_earlier_years_that_nobody_takes_are_left_alone() -> None:
    more = look(year(2023, files(*SHARDS)), WHOLE)
    assert kinds(tick(ReleaseState(), more)) == [("settling", 2024)]


def test_an_unregistered_year_waits_and_prints_the_entry_once() -> None:
    strange = look(WHOLE, year(2025, files(*SHARDS), belongs_to=None, advice="add [products.eg_2025]"))
    first, second = tick(ASKED, strange), tick(ASKED, strange, strange)
    assert [finding.message for finding in first.findings][1] == "add [products.eg_2025]"
    assert kinds(second) == [("unchanged", 2024), ("unregistered", 2025)]
    assert (first.findings[1].is_news, second.findings[1].is_news) == (True, False)
    registered = look(WHOLE, year(2025, files(*SHARDS), belongs_to="eg_2025"))
    decision = tick(second.state, registered)
    assert [(finding.kind, finding.product) for finding in decision.asking] == [("new_product", "eg_2025")]


def test_a_registered_product_needs_following_or_a_source() -> None:
    other = look(WHOLE, year(2025, files(*SHARDS), belongs_to="eg_2025"))
    finding = tick(ASKED, other, other, rules=replace(RULES, follow=False)).findings[1]
    assert finding.kind == "available"
    assert "[sources.eg_2025]" in finding.message
    watched = replace(RULES, sources=RULES.sources | {"eg_2025"})
    assert kinds(tick(ASKED, other, other, rules=watched)) == [("unchanged", 2024)]


def test_what_the_last_run_indexed_is_known() -> None:
    stored = replace(RULES, stored={2024: versions_of(WHOLE.files)})
    assert kinds(tick(ReleaseState(), look(WHOLE), rules=stored)) == [("unchanged", 2024)]
    again = look(year(2024, (*files("48PTT", "48PTU"), *files("48PTV", tag="2"))))
    assert tick(ReleaseState(), again, again, rules=stored).asking[0].shards == ("48PTV",)
    by_hand = replace(RULES, stored={2024: versions_of(again.years[0].files)})
    assert kinds(tick(ASKED, again, rules=by_hand)) == [("unchanged", 2024)]


def test_files_that_come_back_after_a_run_by_hand_of_others_are_asked_for_again() -> None:
    second, third = look(year(2024, files(*SHARDS, tag="2"))), look(year(2024, files(*SHARDS, tag="3")))
    asked = tick(ASKED, second, second)
    assert kinds(asked) == [("reissued", 2024)]
    by_hand = replace(RULES, stored={2024: versions_of(third.years[0].files)})
    ran = tick(asked.state, third, rules=by_hand)
    assert kinds(ran) == [("unchanged", 2024)]
    assert kinds(tick(ran.state, second, second, rules=by_hand)) == [("reissued", 2024)]


def test_a_source_that_is_down_keeps_the_state_and_is_left_alone_for_longer_and_longer() -> None:
    waits, state, news = [], ASKED, []
    for _ in range(7):
        decision = note_failure(state, "no route to host", 1_000.0, RULES)
        state = decision.state
        waits.append(state.retry_at - 1_000.0)
        news.append(decision.findings[0].is_news)
        assert kinds(decision) == [("down", None)]
        assert "no route to host" in decision.findings[0].message
    assert waits == [3600, 7200, 14400, 28800, 57600, 86400, 86400]
    assert news == [False, False, True, False, False, False, False]
    assert (state.years, state.is_due(2_000.0), state.is_due(90_000.0)) == (ASKED.years, False, True)


def test_a_source_that_is_back_goes_on_where_it_was() -> None:
    down = note_failure(ASKED, "time-out", 0.0, RULES).state
    decision = tick(down, look(WHOLE))
    assert kinds(decision) == [("back", None), ("unchanged", 2024)]
    assert (decision.state.failures, decision.state.problem) == (0, "")
    assert kinds(tick(decision.state, look(WHOLE))) == [("unchanged", 2024)]


@pytest.mark.parametrize("text", ["", "{}", "[1]", "null", '{"format": 99}', '{"format": 1, "years": [{"x": 1}]}'])
def test_a_state_of_another_form_says_what_to_do(text: str) -> None:
    with pytest.raises(ShapeError, match=r"Reset the cursor"):
        ReleaseState.from_json(text)


def test_a_state_is_one_json_object() -> None:
    assert json.loads(ASKED.to_json())["years"][0]["year"] == 2024
