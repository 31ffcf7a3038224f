from __future__ import annotations

import re
import traceback
from pathlib import Path

import pytest

from transforms.errors import IsthmusError
from warehouse.errors import SettingsError
from warehouse.file_paths import CacheLimits, RemotePath
from warehouse.label_settings import LabelSettings
from warehouse.sections import (
    AreaSettings,
    CompareSettings,
    EvaluateSettings,
    KeepSettings,
    KeepWindow,
    LimitSettings,
)
from warehouse.settings import Settings, load_settings
from warehouse.source_settings import SourceSettings

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
BASE = """
name = "here"
years = [2023, 2024]

[area]
bbox = [101.9, 12.4, 102.1, 12.6]

[sources.aef]
root = "world/aef"

[sources.eg]
root = "world/eg"

[compare]
pixels = "aef"
patches = "eg"

[labels.cover]
kind = "geotiff"
path = "world/*_Map.tif"
years = { 2024 = 2021 }
classes = { tree = 10, water = 80 }

[keep]
windows = [{ name = "seam", bbox = [102.0, 12.5, 102.01, 12.51] }]

[evaluate]
label = "cover"

[warehouse]
root = "out/warehouse"

[dagster]
instance = "out/dagster"

[products.mine]
title = "Mine"
producer = "me"
model = "m"
grid_version = "g"
grain = "patch"
layout = "patch_geoparquet"
dims = 8
patch_m = 100.0
licence = "MIT"
attribution = "me"
"""


@pytest.fixture
def write(tmp_path: Path):
    """Write `BASE` with replacements, and give its path."""

    def write_file(*changes: tuple[str, str]) -> Path:
        text = BASE
        for old, new in changes:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        path = tmp_path / "here.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


