"""Results on disk: they come back, damage is named, a kill loses nothing; where they came from."""

import errno
import json
import math
import os
import re
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.experiments import Results, records, tidy
from companion.experiments.provenance import provenance
from companion.experiments.records import LIMIT, RecordError, load, save


def toy(n=4, **facts):
    """Results of a small experiment, as a session fills them in."""
    x = torch.arange(n, dtype=torch.float32)
    return Results(
        tidy([x.mean()], {"seed": [0]}, measure="mean"),
        {"x": x, "half": x.bfloat16()},
        {"seeds": [1, 2.5], **facts},
        experiment="toy.mean",
        settings={"n": n, "name": "a"},
        profile="cpu",
        provenance=provenance(seconds=0.5, code="abc"),
    )


def strange():
    """A table that JSON cannot hold."""
    return pd.DataFrame({"value": [1.0], "what": [{1}]})


def mean(folder, name="toy"):
    return load(name, folder).value(measure="mean")


@pytest.fixture
def saved(tmp_path):
    save(toy(), "toy", tmp_path)
    return tmp_path


def files(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != records.LOCK)


# --- saving and loading


def test_round_trip(saved):
    before, after = toy(), load("toy", saved)
    pd.testing.assert_frame_equal(after.table, before.table)
    assert after.arrays["x"].tolist() == [0, 1, 2, 3] and after.arrays["half"].dtype == "float32"
    assert after.tensor("x").dtype == torch.float32
    assert after.settings == {"n": 4, "name": "a"} and after.facts == {"seeds": [1, 2.5]}
    assert (after.experiment, after.profile, after.seed) == ("toy.mean", "cpu", 0)
    assert after.stale == () and len(files(saved)) == 2


def test_a_table_of_several_measures_comes_back(tmp_path):
    """Columns that a measure does not have are missing there, not made up."""
    parts = [
        tidy([[1.0, math.nan]], {"level": [0.1], "seed": [0, 1]}, measure="error", method="plain"),
        tidy([0.5], {"level": [0.1]}, measure="floor"),
    ]
    save(Results(parts), "any", tmp_path)
    results = load("any", tmp_path)
    assert results.value(measure="floor") == 0.5
    assert np.isnan(results.values(measure="error")[1])
    assert results.where(method=None)["measure"].tolist() == ["floor"]


def test_provenance_says_where_it_came_from(saved):
    where = load("toy", saved).provenance
    assert where["versions"]["torch"] == torch.__version__
    assert re.match(r"\d{4}-\d\d-\d\dT.*\+00:00$", where["date"])
    assert where["seconds"] == 0.5 and where["peak_memory"] > 1e6 and where["device"]
    assert where["code"] == "abc"
    text = json.dumps(where)
    assert str(Path.home()) not in text and os.uname().nodename not in text
    line = load("toy", saved).line
    for fact in (where["device"], where["date"][:10], "commit", " s, ", "GiB"):
        assert fact in line


def test_a_new_result_replaces_the_old_one(saved):
    before = files(saved)
    save(toy(9), "toy", saved)
    save(toy(3), "toy-2", saved)
    assert mean(saved) == 4 and mean(saved, "toy-2") == 1
    assert len(files(saved)) == 4 and before[0] not in files(saved)


def test_the_same_result_gives_the_same_arrays_file(saved):
    (npz,) = saved.glob("*.npz")
    before = npz.read_bytes()
    save(toy(), "toy", saved)
    assert npz.read_bytes() == before and len(files(saved)) == 2


def test_a_column_of_the_table_is_one_line(tmp_path):
    """So that a difference between two commits of a record can be read."""
    path = save(Results(tidy(torch.rand(50), {"seed": range(50)})), "any", tmp_path)
    (line,) = [line for line in path.read_text().splitlines() if line.startswith('  "value": ')]
    assert line.count(",") >= 49


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
@given(st.dictionaries(st.text(), values, max_size=4), st.text())
def test_any_facts_and_labels_come_back(tmp_path_factory, facts, label):
    """Quotes, line ends, markup and signs of every alphabet among them."""
    folder = tmp_path_factory.mktemp("records")
    table = tidy([1.0], {"seed": [0]}, method=label)
    save(Results(table, {"x": np.arange(3)}, facts), "any", folder)
    results = load("any", folder)
    assert results.facts == facts and results.labels("method") == [label]


