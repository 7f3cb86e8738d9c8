import importlib.util
import itertools
import json
import linecache
import math
import os
import re
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from companion import records
from companion.records import Missing, Record, RecordError, fingerprint, load, run


def experiment(config):
    """Do what the tests run."""
    x = torch.arange(config["n"], dtype=torch.float32)
    return {"mean": x.mean(), "seeds": [1, 2.5]}, {"x": x, "half": x.bfloat16()}


@pytest.fixture
def saved(tmp_path):
    run("toy", experiment, {"n": 4, "name": "a"}, live=True, folder=tmp_path)
    return tmp_path


def files(folder):
    return sorted(path.name for path in folder.iterdir())


# --- saving and loading ---


def test_round_trip(saved):
    record = run("toy", experiment, {"n": 4, "name": "a"}, live=False, folder=saved)
    assert record.metrics == {"mean": 1.5, "seeds": [1, 2.5]}
    assert record.arrays["x"].tolist() == [0, 1, 2, 3] and record.arrays["half"].dtype == "float32"
    assert record.config == {"n": 4, "name": "a"} and record.stale == () and record
    assert len(files(saved)) == 2


def test_provenance_says_where_it_came_from(saved):
    where = load("toy", saved).provenance
    assert where["versions"]["torch"] == torch.__version__
    assert re.match(r"\d{4}-\d\d-\d\dT.*\+00:00$", where["date"])
    assert where["seconds"] >= 0 and where["peak_memory"] > 1e6 and where["device"]
    text = json.dumps(where)
    assert str(Path.home()) not in text and os.uname().nodename not in text
    line = load("toy", saved).line
    for fact in (where["device"], where["date"][:10], "commit", " s, ", "GiB"):
        assert fact in line
    assert where["device"] in load("toy", saved)._repr_html_()


def test_a_new_record_replaces_the_old_one(saved):
    before = files(saved)
    run("toy", experiment, {"n": 9}, live=True, folder=saved)
    run("toy-2", experiment, {"n": 3}, live=True, folder=saved)
    assert load("toy", saved).metrics["mean"] == 4
    assert len(files(saved)) == 4 and before[0] not in files(saved)


def test_the_same_result_gives_the_same_arrays_file(saved):
    before = (saved / files(saved)[0]).read_bytes()
    run("toy", experiment, {"n": 4}, live=True, folder=saved)
    assert (saved / files(saved)[0]).read_bytes() == before


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(), values, max_size=4))
def test_any_metrics_come_back(tmp_path_factory, metrics):
    folder = tmp_path_factory.mktemp("records")
    Record("any", {}, metrics, {"x": np.arange(3)}, {}).save(folder)
    assert load("any", folder).metrics == metrics


def test_infinite_and_missing_values_come_back(tmp_path):
    Record("any", {}, {"a": math.inf, "b": math.nan}, {}, {}).save(tmp_path)
    metrics = load("any", tmp_path).metrics
    assert metrics["a"] == math.inf and math.isnan(metrics["b"])


# --- damage ---


def damage(path, change):
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize("keep", [0, 1, 0.5, 0.98])
@pytest.mark.parametrize("kind", ["json", "npz"])
def test_cut_short(saved, kind, keep):
    (path,) = saved.glob(f"*.{kind}")
    damage(path, lambda b: b[: int(len(b) * keep) if keep < 1 else 1])
    with pytest.raises(RecordError, match=rf"{re.escape(path.name)} is damaged or cut short"):
        load("toy", saved)


def test_one_byte_of_the_arrays(saved):
    (path,) = saved.glob("*.npz")
    damage(path, lambda b: b[:60] + bytes([b[60] ^ 1]) + b[61:])
    with pytest.raises(RecordError, match=r"toy\..*npz is damaged .* toy.json was written with"):
        load("toy", saved)


