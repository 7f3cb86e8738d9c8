// The page: keeps state, computes in small slices between frames, plays, draws.
(() => {
  const { el, button } = Playground;
  const root = document.getElementById("play");
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  const PLAY = 5; // seconds from noise to data
  const SLICE = 9; // milliseconds of computing a frame

  let state = Playground.readState(location.search, location.hash);
  let scene = null; // what is shown: {mixture, cloud, runs, measured, floor}
  let job = null, stale = true; // the work under way; whether its settings have changed meanwhile
  let share = 0, playing = false, before = null, dirty = true, dragging = false;
  let closest = 2.2, colours = null, timer = null, frames = { times: [] };

  // --- the parts of the page
  const total = () => Math.max(...scene.runs.map((run) => run.calls));
  const editor = Playground.modeEditor(() => Playground.modesOf(state), (modes, moving) => {
    dragging = moving;
    stand(1);
    set({ data: "own", modes: Playground.writeModes(modes) });
  });
  const panels = ["Left", "Right"].map((side, k) => {
    const name = el("div", { className: "pg-name" }), canvas = el("canvas", { role: "img" });
    return { side, name, canvas, box: el("div", {}, name, el("div", { className: "pg-square" }, canvas, editor.layerFor(k === 0))) };
  });
  const playButton = button("Play", () => (playing ? stand(share) : play(share >= 1 ? 0 : share)));
  const stand = (at) => {
    playing = false;
    share = Math.min(1, Math.max(0, at));
    redraw();
  };
  const step = (by) => stand((Math.round(share * total()) + by) / total());
  const slider = el("input", { type: "range", min: 0, max: 1000, step: 1, ariaLabel: "From noise to data", oninput: () => stand(slider.value / 1000) });
  const charts = [["distance", "Distance from the data"], ["error", "Error against the exact flow"]].map(([key, title]) => {
    const canvas = el("canvas", { role: "img", ariaLabel: `${title}, against network calls; numbers in the table below` });
    return { key, canvas, box: el("figure", { className: "pg-chart" }, el("figcaption", {}, title), canvas) };
  });
  const table = el("table", { className: "pg-table" });
  const status = el("p", { role: "status" });
  const choose = (name) => {
    state = Playground.sceneState(name);
    changed(true);
  };
  const scenes = Playground.scenes(choose);
  const form = Playground.form({
    set,
    noise: () => set({ seed: (state.seed + 1) % 100 }, true),
    copy: copyLink,
    reset: () => choose(state.show),
  }, editor.box);
  root.replaceChildren(scenes.box, el("div", { className: "pg-body" },
    el("div", { className: "pg-stage" },
      el("div", { className: "pg-panels" }, ...panels.map((panel) => panel.box)),
      el("div", { className: "pg-bar" }, playButton,
        button("‹", () => step(-1), { ariaLabel: "One step back" }), button("›", () => step(1), { ariaLabel: "One step on" }), slider),
      el("div", { className: "pg-charts" }, ...charts.map((chart) => chart.box)), table, status),
    form.box));

  // --- changes
  const REPLAY = ["a", "b", "told", "btold", "schedule"];
  const LOOK = ["paths", "zoom", "arrows", "map", "contrast", "at"];
  function set(changes, again = false) {
    if (changes.data && changes.data !== "own") changes.modes = "";
    state = { ...state, ...changes, at: "" };
    changed(again || Object.keys(changes).some((name) => REPLAY.includes(name)), Object.keys(changes).every((name) => LOOK.includes(name)));
  }
  // After a change: play from the start, or stay where we are; compute, or only draw again.
  function changed(again, look = false) {
    if (again) {
      if (state.at !== "" && state.at >= 0) stand(state.at / 100);
      else if (still.matches) stand(1);
      else play(0);
    }
    stale = stale || !look;
    scenes.show(state.show);
    form.show(state);
    editor.show();
    panels[1].box.hidden = state.b === "none";
    panels[0].box.parentNode.classList.toggle("pg-two", state.b !== "none");
    clearTimeout(timer);
    timer = setTimeout(writeAddress, 250);
    redraw();
  }
  let written = location.hash;
  function writeAddress() {
    if (location.hash !== written) return; // somebody has just set another address: its event is on the way
    const address = Playground.writeState(state);
    try {
      history.replaceState(null, "", location.pathname + address);
    } catch {
      location.hash = address; // some browsers, for pages opened from disk
    }
    written = location.hash; // as the browser spells it
  }
  function copyLink() {
    writeAddress();
    status.textContent = `The link: ${location.href}`;
    navigator.clipboard?.writeText(location.href).then(() => (status.textContent = "The link is copied."), () => {});
  }
  window.addEventListener("hashchange", () => {
    if (location.hash === written) return;
    written = location.hash;
    state = Playground.readState("", location.hash);
    changed(true);
  });

  // --- playing
  function play(from) {
    share = from;
    before = null;
    playing = true;
    redraw();
  }
  function advance(now) {
    if (before !== null) share += (now - before) / 1000 / PLAY;
    before = now;
    if (share >= 1) {
      stand(1);
      status.textContent = `${scene.runs.map(nameOf).join("; ")}: at the end.`;
    }
  }

  // --- computing, a slice at a time
  function compute() {
    if (stale && (!job || scene?.job === job)) {
      stale = false;
      const mine = Playground.prepare(state, (made) => {
        if (!dragging) closest = Math.max(2.2, ...made.mixture.modes.map((m) => 1.15 * (Math.max(Math.abs(m.x), Math.abs(m.y)) + 2.5 * m.std)));
        scene = { ...made, job: mine, state };
        dirty = true;
      });
      job = mine;
    }
    const until = performance.now() + SLICE;
    while (job && performance.now() < until) if (job.next().done) job = null;
  }

  // --- drawing
  function redraw() {
    dirty = true;
    frames.asked ||= requestAnimationFrame(frame);
  }
  function frame(now) {
    frames.asked = 0;
    frames.times.push(now);
    if (frames.times.length > 600) frames.times.shift();
    compute();
    if (playing && scene) {
      advance(now);
      dirty = true;
    }
    if (scene && dirty) draw();
    if (playing || job || stale) frames.asked ||= requestAnimationFrame(frame);
  }
  function draw() {
    dirty = false;
    colours ??= Playground.readColours(root);
    const calls = still.matches && playing ? Math.floor(share * total()) : share * total();
    const half = Playground.halfView(scene.runs, calls, closest, scene.state.zoom && state.zoom);
    const shown = { ...scene.state, ...Object.fromEntries(LOOK.map((name) => [name, state[name]])) };
    const is = (...names) => scene.runs.some((run) => names.includes(run.told));
    const options = { circles: Playground.modesOf(state), constraint: is("guided"), seen: is("naive", "stop") && (scene.seen ??= seen(scene, shown)) };
    scene.runs.forEach((run, k) => {
      const panel = panels[k];
      panel.name.textContent = nameOf(run);
      Playground.drawPanel(panel.canvas, scene, run, calls, half, shown, colours, options);
      editor.place(k, half, half < 1.6 * closest);
      panel.canvas.ariaLabel = `${panel.side}: ${Playground.POINTS} points, ${nameOf(run)}. ${where(run, calls)}.`;
    });
    playButton.textContent = playing ? "Pause" : "Play";
    slider.value = Math.round(1000 * share);
    slider.ariaValueText = scene.runs.map((run) => where(run, calls)).join("; ");
    for (const { key, canvas } of charts) Playground.drawChart(canvas, scene, key, calls, total(), colours, key === "distance" ? scene.floor : null);
    showTable(calls);
  }
  // The data with their noise, of chapter 2.
  const seen = ({ cloud }, { noise }) => {
    const z = Playground.normals(4321, cloud.points.length);
    return cloud.points.map((v, i) => v + noise * z[i]);
  };
  const nameOf = (run) => {
    const told = run.told === "exact" ? "" : `, ${Playground.TOLD[run.told][0].split(" (")[0]}`;
    return `${Playground.SAMPLERS[run.name][0]}, ${run.steps} steps${told}`;
  };
  const digits = (v) => (v === undefined ? "…" : v === 0 ? "0" : Math.abs(v) >= 1e4 ? v.toExponential(1) : String(+v.toPrecision(3)));
  const where = (run, calls) => {
    const [i] = run.at(calls), count = run.frames.length - 1;
    return run.parallel ? `iteration ${i} of ${count}, all ${run.steps} levels at once` : `step ${i} of ${count}, σ = ${digits(run.frames[i].sigma)}`;
  };

  // The numbers at this time, for both panels.
  function rows(calls) {
    const at = (value) => scene.runs.map((run) => value(run, run.frames[run.at(calls)[0]]));
    const made = [
      ["Where it is", at((run) => where(run, calls))],
      ["Network calls, one after the other", at((run, frame) => String(frame.calls))],
      ["Distance from the data (sliced Wasserstein)", at((run, frame) => digits(frame.distance))],
      ["Mean distance to the nearest data point", at((run, frame) => digits(frame.nearest))],
      ["Error against the exact flow", at((run, frame) => (run.random ? "random: no flow" : digits(frame.error)))],
    ];
    if (scene.runs.some((run) => run.told === "offpath")) {
      made.push(["Asked where training never goes", at((run, frame) => (run.told === "offpath" ? `${digits(100 * frame.off)} %` : "–"))]);
    }
    if (scene.runs.some((run) => run.told === "guided")) {
      const { residual } = Playground.SHAPES[scene.state.shape];
      const away = ({ points }) => {
        let sum = 0;
        for (let i = 0; i < points.length; i += 2) {
          const [value, gx, gy] = residual(points[i], points[i + 1]);
          sum += Math.abs(value) / Math.max(1e-9, Math.hypot(gx, gy));
        }
        return sum / (points.length / 2);
      };
      made.push(["Mean distance from the constraint", at((run, frame) => digits(away(frame)))]);
    }
    return made;
  }
  function showTable(calls) {
    const made = rows(calls), key = made.join();
    if (table.dataset.key === key) return;
    table.dataset.key = key;
    const head = scene.runs.length > 1 ? [el("tr", {}, el("td"), ...["left", "right"].map((side) => el("th", { scope: "col" }, side)))] : [];
    table.replaceChildren(...head, ...made.map(([label, values]) => el("tr", {}, el("th", { scope: "row" }, label), ...values.map((text) => el("td", {}, text)))));
  }

  // --- what else makes the picture another one
  const recolour = () => {
    colours = null;
    redraw();
  };
  new MutationObserver(recolour).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme", "data-mode"] });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  new ResizeObserver(redraw).observe(root);

  // For tests.
  Playground.page = () => ({ state, scene, share, playing, frames });
  changed(true);
})();