def test_infinite_and_missing_values_come_back(tmp_path):
    table = tidy([math.inf, math.nan], {"seed": [0, 1]})
    save(Results(table, facts={"a": math.inf, "b": math.nan}), "any", tmp_path)
    results = load("any", tmp_path)
    first, second = results.table["value"]
    assert first == math.inf and math.isnan(second)
    assert results.facts["a"] == math.inf and math.isnan(results.facts["b"])


# --- damage


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
        (lambda body: body.pop("facts"), "damaged or cut short: no entry 'facts'"),
        (lambda body: body["arrays"].pop("sha256"), "damaged or cut short: no entry 'sha256'"),
        (lambda body: body.update(format=7), "format 7; this version reads 2"),
        (lambda body: body["table"].pop("value"), "is damaged: table: got the columns"),
        (lambda body: body["table"].update(seed=[0, 1]), "damaged or cut short"),
        (lambda body: body.update(table=3), "damaged or cut short"),
        (lambda body: body.update(arrays=[]), "damaged or cut short"),
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


def test_a_result_reads_no_file_of_another_folder(saved, tmp_path):
    """The name of the arrays' file is a name, not a path."""
    path = saved / "toy.json"
    body = json.loads(path.read_text(encoding="utf-8"))
    body["arrays"]["file"] = "../../" + body["arrays"]["file"]
    path.write_text(json.dumps(body), encoding="utf-8")
    assert mean(saved) == 1.5


def test_pickles_are_refused(saved):
    (path,) = saved.glob("*.npz")
    np.savez(path, x=np.array([{}], dtype=object))
    with pytest.raises(RecordError):
        load("toy", saved)
    with pytest.raises(TypeError, match=r"arrays\['x'\]: got an array of object"):
        Results(tidy([1.0], {"seed": [0]}), {"x": [{}]})


def test_too_large_keeps_the_old_record(saved):
    before = files(saved)
    large = Results(tidy([7.0], {"seed": [0]}), {"x": np.random.default_rng(0).random(300_000)})
    with pytest.raises(RecordError, match=r"record toy: it takes 2\.\d MB; allowed are 2 MB"):
        save(large, "toy", saved, LIMIT)
    assert files(saved) == before and mean(saved) == 1.5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_while_writing(saved):
    """Kill the process before each of its steps: the old result is there, whole."""
    script = textwrap.dedent(f"""
        import os, signal
        from pathlib import Path
        import numpy as np
        from companion.experiments import Results, records, tidy

        def counted(function):
            def call(*arguments, **options):
                global left
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*arguments, **options)
            return call

        folder = Path({str(saved)!r})
        new = Results(tidy([7.0], {{"seed": [0]}}, measure="mean"), {{"x": np.arange(5)}})
        for steps in range(7):
            child = os.fork()
            if not child:
                left = steps
                for name in ("fsync", "replace", "chmod"):
                    setattr(os, name, counted(getattr(os, name)))
                records.save(new, "toy", folder)
                os._exit(0)
            status = os.waitpid(child, 0)[1]
            mean = records.load("toy", folder).value(measure="mean")
            print(status == signal.SIGKILL, mean)
    """)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n") == ["True 1.5"] * 6 + ["False 7.0", ""]
    for left in saved.glob(".*.partial"):
        os.utime(left, (0, 0))
    save(toy(3), "toy", saved)  # the next run is not disturbed
    assert mean(saved) == 1 and len(files(saved)) == 2


@pytest.mark.parametrize("read", [False, True])
def test_two_writers_and_a_reader(saved, read):
    """Whoever reads sees one of the two results, whole, and one is left in the end."""
    written = [toy(3), toy(9)]

    def writer(results):
        for _ in range(15):
            save(results, "toy", saved)

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(writer, results) for results in written]
        while read and not all(future.done() for future in futures):
            assert mean(saved) in (1, 1.5, 4)
        for future in futures:
            future.result()
    assert mean(saved) in (1, 4) and len(files(saved)) == 2