def test_arrays_missing(saved):
    (path,) = saved.glob("*.npz")
    path.unlink()
    with pytest.raises(RecordError, match=r"npz is missing, the arrays of toy\.json"):
        load("toy", saved)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda body: body.pop("metrics"), "damaged or cut short: no entry 'metrics'"),
        (lambda body: body.update(metrics=[1]), "is damaged: metrics: got list"),
        (lambda body: body.update(format=7), "format 7; this version reads 1"),
        (lambda body: body.update(name="other"), "it is the record of 'other'"),
    ],
)
def test_entries_that_are_wrong(saved, change, message):
    path = saved / "toy.json"
    body = json.loads(path.read_text(encoding="utf-8"))
    change(body)
    path.write_text(json.dumps(body), encoding="utf-8")
    with pytest.raises(RecordError, match=message) as caught:
        load("toy", saved)
    assert "toy.json" in str(caught.value)


def test_pickles_are_refused(saved):
    (path,) = saved.glob("*.npz")
    np.savez(path, x=np.array([{}], dtype=object))
    with pytest.raises(RecordError):
        load("toy", saved)
    with pytest.raises(TypeError, match=r"arrays\['x'\]: got an array of object"):
        Record("a", {}, {}, {"x": [{}]}, {})


def test_too_large_keeps_the_old_record(saved):
    before = files(saved)
    noise = np.random.default_rng(0).random(300_000)
    with pytest.raises(RecordError, match=r"record toy: it takes 2\.\d MB; allowed are 2 MB"):
        Record("toy", {}, {}, {"x": noise}, {}).save(saved)
    assert files(saved) == before and load("toy", saved).metrics["mean"] == 1.5


