"""The layers of a run: which lies above which, and every mistake named with file, line and key."""

from pathlib import Path
from typing import Any

import pytest

import params.load
from params.errors import UserError
from params.load import load_plan, load_run, load_variant, parse_setting, variant_names, variants_setting
from params.schema import RunParams

SMOKE = params.load.PARAMS / "smoke.yaml"

RUN = "params/nyc_weather.yaml"


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("training.max_epoch=3", "did you mean 'max_epochs'"),
        ("training.max_epochs=many", "training.max_epochs"),
        ("training.max_epochs=3.5", "training.max_epochs"),
        ("training.max_epochs=true", "training.max_epochs"),
        ("training.learning_rate=0", "training.learning_rate"),
        ("windows.horizon=0", "windows.horizon"),
        ("windows.horizon=-3", "windows.horizon"),
        ("windows.features.y.lookback=0", "windows.features.y.lookback"),
        ("windows.features.y.lookback=-1", "windows.features.y.lookback"),
        ("windows.features={}", "windows.features"),
        ("windows.calendar=[hours]", "hours"),
        ("windows.features={ds: {lookback: 3}}", "'ds' is a key of every table and cannot be a covariate: rename the column"),
        ("windows.future=[unique_id]", "rename the column"),
        ("windows.features={y: {lookback: 3}, hour_sin: {lookback: 2}}", "hour_sin"),
        ("training.learning_rate=1.0e+38", "training.learning_rate"),
        ("training.refit=test", "training.refit"),
        ("training.refit=true", "training.refit"),
        ("training.resources.cpus=0", "training.resources.cpus"),
        ("training.resources.gpus=2", "a fit runs on one GPU or a share of it: write 1, or a fraction such as 0.25"),
        ("training.resources.gpus=-0.5", "training.resources.gpus"),
        ("training.resources.memory=4", "training.resources.memory: 4 bytes hold no fit: write the unit with it, such as 4GB"),
        ("training.resources.memory=4 apples", "write a size such as 4GB or 512MiB, or bytes as a whole number"),
        ("training.resources.memory=9000000TB", "more than a machine has"),
        ("training.resources.memory=4.5", "training.resources.memory"),
        ("training.resources.kind=''", "write a word of what it computes on, such as H100 or AVX512"),
        ("training.resources.kind=100", "training.resources.kind"),
        ("training.resources.ram=4GB", "unknown key 'training.resources.ram'"),
        ("training.resources=4", "training.resources: write keys and values below it"),
        ("name=a/b", "name"),
        ("name=a b", "name"),
        ("name=Champion", "name"),
        ("name=" + "x" * 300, "name"),
        ("name=12", "name"),
        ("name=s.promotions", "--set name=s.promotions: name: 's.promotions' is what lagline calls an experiment of 's'"),
        ("name=s.realised", "use another name"),
        ("variants=[lsmt]", "did you mean 'lstm'"),
        ("variants=[lstm, lstm]", "twice"),
        ("variants=[]", "variants"),
        ("validation.on_null_feature=no", "on_null_feature"),
        ("split.test=12:30", "split.test"),
        ("split.test=0", "split"),
        ("split.test=2013-12-01", "both"),
        ("data.frequency=0h", "frequency"),
        ("data.frequency=1.5", "frequency"),
        ("validation.max_gap_share=1.5", "max_gap_share"),
        ("evaluation.baselines=[theta]", "baselines"),
        ("nothing=1", "nothing"),
        ("training", "section.key=value"),
        ("=3", "section.key=value"),
    ],
)
def test_a_bad_setting_is_named(setting: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        load_run(RUN, [setting])
    assert told in str(caught.value)
    assert setting.split("=")[0].split(".")[0] in str(caught.value)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["data.target=origin"], "data.id and data.target both name the column 'origin': give each a column of its own"),
        (["data.target=time_hour"], "data.time and data.target both name the column 'time_hour'"),
        (["data.id=time_hour"], "data.id and data.time both name the column 'time_hour'"),
        (["windows.features={origin: {lookback: 2}}"], "windows.features: origin is the id or time column"),
        (["windows.features={temp: {lookback: 2}}"], "windows.features: the target 'temp' is called y in windows.features"),
        (["windows.future=[time_hour]"], "windows.future: time_hour is the id or time column"),
        (["windows.static={origin: categorical}"], "windows.static: origin is the id or time column (as a category"),
        (["windows.static={temp: numeric}"], "windows.static: the target 'temp' is called y"),
        (["validation.fresh_within=2"], "validation.fresh_within: integer time steps have no age; take it out"),
        (["validation.fresh_within=2d"], "validation.fresh_within: integer time steps have no age; take it out"),
        (["windows.calendar=[hour]"], "windows.calendar: integer time steps have no calendar"),
        (["split={validation: 2d, test: 2d}"], "split.validation: with integer time steps give a number of rows"),
    ],
)
def test_sections_that_do_not_fit_together_are_named(settings: list[str], told: str) -> None:
    steps = ["data.frequency=1", "windows.calendar=[]", "split={validation: 4, test: 4}"]
    load_run(RUN, steps)
    with pytest.raises(UserError) as caught:
        load_run(RUN, [*steps, *settings])
    assert told in str(caught.value)


