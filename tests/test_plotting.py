import base64
import json
import re
import shutil
import subprocess
import sys
import time

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, seeded

from companion import data, noise, oracles, plotting
from companion.plotting import TrajectoryPlayer
from companion.statistics import Interval, mean_interval, ratio_interval


@pytest.fixture(autouse=True)
def close_figures():
    with plotting.style():
        yield
    plt.close("all")


def test_importing_changes_nothing_and_style_is_undone():
    code = (
        "import matplotlib as m; before = dict(m.rcParams); import companion.plotting as p;"
        "assert dict(m.rcParams) == before;"
        "c = p.style(); c.__enter__(); assert not m.rcParams['axes.spines.top'];"
        "c.__exit__(None, None, None); assert dict(m.rcParams) == before;"
        "p.use_style(); assert not m.rcParams['axes.spines.top']"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_methods_in_one_figure_differ():
    samplers = ["exact", "ddim", "ddpm", "heun", "gradient_estimation", "picard"]
    objectives = ["clean", "denoising", "input_perturbation", "ambient", "consistency"]
    objectives += ["contrastive", "naive", "sure"]
    for together in (samplers, objectives):
        looks = [plotting.method(name) for name in together]
        assert len({look["color"] for look in looks}) == len(together)
        assert len({look["marker"] for look in looks}) == len(together)
    with pytest.raises(ValueError, match=r"name: got 'euler'; allowed are 'data'.*'ddim'"):
        plotting.method("euler")


def band_at(ax, x, which=0):
    """Ends of a drawn band at ``x``."""
    vertices = ax.collections[which].get_paths()[0].vertices
    at = vertices[np.isclose(vertices[:, 0], x)][:, 1]
    return at.min(), at.max()


def test_band_takes_intervals_tables_and_numbers():
    intervals = [Interval(1.0, 0.5, 2.0, 3), Interval(3.0, 2.5, 3.5, 3)]
    frame = pd.DataFrame(intervals)
    for given in ([intervals], [frame], [[1.0, 3.0], [0.5, 2.5], [2.0, 3.5]]):
        _, ax = plt.subplots()
        plotting.with_band(ax, [1, 2], *given, **plotting.method("ddim"))
        assert list(ax.lines[0].get_ydata()) == [1, 3]
        assert band_at(ax, 1) == (0.5, 2.0) and band_at(ax, 2) == (2.5, 3.5)
    with pytest.raises(ValueError, match=r"mean: got shape \(2,\) with x of shape \(3,\)"):
        plotting.with_band(ax, [1, 2, 3], intervals)
    with pytest.raises(ValueError, match="low, high: got one of them"):
        plotting.with_band(ax, [1, 2], [1, 2], low=[0, 0])


def test_logarithmic_axes_have_plain_numbers():
    ax = plt.figure().add_subplot()
    ax.set(yscale="log", ylim=(3, 700))

    def shown(**marks):
        plotting.log_ticks(ax.yaxis, **marks)
        ax.figure.canvas.draw()
        low, high = ax.get_ylim()
        return [t.get_text() for t in ax.get_yticklabels() if low <= t.get_position()[1] <= high]

    assert shown() == ["5", "10", "20", "50", "100", "200", "500"]
    assert shown(at=(1,)) == ["10", "100"]
    with pytest.raises(TypeError, match=r"axes: got .*allowed are ax\.xaxis"):
        plotting.log_ticks(ax)
    with pytest.raises(TypeError, match="at: got '125'; allowed are numbers"):
        shown(at="125")
    with pytest.raises(ValueError, match=r"at.*: got 20; allowed is .*below 10"):
        shown(at=(1, 20))


def test_percentile_bands_hold_their_shares():
    _, ax = plt.subplots()
    samples = torch.linspace(0, 1, 101)[:, None] * torch.tensor([1.0, 10.0])
    plotting.percentile_bands(ax, [0, 1], samples, shares=(0.5, 0.9))
    assert np.allclose(ax.lines[0].get_ydata(), [0.5, 5])
    assert np.allclose(band_at(ax, 0), (0.25, 0.75)) and np.allclose(band_at(ax, 1, 1), (0.5, 9.5))
    with pytest.raises(ValueError, match="samples: got values that are not finite"):
        plotting.percentile_bands(ax, [0, 1], [[0.0, np.nan]])
    with pytest.raises(ValueError, match="shares: got 90"):
        plotting.percentile_bands(ax, [0, 1], samples, shares=(90,))


# --- lines from a tidy table ---


def tidy(conditions=("mine", "ddim"), seeds=5):
    draws = np.random.default_rng(0)
    return pd.DataFrame(
        [
            {"condition": name, "seed": s, "level": level, "value": draws.lognormal(i)}
            for i, name in enumerate(conditions)
            for s in range(seeds)
            for level in (0.3, 0.1, 1.0)
        ]
    )


@pytest.mark.parametrize(
    "mean, expected", [("arithmetic", mean_interval), ("geometric", ratio_interval)]
)
def test_lines_are_means_over_seeds_with_their_intervals(mean, expected):
    table = tidy()
    _, ax = plt.subplots()
    plotting.lines(ax, table, mean=mean, log="xy")
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    for which, (_, rows) in enumerate(table.groupby("condition", sort=False)):
        assert list(ax.lines[which].get_xdata()) == [0.1, 0.3, 1.0]
        for x, y in zip(*ax.lines[which].get_data()):
            values = rows[rows.level == x].value
            interval = expected(values.to_numpy())
            assert y == pytest.approx(interval.mean)
            assert band_at(ax, x, which) == pytest.approx((interval.low, interval.high))


def test_lines_have_the_house_colours_and_unknown_conditions_the_free_ones():
    _, ax = plt.subplots()
    styles = {"other": {"linestyle": "--", "label": "another"}}
    plotting.lines(ax, tidy(("mine", "ddim", "other")), styles=styles, linewidth=3)
    drawn = {line.get_label(): line for line in ax.lines}
    assert list(drawn) == ["mine", "DDIM", "another"]
    assert drawn["DDIM"].get_color() == plotting.PALETTE["blue"]
    assert len({line.get_color() for line in ax.lines}) == 3
    assert drawn["another"].get_linestyle() == "--" and drawn["mine"].get_linewidth() == 3


def test_lines_show_a_failed_seed_as_a_gap_and_one_seed_without_band():
    table = tidy(("mine",))
    table.loc[(table.seed == 2) & (table.level == 0.3), "value"] = np.nan
    _, ax = plt.subplots()
    plotting.lines(ax, table)
    assert np.isnan(ax.lines[0].get_ydata()).tolist() == [False, True, False]
    _, ax = plt.subplots()
    plotting.lines(ax, tidy(seeds=1).drop(columns="seed"))
    assert len(ax.lines) == 2 and not ax.collections
    assert np.isfinite(ax.lines[0].get_ydata()).all()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"y": "error"}, "allowed are such with 'error'"),
        ({"mean": "harmonic"}, "mean: got 'harmonic'; allowed are 'arithmetic', 'geometric'"),
        ({"log": "yes"}, "log: got 'yes'"),
        ({"styles": {"mien": {}}}, r"styles: got \['mien'\]; allowed are \['mine', 'ddim'\]"),
        ({"by": "none"}, "two rows or more for the same seed, level"),
        ({"mean": "geometric", "y": "level_0"}, "a geometric mean is of values above 0"),
    ],
)
def test_lines_refuse(change, message):
    _, ax = plt.subplots()
    with pytest.raises(ValueError, match=message):
        plotting.lines(ax, tidy().assign(level_0=0.0), **change)


