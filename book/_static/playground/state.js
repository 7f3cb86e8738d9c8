// All settings of the playground, and how they stand in the address: #show=naive&steps=10
(() => {

  const number = (label, initial, values, whole = false) => ({ kind: "number", label, initial, values, whole });
  const choice = (label, initial, entries) => ({ kind: "choice", label, initial, entries });
  const flag = (label, initial) => ({ kind: "flag", label, initial });
  const text = { kind: "text", initial: "" };
  const evenly = (low, high, step) => Array.from({ length: Math.round((high - low) / step) + 1 }, (_, i) => +(low + i * step).toFixed(3));
  const STEPS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 19, 20, 25, 30, 35, 39, 40, 50, 60, 80, 100];

  const names = (table) => Object.fromEntries(Object.entries(table).map(([name, entry]) => [name, entry.label ?? entry[0]]));
  const samplers = names(Playground.SAMPLERS);

  // One panel's settings. The right panel's have a "b" in front.
  const panel = (prefix) => ({
    [`${prefix}steps`]: number("Steps N", 20, STEPS, true),
    [`${prefix}gamma`]: number("gamma (1 is DDIM)", 2, evenly(0, 3, 0.1)),
    [`${prefix}scale`]: number("noise_scale (0: no fresh noise)", 1, evenly(0, 1.5, 0.05)),
    [`${prefix}told`]: choice("It asks", "exact", names(Playground.TOLD)),
  });

  const SETTINGS = {
    data: choice("Data", "ring", { ring: "ring", moons: "moons", letters: "letters", three: "three clouds", one: "one cloud", own: "your own" }),
    modes: text,
    a: choice("Sampler", "ddim", samplers),
    ...panel(""),
    b: choice("Compare with", "none", { none: "nothing", ...samplers }),
    ...panel("b"),
    schedule: choice("Schedule of the levels", "log_linear", { log_linear: "log-linear", karras: "Karras", ddpm: "DDPM", cosine: "cosine" }),
    max: number("sigma_max, where it starts", 10, [1, 2, 3, 5, 8, 10, 15, 20, 30, 50, 80]),
    min: number("sigma_min, the last level above 0", 0.02, [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]),
    seed: number("Starting noise, number", 0, evenly(0, 99, 1), true),
    paths: flag("Paths", true),
    zoom: flag("The view follows the points", true),
    arrows: choice("Arrows", "none", { none: "none", denoiser: "to the denoiser's answer", projection: "to the nearest data point", both: "both" }),
    map: choice("Map behind", "none", { none: "none", density: "density of noisy data", classifier: "clean or noised?", wrong: "where the denoiser is wrong" }),
    contrast: number("Noised by, in 'clean or noised?'", 0.3, evenly(0.05, 1, 0.05)),
    extra: number("Extra noise in training (chapter 1)", 0.5, evenly(0, 1.5, 0.05)),
    noise: number("Noise of the data σₙ (chapter 2)", 0.3, evenly(0.05, 1, 0.05)),
    excess: number("How wrong off the path (chapter 3)", 5, evenly(0, 10, 0.5)),
    shape: choice("Constraint (chapter 6)", "circle", names(Playground.SHAPES)),
    guide: number("Guidance to it", 1, evenly(0, 1.2, 0.05)),
    // Stand at so many percent of the way, and do not play.
    at: text,
  };
  const defaults = () => Object.fromEntries(Object.entries(SETTINGS).map(([name, setting]) => [name, setting.initial]));

  // --- data sets, in units of about one
  const arc = (x, y, width, height, from, to, count, std) =>
    Array.from({ length: count }, (_, i) => {
      const angle = (Math.PI * (from + ((to - from) * i) / (count - 1))) / 180;
      return { x: x + width * Math.cos(angle), y: y + height * Math.sin(angle), std, weight: 1 };
    });
  const stroke = (x, y, toX, toY, count, std) =>
    Array.from({ length: count }, (_, i) => {
      const u = i / (count - 1);
      return { x: x + u * (toX - x), y: y + u * (toY - y), std, weight: 1 };
    });
  const DATA = {
    ring: () => arc(0, 0, 1.4, 1.4, 0, 315, 8, 0.1),
    moons: () => [...arc(-0.5, -0.3, 1.1, 1.2, 0, 180, 11, 0.1), ...arc(0.5, 0.3, 1.1, 1.2, 180, 360, 11, 0.1)],
    letters: () => [
      ...stroke(-1.8, -0.7, -1.8, 0.7, 6, 0.07), ...stroke(-1.64, 0.46, -1.16, -0.46, 4, 0.07), ...stroke(-1, -0.7, -1, 0.7, 6, 0.07),
      ...arc(0, 0, 0.55, 0.7, 0, 330, 12, 0.07),
      ...stroke(1, -0.7, 1, 0.7, 6, 0.07), ...arc(1.3, 0.35, 0.4, 0.35, 95, -95, 6, 0.07),
    ],
    three: () => [{ x: -1.2, y: -0.3, std: 0.2, weight: 1 }, { x: 0.9, y: 0.9, std: 0.35, weight: 2 }, { x: 0.6, y: -1.1, std: 0.1, weight: 0.5 }],
    one: () => [{ x: 0, y: 0, std: 0.6, weight: 1 }],
  };
  // "x,y,std,weight;..." to modes, at most 64; what is no mode is left out.
  const readModes = (text) =>
    text.split(";").slice(0, 64).map((part) => part.split(",").map(Number))
      .filter((v) => v.length === 4 && v.every(Number.isFinite) && Math.abs(v[0]) <= 20 && Math.abs(v[1]) <= 20 && v[2] >= 0.02 && v[2] <= 5 && v[3] > 0)
      .map(([x, y, std, weight]) => ({ x, y, std, weight }));
  const writeModes = (modes) => modes.map((m) => [m.x, m.y, m.std, m.weight].map((v) => +v.toFixed(3)).join(",")).join(";");
  const modesOf = (state) => {
    const own = state.data === "own" ? readModes(state.modes) : [];
    return own.length ? own : DATA[state.data === "own" ? "three" : state.data]();
  };

  // --- the address
  // A text for a setting as its value; undefined if it is not allowed.
  const parse = ({ kind, entries, values, whole }, given) => {
    if (kind === "flag") return { 0: false, 1: true }[given];
    if (kind === "choice") return Object.hasOwn(entries, given) ? given : undefined;
    if (kind === "text") return given;
    const value = given === "" ? NaN : Number(given);
    return value >= values[0] && value <= values.at(-1) && !(whole && value % 1) ? value : undefined;
  };

  // The state that an address asks for: a scene's, changed by what else it says. What it gets wrong is left out.
  const read = (search, hash) => {
    const asked = new URLSearchParams(hash.length > 1 ? hash.slice(1) : search);
    const show = asked.get("show");
    const state = sceneState(Object.hasOwn(Playground.SCENES, show) ? show : "start");
    for (const [name, given] of asked) {
      const value = Object.hasOwn(SETTINGS, name) ? parse(SETTINGS[name], given) : undefined;
      if (value !== undefined) state[name] = value;
    }
    return state;
  };
  const sceneState = (show) => ({ ...defaults(), ...Playground.SCENES[show].state, show });

  // The shortest hash that gives this state back.
  const write = (state) => {
    const base = sceneState(state.show), parts = [`show=${state.show}`];
    for (const name of Object.keys(SETTINGS)) {
      const value = state[name];
      if (value !== base[name]) parts.push(`${name}=${value === true ? 1 : value === false ? 0 : value}`);
    }
    return `#${parts.join("&")}`;
  };

  Object.assign(Playground, { SETTINGS, modesOf, evenly, writeModes, readState: read, writeState: write, sceneState });
})();
