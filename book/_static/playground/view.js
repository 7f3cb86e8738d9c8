// Drawing: a panel's cloud with all that stands behind it, and a small chart.
(() => {
  const { measures } = Playground;

  const NAMES = ["ink", "blue", "orange", "green", "vermillion", "purple", "clean", "noised"];
  // The colours that the style sheet gives to light and to dark.
  const readColours = (root) => {
    const style = getComputedStyle(root);
    return Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue(`--pg-${name}`).trim()]));
  };
  const colourOf = (run, colours) => colours[Playground.SAMPLERS[run.name][1]];

  // Make a canvas as sharp as the screen; returns its pen, which counts in CSS pixels, and its size.
  const ready = (canvas) => {
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    return [pen, width, height];
  };

  // Half of the view's width at a time: what shows nearly all points of all runs, at least `closest`.
  const halfView = (runs, calls, closest, follow) => {
    if (!follow) return closest;
    const top = 1.6 * Math.max(...runs.map((run) => run.frames[0].half), closest);
    const halves = runs.map((run) => {
      const [i, part] = run.at(calls), next = run.frames[Math.min(i + 1, run.frames.length - 1)];
      return Math.exp((1 - part) * Math.log(run.frames[i].half) + part * Math.log(next.half));
    });
    return Math.min(top, Math.max(closest, ...halves));
  };

  // The middle points of n x n squares that fill the view, row by row from the top.
  const gridOf = (n, half) =>
    Float64Array.from({ length: 2 * n * n }, (_, j) => {
      const i = j >> 1;
      return j % 2 ? half * (1 - (2 * Math.floor(i / n) + 1) / n) : half * ((2 * (i % n) + 1) / n - 1);
    });

  // A coarse picture of a function of the plane, drawn smoothly: f(grid points) gives [colour, opacity 0..1] for each.
  const small = document.createElement("canvas");
  const drawMap = (pen, side, half, f) => {
    const n = 56;
    [small.width, small.height] = [n, n];
    const ink = small.getContext("2d"), image = ink.createImageData(n, n);
    f(gridOf(n, half)).forEach(([colour, opacity], i) => {
      image.data.set(colour, 4 * i);
      image.data[4 * i + 3] = 255 * opacity;
    });
    ink.putImageData(image, 0, 0);
    pen.drawImage(small, 0, 0, side, side);
  };
  const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

  const MAPS = {
    // p_sigma, over its largest value in the picture
    density: ({ mixture }, run, sigma, colours) => (points) => {
      const values = mixture.logProb(points, sigma), top = Math.max(...values), ink = rgb(colours.blue);
      return Array.from(values, (v) => [ink, 0.45 * Math.exp(v - top)]);
    },
    // Probability of 'clean', were clean and noised points equally frequent (eq-nc-ratio)
    classifier: ({ mixture }, run, sigma, colours, state) => (points) => {
      const clean = mixture.logProb(points, 0), noised = mixture.logProb(points, state.contrast);
      const [yes, no] = [rgb(colours.clean), rgb(colours.noised)];
      return Array.from(clean, (v, i) => {
        const p = 1 / (1 + Math.exp(noised[i] - v));
        return [p > 0.5 ? yes : no, 0.75 * Math.abs(2 * p - 1)];
      });
    },
    // Error of the panel's denoiser in units of sigma
    wrong: ({ mixture }, run, sigma, colours) => (points) => {
      const exact = mixture.denoise(points, sigma), answer = run.ask(points, sigma), ink = rgb(colours.noised);
      return Array.from({ length: points.length / 2 }, (_, i) => {
        const error = Math.hypot(answer[2 * i] - exact[2 * i], answer[2 * i + 1] - exact[2 * i + 1]) / sigma;
        return [ink, (0.6 * error) / (1 + error)];
      });
    },
  };

  const arrow = (pen, x, y, toX, toY, head) => {
    const angle = Math.atan2(toY - y, toX - x);
    pen.moveTo(x, y);
    pen.lineTo(toX, toY);
    for (const turn of [2.6, -2.6]) {
      pen.moveTo(toX, toY);
      pen.lineTo(toX + head * Math.cos(angle + turn), toY + head * Math.sin(angle + turn));
    }
  };

  // ready: {mixture, cloud, runs}; the run to draw; the time in network calls; half of the view; the state; options.
  const drawPanel = (canvas, scene, run, calls, half, state, colours, options) => {
    const [pen, side] = ready(canvas);
    if (!side) return;
    const X = (v) => side * (0.5 + v / (2 * half)), Y = (v) => side * (0.5 - v / (2 * half));
    const [i, part] = run.at(calls), now = run.frames[i], next = run.frames[Math.min(i + 1, run.frames.length - 1)];
    const sigma = Math.max(now.sigma, run.sigmas[run.steps - 1]);
    const radius = Math.max(1.4, Math.min(3, side / 190));
    const dots = (x, y, r) => {
      pen.moveTo(X(x) + r, Y(y));
      pen.arc(X(x), Y(y), r, 0, 6.2832);
    };
    const mix = (a, b) => a + part * (b - a);

    if (state.map !== "none" && (state.map === "classifier" || !run.parallel)) {
      drawMap(pen, side, half, MAPS[state.map](scene, run, sigma, colours, state));
    }
    // The data, or what is seen of them
    const points = options.seen || scene.cloud.points;
    pen.fillStyle = pen.strokeStyle = colours.ink;
    pen.globalAlpha = 0.28;
    pen.beginPath();
    for (let k = 0; k < points.length; k += 2) dots(points[k], points[k + 1], 0.7 * radius);
    pen.fill();
    // The modes: circles of two standard deviations
    pen.globalAlpha = 0.5;
    pen.lineWidth = 1;
    pen.beginPath();
    for (const mode of options.circles) dots(mode.x, mode.y, (2 * mode.std * side) / (2 * half));
    pen.stroke();
    if (options.constraint) drawConstraint(pen, state.shape, X, Y, side, half, colours);

    const colour = colourOf(run, colours);
    if (state.paths) {
      pen.strokeStyle = colour;
      pen.globalAlpha = 0.4;
      pen.lineWidth = 0.8;
      pen.beginPath();
      if (run.parallel) drawGuesses(pen, now.guess, next.guess, mix, X, Y);
      else {
        for (let k = 0; k < (run.random ? 60 : 240); k += 2) {
          pen.moveTo(X(run.start[k]), Y(run.start[k + 1]));
          for (let j = 1; j <= i; j++) pen.lineTo(X(run.frames[j].points[k]), Y(run.frames[j].points[k + 1]));
          pen.lineTo(X(mix(now.points[k], next.points[k])), Y(mix(now.points[k + 1], next.points[k + 1])));
        }
      }
      pen.stroke();
    }
    if (state.arrows !== "none") drawArrows(pen, scene, run, sigma, half, X, Y, state.arrows, colours);
    pen.fillStyle = colour;
    pen.globalAlpha = 0.9;
    pen.beginPath();
    for (let k = 0; k < now.points.length; k += 2) {
      const x = mix(now.points[k], next.points[k]), y = mix(now.points[k + 1], next.points[k + 1]);
      if (Math.abs(x) < 1.1 * half && Math.abs(y) < 1.1 * half) dots(x, y, radius);
    }
    pen.fill();
    pen.globalAlpha = 1;
  };

  // Picard: the whole path that is guessed for each point, between two iterations.
  const drawGuesses = (pen, guess, next, mix, X, Y) => {
    for (let k = 0; k < guess[0].length; k += 2) {
      guess.forEach((x, level) => {
        const to = [X(mix(x[k], next[level][k])), Y(mix(x[k + 1], next[level][k + 1]))];
        if (level) pen.lineTo(...to);
        else pen.moveTo(...to);
      });
    }
  };

  const drawConstraint = (pen, shape, X, Y, side, half, colours) => {
    pen.strokeStyle = colours.vermillion;
    pen.globalAlpha = 0.9;
    pen.lineWidth = 1.6;
    pen.setLineDash([6, 5]);
    pen.beginPath();
    if (shape === "circle") pen.arc(X(0), Y(0), side / (2 * half), 0, 6.2832);
    else {
      pen.moveTo(X(-half), Y(-half / 2));
      pen.lineTo(X(half), Y(half / 2));
    }
    pen.stroke();
    pen.setLineDash([]);
  };

  // At the points of a grid: to the denoiser's answer, thin; to the nearest data point, thick. Half of their length.
  const drawArrows = (pen, scene, run, sigma, half, X, Y, which, colours) => {
    const grid = gridOf(11, half), answer = run.ask(grid, sigma), data = scene.cloud.points;
    const draw = (target, colour, width) => {
      pen.strokeStyle = colour;
      pen.lineWidth = width;
      pen.globalAlpha = 0.95;
      pen.beginPath();
      for (let i = 0; i < grid.length; i += 2) {
        const [x, y] = target(i);
        arrow(pen, X(grid[i]), Y(grid[i + 1]), X(grid[i] + 0.5 * (x - grid[i])), Y(grid[i + 1] + 0.5 * (y - grid[i + 1])), 2.5 + 1.5 * width);
      }
      pen.stroke();
    };
    const projection = (i) => {
      const k = measures.nearest(data, grid[i], grid[i + 1]);
      return [data[k], data[k + 1]];
    };
    if (which !== "denoiser") draw(projection, colours.orange, 3);
    if (which !== "projection") draw((i) => [answer[i], answer[i + 1]], colours.ink, 1.2);
  };

  // One measure of all runs against network calls, on a logarithmic axis; the right panel's is dashed.
  const drawChart = (canvas, scene, key, calls, total, colours, floor) => {
    const [pen, width, height] = ready(canvas);
    if (!width) return;
    const values = scene.runs.flatMap((run) => run.frames.map((frame) => frame[key]).filter((v) => v > 0 && Number.isFinite(v)));
    pen.font = "11px sans-serif";
    pen.fillStyle = pen.strokeStyle = colours.ink;
    if (!scene.measured || !values.length) {
      pen.fillText(scene.measured ? "DDPM is random: it follows no flow." : "…", 36, height / 2);
      return;
    }
    const top = Math.min(1e4, Math.max(...values));
    const low = Math.floor(Math.log10(Math.max(1e-4, top / 1e5, Math.min(...values, floor ?? Infinity)))), high = Math.max(low + 1, Math.ceil(Math.log10(top)));
    const X = (c) => 36 + ((width - 46) * c) / Math.max(1, total), Y = (v) => 8 + (height - 28) * ((high - Math.log10(v)) / (high - low));
    pen.lineWidth = 1;
    const across = (v) => {
      pen.beginPath();
      pen.moveTo(36, Y(v));
      pen.lineTo(width - 10, Y(v));
      pen.stroke();
    };
    for (let power = low; power <= high; power += Math.ceil((high - low) / 4)) {
      pen.globalAlpha = 0.2;
      across(10 ** power);
      pen.globalAlpha = 1;
      pen.textAlign = "right";
      pen.fillText(power < -3 || power > 3 ? `1e${power}` : String(10 ** power), 32, Y(10 ** power) + 4);
    }
    pen.textAlign = "left";
    pen.fillText("0", 36, height - 4);
    pen.textAlign = "right";
    pen.fillText(`${total} network calls`, width - 6, height - 4);
    pen.save();
    pen.beginPath();
    pen.rect(34, 4, width - 40, height - 22);
    pen.clip();
    if (floor) {
      pen.setLineDash([2, 3]);
      across(floor);
    }
    scene.runs.forEach((run, k) => {
      pen.strokeStyle = pen.fillStyle = colourOf(run, colours);
      pen.lineWidth = 2;
      pen.setLineDash(k ? [7, 4] : []);
      pen.beginPath();
      for (const frame of run.frames) if (frame[key] !== undefined) pen.lineTo(X(frame.calls), Y(Math.max(1e-6, frame[key])));
      pen.stroke();
      pen.setLineDash([]);
      const frame = run.frames[run.at(calls)[0]];
      if (frame[key] > 0) {
        pen.beginPath();
        pen.arc(X(frame.calls), Y(frame[key]), 4, 0, 6.2832);
        pen.fill();
      }
    });
    pen.restore();
  };

  Object.assign(Playground, { readColours, drawPanel, drawChart, halfView });
})();
