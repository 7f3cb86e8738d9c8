"""The command line, alone and under accelerate, and experiments in processes beside each other."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from conftest import ROOT, clean_environment

from companion import cli
from companion.experiments import (
    Experiment,
    Results,
    Session,
    experiment,
    one_denoiser,
    records,
    tidy,
)
from companion.experiments.experiment import find
from companion.experiments.parallel import run_all


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    """Keep what a test remembers to itself."""
    for name in ("memory", "results", "trained"):
        monkeypatch.setenv(f"COMPANION_{name.upper()}", str(tmp_path / name))
    monkeypatch.setenv("COMPANION_PROGRESS", "0")


def companion(capsys, *arguments):
    """Exit status, output and errors of a command."""
    try:
        status = cli.main(arguments)
    except SystemExit as stop:
        status = stop.code
    return status, *capsys.readouterr()


def kept(out):
    """The results that a command says it kept."""
    path = Path(re.search(r"^kept in (.+)$", out, flags=re.MULTILINE)[1])
    return records.load(path.stem, path.parent)


# --- list


def test_list_names_every_experiment_with_its_sizes(capsys):
    status, out, err = companion(capsys, "list")
    assert (status, err) == (0, "")
    for name, cls in experiment.registry().items():
        assert f"{name}\n    {cls.__doc__.strip().splitlines()[0]}\n" in out
    assert "smoke: steps 60, seeds 2; cpu: as documented" in out
    assert "cpu: from records" in out


def test_every_experiment_can_be_listed_and_run_by_name():
    """Each has a sentence, sizes that exist, and no setting that the command takes for itself."""
    own = {"profile", "seed", "jobs", "again", "settings", "name"}
    for name, cls in experiment.registry().items():
        assert cls.__doc__ and not cls.__doc__.startswith(f"{cls.__name__}("), name
        for profile in experiment.PROFILES:
            assert all(isinstance(planned, cls) for planned in cls.planned(profile))
        assert cls.planned("smoke"), f"{name} does not run at smoke"
        assert not own & set(cls.planned("smoke")[0].settings()), name
        assert all(needed.name() in experiment.registry() for needed in cls.needs), name


def test_a_module_is_a_command_too():
    """``python -m companion`` is ``companion``."""
    run = {"cwd": ROOT, "env": clean_environment(), "capture_output": True, "text": True}
    script = Path(sys.executable).parent / "companion"
    module = subprocess.run([sys.executable, "-m", "companion", "list"], check=True, **run)
    assert "one_denoiser.budgets" in module.stdout
    if script.exists():
        assert subprocess.run([script, "list"], check=True, **run).stdout == module.stdout


# --- run


def test_run_shows_a_table_and_says_where_it_is(capsys):
    status, out, _ = companion(capsys, "run", "one_denoiser.point_networks", "--profile", "smoke")
    assert status == 0
    assert "measure" in out and "final loss" in out and "seeds" in out
    results = kept(out)
    assert (results.profile, results.seed) == ("smoke", 0)
    assert results.settings == {"points": 4000, "steps": 60, "seeds": 2}


def test_any_setting_can_be_given(capsys):
    command = ("run", "one_denoiser.point_networks", "--profile", "smoke", "--seed", "3")
    _, out, _ = companion(capsys, *command, "--seeds", "1", "--points", "100")
    results = kept(out)
    # What is not given is that of the profile.
    assert results.settings == {"points": 100, "steps": 60, "seeds": 1} and results.seed == 3


def test_a_setting_of_several_values(capsys):
    command = ("run", "one_denoiser.held_out", "--profile", "smoke")
    _, out, _ = companion(capsys, *command, "--levels", "0.2", "1e-1")
    assert kept(out).settings == {"levels": [0.2, 0.1]}
    assert kept(out).labels("level") == [0.2, 0.1]


def test_again_runs_what_is_remembered(capsys, monkeypatch):
    command = ("run", "one_denoiser.point_networks", "--profile", "smoke", "--steps", "2")
    runs = []
    run = one_denoiser.PointNetworks.run
    monkeypatch.setattr(
        one_denoiser.PointNetworks, "run", lambda *given: runs.append(1) or run(*given)
    )
    companion(capsys, *command)
    companion(capsys, *command)
    assert len(runs) == 1
    companion(capsys, *command, "--again")
    assert len(runs) == 2


def test_settings_are_explained(capsys):
    status, out, _ = companion(capsys, "run", "one_denoiser.budgets", "--settings")
    assert status == 0
    assert "--flow-steps INT" in out and "Random halves of data for the noise floor." in out
    assert "5 7 11 21 41" in out


@pytest.mark.parametrize(
    "command, message",
    [
        (
            ["run", "one_denoiser.budget"],
            "no experiment 'one_denoiser.budget'; did you mean one_de",
        ),
        (["run", "tweedy"], "did you mean tweedie"),
        (["run", "qqq"], "no experiment 'qqq'; 'companion list' shows them all"),
        (["run", "one_denoiser", "--steps", "3"], "settings belong to one experiment"),
        (["run", "one_denoiser.budgets", "--buget", "3"], "--budgets"),
        (["run", "one_denoiser.budgets", "--samples", "x"], "samples"),
        (["run", "tweedie.image_race"], "no size for cpu; profiles: smoke, long, gpu"),
        (["run", "one_denoiser.budgets", "--profile", "fast"], "choose from.*smoke.*cpu"),
        (["run", "one_denoiser.budgets", "--seed", "-1"], "seed: got -1"),
        (["verdicts", "tweedy"], "got 'tweedy'; allowed are .*'tweedie'"),
        (["verdicts", "tweedie", "again"], "again"),
        (["list", "all"], "all"),
        (["rum"], "invalid choice: 'rum'.*run"),
        ([], "COMMAND"),
    ],
    ids=" ".join,
)
def test_what_is_wrong_is_named_and_nothing_runs(capsys, tmp_path, command, message):
    status, _, err = companion(capsys, *command)
    assert status == 2 and re.search(message, err, flags=re.DOTALL), err
    assert "Traceback" not in err and not (tmp_path / "memory").exists()


def test_a_mistake_inside_of_an_experiment_is_not_one_of_the_command(capsys, monkeypatch):
    def run(self, session):
        raise ValueError("a mistake")

    monkeypatch.setattr(one_denoiser.PointNetworks, "run", run)
    with pytest.raises(ValueError, match="a mistake"):
        companion(capsys, "run", "one_denoiser.point_networks", "--profile", "smoke")


def test_who_watches_sees_the_time_left(capsys, monkeypatch):
    monkeypatch.setenv("COMPANION_PROGRESS", "1")
    monkeypatch.setattr("tqdm.std.tqdm.monitor_interval", 0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    _, _, err = companion(capsys, "run", "one_denoiser.point_networks", "--profile", "smoke")
    assert re.search(r"/60 \[.*<", err), err


# --- verdicts


def test_verdicts_of_a_chapter(capsys, monkeypatch):
    def verdicts(session):
        return f"judged at {session.profile} with seed {session.seed}"

    monkeypatch.setattr(one_denoiser, "verdicts", verdicts, raising=False)
    status, out, _ = companion(
        capsys, "verdicts", "one_denoiser", "--profile", "smoke", "--seed", "2"
    )
    assert (status, out) == (0, "judged at smoke with seed 2\n")


def test_verdicts_of_all_chapters_in_the_order_of_the_book(capsys, monkeypatch):
    monkeypatch.setattr(cli, "chapters", lambda: ["one_denoiser"])
    monkeypatch.setattr(one_denoiser, "verdicts", lambda session: "judged", raising=False)
    assert companion(capsys, "verdicts", "--profile", "smoke") == (0, "judged\n", "")


# --- several at a time


@dataclass(frozen=True)
class First(Experiment):
    """A number."""

    fails: bool = False
    sizes: ClassVar[dict[str, Any]] = {"long": {"fails": True}}

    def run(self, session):
        if self.fails:
            raise RuntimeError("it broke")
        return Results(tidy([1.0], {"seed": [0]}))


@dataclass(frozen=True)
class Second(Experiment):
    """One more."""

    needs: ClassVar[tuple[type[Experiment], ...]] = (First,)

    def run(self, session):
        return Results(tidy([session.run(First).value() + 1], {"seed": [0]}))


@dataclass(frozen=True)
class Apart(Experiment):
    """Needs nothing."""

    def run(self, session):
        return Results(tidy([5.0], {"seed": [0]}))


def test_what_is_needed_runs_first_and_once(capfd, tmp_path):
    assert run_all([Second, Apart], "smoke", jobs=2) == 0
    out, _ = capfd.readouterr()
    assert sorted(re.findall(r"test_cli\.(\w+): \d", out)) == ["apart", "first", "second"]
    assert out.index("first") < out.index("second") and "3 experiments" in out
    kinds = {path.name.partition("-")[0] for path in (tmp_path / "memory").glob("*.json")}
    assert kinds == {"test_cli.first", "test_cli.second", "test_cli.apart"}


def test_a_failure_is_told_and_the_others_run(capfd):
    assert run_all([Second, Apart], "long", jobs=1) == 1
    out, err = capfd.readouterr()
    assert "FAILED test_cli.first" in err and "RuntimeError: it broke" in err
    assert "test_cli.second: not run, since what it needs failed" in out
    assert "test_cli.apart: " in out


def test_who_watches_sees_the_time_left_of_all(capsys, monkeypatch):
    monkeypatch.setenv("COMPANION_PROGRESS", "1")
    monkeypatch.setattr("tqdm.std.tqdm.monitor_interval", 0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert run_all([Apart], "smoke", jobs=1) == 0
    out, err = capsys.readouterr()
    assert re.search(r"/1 \[.*<", err) and "[1/1] test_cli.apart" in out


def test_jobs_are_checked(capsys):
    status, _, err = companion(capsys, "run", "one_denoiser", "--jobs", "0")
    assert status == 2 and "jobs: got 0; allowed is a whole number of at least 1" in err


# --- several processes of one experiment


def test_accelerate_runs_one_experiment_on_two_processes(tmp_path):
    """Both train one network on batches of their own; the first prints and keeps the result."""
    launch = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch"]
    how = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--main_process_port", "0"]
    how += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    what = ["-m", "companion", "run", "tweedie.image_shared_settings", "--profile", "smoke"]
    environment = clean_environment(ACCELERATE_USE_CPU="1", OMP_NUM_THREADS="1")
    environment["HF_HOME"] = str(tmp_path / "hf")  # without the configuration of this user
    done = subprocess.run(
        [*launch, *how, *what], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("kept in ") == 1
    (path,) = (tmp_path / "memory").glob("tweedie.image_shared_settings-*.json")  # beside its parts
    assert f"kept in {path}" in done.stdout
    results = kept(done.stdout)
    assert results.experiment == "tweedie.image_shared_settings" and len(results.table)
    # Two processes see twice the samples a step: theirs do not pass for the results of one.
    assert Session("smoke").remembered(find("tweedie.image_shared_settings")[0]) is None