def test_a_full_disk_names_the_file_and_its_size(saved, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = files(saved)
    monkeypatch.setattr(os, "fsync", full)
    message = r"npz could not be written \(No space left on device\): it takes 0\.00 MB, and \d"
    with pytest.raises(OSError, match=message) as caught:
        save(toy(9), "toy", saved)
    assert caught.value.errno == errno.ENOSPC
    assert files(saved) == before and mean(saved) == 1.5


# --- folders, names and input


def test_folder_of_the_records(tmp_path, monkeypatch):
    monkeypatch.delenv("COMPANION_RESULTS", raising=False)
    monkeypatch.chdir(tmp_path)
    packaged = Path(records.__file__).resolve().parents[1] / "_results"
    assert records.records_folder() == packaged
    assert records.writable_records_folder() == tmp_path / "results"  # not into the package
    (tmp_path / "results").mkdir()
    assert records.records_folder() == tmp_path / "results"
    inner = tmp_path / "book" / "notebooks"
    for folder in (inner, tmp_path / "book/companion", tmp_path / "book/results"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert records.records_folder() == tmp_path / "book/results"
    monkeypatch.setenv("COMPANION_RESULTS", str(tmp_path))
    assert records.records_folder() == records.writable_records_folder() == tmp_path


def test_folder_of_the_memory(tmp_path, monkeypatch):
    monkeypatch.delenv("COMPANION_MEMORY", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    assert records.memory_folder().name == "experiments"
    for folder in ("book/notebooks", "book/companion", "book/results"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "book/notebooks")
    assert records.memory_folder() == tmp_path / "book/_build/experiments"
    monkeypatch.setenv("COMPANION_MEMORY", str(tmp_path / "mine"))
    assert records.memory_folder() == tmp_path / "mine"


class FromRepository:
    """What pip leaves of an installation from a repository, as in Colab."""

    version = "1"

    def read_text(name):
        assert name == "direct_url.json"
        return json.dumps({"url": "https://example.org", "vcs_info": {"commit_id": "def"}})


def test_without_git(monkeypatch):
    monkeypatch.delenv("COMPANION_COMMIT", raising=False)
    monkeypatch.setenv("PATH", "")
    assert provenance()["commit"] is None
    assert "no commit" in Results(tidy([1.0], {"seed": [0]}), provenance=provenance()).line
    monkeypatch.setattr(metadata, "distribution", lambda name: FromRepository)
    assert provenance()["commit"] == "def"
    monkeypatch.setenv("COMPANION_COMMIT", "abc")
    assert provenance()["commit"] == "abc"


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda f: save(toy(), "A b", f), "name: got 'A b'"),
        (lambda f: load("../x", f), r"name: got '\.\./x'"),
        (lambda f: save(toy(f=object()), "a", f), r"facts\['f'\]: got object"),
        (lambda f: save(toy(f={1: 2}), "a", f), r"facts\['f'\]: got the key 1"),
        (lambda f: save(Results(strange()), "a", f), r"table\['what'\]\[0\]: got set"),
        (lambda f: Results([]), "table: allowed is a DataFrame or a sequence"),
        (lambda f: Results(pd.DataFrame({"a": [1]})), r"got the columns \['a'\]; one must be"),
    ],
)
def test_bad_input(call, message, tmp_path):
    with pytest.raises((ValueError, TypeError), match=message):
        call(tmp_path)


def test_what_is_not_there_is_a_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        load("none", tmp_path)


# --- the records of the book


COMMITTED = sorted((ROOT / "results").glob("*.json"))


@pytest.mark.parametrize("path", COMMITTED, ids=lambda p: p.stem)
def test_a_committed_record_is_whole_and_small(path):
    results = load(path.stem, path.parent)
    assert len(results.table) and results.experiment == path.stem.partition("-")[0]
    assert results.profile in ("long", "gpu")
    (npz,) = path.parent.glob(f"{path.stem}.{'?' * 12}.npz")
    assert path.stat().st_size + npz.stat().st_size <= LIMIT
    assert results.provenance["device"] and results.provenance["date"]
    text = json.dumps([results.provenance, results.facts, results.settings])
    assert not re.search(r'"(/|~|[A-Z]:\\)', text), "a path of the machine that made it"