def test_killed_while_writing(saved):
    """Kill the process before each of its steps: the old record is there, whole."""
    script = textwrap.dedent(f"""
        import os, signal
        import numpy as np
        from companion import records

        def counted(function):
            def call(*arguments, **options):
                global left
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*arguments, **options)
            return call

        new = records.Record("toy", {{}}, {{"mean": 7}}, {{"x": np.arange(5)}}, {{}})
        for steps in range(7):
            child = os.fork()
            if not child:
                left = steps
                for name in ("fsync", "replace", "chmod"):
                    setattr(os, name, counted(getattr(os, name)))
                new.save({str(saved)!r})
                os._exit(0)
            status = os.waitpid(child, 0)[1]
            print(status == signal.SIGKILL, records.load("toy", {str(saved)!r}).metrics["mean"])
    """)
    where = Path(records.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=where, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n") == ["True 1.5"] * 6 + ["False 7", ""]
    for left in saved.glob(".*"):
        os.utime(left, (0, 0))
    run("toy", experiment, {"n": 3}, live=True, folder=saved)  # the next run is not disturbed
    assert load("toy", saved).metrics["mean"] == 1 and len(files(saved)) == 2


# --- run ---


def test_missing_is_false_and_says_so(tmp_path):
    record = run("none", experiment, {"n": 1}, live=False, folder=tmp_path)
    assert isinstance(record, Missing) and not record
    assert "not yet recorded" in repr(record) and "Not yet recorded" in record._repr_html_()
    with pytest.raises(RecordError, match=r"none: not yet recorded .* it has no metrics"):
        _ = record.metrics


def test_stale_when_the_configuration_differs(saved):
    record = run("toy", experiment, {"n": 5, "k": 1}, live=False, folder=saved)
    assert record.stale == ("it was made with another configuration (n, k, name)",)
    assert "Warning: it was made with another" in record.line and "D55E00" in record._repr_html_()


def test_stale_when_the_code_differs(saved):
    def other(config):
        return {}, {}

    record = run("toy", other, {"n": 4, "name": "a"}, live=False, folder=saved)
    assert record.stale == ("the code has changed since",)


def test_results_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("COMPANION_RESULTS", raising=False)
    monkeypatch.chdir(tmp_path)
    assert records.results_folder() == Path(records.__file__).parent / "_results"
    Record("a", {}, {}, {}, {}).save()  # not into the package
    assert (tmp_path / "results/a.json").is_file() and load("a").name == "a"
    inner = tmp_path / "book" / "notebooks"
    for folder in (inner, tmp_path / "book/companion", tmp_path / "book/results"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert records.results_folder() == tmp_path / "book/results"
    monkeypatch.setenv("COMPANION_RESULTS", str(tmp_path))
    assert records.results_folder() == tmp_path


def test_without_git(monkeypatch):
    monkeypatch.delenv("COMPANION_COMMIT", raising=False)
    monkeypatch.setenv("PATH", "")
    assert records.provenance()["commit"] is None
    monkeypatch.setenv("COMPANION_COMMIT", "abc")
    assert records.provenance()["commit"] == "abc"


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: Record("A b", {}, {}, {}, {}), "name: got 'A b'"),
        (lambda: load("../x"), r"name: got '\.\./x'"),
        (lambda: Record("a", {}, {"f": object()}, {}, {}), r"metrics\['f'\]: got object"),
        (lambda: Record("a", {}, {1: 2}, {}, {}), "metrics: got the key 1"),
        (lambda: Record("a", [], {}, {}, {}), "config: got list"),
        (lambda: fingerprint(), "functions: got none"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


# --- fingerprint ---


COUNT = itertools.count()


def functions_of(tmp_path, text):
    path = tmp_path / f"module_{next(COUNT)}.py"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


BASE = """
    import companion
    from companion import noise

    FACTOR = 2

    def helper(x):
        return x + 1

    def main(config):
        return helper(noise.log_linear(3)) * FACTOR, companion.oracles.Empirical
"""


def test_fingerprint_ignores_what_does_not_matter(tmp_path):
    same = BASE.replace("return x + 1", '"""Say."""\n\n        return (x  +  1)  # more')
    same = same.replace("FACTOR = 2", "FACTOR = 3  # values belong into the configuration")
    assert same != BASE
    one, two = functions_of(tmp_path, BASE), functions_of(tmp_path, same)
    assert fingerprint(one.main) == fingerprint(two.main)
    assert len(fingerprint(one.main)) == 16


@pytest.mark.parametrize(
    "old, new",
    [("x + 1", "x + 2"), ("log_linear(3)", "log_linear(4)"), ("Empirical", "GaussianMixture")],
)
def test_fingerprint_sees_what_matters(tmp_path, old, new):
    one, two = functions_of(tmp_path, BASE), functions_of(tmp_path, BASE.replace(old, new))
    assert fingerprint(one.main) != fingerprint(two.main)


def test_fingerprint_follows_the_modules_that_are_used(tmp_path, monkeypatch):
    def touched(name):
        """Modules whose change the fingerprint of ``BASE`` sees."""
        path = records._source(name)
        original = records._source

        def changed(module):
            found = original(module)
            if found == path:
                copy = tmp_path / path.name
                copy.write_text(path.read_text(encoding="utf-8") + "\nEXTRA = 1\n")
                return copy
            return found

        with monkeypatch.context() as patch:
            patch.setattr(records, "_source", changed)
            return fingerprint(module.main) != before

    module = functions_of(tmp_path, BASE)
    before = fingerprint(module.main)
    assert touched("companion.noise")  # used
    assert touched("companion.oracles")  # used by a dotted name
    assert not touched("companion.samplers.sequential")  # not used
    assert not touched("companion.plotting")


def test_fingerprint_of_a_function_of_the_package():
    from companion import noise, samplers

    assert fingerprint(noise.karras) == fingerprint(noise.cosine) != fingerprint(samplers.ddim)


def test_fingerprint_needs_a_source():
    scope = {}
    exec("def f(config): return {}, {}", scope)
    with pytest.raises(ValueError, match=r"the source of .* cannot be read"):
        fingerprint(scope["f"])


def test_fingerprint_reads_a_class_of_a_notebook_cell(monkeypatch):
    """A kernel's cells are no files; their text stands in linecache, as IPython puts it there."""
    module = types.ModuleType("a_kernel")
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def cell(number, text):
        name = f"/nowhere/ipykernel_1/{number}.py"
        lines = text.splitlines(keepends=True)
        monkeypatch.setitem(linecache.cache, name, (len(text), None, lines, name))
        exec(compile(text, name, "exec", dont_inherit=True), vars(module))

    cell(1, "from dataclasses import dataclass\n\n@dataclass\nclass Setting:\n    size: int = 1\n")
    cell(2, "def main(config):\n    return Setting().size\n")
    before = fingerprint(module.main)
    cell(3, "@dataclass\nclass Setting:\n    # a comment\n    size: int = 1\n")
    assert fingerprint(module.main) == before
    cell(4, "@dataclass\nclass Setting:\n    size: int = 2\n")
    assert fingerprint(module.main) != before