def test_a_row_count_as_age_is_for_times() -> None:
    assert load_run(RUN, ["validation.fresh_within=48"]).validation.fresh_within == 48


def test_errors_of_a_file_name_its_line(tmp_path: Path) -> None:
    text = Path(RUN).read_text().replace("  horizon: 24", "  horizon: twelve").replace("split: {", "splits: {")
    path = tmp_path / "run.yaml"
    path.write_text(text)
    horizon = next(i for i, line in enumerate(text.splitlines(), 1) if "horizon" in line)
    splits = next(i for i, line in enumerate(text.splitlines(), 1) if "splits" in line)
    with pytest.raises(UserError) as caught:
        load_run(path)
    assert f"{path}:{horizon}: windows.horizon" in str(caught.value)
    assert f"{path}:{splits}: unknown key 'splits'; did you mean 'split'" in str(caught.value)


def test_a_key_of_before_names_the_key_of_today(tmp_path: Path) -> None:
    text = Path(RUN).read_text().replace("season: 24}", "season: 24, baseline_seconds: 30}")
    path = tmp_path / "old.yaml"
    path.write_text(text)
    line = next(number for number, row in enumerate(text.splitlines(), 1) if "baseline_seconds" in row)
    with pytest.raises(UserError) as caught:
        load_run(path)
    assert str(caught.value) == (
        f"{path}:{line}: evaluation.baseline_seconds is no key any more: write evaluation.baseline_origins: auto, or how many "
        "origins theta and auto_ets forecast"
    )


def test_a_run_that_an_older_version_keeps_is_read() -> None:
    run = load_run(RUN, ["evaluation.baseline_origins=12"])
    kept = run.model_dump(mode="json")
    assert RunParams.stored(kept) == run
    older = kept | {"evaluation": {**kept["evaluation"], "baseline_seconds": 30.0}}
    del older["evaluation"]["baseline_origins"]
    assert RunParams.stored(older).evaluation.baseline_origins == "auto"


@pytest.mark.parametrize("value", ["0", "many", "1.5", "null"])
def test_the_number_of_origins_is_auto_or_a_whole_one(value: str) -> None:
    with pytest.raises(UserError, match="baseline_origins"):
        load_run(RUN, [f"evaluation.baseline_origins={value}"])


@pytest.mark.parametrize("name", ["jackknife", "cqr-split", "spread-even-by-size", "Split", ""])
def test_a_method_of_intervals_that_there_is_not_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"evaluation.intervals: .*docs/intervals.md"):
        load_run(RUN, [f"evaluation.intervals='{name}'"])


@pytest.mark.parametrize(
    "name", ["auto", "split", "cqr", "cqr-naive-even", "spread-by-series-log1p", "naive-by-store-even-asinh"]
)
def test_methods_of_intervals_are_named(name: str) -> None:
    assert load_run(RUN, [f"evaluation.intervals={name}"]).evaluation.intervals == name


@pytest.mark.parametrize("path", ["params/none.yaml", "params", "data/nyc_weather.parquet"])
def test_what_is_no_params_file_is_refused(path: str) -> None:
    with pytest.raises(UserError, match=path.split("/")[-1]):
        load_run(path)


def test_settings_lie_above_the_file_and_the_file_above_the_base(tmp_path: Path) -> None:
    assert load_run(RUN).windows.forward_fill == 6  # base.yaml alone says it
    assert load_run(RUN).evaluation.season == 24  # base.yaml says 1
    assert load_run(RUN, ["evaluation.season=12"]).evaluation.season == 12
    assert load_run(RUN, ["evaluation.season=12", "evaluation.season=6"]).evaluation.season == 6


