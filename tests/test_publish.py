"""Publishing: the site and the notebooks that Colab opens, each on a branch of a remote."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, make

from book import publish, push

GIT = ["git", "-c", "gc.auto=0"]


def git(folder: Path, *arguments: object) -> str:
    """What git says in a folder."""
    done = subprocess.run([*GIT, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def work(tmp_path, monkeypatch) -> Path:
    """A repository with one commit and a bare one as its remote ``pages``."""
    for key in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{key}_NAME", "a")
        monkeypatch.setenv(f"GIT_{key}_EMAIL", "a@example.org")
    work, remote = tmp_path / "work", tmp_path / "remote.git"
    git(tmp_path, "init", "-q", "--bare", remote)
    git(tmp_path, "init", "-q", work)
    (work / "page").write_text("of the branch that is checked out")
    git(work, "add", ".")
    git(work, "commit", "-q", "-m", "one")
    git(work, "remote", "add", "pages", remote)
    return work


def test_a_folder_becomes_the_next_commit_of_its_branch(work, tmp_path):
    site, remote = tmp_path / "site", tmp_path / "remote.git"
    assert "nothing in" in push.push("gh-pages", site, "pages", work)
    (site / "deep").mkdir(parents=True)
    (site / ".gitignore").write_text("*.log\n")
    (site / "deep" / "a.log").write_bytes(b"one\r\ntwo\n")
    for text in ("first", "second", "second"):
        (site / "index.html").write_text(text)
        assert push.push("gh-pages", site, "pages", work) == ""
        assert git(remote, "show", "gh-pages:index.html") == text
    files = git(remote, "ls-tree", "-r", "--name-only", "gh-pages").split()
    assert files == [".gitignore", "deep/a.log", "index.html"]
    size = git(remote, "cat-file", "-s", "gh-pages:deep/a.log")
    assert size == "9", "not the bytes that were there"
    head = git(work, "rev-parse", "HEAD")
    log = git(remote, "log", "--format=%s", "gh-pages").splitlines()
    assert log == [f"Made from {head}"] * 2, "what is there already is no new commit"
    assert git(work, "status", "--porcelain", "--branch").startswith("## ma")
    assert (work / "page").exists() and not (work / "index.html").exists()


def test_what_goes_wrong_is_said_and_leaves_the_branch(work, tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text("first")
    assert "could not be pushed to nowhere" in push.push("gh-pages", site, "nowhere", work)
    hook = tmp_path / "remote.git" / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho this branch is protected\nexit 1\n")
    hook.chmod(0o755)
    assert "this branch is protected" in push.push("gh-pages", site, "pages", work)


def test_pushing_needs_no_package(work, tmp_path):
    """It runs where the workflow may write to the repository: git and a bare Python, no more."""
    script = work / "book" / "push.py"
    script.parent.mkdir()
    script.write_bytes((ROOT / "book" / "push.py").read_bytes())
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "a.ipynb").write_text("{}")
    command = [sys.executable, "-I", "-S", script, "colab", tmp_path / "notebooks", "pages"]
    subprocess.run(command, check=True)
    assert git(tmp_path / "remote.git", "show", "colab:a.ipynb") == "{}"
    done = subprocess.run([*command[:-1], "nowhere"], capture_output=True, text=True)
    assert done.returncode == 1 and "nowhere" in done.stderr


def test_publish_says_at_once_what_is_missing(monkeypatch, capsys):
    url = "https://example.org/owner/name"
    monkeypatch.setattr(publish, "repository_url", str)
    assert publish.publish("push", None, "origin") == 1
    assert "address is not known" in capsys.readouterr().err
    monkeypatch.setattr(publish, "repository_url", lambda: url)
    monkeypatch.setattr(publish, "unpublished", lambda: "no remote has the commit")
    assert publish.publish("notebooks", None, "origin") == 1
    assert "what is published: no remote has the commit" in capsys.readouterr().err
    monkeypatch.setattr(publish, "unpublished", str)
    assert publish.publish("check", None, "nowhere") == 1
    assert "no remote 'nowhere'" in capsys.readouterr().err
    assert "book publish check" in make("-n", "publish").stdout


def test_the_site_is_pushed_with_its_notebooks(work, tmp_path, monkeypatch):
    monkeypatch.setattr(publish, "push", lambda *what: push.push(*what, root=work))
    monkeypatch.setattr(publish, "COLAB", tmp_path / "colab")
    monkeypatch.setattr(publish, "pinned", lambda url: f"{url}@abc")
    monkeypatch.setenv("REPOSITORY_URL", "https://github.com/owner/name")
    site = tmp_path / "site"
    assert "There is no site" in publish.push_all("pages", site)
    site.mkdir()
    (site / "index.html").write_text("first")
    assert publish.push_all("pages", site) == ""
    remote = tmp_path / "remote.git"
    assert ".nojekyll" in git(remote, "ls-tree", "--name-only", "gh-pages").split()
    there = git(remote, "ls-tree", "--name-only", "colab:notebooks").split()
    assert there == sorted(path.name for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
    text = git(remote, "show", f"colab:notebooks/{there[0]}")
    assert 'repository = \\"https://github.com/owner/name@abc\\"  # @param' in text
    assert "github.com/owner/name@abc" in git(remote, "show", "colab:README.md")