def test_grid_places_every_image():
    tiles = torch.linspace(-1, 1, 6).reshape(6, 1, 1, 1).expand(6, 1, 4, 4)
    picture = plotting.image_grid(tiles, columns=3).images[0].get_array()
    assert picture.shape == (2 * 5 - 1, 3 * 5 - 1)
    corners = picture[::5, ::5].flatten()
    assert np.allclose(corners, (tiles[:, 0, 0, 0] + 1) / 2)
    assert picture[4, 0] == 1  # white between
    rgb = plotting.image_grid(torch.zeros(2, 3, 3, 4, 4), row_labels=["a", "b"])
    assert rgb.images[0].get_array().shape == (9, 14, 3)


def test_grid_refuses():
    with pytest.raises(ValueError, match=r"images: got shape \(2, 4, 8, 8\)"):
        plotting.image_grid(torch.zeros(2, 4, 8, 8))
    with pytest.raises(ValueError, match=r"row_labels: got 1; allowed are 2"):
        plotting.image_grid(torch.zeros(2, 2, 1, 8, 8), row_labels=["a"])


def test_density_shows_the_density():
    _, ax = plt.subplots()
    plotting.density(ax, data.mixture("two_modes"), 0.3, resolution=401)
    x, y = ax.lines[0].get_data()
    assert np.sum(y) * (x[1] - x[0]) == pytest.approx(1, abs=1e-3)
    _, ax = plt.subplots()
    distribution = oracles.GaussianMixture([[1.5, -1.5]], 0.3)
    plotting.density(ax, distribution, limit=3.0, resolution=61)
    row, column = np.unravel_index(ax.images[0].get_array().argmax(), (61, 61))
    assert (row, column) == (15, 45)  # up is up, right is right
    with pytest.raises(ValueError, match="distribution: got 3 dimensions"):
        plotting.density(ax, oracles.GaussianMixture([[0.0, 0.0, 0.0]], 1.0))