def problem_of(path: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def test_a_good_file_is_read(write) -> None:
    settings = load_settings(write())
    assert settings.name == "here"
    assert settings.years == (2023, 2024)
    assert settings.area.bbox == (101.9, 12.4, 102.1, 12.6)
    assert settings.labels["cover"].classes == {"tree": 10, "water": 80}
    assert settings.labels["cover"].years == {2024: 2021}
    assert settings.keep.windows == (KeepWindow(name="seam", bbox=(102.0, 12.5, 102.01, 12.51)),)
    assert settings.registry()["mine"].dims == 8
    assert settings.registry()["aef"].dims == 64


def write_chain(tmp_path: Path, **texts: str) -> Path:
    (tmp_path / "base.toml").write_text(BASE)
    for name, text in texts.items():
        (tmp_path / f"{name}.toml").write_text(text)
    return tmp_path / f"{list(texts)[-1]}.toml"


def test_a_file_extends_another_and_that_one_a_third(tmp_path: Path) -> None:
    top = write_chain(tmp_path, two='extends = "base.toml"\nyears = [2024]', three='extends = "two.toml"\nname = "top"')
    settings, base = load_settings(top), load_settings(tmp_path / "base.toml")
    assert (settings.name, settings.years) == ("top", (2024,))
    assert settings.model_dump(exclude={"name", "years"}) == base.model_dump(exclude={"name", "years"})


@pytest.mark.parametrize(
    ("area", "expected"),
    [
        ('tiles = ["48PVS"]', AreaSettings(tiles=("48PVS",))),
        ('shard_rule = "region"', AreaSettings(bbox=(101.9, 12.4, 102.1, 12.6), shard_rule="region")),
    ],
)
def test_the_area_of_a_file_replaces_that_of_its_base(tmp_path: Path, area: str, expected: AreaSettings) -> None:
    assert load_settings(write_chain(tmp_path, own=f'extends = "base.toml"\n[area]\n{area}')).area == expected


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ('"../base.toml"', "expected the name of a file beside this one"),
        ('"own.toml"', "found own.toml > own.toml, expected no circle"),
        ('"two.toml"', "found own.toml > two.toml > own.toml, expected no circle"),
        ('"gone.toml"', "found no file"),
    ],
)
def test_what_cannot_be_extended_is_refused(tmp_path: Path, base: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings(write_chain(tmp_path, two='extends = "own.toml"', own=f"extends = {base}"))


def test_defaults(write) -> None:
    settings = load_settings(write())
    assert settings.area.shard_rule == "mgrs"
    assert settings.keep.sample == 0.01
    assert settings.evaluate.tasks == ("T1", "T5")
    assert settings.evaluate.schemes == ("block",)
    assert settings.evaluate.block_edge_m == 5000
    assert settings.limits == LimitSettings()


def test_relative_paths_are_the_files_own(write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(("world/eg", "../elsewhere/eg"), ("out/dagster", "/abs/dagster"))
    monkeypatch.chdir("/")
    settings = load_settings(path)
    assert settings.sources["aef"].root == tmp_path / "world" / "aef"
    assert settings.sources["aef"].index is None
    assert settings.sources["eg"].root == tmp_path.parent / "elsewhere" / "eg"
    assert settings.labels["cover"].path == tmp_path / "world" / "*_Map.tif"
    assert settings.warehouse.root == tmp_path / "out" / "warehouse"
    assert settings.dagster.instance == Path("/abs/dagster")


def test_an_index_path_is_the_files_own_too(write, tmp_path: Path) -> None:
    settings = load_settings(write(('root = "world/aef"', 'root = "world/aef"\nindex = "my/index.parquet"')))
    assert settings.sources["aef"].index == tmp_path / "my" / "index.parquet"


@pytest.mark.parametrize("url", ["s3://bucket/aef/v1", "gs://bucket/aef/v1", "https://host:8443/aef/v1/"])
def test_a_root_may_be_a_url(write, tmp_path: Path, url: str) -> None:
    more = f'root = "{url}"\nregion = "eu-west-1"\nanonymous = false\nindex = "https://host/index.parquet"'
    source = load_settings(write(('root = "world/aef"', more))).sources["aef"]
    assert isinstance(source.root, RemotePath)
    assert isinstance(source.index, RemotePath)
    assert str(source.root / "annual") == url.rstrip("/") + "/annual"
    access = source.root.access
    assert (access.region, access.anonymous, access.connections, access.tries) == ("eu-west-1", False, 8, 8)
    assert access.cache == CacheLimits(Path.home() / ".cache" / "isthmus", 10 * 10**9)
    assert source.index.access == access


def test_the_cache_is_set_once_for_all_sources(write, tmp_path: Path) -> None:
    roots = (('root = "world/aef"', 'root = "s3://bucket/aef"'), ('root = "world/eg"', 'root = "gs://bucket/eg"'))
    settings = load_settings(write(*roots, ("[compare]", '[cache]\nroot = "blocks"\nmax_gb = 2.5\n[compare]')))
    for name in ("aef", "eg"):
        root = settings.sources[name].root
        assert isinstance(root, RemotePath)
        assert root.access.cache == CacheLimits(tmp_path / "blocks", 2_500_000_000)
    without = load_settings(write(*roots, ("[compare]", "[cache]\nmax_gb = 0\n[compare]"))).sources["eg"].root
    assert isinstance(without, RemotePath)
    assert without.access.cache is None


def test_products_without_a_root_are_read_where_they_are_published(write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(('root = "world/aef"', ""), ('root = "world/eg"', "tries = 3"))
    aef, eg = (load_settings(path).sources[name].root for name in ("aef", "eg"))
    assert isinstance(aef, RemotePath)
    assert isinstance(eg, RemotePath)
    assert str(aef) == "s3://us-west-2.opendata.source.coop/tge-labs/aef/v1"
    assert str(eg) == "s3://us-west-2.opendata.source.coop/earthgenome/earthindexembeddings"
    assert (aef.access.region, aef.access.anonymous, eg.access.tries) == ("us-west-2", True, 3)
    monkeypatch.setenv("ISTHMUS_SOURCES__AEF__ROOT", "/mnt/aef")
    assert load_settings(path).sources["aef"].root == Path("/mnt/aef")


def test_an_own_product_says_where_it_is_published(write) -> None:
    mine = """
[sources.theirs]
[products.theirs]
title = "t"
producer = "p"
model = "m"
grid_version = "g"
grain = "patch"
layout = "patch_geoparquet"
dims = 8
patch_m = 320.0
licence = "l"
attribution = "a"
published = { root = "https://host/mine" }
"""
    assert str(load_settings(write(("[compare]", f"{mine}\n[compare]"))).sources["theirs"].root) == "https://host/mine"
    assert "sources.theirs.root" in problem_of(
        write(("[compare]", mine.replace('published = { root = "https://host/mine" }', "") + "\n[compare]"))
    )


@pytest.mark.parametrize(
    ("root", "words"),
    [
        ('"ftp://host/aef"', "s3://"),
        ('"http://host/aef"', "allow_http = true"),
        ('"s3:///aef"', "no bucket"),
        ("3", "folder or a URL"),
    ],
)
def test_a_bad_root_is_said_with_its_key(write, root: str, words: str) -> None:
    message = problem_of(write(('root = "world/aef"', f"root = {root}")))
    assert "sources.aef.root" in message
    assert words in message


def test_variables_are_filled_from_the_environment(write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = (("world/aef", "${ISTHMUS_TEST_ROOT:-default}/aef"), ("world/eg", "${ISTHMUS_TEST_ROOT:-default}/eg"))
    path = write(*changes, ('kind = "geotiff"', 'kind = "geotiff"\ntitle = "${ISTHMUS_TEST_TITLE:-}"'))
    monkeypatch.delenv("ISTHMUS_TEST_ROOT", raising=False)
    assert load_settings(path).sources["eg"].root == tmp_path / "default" / "eg"
    monkeypatch.setenv("ISTHMUS_TEST_ROOT", "/data")
    monkeypatch.setenv("ISTHMUS_TEST_TITLE", "Forest")
    settings = load_settings(path)
    assert [settings.sources[name].root for name in ("aef", "eg")] == [Path("/data/aef"), Path("/data/eg")]
    assert settings.labels["cover"].title == "Forest"


def test_variables_in_lists_are_filled(write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISTHMUS_TEST_WINDOW", "delta")
    settings = load_settings(write(('name = "seam"', 'name = "${ISTHMUS_TEST_WINDOW}"')))
    assert settings.keep.windows[0].name == "delta"


def test_variables_without_a_value_are_refused(write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ISTHMUS_TEST_ROOT", raising=False)
    assert "ISTHMUS_TEST_ROOT" in problem_of(write(("world/aef", "${ISTHMUS_TEST_ROOT}/aef")))


@pytest.mark.parametrize(
    ("variable", "value", "read", "expected"),
    [
        ("ISTHMUS_EVALUATE__SEED", "7", lambda s: s.evaluate.seed, 7),
        ("ISTHMUS_NAME", "there", lambda s: s.name, "there"),
        ("ISTHMUS_AREA__SHARD_RULE", "region", lambda s: s.area.shard_rule, "region"),
        ("ISTHMUS_YEARS", "[2024]", lambda s: s.years, (2024,)),
        ("ISTHMUS_KEEP__ALL", "true", lambda s: s.keep.all, True),
        ("ISTHMUS_SOURCES__AEF__ROOT", "/mnt/aef", lambda s: s.sources["aef"].root, Path("/mnt/aef")),
        ("ISTHMUS_LIMITS__MIN_FREE_MB", "0", lambda s: s.limits.min_free_mb, 0),
    ],
)
def test_the_environment_wins(write, monkeypatch: pytest.MonkeyPatch, variable, value, read, expected) -> None:
    path = write()
    assert read(load_settings(path)) != expected
    monkeypatch.setenv(variable, value)
    settings = load_settings(path)
    assert read(settings) == expected
    assert settings.area.bbox == (101.9, 12.4, 102.1, 12.6)  # its neighbours in the file stay
    assert settings.sources["eg"].root.name == "eg"


def test_relative_paths_of_the_environment_are_the_files_own(write, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ISTHMUS_WAREHOUSE__ROOT", "other")
    assert load_settings(write()).warehouse.root == tmp_path / "other"


def test_other_variables_of_ours_are_no_settings(write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISTHMUS_REAL_DATA", "/data/real")
    assert load_settings(write()).name == "here"


def test_bad_values_in_the_environment_are_refused(write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISTHMUS_EVALUATE__SEED", "seven")
    message = problem_of(write())
    assert "'evaluate.seed'" in message
    assert "valid integer" in message
    assert "'seven'" in message


@pytest.mark.parametrize(("variable", "value"), [("ISTHMUS_YEARS", "2023,2024"), ("ISTHMUS_AREA", "mgrs")])
def test_values_of_the_environment_that_are_no_json_are_refused(write, monkeypatch, variable, value) -> None:
    path = write()
    monkeypatch.setenv(variable, value)
    with pytest.raises(IsthmusError, match=variable):
        load_settings(path)


@pytest.mark.parametrize(
    ("old", "key", "model"),
    [
        ('name = "here"', "colour", Settings),
        ("[area]", "area.colour", AreaSettings),
        ("[sources.eg]", "sources.eg.colour", SourceSettings),
        ("[compare]", "compare.colour", CompareSettings),
        ("[labels.cover]", "labels.cover.colour", LabelSettings),
        ("[keep]", "keep.colour", KeepSettings),
        ("[evaluate]", "evaluate.colour", EvaluateSettings),
    ],
)
def test_unknown_keys_are_refused_with_those_that_are_allowed(write, old: str, key: str, model: type) -> None:
    message = problem_of(write((old, f"{old}\ncolour = 1")))
    assert f"key '{key}' is unknown" in message
    assert f"allowed here: {sorted(model.model_fields)}" in message


def test_unknown_keys_in_a_list_are_refused(write) -> None:
    message = problem_of(write(('name = "seam"', 'name = "seam", colour = 1')))
    assert "key 'keep.windows.0.colour' is unknown; allowed here: ['bbox', 'name']" in message


def test_unknown_tables_are_refused(write) -> None:
    message = problem_of(write(("[evaluate]", "[evaluation]")))
    assert "key 'evaluation' is unknown" in message
    assert "'evaluate'" in message


@pytest.mark.parametrize(
    ("old", "new", "key", "allowed"),
    [
        ('name = "here"', 'name = "Not Here"', "name", r"\[a-z\]"),
        ("[2023, 2024]", "[]", "years", "at least 1 item"),
        ("[2023, 2024]", '["last"]', "years.0", "valid integer"),
        ("bbox = [101.9,", "bbox = [103.9,", "area", "west < east"),
        ("12.4, 102.1, 12.6]", "12.4, 102.1, 12.3]", "area", "south < north"),
        ("bbox = [101.9,", "bbox = [-190.0,", "area", "degrees"),
        ("bbox = [101.9,", "bbox = [nan,", "area", "west < east"),
        ("bbox = [101.9, 12.4, 102.1, 12.6]", "bbox = [1, 2, 3]", "area.bbox.3", "missing"),
        ("bbox = [101.9, 12.4, 102.1, 12.6]", "", "area", "needs country, geometry, tiles, or bbox"),
        ("[area]", '[area]\nshard_rule = "square"', "area.shard_rule", "'mgrs', 'region' or 'file'"),
        ("[area]", "[area]\nregions = { a = [3, 2, 1, 4] }", "area", "a must be"),
        (
            'kind = "geotiff"',
            'kind = "shapefile"',
            "labels.cover.kind",
            "'geotiff', 'column', 'vector' or 'bigearthnet'",
        ),
        ('path = "world/*_Map.tif"', "", "labels.cover", "needs path"),
        ('kind = "geotiff"', 'kind = "column"', "labels.cover", "needs product and column"),
        ("water = 80", "water = 10", "labels.cover.classes", "share one value"),
        (", water = 80", "", "labels.cover.classes", "at least 2 items"),
        ("[102.0, 12.5, 102.01, 12.51]", "[102.0, 12.5, 101.01, 12.51]", "keep.windows.0", "seam must be"),
        ("[keep]", "[keep]\nsample = 1.5", "keep.sample", "less than or equal to 1"),
        ("[keep]", "[keep]\nsample = -0.1", "keep.sample", "greater than or equal to 0"),
        ("[evaluate]", '[evaluate]\ntasks = ["T9"]', "evaluate.tasks.0", "'T1.*' or 'T8'"),
        ("[evaluate]", '[evaluate]\ntasks = ["T1", "T6"]', "evaluate", "read off the maps of T5"),
        ("[evaluate]", '[evaluate]\ntasks = ["T8"]', "evaluate", "needs values"),
        ("[evaluate]", "[study]\ncells = []\n[evaluate]", "study.cells", "at least 1 item"),
        (
            "[evaluate]",
            '[[study.cells]]\ntasks = ["T1"]\nbudgets = ["ten"]\n[evaluate]',
            "study.cells.0.budgets",
            "ten",
        ),
        (
            "[evaluate]",
            '[evaluate]\nschemes = ["spatial"]',
            "evaluate.schemes.0",
            "'block', 'random', 'given', 'region', 'longitude' or 'transfer'",
        ),
        ("[evaluate]", "[evaluate]\nblock_edge_m = 0", "evaluate.block_edge_m", "greater than 0"),
        ("[evaluate]", "[evaluate]\nbuffer_m = -1", "evaluate.buffer_m", "greater than or equal to 0"),
        ("[evaluate]", "[evaluate]\nn_folds = 1", "evaluate.n_folds", "greater than or equal to 2"),
        ("[evaluate]", "[evaluate]\npurity_min = 2", "evaluate.purity_min", "less than or equal to 1"),
        ("[evaluate]", "[evaluate]\nmax_train_units = 1", "evaluate.max_train_units", "greater than or equal to 10"),
        ("[keep]", "[limits]\nblock_px = 1\n[keep]", "limits.block_px", "greater than or equal to 64"),
        ('[dagster]\ninstance = "out/dagster"', "", "dagster", "missing"),
        ('[evaluate]\nlabel = "cover"', "[evaluate]", "evaluate.label", "missing"),
    ],
)
def test_impossible_values_are_refused_with_what_is_allowed(write, old: str, new: str, key: str, allowed: str) -> None:
    message = problem_of(write((old, new)))
    assert f"key '{key}'" in message
    assert re.search(allowed, message)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('pixels = "aef"', 'pixels = "nope"', r"unknown products \['nope'\]; known: \['aef', .*'mine'\]"),
        ("[sources.aef]", "[sources.aeff]", r"unknown products \['aeff'\]"),
        ('patches = "eg"', 'patches = "mine"', r"compare\.patches = 'mine' has no \[sources\.mine\]"),
        ('pixels = "aef"', 'pixels = "eg"', r"compare\.pixels = 'eg' is a patch product"),
        ('patches = "eg"', 'patches = "aef"', r"compare\.patches = 'aef' is a pixel product"),
        ('pixels = "aef"\npatches = "eg"', "", "compare needs pixels, patches or both"),
        ('label = "cover"', 'label = "cov"', r"evaluate\.label = 'cov'; allowed: \['cover'\]"),
        (
            'kind = "geotiff"',
            'kind = "column"\ncolumn = "c"\nproduct = "mine"',
            r"labels\.cover\.product = 'mine' has no source",
        ),
    ],
)
def test_names_that_lead_nowhere_are_refused(write, old: str, new: str, expected: str) -> None:
    assert re.search(expected, problem_of(write((old, new))))


def test_all_problems_are_told_at_once(write) -> None:
    message = problem_of(
        write(
            ("[keep]", "[keep]\nsample = 2\ncolour = 1"),
            ("[evaluate]", "[evaluate]\nn_folds = 0"),
            ('"here"', '"Here"'),
        )
    )
    for key in ("keep.sample", "keep.colour", "evaluate.n_folds", "name"):
        assert f"'{key}'" in message


def test_files_that_are_no_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml: found no file"):
        load_settings(tmp_path / "nowhere.toml")
    with pytest.raises(SettingsError, match="found no file"):
        load_settings(tmp_path)
    broken = tmp_path / "broken.toml"
    broken.write_text("name = \n")
    with pytest.raises(SettingsError, match=r"broken\.toml: not valid TOML.*line 1"):
        load_settings(str(broken))
    broken.write_text("")
    with pytest.raises(SettingsError, match=r"'name' is missing; .*'dagster' is missing"):
        load_settings(broken)


def test_files_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes(b'name = "caf\xe9"\n')
    with pytest.raises(SettingsError, match="UTF-8"):
        load_settings(path)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("dims = 8", "dims = 0", r"'products\.mine\.dims'.*greater than 0"),
        ("dims = 8", "dims = 8\ncolour = 1", r"'products\.mine\.colour' is unknown; allowed here: \[.*'patch_m'"),
        ('model = "m"', "", r"'products\.mine\.model' is missing"),
    ],
)
def test_problems_of_a_product_name_its_key(write, old: str, new: str, expected: str) -> None:
    assert re.search(expected, problem_of(write((old, new))))


def test_a_product_that_repeats_its_name_is_refused(write) -> None:
    assert "products.mine.name" in problem_of(write(('title = "Mine"', 'title = "Mine"\nname = "mine"')))


def test_a_product_of_the_wrong_layout_is_refused(write) -> None:
    message = problem_of(write(('layout = "patch_geoparquet"', 'layout = "aef_cog"')))
    assert "layout 'aef_cog' does not serve grain 'patch'" in message
    assert "eg_geoparquet" in message


@pytest.mark.parametrize(
    ("changes", "later"),
    [
        ([("tree = 10", 'tree = "forest"')], "ValueError of int() in Warehouse.class_map"),
        ([("[evaluate]", "[evaluate]\nschemes = []")], "IndexError of schemes[0] in contrasts"),
        ([("[evaluate]", "[evaluate]\nc_grid = []")], "ShapeError of the probe, after everything is built"),
        ([("[evaluate]", "[evaluate]\nc_grid = [-1.0]")], "ShapeError of the probe, after everything is built"),
        ([("[labels.cover]", '[labels."Land Cover"]'), ('"cover"', '"Land Cover"')], "ShapeError of the table name"),
        (
            [("[area]", '[area]\nshard_rule = "region"\nregions = { "a b" = [1, 2, 3, 4] }')],
            "ShapeError of the shard key",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_values_that_fail_later_are_refused_here(write, changes, later: str) -> None:
    problem_of(write(*changes))


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.toml")), ids=lambda p: p.stem
)
def test_the_examples_are_good(path: Path) -> None:
    settings = load_settings(path)
    assert settings.name == path.stem
    assert settings.warehouse.root.is_absolute()


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("[pool]\noperators = ['mean', 'gemm']", ["pool", "'gemm'", "Did you mean gem"]),
        ("[pool]\noperators = ['mean', 'mean']", ["pool", "names one twice"]),
        ("[pool]\npercentiles = [10, 101]", ["pool", "percentiles", "101", "[0, 100]"]),
        ("[pool]\npercentiles = [50, 10]", ["pool", "percentiles", "ascending"]),
        ("[pool]\ngem_p = 0", ["pool", "gem_p", "above 0"]),
        ("[pool]\ngem_p = -1.5", ["pool", "gem_p", "-1.5"]),
        ("[pool]\nmin_coverage = 1.5", ["pool.min_coverage", "less than or equal to 1"]),
        ("[pool]\ncodebook_size = 1", ["pool.codebook_size", "greater than or equal to 2"]),
        ("[upsample]\noperators = ['bilinar']", ["upsample.operators", "'bilinar'", "Did you mean bilinear"]),
        ("[upsample]\noperators = ['nearest', 'nearest']", ["upsample.operators", "names one twice"]),
        ("[upsample]\nbasis_dims = 0", ["upsample.basis_dims", "greater than or equal to 1"]),
    ],
)
def test_impossible_operators_are_refused_with_what_is_allowed(write, section: str, words: list[str]) -> None:
    problem = problem_of(write(("[keep]", f"{section}\n[keep]")))
    for word in words:
        assert word in problem, problem
    assert "Value error" not in problem


def test_operators_are_read(write) -> None:
    text = "[pool]\noperators = ['covariance']\ngem_p = 2.5\n[upsample]\noperators = ['bicubic']\n[keep]"
    settings = load_settings(write(("[keep]", text)))
    assert settings.pool.operators == ("covariance",)
    assert settings.pool.parameters().gem_p == 2.5
    assert settings.upsample.operators == ("bicubic",)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('root = "out/warehouse"', 'root = "out/warehouse"\nscratch = "s3://bucket/x"', "warehouse.scratch"),
        ('instance = "out/dagster"', 'instance = "gs://bucket/dagster"', "dagster.instance"),
        ('path = "world/*_Map.tif"', 'path = "https://host/*_Map.tif"', "labels.cover.path"),
        ('path = "world/*_Map.tif"', 'path = "a.tif"\nlists = "s3://bucket/lists"', "labels.cover.lists"),
        ("bbox = [101.9, 12.4, 102.1, 12.6]", 'geometry = "s3://bucket/area.geojson"', "area.geometry"),
        ("bbox = [101.9, 12.4, 102.1, 12.6]", 'tiles = ["48PTU"]\nboundaries = "file:///a"', "area.boundaries"),
        ("[compare]", '[cache]\nroot = "s3://bucket/cache"\n[compare]', "cache.root"),
    ],
)
def test_urls_are_refused_where_a_disk_is_needed(write, old: str, new: str, key: str) -> None:
    message = problem_of(write((old, new)))
    assert f"key '{key}': must be on a disk" in message
    assert "warehouse.root may be URLs" in message


def test_a_url_that_became_a_path_is_refused_too() -> None:
    with pytest.raises(ValueError, match="must be on a disk"):
        AreaSettings(geometry=Path("s3://bucket/area.geojson"))


@pytest.mark.parametrize(
    "changes",
    [
        (('root = "world/aef"', 'root = "https://me:s3cret@host/x"'),),
        (('root = "world/aef"', 'root = "s3://bucket/aef"\nendpoint = "https://me:s3cret@host"'),),
        (('root = "world/aef"', 'root = "s3://bucket/aef"\nendpoint = "ftp://me:s3cret@host"'),),
        (('root = "world/aef"', 'root = "https://host/x?X-Amz-Signature=s3cret"'),),
        (('root = "out/warehouse"', 'root = "s3://me:s3cret@bucket/warehouse"'),),
        (("[compare]", '[alerts]\nwebhook = "hooks.host/s3cret"\n[compare]'),),
        # a problem between sections, of which all that was set is the input
        (
            ('pixels = "aef"', 'pixels = "eg"'),
            ("[compare]", '[alerts]\nwebhook = "https://hooks.host/s3cret"\n[compare]'),
        ),
    ],
)
def test_secrets_are_not_repeated(write, changes: tuple[tuple[str, str], ...]) -> None:
    path = write(*changes)
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    told = "".join(traceback.format_exception(caught.value))
    assert "s3cret" not in told
    assert "not shown" in str(caught.value) or "compare.pixels" in str(caught.value)


def test_secrets_in_the_environment_are_not_repeated(write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISTHMUS_SOURCES", '{"aef": {"root": "https://me:s3cret@host/x"')
    message = problem_of(write())
    assert "ISTHMUS_SOURCES" in message
    assert "s3cret" not in message
