"""The playground in headless Chromium: its numbers are those of `companion`, its page works."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from conftest import ROOT, randn, seeded, three
from test_site_browser import browser  # noqa: F401 - a fixture

from book import playground, playground_learned
from companion import noise, objectives, oracles, samplers

SCHEDULES = ("log_linear", "karras", "ddpm", "cosine")
SAMPLERS = {
    "ddim": samplers.ddim,
    "ddpm": samplers.ddpm,
    "heun": samplers.heun,
    "ge": samplers.gradient_estimation,
    "picard": samplers.picard,
    "semilinear": samplers.picard,
}
EXTRA, NOISE, EXCESS, GUIDE = 0.6, 0.4, 5.0, 0.7


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The page as it is opened from a disk, without the book's theme around it."""
    site = tmp_path_factory.mktemp("site")
    (site / "book").mkdir()
    static = site / "_static" / "playground"
    static.mkdir(parents=True)
    for name in (*(f"{part}.js" for part in playground.ORDER), "playground.css"):
        (static / name).write_bytes((playground.SOURCE / name).read_bytes())
    playground.bundle(site / "_static")
    page = (ROOT / "book" / "playground.md").read_text(encoding="utf-8")
    raw = re.search(r"```\{raw\} html\n(.*?)```", page, re.S)[1]
    text = f'<!doctype html><html lang="en" data-theme="light"><title>Playground</title>{raw}'
    (site / "book" / "playground.html").write_text(text, encoding="utf-8")
    return site


@pytest.fixture
def page(browser, folder):  # noqa: F811
    """Open the playground at an address; the browser's console must stay silent.

    Where nothing is played, it stands at the end, as for readers who want less motion.
    """

    def visit(address: str = "", motion: str = "reduce"):
        feature = {"name": "prefers-reduced-motion", "value": motion}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        browser.get("about:blank")
        browser.get_log("browser")
        browser.get((folder / "book" / "playground.html").as_uri() + address)
        return browser

    yield visit
    severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert not severe


@pytest.fixture
def ask(browser, page):  # noqa: F811
    """Run an expression in the page; `given` are numbers for it; arrays come back as tensors."""
    if not browser.execute_script("return typeof Playground === 'object'"):
        page("?at=100")

    def run(expression: str, **given) -> torch.Tensor:
        given["modes"] = [
            {"x": x, "y": y, "std": std, "weight": weight}
            for (x, y), std, weight in zip(
                three().means.tolist(), three().stds.tolist(), three().weights.tolist()
            )
        ]
        code = f"""
            const given = arguments[0], flat = (x) => Float64Array.from(x.flat());
            const mixture = new Playground.Mixture(given.modes);
            const settings = {{extra: {EXTRA}, noise: {NOISE}, excess: {EXCESS}, guide: {GUIDE}}};
            const view = ArrayBuffer.isView;
            const plain = (v) => Array.isArray(v) || view(v) ? Array.from(v, plain) : v;
            return plain({expression});
        """
        return torch.tensor(browser.execute_script(code, given), dtype=torch.float64)

    return run


def points(flat: torch.Tensor) -> torch.Tensor:
    return flat.reshape(*flat.shape[:-1], -1, 2)