def test_scatter_refuses_what_is_not_in_the_plane():
    _, ax = plt.subplots()
    with pytest.raises(ValueError, match=r"x: got shape \(5, 3\); allowed is \(N, 2\)"):
        plotting.scatter(ax, torch.zeros(5, 3))
    with pytest.raises(ValueError, match=r"paths: got shape \(5, 2\); allowed is \(T, N, 2\)"):
        plotting.trajectories(ax, torch.zeros(5, 2))


def test_figures_are_small(tmp_path):
    levels = noise.log_linear(9, 5.0, 0.05, final_zero=False)
    digits, _ = data.images("digits")
    ring = data.mixture("ring")
    points = data.points("ring", 1000, generator=seeded())
    clean = oracles.Empirical(digits).denoiser
    figures = {
        "points": plotting.denoising_strip(ring.denoiser, points, levels, generator=seeded()),
        "digits": plotting.denoising_strip(clean, digits[:4], levels, generator=seeded()),
        "grid": plotting.image_grid(torch.rand(64, 3, 32, 32) * 2 - 1).figure,
    }
    figures["scatter"], axes = plt.subplots(1, 5, figsize=(11, 2.4))
    for ax, name in zip(axes, data.POINTS):
        plotting.scatter(ax, data.points(name, 2000, generator=seeded()), limit=2.5, label=name)
    figures["paths"], ax = plt.subplots()
    plotting.trajectories(ax, torch.randn(50, 400, 2, generator=seeded()))
    for name, figure in figures.items():
        plotting.save(figure, tmp_path / f"{name}.png")  # raises above 400 KB
        assert (tmp_path / f"{name}.png").stat().st_size > 5000


def test_save_refuses_a_large_figure_and_leaves_nothing(tmp_path):
    figure, ax = plt.subplots()
    ax.imshow(np.random.default_rng(0).random((300, 300)))
    with pytest.raises(ValueError, match=r"figure: it takes \d+ KB; allowed are 10 KB"):
        plotting.save(figure, tmp_path / "a.png", limit=10_000)
    assert list(tmp_path.iterdir()) == []


# --- the player ---


def config(player):
    text = re.search(r'<script type="application/json">(.*?)</script>', player._repr_html_(), re.S)
    return json.loads(text[1])


def test_player_is_small_deterministic_and_self_contained():
    paths = torch.randn(51, 400, 2, generator=seeded()) * torch.linspace(80, 1, 51)[:, None, None]
    make = lambda: TrajectoryPlayer(paths, title="A & B", alt='points "move"')  # noqa: E731
    text = make()._repr_html_()
    assert len(text) < 300_000
    assert text == make()._repr_html_()
    assert "A &amp; B" in text and "http" not in text and " src=" not in text
    assert repr(make()) == 'TrajectoryPlayer: A & B. points "move"'


def test_player_keeps_the_paths():
    paths = {"ddim": torch.randn(5, 7, 2, generator=seeded()), "mine": torch.randn(3, 7, 2)}
    kept = config(TrajectoryPlayer(paths, noise.log_linear(4), title="t", alt="a"))
    assert kept["panels"] == ["DDIM", "mine"]
    assert kept["sets"][0]["sigmas"][0] == "80" and kept["sets"][0]["sigmas"][-1] == "0"
    stored = kept["sets"][0]["panels"][0]
    xy = np.frombuffer(base64.b64decode(stored["xy"]), "<i2").reshape(5, 7, 2) * kept["unit"]
    assert np.abs(xy - paths["ddim"].numpy()).max() < 1e-4
    view = kept["sets"][0]["view"]
    assert len(view) == 5 and view == sorted(view, reverse=True)


