"""What many test files need: seeded numbers, tiny networks, a session, the chapters, make, sites.

Functions are imported (``from conftest import seeded``), fixtures are asked for by name.
"""

from __future__ import annotations

import os
import subprocess
from functools import cache, partial
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from companion import denoisers, networks, oracles

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a path that is none is not asked for on the net

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "notebooks").glob("[0-9]*.md"))
"""The chapters, as text."""
CHAPTERS = [path.stem for path in SOURCES]
SITES = ROOT / "_build" / "site"


# --- numbers


def seeded(seed: int = 0) -> torch.Generator:
    """Random numbers that are the same each time."""
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Seeded standard normal numbers, in double precision."""
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype)


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    """Each test begins with torch's global random numbers at one state, whatever ran before it."""
    torch.manual_seed(0)


# --- distributions and networks


def three() -> oracles.GaussianMixture:
    """Three unequal Gaussians in the plane: most tests of samplers and objectives need no other."""
    return oracles.GaussianMixture(
        [[-1.0, 0.0], [0.8, 0.6], [0.5, -0.9]], [0.2, 0.3, 0.25], [1, 2, 1]
    )


def tiny_mlp(
    seed: int = 0,
    dim: int = 2,
    width: int = 16,
    depth: int = 2,
    *,
    sigma_data: float = 1.0,
    output: float = 0.0,
) -> denoisers.Preconditioned:
    """A small denoiser with seeded weights; ``output`` is the deviation of its last layer's.

    With 0 it is new: its last layer is zero. Otherwise its values mean nothing, but two of its
    samples can be compared.
    """

    def make() -> denoisers.Preconditioned:
        network = networks.MLP(dim, width=width, depth=depth)
        if output:
            torch.nn.init.normal_(network.output.weight, std=output)
        return denoisers.Preconditioned(network, sigma_data)

    return networks.seeded(make, seed)


def tiny_unet(size: int = 8, channels: tuple[int, int] = (8, 16)) -> torch.nn.Module:
    """A diffusers U-Net of two levels, for images of one channel, with seeded weights."""
    from diffusers import UNet2DModel

    make = partial(
        UNet2DModel,
        sample_size=size,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=channels,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
    )
    return networks.seeded(make, 0).eval()


# --- experiments


@pytest.fixture
def session(tmp_path, monkeypatch):
    """A session of the profile smoke that remembers nothing from before."""
    from companion.experiments import Session

    monkeypatch.setenv("COMPANION_TRAINED", str(tmp_path / "trained"))
    return Session("smoke", memory=tmp_path / "memory")


@pytest.fixture(scope="session")
def smoke():
    """A session of the profile smoke with the book's memory: what `make smoke` ran is there."""
    from companion.experiments import Session

    return Session("smoke")


@pytest.fixture(scope="session")
def two_seeds(smoke):
    """Two master seeds for the rules: the second has the results of the first."""
    from companion.experiments.published import PooledSession

    session = PooledSession("smoke", (0, 1))
    session.sessions = [smoke, smoke]
    return session


# --- the project


def clean_environment(**more: str) -> dict[str, str]:
    """The environment without what `make` leaves in it for a `make` inside."""
    left = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "REPOSITORY_URL")
    return {**{key: value for key, value in os.environ.items() if key not in left}, **more}


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Run make in the repository."""
    return subprocess.run(
        ["make", *arguments],
        cwd=ROOT,
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        timeout=600,
    )


def code_cells(source: Path) -> list:
    """The code cells of a chapter."""
    import jupytext

    return [cell for cell in jupytext.read(source).cells if cell.cell_type == "code"]


def tags(cell) -> list[str]:
    """The tags of a cell."""
    return cell.metadata.get("tags", [])


# --- the site


def make_site(profile: str) -> Path:
    """Make the site of a profile if it is not up to date; return its folder."""
    target = f"_build/site/{profile}/index.html"
    done = subprocess.run(
        ["make", target], cwd=ROOT, env=clean_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return SITES / profile


def is_fresh(profile: str) -> bool:
    """Whether the site of a profile is there and up to date."""
    question = ["make", "-q", f"_build/site/{profile}/index.html"]
    there = (SITES / profile / "index.html").exists()
    return there and not subprocess.run(question, cwd=ROOT, env=clean_environment()).returncode


class Page(HTMLParser):
    """Where a page's links and pictures lead, and what can be linked to."""

    def __init__(self, path: Path):
        super().__init__()
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.names: set[str] = set()
        self.captions = 0
        self.bare: list[str | None] = []  # pictures in no figure
        self.inside = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "figure"

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.names |= {given[key] for key in ("id", "name") if given.get(key)}
        if tag == "img":
            self.images.append(given)
            if not self.inside:
                self.bare.append(given.get("src"))
        self.inside = self.inside or tag == "figure"
        self.captions += tag == "figcaption"
        for key in ("href", "src"):
            if given.get(key):
                self.links.append(given[key])


@cache
def read_pages(site: Path) -> dict[str, Page]:
    """The pages of a site, by their path in it."""
    return {
        path.relative_to(site).as_posix(): Page(path)
        for path in sorted(site.rglob("*.html"))
        if "_static" not in path.relative_to(site).parts
    }
