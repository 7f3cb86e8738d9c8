// The controls: made from the list of settings, shown where they matter, and kept in step with the state.
(() => {
  const { SETTINGS, SCENES, CHAPTERS } = Playground;

  // An element with properties (also handlers, such as onclick) and children.
  const el = (tag, properties = {}, ...children) => {
    const element = document.createElement(tag);
    Object.assign(element, properties);
    element.append(...children);
    return element;
  };
  const button = (text, onclick, more = {}) => el("button", { type: "button", onclick, ...more }, text);

  // When a setting matters; always, if it is not listed.
  const uses = (state, ...kinds) => kinds.includes(state.told) || (state.b !== "none" && kinds.includes(state.btold));
  const MATTERS = {
    gamma: (s) => s.a === "ge",
    scale: (s) => s.a === "ddpm",
    bsteps: (s) => s.b !== "none",
    btold: (s) => s.b !== "none",
    bgamma: (s) => s.b === "ge",
    bscale: (s) => s.b === "ddpm",
    contrast: (s) => s.map === "classifier",
    extra: (s) => uses(s, "level", "shrunken"),
    noise: (s) => uses(s, "naive", "stop"),
    excess: (s) => uses(s, "offpath"),
    shape: (s) => uses(s, "guided"),
    guide: (s) => uses(s, "guided"),
  };
  const PANEL = ["steps", "told", "gamma", "scale"];
  const MORE = ["schedule", "max", "min", "seed", "arrows", "map", "paths", "zoom"];
  const SWITCHES = ["extra", "noise", "excess", "shape", "guide", "contrast"];

  // A slider over a list of values; it stands at the nearest. {row, show(value)}; `change(value)` is called when it is moved.
  const slider = (label, id, values, change) => {
    const input = el("input", { type: "range", id, min: 0, max: values.length - 1, step: 1, oninput: () => change(values[input.value]) });
    const output = el("output", { htmlFor: id });
    const show = (value) => {
      input.value = values.reduce((best, v, i) => (Math.abs(v - value) < Math.abs(values[best] - value) ? i : best), 0);
      output.value = +value.toFixed(3);
      input.ariaValueText = output.value;
    };
    return { row: el("div", { className: "pg-row pg-slider" }, el("label", { htmlFor: id }, label), output, input), show };
  };

  // The control of a setting, as that of a slider.
  const control = (name, change) => {
    const { kind, label, values, entries } = SETTINGS[name], id = `pg-${name}`;
    if (kind === "number") return slider(label, id, values, change);
    if (kind === "flag") {
      const box = el("input", { type: "checkbox", id, onchange: () => change(box.checked) });
      return { row: el("label", { className: "pg-row pg-flag" }, box, ` ${label}`), show: (value) => (box.checked = value) };
    }
    const select = el("select", { id, onchange: () => change(select.value) }, ...Object.entries(entries).map(([value, text]) => el("option", { value }, text)));
    return { row: el("div", { className: "pg-row" }, el("label", { htmlFor: id }, label), select), show: (value) => (select.value = value) };
  };

  // Chapters, scenes of the chosen chapter, and what the chosen scene shows.
  const scenes = (choose) => {
    const chips = Object.entries(CHAPTERS).map(([number, [title]]) => {
      const first = Object.keys(SCENES).find((name) => SCENES[name].chapter === Number(number));
      return [Number(number), button(`${number} · ${title}`, () => choose(first), { className: "pg-chip" })];
    });
    const title = el("strong"), text = el("span"), others = el("span", { className: "pg-others" });
    const box = el("div", { className: "pg-scenes" },
      el("div", { className: "pg-chips", role: "group", ariaLabel: "Show the point of a chapter" }, ...chips.map(([, chip]) => chip)),
      el("p", { className: "pg-text", ariaLive: "polite" }, title, " ", text), others);
    const show = (name) => {
      const { chapter } = SCENES[name];
      for (const [number, chip] of chips) chip.ariaPressed = number === chapter;
      title.textContent = `${SCENES[name].title}.`;
      text.textContent = SCENES[name].text;
      const [, page] = CHAPTERS[chapter];
      const buttons = Object.keys(SCENES).filter((other) => SCENES[other].chapter === chapter && other !== name).map((other) =>
        button(SCENES[other].title, () => choose(other), { className: "pg-link" }));
      if (page) buttons.push(el("a", { href: page }, `Read chapter ${chapter}`));
      others.replaceChildren(...(buttons.length ? ["More: ", ...buttons] : []));
    };
    return { box, show };
  };

  // The form beside the picture. actions: set(changes), noise(), copy(), reset(); modes: the controls of the data's modes.
  const form = (actions, modes) => {
    const all = {};
    const make = (names) => names.map((name) => (all[name] = control(name, (value) => actions.set({ [name]: value }))).row);
    const group = (title, ...rows) => el("fieldset", {}, el("legend", {}, title), ...rows);
    const switches = group("The chapters' switches", ...make(SWITCHES));
    const box = el("form", { className: "pg-form", ariaLabel: "Settings", onsubmit: () => false },
      group("Left", ...make(["a", ...PANEL])),
      group("Right, from the same noise", ...make(["b", ...PANEL.map((name) => `b${name}`)])),
      switches,
      group("Data", ...make(["data"]), modes),
      el("details", {}, el("summary", {}, "More settings"), ...make(MORE)),
      el("div", { className: "pg-buttons" }, button("New noise", actions.noise), button("Copy a link to this", actions.copy), button("Start over", actions.reset)));
    const show = (state) => {
      for (const [name, { row, show: set }] of Object.entries(all)) {
        row.hidden = name in MATTERS && !MATTERS[name](state);
        set(state[name]);
      }
      switches.hidden = SWITCHES.every((name) => all[name].row.hidden);
    };
    return { box, show };
  };

  Object.assign(Playground, { el, button, slider, scenes, form });
})();
