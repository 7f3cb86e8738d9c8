"""The repository's address is found, and what Colab installs is what is published."""

from __future__ import annotations

import re
import subprocess

import pytest
import yaml

from book import address

NAMES = ("REPOSITORY_URL", "GITHUB_SERVER_URL", "GITHUB_REPOSITORY")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository without a remote, in place of the book's; gives a way to call git in it."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(address, "ROOT", tmp_path)
    (tmp_path / "_config.yml").write_text('repository:\n  url: ""\n')

    def git(*arguments: object) -> None:
        own = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(["git", "-C", tmp_path, *own, *arguments], check=True)

    git("init", "-q")
    return git


FORMS = {
    "https://github.com/owner/name": "https://github.com/owner/name",
    "https://github.com/owner/name.git": "https://github.com/owner/name",
    "https://github.com/owner/name.git/\n": "https://github.com/owner/name",
    "https://someone:secret@github.com/owner/name.git": "https://github.com/owner/name",
    "http://git.example.org:8080/group/sub/name": "http://git.example.org:8080/group/sub/name",
    "git@github.com:owner/name.git": "https://github.com/owner/name",
    "git.example.org:group/sub/name": "https://git.example.org/group/sub/name",
    "ssh://git@github.com/owner/name.git": "https://github.com/owner/name",
    "ssh://git@git.example.org:2222/owner/name": "https://git.example.org/owner/name",
    "git://github.com/owner/name.git": "https://github.com/owner/name",
    "/srv/git/name.git": "",
    "../name": "",
    "C:/Users/me/name": "",
    "C:\\Users\\me\\name": "",
    "file:///srv/git/name.git": "",
    "work:owner/name": "",  # a name of one's own in the settings of SSH
    "": "",
}


@pytest.mark.parametrize("remote, web", FORMS.items(), ids=list(FORMS))
def test_the_address_of_a_remote(remote, web):
    assert address.web_address(remote) == web


def test_the_address_is_the_first_that_is_known(repository, tmp_path, monkeypatch):
    assert address.repository_url() == ""
    repository("remote", "add", "origin", tmp_path / "elsewhere")
    assert address.repository_url() == ""  # a folder is no address
    repository("remote", "set-url", "origin", "git@github.com:one/name.git")
    assert address.repository_url() == "https://github.com/one/name"
    monkeypatch.setenv("GITHUB_REPOSITORY", "two/name")
    assert address.repository_url() == "https://github.com/one/name"  # half an address
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.com")
    assert address.repository_url() == "https://github.com/two/name"
    (tmp_path / "_config.yml").write_text("repository:\n  url: git@github.com:three/name # ours")
    assert address.repository_url() == "https://github.com/three/name"
    monkeypatch.setenv("REPOSITORY_URL", "https://github.com/four/name.git/")
    assert address.repository_url() == "https://github.com/four/name"


def test_the_books_own_settings_are_read(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    config = yaml.safe_load((address.ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert address._configured() == config["repository"]["url"]


SITES = {
    "https://github.com/Owner/name": "https://owner.github.io/name/",
    "https://github.com/owner/Owner.github.io": "https://owner.github.io/",
    "https://gitlab.com/owner/name": "",
}


@pytest.mark.parametrize("url, site", SITES.items())
def test_the_address_of_the_site(url, site, monkeypatch):
    monkeypatch.delenv("SITE_URL", raising=False)
    monkeypatch.setenv("REPOSITORY_URL", url)
    assert address.site_url() == site
    monkeypatch.setenv("SITE_URL", "https://book.example.org")
    assert address.site_url() == "https://book.example.org/"


def test_the_file_that_make_looks_at_changes_only_with_the_address(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "repository_url"
    monkeypatch.setenv("REPOSITORY_URL", "https://github.com/owner/name")
    address.keep(path)
    before = path.stat().st_mtime_ns
    address.keep(path)
    assert path.stat().st_mtime_ns == before
    monkeypatch.setenv("REPOSITORY_URL", "https://github.com/owner/other")
    address.keep(path)
    assert path.read_text() == "https://github.com/owner/other"


def test_the_first_cell_installs_the_commit_that_is_public(repository, tmp_path):
    url = "https://example.org/owner/name"
    assert "no git repository" in address.unpublished() and address.pinned(url) == url
    (tmp_path / "companion").mkdir()
    (tmp_path / "companion" / "a.py").write_text("a = 1")
    repository("add", ".")
    repository("commit", "-q", "-m", "one")
    assert "push it first" in address.unpublished() and address.pinned(url) == url
    repository("update-ref", "refs/remotes/origin/main", "HEAD")
    assert re.fullmatch(re.escape(url) + "@[0-9a-f]{40}", address.pinned(url))
    assert address.pinned("") == "" == address.unpublished()
    (tmp_path / "companion" / "a.py").write_text("a = 2")
    assert "companion/a.py" in address.unpublished() and address.pinned(url) == url


def test_outside_of_a_repository_or_without_git_nothing_is_known(tmp_path, monkeypatch):
    monkeypatch.setattr(address, "ROOT", tmp_path)
    assert address.git("rev-parse", "HEAD") == ""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert address.git("--version") == "" == address.commit()