def test_player_controls_are_ordered_as_the_page_counts():
    grid = {
        (gamma, n): torch.full((n + 1, 2, 2), 10 * gamma + n)
        for gamma in (1.0, 2.0)
        for n in (3, 5)
    }
    controls = {"γ": (1.0, 2.0), "N": (3, 5)}
    player = TrajectoryPlayer(grid, title="t", alt="a", controls=controls, start={"γ": 2.0})
    kept = config(player)
    assert kept["controls"] == [
        {"name": "γ", "values": ["1", "2"], "start": 1},
        {"name": "N", "values": ["3", "5"], "start": 0},
    ]
    values = [
        np.frombuffer(base64.b64decode(s["panels"][0]["xy"]), "<i2")[0] * kept["unit"]
        for s in kept["sets"]
    ]
    assert np.allclose(values, [13, 15, 23, 25], rtol=1e-3)


def test_player_text_cannot_break_out_of_the_page():
    player = TrajectoryPlayer({"</script><b>": torch.zeros(2, 1, 2)}, title="<i>", alt="<!--")
    text = player._repr_html_()
    assert "<b>" not in text and "<i>" not in text and "<!--" not in text
    assert config(player)["panels"] == ["</script><b>"]


@pytest.mark.parametrize(
    "paths, options, message",
    [
        (torch.zeros(4, 3), {}, r"paths: got shape \(4, 3\)"),
        (torch.zeros(1, 4, 2), {}, "T >= 2"),
        (torch.full((3, 4, 2), torch.nan), {}, "not finite"),
        ({}, {}, "paths: got no path"),
        (torch.zeros(3, 4, 2), {"alt": ""}, "alt: got ''"),
        (torch.zeros(3, 4, 2), {"sigmas": torch.ones(2)}, r"sigmas: got shape \(2,\)"),
        (torch.zeros(3, 4, 2), {"groups": [0, 1]}, "groups: got 2 for 4 points"),
        (
            torch.zeros(3, 4, 2),
            {"groups": [0, 1, 2, 8]},
            "groups: got 8; allowed is a whole",
        ),
        (torch.zeros(3, 4, 2), {"limit": 0}, "limit: got 0"),
        (torch.zeros(3, 4, 2), {"target": torch.zeros(3)}, "target: got shape"),
        (torch.zeros(3, 4, 2), {"start": {"N": 3}}, "start: got 'N' at 3; allowed are {}"),
        ({(1,): torch.zeros(3, 4, 2)}, {"controls": {"N": (1, 2)}}, r"paths: got \['\(1,\)'\]"),
        (torch.zeros(200, 4000, 2), {}, "paths: the figure takes .* MB; allowed are 2 MB"),
    ],
)
def test_player_refuses(paths, options, message):
    with pytest.raises(ValueError, match=message):
        TrajectoryPlayer(paths, **{"title": "t", "alt": "a", **options})