def assert_near(page: torch.Tensor, book: torch.Tensor) -> None:
    assert page.shape == book.shape and torch.isfinite(page).all()
    torch.testing.assert_close(page, book, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps, low, high", [(1, 0.02, 10), (2, 0.02, 10), (20, 0.02, 80)])
def test_schedules_are_those_of_companion(ask, name, steps, low, high):
    got = ask(f"Playground.schedules.{name}({steps}, {high}, {low})")
    assert_near(got, getattr(noise, name)(steps, high, low))


@pytest.mark.parametrize("steps", [1, 12])
@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_are_those_of_companion(ask, name, steps):
    sigmas, x = noise.log_linear(steps, 20.0, 0.01), 20 * randn(200, 2)
    options = {"ddpm": {"noise_scale": 0.8}, "ge": {"gamma": 1.7}}.get(name, {})
    if name == "ddpm":
        options["generator"] = seeded(1)
    parallel = SAMPLERS[name] is samplers.picard
    states = []
    if parallel:
        options.update(semilinear=name == "semilinear", tolerance=1e-2)
        options["callback"] = lambda step: states.append(step.x)
    else:
        options["callback"] = lambda step: states.append(step.x)
    last = SAMPLERS[name](three().denoiser, x, sigmas, **options)

    generator = seeded(1)
    fresh = [torch.randn(200, 2, generator=generator).tolist() for _ in range(steps)]
    got = ask(
        f"""[...Playground.sample("{name}", (x, s) => mixture.denoise(x, s), flat(given.x),
            given.sigmas, {{gamma: 1.7, scale: 0.8, tolerance: 1e-2,
                            noise: (i) => flat(given.z[i])}})]""",
        x=x.tolist(), sigmas=sigmas.tolist(), z=fresh,
    )  # fmt: skip
    if parallel:
        assert len(got) == len(states) + 1  # the same number of iterations, and every iterate
        assert_near(points(got)[1:], torch.stack(states))
        assert_near(points(got)[-1, -1], last)
    else:
        assert_near(points(got), torch.stack([*states, last]))


@pytest.mark.parametrize("name", playground_learned.laws())
def test_learned_samplers_are_those_of_companion(ask, name):
    law, x = playground_learned.laws()[name], 10 * randn(200, 2)
    for steps, sampler in playground_learned.load()[name].items():
        states = []
        last = sampler(law.denoiser, x, callback=lambda step, kept=states: kept.append(step.x))
        got = ask(
            f"""(() => {{
                const data = new Playground.Mixture(Playground.modesOf({{data: "{name}"}}));
                const made = Playground.learnedFor("{name}", {steps} + 1);
                const denoise = (x, s) => data.denoise(x, s);
                return [...Playground.sample("learned", denoise, flat(given.x), made.sigmas, made)];
            }})()""",
            x=x.tolist(),
        )
        assert_near(points(got), torch.stack([*states, last]))


@pytest.mark.parametrize("name", playground_learned.laws())
def test_learned_samplers_are_nearer_to_the_flow_than_a_fixed_one(name):
    law, x = playground_learned.laws()[name], 10 * randn(500, 2, seed=5)
    exact = samplers.heun(law.denoiser, x, noise.log_linear(400, 10.0, 1e-4))

    def error(end):
        return (end - exact).norm(dim=1).mean()

    for steps, sampler in playground_learned.load()[name].items():
        fixed = samplers.dpmpp_2m(law.denoiser, x, noise.log_linear(steps, 10.0, 0.02))
        assert error(sampler(law.denoiser, x)) < 0.6 * error(fixed), steps


def told() -> dict:
    """What the page's samplers can be told, as denoisers of companion."""
    gm = three()

    def off_path(x, sigma):
        removed = x - gm.denoiser(x, sigma)
        seen = removed.norm(dim=1, keepdim=True) / sigma
        return x - (1 + EXCESS * (1 - 3.717 / seen).clamp_min(0)) * removed

    def on_circle(x, sigma):
        d = gm.denoiser(x, sigma)
        return (
            d - GUIDE * (d.square().sum(1, keepdim=True) - 1) / 2 * d / d.square().sum(1)[:, None]
        )

    def on_line(x, sigma):
        d, normal = gm.denoiser(x, sigma), torch.tensor([-0.5, 1.0])
        return d - GUIDE * (d @ normal)[:, None] * normal / 1.25

    return {
        "exact": gm.denoiser,
        "level": objectives.relabelled(gm.denoiser, EXTRA, "x_0"),
        "shrunken": objectives.relabelled(gm.denoiser, EXTRA, "eps"),
        "naive": gm.noisy(NOISE).denoiser,
        "stop": gm.denoiser,
        "offpath": off_path,
        "guided": on_circle,
        "line": on_line,
    }


@pytest.mark.parametrize("name", told())
@pytest.mark.parametrize("sigma", [0.01, 0.5, 20.0])
def test_denoisers_are_those_of_companion(ask, name, sigma):
    x = 3 * randn(200, 2)
    shape, page_name = ("line", "guided") if name == "line" else ("circle", name)
    got = ask(
        f"""Playground.denoiser("{page_name}", mixture, {{...settings, shape: "{shape}"}})(
            flat(given.x), {sigma})""",
        x=x.tolist(),
    )
    assert_near(points(got), told()[name](x, sigma))


def test_densities_and_measures_are_those_of_companion(ask):
    import ot

    a, b = randn(300, 2), three().sample(300, seeded(1))
    given = {"a": a.tolist(), "b": b.tolist()}
    assert_near(ask("mixture.logProb(flat(given.a), 0.3)", **given), three().log_prob(a, 0.3))
    nearest = ask("Playground.measures.toData(flat(given.a), flat(given.b))", **given)
    assert_near(nearest, oracles.Empirical(b).distance(a).mean())
    apart = ask("Playground.measures.apart(flat(given.a), flat(given.b))", **given)
    assert_near(apart, (a - b).square().sum(1).mean().sqrt())
    angle = np.pi * np.arange(32) / 32
    directions = np.stack([np.cos(angle), np.sin(angle)])
    exact = ot.sliced_wasserstein_distance(a.numpy(), b.numpy(), projections=directions)
    m = "Playground.measures"
    sliced = ask(f"{m}.sliced({m}.shadows(flat(given.a)), {m}.shadows(flat(given.b)))", **given)
    assert_near(sliced, torch.tensor(exact))


def test_the_flow_has_converged(ask):
    sigmas, x = noise.log_linear(10, 20.0, 0.01), 20 * randn(100, 2)
    got = ask(
        """[...Playground.flow((x, s) => mixture.denoise(x, s), flat(given.x), given.sigmas,
            10, 0.004)]""",
        x=x.tolist(), sigmas=sigmas.tolist(),
    )  # fmt: skip
    fine = noise.log_linear(400, 20.0, 1e-4)
    exact = samplers.heun(three().denoiser, x, fine)
    assert (points(got)[-1] - exact).norm(dim=1).quantile(0.95) < 2e-3


# ---------------------------------------------------------------- the page
SCENES = re.findall(r"^    (\w+): \{$", (playground.SOURCE / "scenes.js").read_text(), re.M)


def wait(driver, condition: str):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, 60).until(lambda b: b.execute_script(f"return {condition}"))


