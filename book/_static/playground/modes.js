// Moving the data: handles on the picture (pointer, touch, keyboard) and controls of the chosen mode.
(() => {
  const { el, button, slider, evenly } = Playground;
  const MOST = 24; // more modes than that are not moved one by one

  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

  // get(): the modes; set(modes, dragging): change them. Returns what the page puts in place, and `place` that redraws.
  Playground.modeEditor = (get, set) => {
    let chosen = 0;
    const views = []; // {layer, handles, widen} for each panel
    const change = (k, what, dragging = false) => set(get().map((mode, i) => (i === k ? { ...mode, ...what } : mode)), dragging);

    // --- the controls
    const width = slider("Width of the chosen mode", "pg-width", evenly(0.05, 1.5, 0.01), (std) => change(chosen, { std }));
    const weight = slider("Its weight", "pg-weight", evenly(0.1, 5, 0.1), (value) => change(chosen, { weight: value }));
    const add = button("Add a mode", () => insert(0, 0)), remove = button("Remove it", () => drop(chosen));
    const hint = el("p", { className: "pg-hint" });
    const box = el("div", { className: "pg-modes" }, hint, width.row, weight.row, el("div", { className: "pg-buttons" }, add, remove));

    const insert = (x, y) => {
      if (get().length >= MOST) return;
      chosen = get().length;
      set([...get(), { x: +x.toFixed(2), y: +y.toFixed(2), std: 0.2, weight: 1 }]);
    };
    const drop = (k) => {
      if (get().length < 2) return;
      chosen = Math.max(0, k - 1);
      set(get().filter((_, i) => i !== k));
    };

    // --- the handles of one panel, over its canvas
    const layerFor = (main) => {
      const layer = el("div", { className: "pg-layer" });
      const view = { layer, handles: [], half: 1, main };
      const place = (event) => {
        const { left, top, width: side } = layer.getBoundingClientRect();
        return [((event.clientX - left) / side - 0.5) * 2 * view.half, (0.5 - (event.clientY - top) / side) * 2 * view.half];
      };
      // Follow the pointer from a handle; move(x, y) in the data's units.
      const drag = (handle, begin, move) => {
        handle.onpointerdown = (event) => {
          if (event.button) return;
          handle.setPointerCapture(event.pointerId);
          const [left, top] = place(event), [x, y] = begin();
          handle.onpointermove = (e) => {
            const now = place(e);
            move(x + now[0] - left, y + now[1] - top);
          };
          handle.onpointerup = handle.onpointercancel = () => {
            handle.onpointermove = handle.onpointerup = handle.onpointercancel = null;
            set(get(), false);
          };
        };
      };
      view.widen = button("", null, { className: "pg-widen", tabIndex: -1, title: "Drag to widen the mode", ariaHidden: "true" });
      drag(view.widen, () => [get()[chosen].x + 2 * get()[chosen].std, get()[chosen].y], (x, y) => {
        const mode = get()[chosen];
        change(chosen, { std: +clamp(Math.hypot(x - mode.x, y - mode.y) / 2, 0.05, 1.5).toFixed(3) }, true);
      });
      view.handle = (k) => {
        const handle = button("", null, { className: "pg-handle", tabIndex: main ? 0 : -1, ariaHidden: !main, onfocus: () => choose(k), onkeydown: (event) => keys(event, k) });
        const begin = () => {
          choose(k);
          return [get()[k].x, get()[k].y];
        };
        drag(handle, begin, (x, y) => {
          const limit = 0.97 * view.half;
          change(k, { x: +clamp(x, -limit, limit).toFixed(3), y: +clamp(y, -limit, limit).toFixed(3) }, true);
        });
        return handle;
      };
      layer.ondblclick = (event) => event.target === layer && insert(...place(event));
      views.push(view);
      return layer;
    };
    const choose = (k) => {
      if (chosen === k) return;
      chosen = k;
      show();
    };
    const keys = (event, k) => {
      const mode = get()[k], step = event.shiftKey ? 0.25 : 0.05;
      const moves = { ArrowLeft: { x: mode.x - step }, ArrowRight: { x: mode.x + step }, ArrowUp: { y: mode.y + step }, ArrowDown: { y: mode.y - step },
        "+": { std: Math.min(1.5, mode.std * 1.1) }, "-": { std: Math.max(0.05, mode.std / 1.1) } };
      if (event.key in moves) change(k, moves[event.key]);
      else if (event.key === "Delete" || event.key === "Backspace") drop(k);
      else return;
      event.preventDefault();
    };

    // Show the present modes in the controls and over panel number `panel`, whose view is `half` wide on either side.
    const show = () => {
      const modes = get(), few = modes.length <= MOST;
      chosen = clamp(chosen, 0, modes.length - 1);
      hint.textContent = few ? `Drag a circle to move its mode, or double-click to add one. Mode ${chosen + 1} of ${modes.length} is chosen.`
        : `${modes.length} modes: too many to move one by one.`;
      for (const { row } of [width, weight]) row.hidden = !few;
      add.parentNode.hidden = !few;
      width.show(modes[chosen].std);
      weight.show(modes[chosen].weight);
      add.disabled = modes.length >= MOST;
      remove.disabled = modes.length < 2;
      for (const view of views) placeHandles(view);
    };
    const placeHandles = (view) => {
      const modes = get(), shown = modes.length <= MOST && view.visible;
      view.layer.classList.toggle("pg-away", !shown);
      while (view.handles.length < modes.length && modes.length <= MOST) {
        const handle = view.handle(view.handles.length);
        view.handles.push(handle);
        view.layer.append(handle);
      }
      while (view.handles.length > modes.length || (modes.length > MOST && view.handles.length)) view.handles.pop().remove();
      if (!view.widen.isConnected) view.layer.append(view.widen);
      const put = (element, x, y) => {
        element.style.left = `${50 + (50 * x) / view.half}%`;
        element.style.top = `${50 - (50 * y) / view.half}%`;
      };
      view.handles.forEach((handle, k) => {
        const { x, y, std, weight: share } = modes[k];
        put(handle, x, y);
        handle.classList.toggle("pg-chosen", k === chosen);
        if (view.main) handle.ariaLabel = `Mode ${k + 1} of ${modes.length} at ${x.toFixed(2)}, ${y.toFixed(2)}, width ${std.toFixed(2)}, weight ${share}. Arrow keys move it, + and - widen it, Delete removes it.`;
      });
      if (shown && modes.length) put(view.widen, modes[chosen].x + 2 * modes[chosen].std, modes[chosen].y);
    };
    // After a drawing: how wide the view is, and whether the modes are large enough in it to be moved.
    const place = (panel, half, visible) => {
      const view = views[panel];
      if (view.half === half && view.visible === visible) return;
      Object.assign(view, { half, visible });
      placeHandles(view);
    };
    return { box, layerFor, show, place };
  };
})();
