"""Laws of the release watch, over any history of looks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transforms.release_decisions import WatchRules, decide, note_failure
from transforms.releases import Look, PublishedFile, ReleaseState, YearLook, versions_of

RULES = WatchRules("eg", frozenset({2024}), follow=True, sources=frozenset({"eg"}), shards=("a", "b"))

tags = st.sampled_from(["1", "2", None])
published = st.builds(
    lambda ground, tag, is_there: PublishedFile(ground, f"{ground}.parquet", tag, 10 if is_there else None, (ground,)),
    st.sampled_from(["a", "b", "c"]),
    tags,
    st.booleans(),
)
year_looks = st.builds(
    YearLook,
    st.sampled_from([2023, 2024, 2025, 2026]),
    st.lists(published, max_size=4).map(tuple),
    st.sampled_from([None, 90, 100]),
    st.sampled_from(["eg", "eg", "eg", "other", None]),
)
looks = st.builds(
    Look,
    st.just("eg"),
    st.lists(year_looks, max_size=3, unique_by=lambda one: one.year).map(tuple),
    st.sampled_from(["", "x"]),
)
#: None is a look that failed.
histories = st.lists(st.none() | looks, max_size=8)


def play(history: list[Look | None], state: ReleaseState | None = None) -> tuple[ReleaseState, list[str]]:
    """Look and look; the state at the end and the keys of all requests."""
    state, keys = state or ReleaseState(), []
    for number, look in enumerate(history):
        decision = note_failure(state, "?", float(number), RULES) if look is None else decide(state, look, RULES)
        state = decision.state
        keys += [decision.request] if decision.request else []
    return state, keys


@given(histories)
def test_a_state_survives_json(history: list[Look | None]) -> None:
    state, _ = play(history)
    assert ReleaseState.from_json(state.to_json()) == state


@given(histories, looks)
def test_the_same_tick_twice_decides_the_same(history: list[Look | None], look: Look) -> None:
    state, _ = play(history)
    again = ReleaseState.from_json(state.to_json())
    assert decide(state, look, RULES) == decide(again, look, RULES)


@given(histories, looks)
def test_nothing_is_asked_for_twice(history: list[Look | None], look: Look) -> None:
    state, _ = play([*history, look, look])
    settled, keys = play([look, None, look, look], state)
    assert keys == []
    assert settled.n_asked == state.n_asked


@given(histories)
def test_no_two_requests_have_the_same_key(history: list[Look | None]) -> None:
    _, keys = play(history)
    assert len(keys) == len(set(keys))


@given(histories)
def test_failed_looks_change_nothing_that_is_known_of_the_years(history: list[Look | None]) -> None:
    with_failures, _ = play(history)
    without, _ = play([look for look in history if look is not None])
    assert with_failures.years == without.years
    assert with_failures.n_asked == without.n_asked


@given(looks)
def test_the_order_of_years_in_a_look_does_not_matter(look: Look) -> None:
    turned = Look(look.product, tuple(reversed(look.years)), look.index_tag)
    assert decide(ReleaseState(), look, RULES) == decide(ReleaseState(), turned, RULES)


@given(histories, st.permutations(["a", "b"]), tags)
def test_a_whole_year_at_rest_is_always_taken_in_the_end(
    history: list[Look | None], order: list[str], tag: str
) -> None:
    grounds = sorted({"a", "b", *(g for h in history if h for y in h.years for g in versions_of(y.files))})
    files = tuple(PublishedFile(ground, f"{ground}.parquet", tag, 12, (ground,)) for ground in [*order, *grounds[2:]])
    look = Look("eg", (YearLook(2024, files, None, "eg"),))
    state, _ = play([*history, look, look])
    assert state.of(2024).asked == versions_of(files)


@given(histories)
def test_only_whole_files_that_were_seen_twice_are_asked_for(history: list[Look | None]) -> None:
    state, seen = ReleaseState(), {}
    for look in history:
        if look is None:
            continue
        decision = decide(state, look, RULES)
        for finding in decision.asking:
            (year,) = [one for one in look.years if one.year == finding.year]
            assert versions_of(year.files) == seen.get(finding.year)
            assert {file.ground for file in year.files} == set(versions_of(year.files))
        seen = {year.year: versions_of(year.files) for year in look.years}
        state = decision.state
