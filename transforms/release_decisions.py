"""Whether a release is ready: what one more look at a source means, given what was seen before.

Belongs here: the rules for new years, re-issues, unfinished uploads, other products and sources that do not answer.
Does not: sentences about files (`release_wording.py`), looking (`warehouse/release_looks.py`), running
(`orchestration/`). Nothing here knows a clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from transforms.release_wording import say_files, say_looks, say_names, say_what_a_run_does_without
from transforms.releases import Look, PublishedFile, ReleaseState, Versions, YearLook, YearState, digest, versions_of

Kind = Literal[
    "unchanged",  # what is there was asked for before
    "new_year",  # complete and at rest: run it
    "new_product",  # the same, of a registered product without a source of its own yet: run it beside the old one
    "reissued",  # other files on ground that was asked for before, at rest: run their shards again
    "settling",  # changed since the last look: look once more
    "incomplete",  # files are missing: wait
    "withdrawn",  # files that were asked for are gone: run nothing, say what a run would do without them
    "available",  # complete, but the settings do not take this year
    "unregistered",  # no registered product describes these files
    "down",  # the source does not answer
    "back",  # it answers again
]
#: Kinds that ask for a run.
ASKING: frozenset[Kind] = frozenset({"new_year", "new_product", "reissued"})
#: Kinds that take a year of a product for the first time.
TAKING: frozenset[Kind] = frozenset({"new_year", "new_product"})
#: Kinds that a person should hear of once, because nothing goes on without one.
ALARMING: frozenset[Kind] = frozenset({"unregistered", "withdrawn"})
#: A year with a smaller share of the rows of the year before is still being uploaded.
COMPLETE_SHARE = 0.95
#: A source that failed so many looks in a row is worth an alert.
ALARMING_FAILURES = 3
LONGEST_WAIT_S = 86_400.0


@dataclass(frozen=True)
class WatchRules:
    """What the settings and the warehouse say about one product.

    Attributes:
        product: its name.
        years: years that are taken.
        follow: take later years by themselves.
        sources: products that have a source of their own.
        shards: shards of the area; empty before the first run.
        stored: versions by ground of what the last run indexed, by year.
        look_every_s: seconds between two looks.
    """

    product: str
    years: frozenset[int]
    follow: bool = False
    sources: frozenset[str] = frozenset()
    shards: tuple[str, ...] = ()
    stored: Mapping[int, Versions] = field(default_factory=dict)
    look_every_s: float = 3600.0


@dataclass(frozen=True)
class Finding:
    """What one look means for one year, or for the whole source.

    Attributes:
        kind: see `Kind`.
        product: product that the files are.
        year: None where it is about the whole source.
        message: a sentence for a person: what, why it waits, what to do.
        shards: shards that a run would change.
        missing: ground that has no file.
        is_news: True where a person should hear of it now.
    """

    kind: Kind
    product: str
    year: int | None
    message: str
    shards: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    is_news: bool = False

    @property
    def asks(self) -> bool:
        """Tell whether it asks for a run."""
        return self.kind in ASKING


@dataclass(frozen=True)
class Decision:
    """What to remember and what to do after a look.

    Attributes:
        state: to be remembered.
        findings: by year.
        request: key of the run that is asked for; empty where none is. The same release never has two keys in a row.
    """

    state: ReleaseState
    findings: tuple[Finding, ...]
    request: str = ""

    @property
    def asking(self) -> tuple[Finding, ...]:
        """Findings that ask for a run."""
        return tuple(finding for finding in self.findings if finding.asks)

    @property
    def taking(self) -> tuple[tuple[str, int], ...]:
        """Product and year of what is taken for the first time."""
        return tuple((one.product, one.year) for one in self.asking if one.kind in TAKING and one.year is not None)

    @property
    def news(self) -> tuple[Finding, ...]:
        """Findings that a person should hear of now."""
        return tuple(finding for finding in self.findings if finding.is_news)


def decide(state: ReleaseState, look: Look, rules: WatchRules) -> Decision:
    """Say what a look means.

    A year is asked for when it is complete for the area and was the same at the look before. Complete: every ground
    that the year before has, and at least 95 % of its rows in the index. What was asked for is not asked for again
    until its files change.

    Args:
        state: what was remembered.
        look: what is there now.
        rules: what the settings take and the warehouse holds.

    Returns:
        The decision; its state is to be remembered whatever happens to the run.
    """
    findings = []
    if state.failures:
        findings.append(Finding("back", rules.product, None, f"{say_looks(state.failures)} failed; it answers again."))
    # what is not listed is not seen, so it has to come to rest again
    unseen = tuple(replace(one, seen={}) for one in state.years)
    after = replace(state, years=unseen, failures=0, retry_at=0.0, problem="", index_tag=look.index_tag)
    is_index_at_rest = look.index_tag == state.index_tag
    years = sorted(look.years, key=lambda one: one.year)
    for position, year in enumerate(years):
        if not _is_watched(year, rules):
            continue
        known = state.of(year.year)
        known = replace(known, asked=known.asked or dict(rules.stored.get(year.year, {})))
        reference = _find_reference(state, years[:position], rules)
        finding = _judge(year, known, reference, rules, is_index_at_rest=is_index_at_rest)
        findings.append(replace(finding, is_news=finding.kind in ALARMING and known.said != finding.kind))
        now = versions_of(year.files)
        # what somebody ran by hand is what the next look is held against, or older files could never come back
        asked = now if finding.asks or now == rules.stored.get(year.year) else known.asked
        after = after.remember(YearState(year.year, now, asked, finding.kind))
    for lost in _find_lost_years(state, years, rules):
        known = state.of(lost.year or 0)
        findings.append(replace(lost, is_news=known.said != lost.kind))
        after = after.remember(replace(known, seen={}, said=lost.kind))
    return _ask(after, tuple(findings), rules.product)


def note_failure(state: ReleaseState, problem: str, now: float, rules: WatchRules) -> Decision:
    """Remember that a source did not answer; what was known of its years stays.

    Args:
        state: what was remembered.
        problem: why it did not answer.
        now: seconds since 1970.
        rules: of the product.

    Returns:
        A decision that asks for nothing; the wait until the next look doubles with every failure, up to a day.
    """
    failures = state.failures + 1
    wait_s = min(LONGEST_WAIT_S, rules.look_every_s * 2.0 ** min(failures - 1, 20))
    message = f"{say_looks(failures)} failed, next one in {wait_s / 60:.0f} min: {problem}"
    finding = Finding("down", rules.product, None, message, is_news=failures == ALARMING_FAILURES)
    return Decision(replace(state, failures=failures, retry_at=now + wait_s, problem=problem), (finding,))


def _ask(after: ReleaseState, findings: tuple[Finding, ...], product: str) -> Decision:
    """Number the request, so that ground that goes back to older files is a release of its own."""
    asking = [finding for finding in findings if finding.asks]
    if not asking:
        return Decision(after, findings)
    after = replace(after, n_asked=after.n_asked + 1)
    content = [(finding.year, dict(after.of(finding.year or 0).asked)) for finding in asking]
    return Decision(after, findings, f"{product}:{after.n_asked}:{digest(content)}")


def _is_watched(year: YearLook, rules: WatchRules) -> bool:
    """Leave out years before the last one of the settings that nobody takes, and products that watch themselves."""
    if year.belongs_to not in (None, rules.product) and year.belongs_to in rules.sources:
        return False
    return year.year in rules.years or not rules.years or year.year > max(rules.years)


def _find_reference(state: ReleaseState, earlier: Sequence[YearLook], rules: WatchRules) -> _Reference | None:
    """Give what the year before covers: what is there of it, and what was asked for of the last year with a run."""
    if not earlier:
        return None
    last = earlier[-1]
    asked = (state.of(year.year).asked or rules.stored.get(year.year, {}) for year in reversed(earlier))
    grounds = frozenset(versions_of(last.files)) | frozenset(next((one for one in asked if one), {}))
    return _Reference(last.year, grounds, last.n_published)


@dataclass(frozen=True)
class _Reference:
    """The year that another one is held against."""

    year: int
    grounds: frozenset[str]
    n_published: int | None


def _judge(
    year: YearLook, known: YearState, reference: _Reference | None, rules: WatchRules, *, is_index_at_rest: bool
) -> Finding:
    """Say what is up with one year."""
    if year.belongs_to is None:
        return Finding("unregistered", rules.product, year.year, year.advice)
    now = versions_of(year.files)
    if (known.asked and now == known.asked) or now == rules.stored.get(year.year):
        return _find("unchanged", year, f"{year.year} is as it was ({say_files(len(now))}).")
    problem = _find_gaps(year, known, reference, rules)
    if problem is not None:
        return problem
    if now != known.seen or not is_index_at_rest:
        what = "changed since the last look" if known.seen else f"is complete for the area ({say_files(len(now))})"
        text = f"{year.year} {what}; it is taken when the next look finds the same files."
        return _find("settling", year, text)
    if known.asked:
        return _describe_reissue(year, known, now)
    return _describe_new(year, rules)


def _find_gaps(year: YearLook, known: YearState, reference: _Reference | None, rules: WatchRules) -> Finding | None:
    """Say what is missing for the area, if anything."""
    there = frozenset(versions_of(year.files))
    gone = tuple(sorted(set(known.asked) - there))
    if gone:
        text = f"{year.year}: {say_files(len(gone))} gone from the source ({say_names(gone)})."
        return _find("withdrawn", year, f"{text} {say_what_a_run_does_without(gone, year.files)}", missing=gone)
    expected = frozenset(file.ground for file in year.files) | (reference.grounds if reference else frozenset())
    missing = tuple(sorted(expected - there))
    if missing and not known.asked:
        text = f"{year.year} is incomplete for the area: {len(missing)} of {say_files(len(expected))} missing"
        return _find("incomplete", year, f"{text} ({say_names(missing)}).", missing=missing)
    if not there:
        return _find("incomplete", year, f"{year.year} has no file for the area yet.")
    bare = tuple(sorted(set(rules.shards) - {shard for file in year.files for shard in file.shards}))
    if bare and not known.asked and reference is None:
        text = f"{year.year} is incomplete for the area: no file for shards {say_names(bare)}."
        return _find("incomplete", year, text, missing=bare)
    return _find_doubles(year) or _find_few(year, known, reference)


def _find_doubles(year: YearLook) -> Finding | None:
    """Say which ground has two files in one year: one of them is about to go."""
    counts = Counter(file.ground for file in year.files if file.is_there)
    twice = tuple(sorted(ground for ground, count in counts.items() if count > 1))
    if not twice:
        return None
    paths = tuple(sorted(file.path for file in year.files if file.ground in twice))
    text = f"{year.year}: {len(twice)} places have two files each ({say_names(paths)})"
    return _find("incomplete", year, f"{text}; it waits until one of them is gone.")


def _find_few(year: YearLook, known: YearState, reference: _Reference | None) -> Finding | None:
    """Hold the rows of the index against those of the year before."""
    if known.asked or reference is None or not year.n_published or not reference.n_published:
        return None
    share = year.n_published / reference.n_published
    if share >= COMPLETE_SHARE:
        return None
    text = (
        f"{year.year} is incomplete: the index has {year.n_published} rows in the zones of the area, {share:.0%} of "
        f"the {reference.n_published} of {reference.year}; it is taken from {COMPLETE_SHARE:.0%} on."
    )
    return _find("incomplete", year, text)


def _describe_reissue(year: YearLook, known: YearState, now: Versions) -> Finding:
    added = sorted(set(now) - set(known.asked))
    changed = sorted(ground for ground in now if ground in known.asked and now[ground] != known.asked[ground])
    parts = [f"{say_files(len(some))} {verb}" for some, verb in ((changed, "re-issued"), (added, "added")) if some]
    touched = {*added, *changed}
    shards = _shards([file for file in year.files if file.ground in touched])
    where = f" Shards: {say_names(shards)}." if shards else ""
    text = f"{year.year}: {' and '.join(parts)} ({say_names(tuple(changed + added))}).{where}"
    return _find("reissued", year, text, shards=shards)


def _describe_new(year: YearLook, rules: WatchRules) -> Finding:
    shards = _shards(year.files)
    ready = f"{year.year} is complete for the area and at rest ({say_files(len(year.files))})."
    if not rules.follow and (year.year not in rules.years or year.belongs_to != rules.product):
        text = f"{ready} Nobody takes it: add it to `years`, or set automation.follow = true."
        if year.belongs_to != rules.product:
            text = f"{ready} It is {year.belongs_to}: add [sources.{year.belongs_to}], or set automation.follow = true."
        return _find("available", year, text, shards=shards)
    kind: Kind = "new_year" if year.belongs_to == rules.product else "new_product"
    return _find(kind, year, ready, shards=shards)


def _find_lost_years(state: ReleaseState, years: Sequence[YearLook], rules: WatchRules) -> list[Finding]:
    """Say which years that were asked for are not listed any more; what is remembered of them stays."""
    listed = {year.year for year in years}
    lost = [one for one in state.years if one.asked and one.year not in listed]
    return [
        Finding(
            "withdrawn", rules.product, one.year,
            f"{one.year} is gone from the source. {say_what_a_run_does_without((), ())}",
            missing=tuple(sorted(one.asked)),
        )
        for one in lost
    ]  # fmt: skip


def _find(
    kind: Kind, year: YearLook, message: str, *, shards: tuple[str, ...] = (), missing: tuple[str, ...] = ()
) -> Finding:
    return Finding(kind, year.belongs_to or "", year.year, message, shards, missing)


def _shards(files: Sequence[PublishedFile]) -> tuple[str, ...]:
    return tuple(sorted({shard for file in files for shard in file.shards}))