def test_every_scene_runs_and_its_address_gives_it_back(page):
    driver = page()
    assert playground.scene(4) in SCENES and playground.scene(99) is None
    for scene in SCENES:
        driver.execute_script(f"location.hash = '#show={scene}'")
        now = "Playground.page()"
        assert wait(driver, f"{now}.scene?.state.show === '{scene}'")
        state, again, ends = driver.execute_script("""
            const {state, scene} = Playground.page();
            const ends = scene.runs.map((run) => [...run.last.points]);
            return [state, Playground.readState("", Playground.writeState(state)), ends];
        """)
        assert state == again and state["show"] == scene
        assert len(ends) == (1 if state["b"] == "none" else 2)
        assert np.isfinite(ends).all() and np.abs(ends).max() < 10


def test_an_address_given_while_the_last_one_is_written_is_not_lost(page):
    driver = page("#show=start")
    assert wait(driver, "Playground.page().scene?.measured")
    driver.execute_script("""
        location.hash = "#show=gamma";
        const buttons = [...document.querySelectorAll("#play button")];
        buttons.find((b) => b.textContent.startsWith("Copy")).click();
    """)
    assert wait(driver, "Playground.page().scene?.state.show === 'gamma'")
    assert wait(driver, "location.hash.includes('show=gamma')")


def test_what_an_address_gets_wrong_is_left_out(page):
    wrong = "steps=0&bsteps=1e9&gamma=NaN&a=nothing&max=0.01&seed=1.5&data=own&modes=1,2;x,y,z,w&b="
    for address in (f"#{wrong}", f"?show=nothing&{wrong}"):
        driver = page(address)
        assert wait(driver, "Playground.page().scene?.measured")
        state = driver.execute_script("return Playground.page().state")
        assert (state["show"], state["steps"], state["a"], state["b"]) == (
            "start",
            20,
            "ddim",
            "none",
        )
    driver = page("#show=gamma&data=own&modes=1,0,0.2,1;-1,0,0.2,3&steps=7")
    assert wait(driver, "Playground.page().scene?.measured")
    assert driver.execute_script("return Playground.page().scene.mixture.modes.length") == 2
    assert driver.execute_script("return Playground.page().scene.runs[0].steps") == 7


def test_keyboard_and_pointer_move_the_data(page):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    driver = page("?data=three&at=100")
    assert wait(driver, "Playground.page().scene?.measured")
    first = "Playground.modesOf(Playground.page().state)[0]"
    handle = driver.find_element("css selector", ".pg-handle")
    assert "Mode 1 of 3" in handle.get_attribute("aria-label")
    handle.send_keys(Keys.ARROW_RIGHT, "+")
    assert wait(driver, f"{first}.x === -1.15 && {first}.std === 0.22")
    ActionChains(driver).drag_and_drop_by_offset(handle, 60, -40).perform()
    assert wait(driver, f"{first}.x > -1.1 && {first}.y > -0.3 && Playground.page().scene.measured")
    assert wait(driver, "location.hash.includes('data=own')")
    handle.send_keys(Keys.DELETE)
    assert wait(driver, "Playground.page().scene.mixture.modes.length === 2")


def test_it_plays_pauses_and_steps(page):
    driver = page(motion="no-preference")
    play = "document.querySelector('.pg-bar button')"
    now = "Playground.page()"
    # Looked at and paused in one call: on a busy machine the way may be over before the next.
    playing = f"{now}.playing && {now}.scene && {now}.share > 0"
    paused = f"(() => {{ if ({playing}) {{ {play}.click(); return {now}.share; }} }})()"
    assert 0 < wait(driver, paused) <= 1
    assert wait(driver, f"{play}.textContent === 'Play'")
    _, back, on = driver.find_elements("css selector", ".pg-bar button")
    driver.execute_script("document.querySelector('.pg-bar input').value = 0")
    driver.execute_script("document.querySelector('.pg-bar input').oninput()")
    share = driver.execute_script(f"return {now}.share")
    on.click(), on.click(), back.click()
    moved = driver.execute_script("return Playground.page().share") * 20
    assert moved == pytest.approx(round(share * 20) + 1)
    row = f"step {round(moved)} of 20"
    assert wait(driver, f"document.querySelector('.pg-table td').textContent.startsWith('{row}')")


def test_it_is_small_and_loads_nothing_from_elsewhere():
    css = (playground.SOURCE / "playground.css").read_text(encoding="utf-8")
    text = playground.script()
    assert len((text + css).encode()) < 68_000
    assert "://" not in text + css and "eval(" not in text and "innerHTML" not in text
    for name in playground.ORDER:
        assert len((playground.SOURCE / f"{name}.js").read_text().splitlines()) <= 400