def test_a_variant_lies_between_the_file_and_the_settings() -> None:
    assert load_variant("stacked_elman", RUN).network["num_layers"] == 2
    changed = load_variant("stacked_elman", RUN, ["network.num_layers=3"])
    assert changed.network["num_layers"] == 3
    assert changed.network["hidden_size"] == load_variant("stacked_elman", RUN).network["hidden_size"]


def test_a_variant_has_a_scaling_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"family": "ridge", "about": "...", "network": {}, "scaling": {"window": "revin"}}
    monkeypatch.setattr(params.load._Layers, "own", lambda self, name: (own, {}))
    scaling = load_variant("ridge", RUN).run.scaling
    assert (scaling.window, scaling.per) == ("revin", load_run(RUN).scaling.per)
    assert load_variant("ridge", RUN, ["scaling.window=none"]).run.scaling.window == "none"


def test_every_shipped_file_loads() -> None:
    for path in sorted(Path("params").glob("*.yaml")):
        if path.name != "base.yaml":
            run = load_run(path)
            assert set(run.variants) <= set(variant_names())
    for name in variant_names():
        assert load_variant(name, RUN).about


def test_a_setting_is_parsed_as_yaml() -> None:
    assert parse_setting("split.test=28d") == (("split", "test"), "28d")
    assert parse_setting("variants=[a, b]") == (("variants",), ["a", "b"])
    with pytest.raises(UserError):
        parse_setting("a.b=1\nc: 2")


def test_a_setting_replaces_what_it_names() -> None:
    run = load_run(RUN, ["windows.features={y: {lookback: 5}}", "windows.features.y.delay=2"])
    assert {k: (v.lookback, v.delay) for k, v in run.windows.features.items()} == {"y": (5, 2)}


def test_params_are_frozen() -> None:
    run = load_run(RUN)
    with pytest.raises(ValueError, match="frozen"):
        run.training.max_epochs = 1  # type: ignore[misc]


@pytest.mark.parametrize("name", ["y", "ds", "unique_id", "cutoff", "step", "drift", "theta", "gru-lo-90", "gru-hi-80"])
def test_a_variant_may_not_be_called_as_a_column_of_the_forecast_frame(name: str) -> None:
    with pytest.raises(UserError, match="give it another name"):
        load_run(RUN, [f"variants=[{name}]"])


def test_what_a_run_gives_to_all_variants_is_known_as_shared() -> None:
    variant = load_variant("gru", "params/smoke.yaml", ["network.hidden_size=8"])
    assert variant.network["hidden_size"] == 8
    assert variant.shared == {"hidden_size"}
    assert load_variant("gru", "params/smoke.yaml").shared == frozenset()


@pytest.mark.parametrize("bad", ["[0.5, 0.5]", "[0.9, 0.1]", "[0, 0.5]", "[0.5, 1.0]", "[a]"])
def test_quantiles_that_do_not_rise_between_0_and_1_are_refused(bad: str) -> None:
    with pytest.raises(UserError, match="quantiles"):
        load_run("params/smoke.yaml", [f"training.quantiles={bad}"])
    assert load_run("params/smoke.yaml", ["training.quantiles=[]"]).training.quantiles == ()


def test_an_id_column_that_is_called_unique_id_may_be_a_category() -> None:
    own = ["data.id=unique_id", "windows.static={unique_id: categorical}"]
    assert load_run(RUN, own).windows.static == {"unique_id": "categorical"}
    with pytest.raises(UserError, match=r"windows\.static: station is the id or time column"):
        load_run(RUN, ["data.id=station", "windows.static={station: categorical}"])