@pytest.mark.skipif(not shutil.which("chromedriver"), reason="no headless Chromium")
def test_player_plays_in_a_browser(tmp_path):
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.common.keys import Keys

    grid = {
        n: {
            "ddim": torch.randn(n + 1, 50, 2, generator=seeded()),
            "heun": torch.randn(n + 1, 50, 2),
        }
        for n in (4, 8)
    }
    player = TrajectoryPlayer(
        {(n,): paths for n, paths in grid.items()},
        {(n,): noise.log_linear(n) for n in grid},
        title="t",
        alt="what moves",
        controls={"N": [4, 8]},
        target=torch.randn(20, 2),
    )
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><meta charset=utf-8>{player._repr_html_()}", encoding="utf-8")
    options = webdriver.ChromeOptions()
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-background-networking"):
        options.add_argument(f"--{argument}")
    options.add_argument(f"--user-data-dir={tmp_path / 'profile'}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    browser = webdriver.Chrome(options=options, service=service)
    try:
        browser.get(page.as_uri())
        find = lambda css: browser.find_element("css selector", css)  # noqa: E731
        pixels = lambda: browser.execute_script(  # noqa: E731
            "return document.querySelector('.nop-player canvas').toDataURL()"
        )
        steps, readout = find(".nop-bar > input"), find(".nop-bar > output")
        assert readout.text == "step 0 of 4, σ = 80"
        assert find("canvas").get_attribute("aria-label") == "DDIM. what moves"
        before = pixels()
        steps.send_keys(Keys.ARROW_RIGHT)
        assert readout.text.startswith("step 1 of 4") and pixels() != before
        find("label input").send_keys(Keys.ARROW_RIGHT)  # another N: the same share of the way
        assert readout.text.startswith("step 2 of 8") and find("label output").text == "8"
        find("button").send_keys(Keys.ENTER)
        assert find("button").text == "Pause"
        deadline = time.time() + 20
        while find("button").text == "Pause" and time.time() < deadline:
            time.sleep(0.1)
        assert readout.text == "step 8 of 8, σ = 0"
        light = pixels()
        browser.execute_script("document.documentElement.style.color = 'white'")
        time.sleep(0.3)
        assert pixels() != light  # trails and target follow the colour of the text
        assert browser.get_log("browser") == []
    finally:
        browser.quit()


# --- tables ---


def cells(page):
    return re.findall(r"<td[^>]*>(.*?)</td>", page)


def test_table_has_few_digits_and_dashes():
    frame = pd.DataFrame(
        {
            "method": ["a", None],
            "error": [0.123456, np.nan],
            "large": [1234.5, 2.5e9],
            "small": [0.1, -3.21987e-7],
            "n": [20000, 7],
            "gain": [Interval(0.123, 0.101, 0.145, 8), Interval(2.0, 1.0, 3.0, 8)],
        }
    )
    page = plotting.table(frame, "What it shows").to_html()
    assert cells(page) == [
        *("a", "0.123", "1230", "0.1", "20000", "0.123 [0.101, 0.145]"),
        *("–", "–", "2.5e+09", "-3.22e-07", "7", "2.0 [1.0, 3.0]"),
    ]
    assert "<caption>What it shows</caption>" in page
    assert "0.12<" in plotting.table(frame, digits=2).to_html()
    with pytest.raises(ValueError, match="digits: got 0"):
        plotting.table(frame, digits=0)


def test_empty_corners_of_a_table_are_no_headers():
    frame = pd.DataFrame({"": ["x"], "a": [1.0]}, index=pd.Index(["x"], name="level"))
    text = plotting.table(frame)._repr_html_()
    assert '<td class="blank level0"' in text and '<td class="col_heading level0 col0"' in text
    assert not re.search(r"<th[^>]*>(&nbsp;)?</th>", text) and ">level</th>" in text


def test_table_is_set_for_any_page():
    frame = pd.DataFrame({"method": ["a", "b"], "error": [1.5, 2.5]})
    page = plotting.table(frame, bold=[[False, True], [False, False]]).to_html()
    assert page == plotting.table(frame, bold=[[False, True], [False, False]]).to_html()
    assert 'class="nop nop-table"' in page and "color" not in page and "background" not in page
    assert re.search(r"\.col0 \{\s*text-align: ?left", page)
    assert re.search(r"td\.row0\.col1 \{\s*font-weight: ?bold", page)
    assert "row_heading" not in re.sub("<style.*?</style>", "", page, flags=re.S)
    shown = plotting.table(frame.set_index("method")).to_html()
    assert re.search(r"<th[^>]*row_heading[^>]*>a</th>", shown)
    with pytest.raises(ValueError, match=r"bold: got shape \(3,\); allowed is \(2, 2\)"):
        plotting.table(frame, bold=[True, False, True])


def test_text_in_a_table_cannot_become_html():
    bad = "<script>alert(1)</script>"

    class Hostile:
        def __str__(self):
            return bad

    index = pd.MultiIndex.from_tuples([(bad, 1), ("a", bad)], names=[bad, "b"])
    columns = pd.Index([bad, "<b>"], name=bad)
    frame = pd.DataFrame([[bad, Hostile()], ["a", 1]], index=index, columns=columns)
    for page in (
        plotting.table(frame, caption=bad).to_html(),
        plotting.table(frame.reset_index(drop=True), caption=bad)._repr_html_(),
    ):
        assert "<script" not in page and "<b>" not in page and "&lt;script&gt;" in page