def test_a_plan_reads_every_file_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten variants, one of which combines three of the others: base.yaml, the run file and ten files of variants."""
    read: list[str] = []
    reader = params.load.read_yaml

    def counted(path: Path, name: str | None = None) -> Any:
        read.append(path.name)
        return reader(path, name)

    monkeypatch.setattr(params.load, "read_yaml", counted)
    names = ["ridge", "elman", "stacked_elman", "bidirectional_elman", "lstm", "gru", "cnn", "tcn", "nlinear", "ensemble"]
    plan = load_plan(RUN, [variants_setting(names)])
    assert list(plan.variants) == names
    assert sorted(read) == sorted(["base.yaml", "nyc_weather.yaml", *(f"{name}.yaml" for name in names)])
    assert plan.only(["gru", "ensemble"]).run.variants == ("gru", "ensemble")
    assert len(read) == 12


def test_a_plan_is_what_its_parts_are_when_read_alone() -> None:
    settings = ["network.hidden_size=8", "variants=[gru, ensemble, tcn]"]
    plan = load_plan(RUN, settings)
    assert plan.run == load_run(RUN, settings)
    assert plan.variants == {name: load_variant(name, RUN, settings) for name in ("gru", "ensemble", "tcn")}
    fewer = plan.only(["tcn"])
    assert fewer == load_plan(RUN, fewer.settings)
    assert fewer.settings == (*settings, variants_setting(["tcn"]))


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("data.frequency=99999999999999d", "data.frequency: longer than 1,000 years"),
        (f"data.frequency={'9' * 5000}d", "data.frequency: longer than 1,000 years"),
        ("data.frequency=1000y", "6 steps of 1000y reach more than 5,000 years ahead"),
        ("data.frequency=9999999999999999", "data.frequency: must be at most"),
        ("data.frequency=²d", "not a duration"),
        ("windows.horizon=1000000000000", "windows.horizon: "),
        ("windows.gap=1000000000000", "windows.gap: "),
        ("windows.features.y.lookback=1000000000000", "windows.features.y.lookback: "),
        ("windows.features.y.delay=1000000000000", "windows.features.y.delay: "),
        ("split.validation=99999999d", "split.validation: longer than 1,000 years"),
        ("split={validation: 99999999999, test: 5}", "split.validation: must be at most"),
        ("split={validation: 2013-02-30, test: 2013-12-01}", "split.validation: no date of the calendar"),
        ("validation.fresh_within=99999999999d", "validation.fresh_within: longer than 1,000 years"),
        ("training.seeds=1000000000", "training.seeds: "),
        ("training.threads=1000000", "training.threads: "),
        ("training.learning_rate=1e400", "1e400 is not a finite number"),
        ("network.hidden_size=1000000000000", "network: hidden_size: at most 1,000,000"),
        ("network.num_layers=1000000000", "network: num_layers: at most 100"),
        ("promotion.margin=1e999", "1e999 is not a finite number"),
        ("promotion.timeout_minutes=1e300", "promotion.timeout_minutes: "),
        ("promotion.coverage=[0.9, 0.1]", "promotion.coverage: the first number"),
        ("variants.0=lstm", "--set variants.0=lstm: variants is a list or one value and has no keys"),
        (".".join("a" * 5000) + "=1", "no key of a run file lies so deep"),
        ("." * 5000 + "=1", "write it as section.key=value"),
        ("a.b=" + "x" * 100_000, "--set a.b=xxx"),
        ("a.b=" + "[" * 100_000, "nested too deeply"),
        ("a" * 100_000 + "=1", "no key of a run file lies so deep"),
    ],
)
def test_a_setting_beyond_all_bounds_is_one_short_message(setting: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        load_run(SMOKE, [setting])
    assert told in str(caught.value) and len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 400


def test_many_unknown_keys_are_told_by_the_first_of_them(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(SMOKE.read_text() + "".join(f"k{number}: 1\n" for number in range(4_000)))
    with pytest.raises(UserError) as caught:
        load_run(path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 21 and lines[-1] == f"{path}: and 3,980 more such problems"


def test_a_feature_that_is_called_as_one_known_ahead_would_be() -> None:
    load_run(RUN, ["windows.features={a (ahead): {lookback: 30}}"])
    with pytest.raises(UserError, match=r"'a \(ahead\)' is what 'a' is called ahead: rename the column"):
        load_run(RUN, ["windows.features={a (ahead): {lookback: 30}}", "windows.future=[a]"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["data.time_format=%d/%m"], "it says no year"),
        (["data.time_format='%d/%m/%Y %Q'"], "%Q cannot be read: known are"),
        (["data.time_format='%s'"], "data.time_unit: s"),
        (["data.time_format='%d/%m/%Y %Z'"], "data.time_zone"),
        (["data.time_format='%d/%m/%Y %I:%M'"], "write %p"),
        (["data.time_format='%Y %y'"], "one part of a time twice"),
        (["data.time_format='%d/%m/%Y'", "data.time_unit=s"], "not both"),
        (["data.time_unit=s", "data.frequency=1"], "write frequency as a duration"),
        (["data.time_unit=s", "data.time=[a, b]"], "name that column alone"),
        (["data.time=[a, a]"], "name each column once"),
    ],
)
def test_a_form_of_time_that_cannot_be_read_is_refused(settings: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_run("params/smoke.yaml", settings)
