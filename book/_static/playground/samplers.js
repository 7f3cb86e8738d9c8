// Samplers: generators that yield the state at sigmas[0], then at each level below it.
// The same updates as companion.samplers. `denoise(x, sigma)` gives D; states are never changed in place.
(() => {

  // f of the numbers of up to four arrays, one by one.
  const combine = (f, a, b = a, c = a, d = a) => {
    const out = new Float64Array(a.length);
    for (let i = 0; i < out.length; i++) out[i] = f(a[i], b[i], c[i], d[i]);
    return out;
  };
  // from + share (to - from)
  const lerp = (from, to, share) => {
    const out = new Float64Array(from.length);
    for (let i = 0; i < out.length; i++) out[i] = from[i] + share * (to[i] - from[i]);
    return out;
  };

  // x' = D + (s' / s)(x - D): keep the estimate, shrink the noise (eq-ddim).
  function* ddim(denoise, x, sigmas) {
    yield x;
    for (let i = 0; i + 1 < sigmas.length; i++) yield (x = lerp(denoise(x, sigmas[i]), x, sigmas[i + 1] / sigmas[i]));
  }

  // x' = D + r^2 (x - D) + scale s' sqrt(1 - r^2) z, r = s' / s (eq-ddpm). `noise(i)` is z of step i.
  function* ddpm(denoise, x, sigmas, { scale = 1, noise }) {
    yield x;
    for (let i = 0; i + 1 < sigmas.length; i++) {
      const share = (sigmas[i + 1] / sigmas[i]) ** 2;
      const std = scale * sigmas[i + 1] * Math.sqrt(1 - share);
      x = lerp(denoise(x, sigmas[i]), x, share);
      if (std > 0) x = combine((mean, z) => mean + std * z, x, noise(i));
      yield x;
    }
  }

  // An Euler step, then the mean of the slopes at its two ends (eq-heun). Two calls a step, the last one.
  function* heun(denoise, x, sigmas) {
    yield x;
    for (let i = 0; i + 1 < sigmas.length; i++) {
      const here = sigmas[i], below = sigmas[i + 1];
      const denoised = denoise(x, here);
      const euler = lerp(denoised, x, below / here);
      if (below > 0) {
        const half = (below - here) / 2;
        x = combine((a, d, e, f) => a + half * ((a - d) / here + (e - f) / below), x, denoised, euler, denoise(euler, below));
      } else x = euler;
      yield x;
    }
  }

  // Descend along gamma eps + (1 - gamma) eps_before (eq-gradient-estimation). gamma = 1 is DDIM.
  function* gradientEstimation(denoise, x, sigmas, { gamma = 2 }) {
    yield x;
    let before = null;
    for (let i = 0; i + 1 < sigmas.length; i++) {
      const eps = combine((a, d) => (a - d) / sigmas[i], x, denoise(x, sigmas[i]));
      const direction = before ? lerp(before, eps, gamma) : eps;
      x = combine((a, d) => a + (sigmas[i + 1] - sigmas[i]) * d, x, direction);
      before = eps;
      yield x;
    }
  }

  // x' = r x + (1 - r)(D + c d + e d_before), r = s' / s, where d is the last change of the answers (eq-ov-learned).
  function* learned(denoise, x, sigmas, { weights, second }) {
    yield x;
    let last = x, change = null, before = null;
    for (let i = 0; i + 1 < sigmas.length; i++) {
      const answer = denoise(x, sigmas[i]);
      [before, change] = [change, i ? combine((a, b) => a - b, answer, last) : answer.map(() => 0)];
      const mixed = combine((a, d, e) => a + weights[i] * d + second[i] * e, answer, change, before ?? change);
      yield (x = lerp(mixed, x, sigmas[i + 1] / sigmas[i]));
      last = answer;
    }
  }
  // What was learned for this data set (for data of the reader's own: for the ring) and for at most so many steps.
  const learnedFor = (data, steps) => {
    const table = Playground.LEARNED[data] ?? Playground.LEARNED.ring;
    const known = Object.keys(table).map(Number);
    const [levels, weights, second] = table[Math.max(known[0], ...known.filter((n) => n <= steps))];
    return { sigmas: Float64Array.from([...levels, 0]), weights, second };
  };

  // Picard iteration of DDIM on all levels at once: yields the whole trajectory, N + 1 states, after each iteration.
  // It starts from the same variance-preserving state v = x / sqrt(1 + sigma^2) everywhere. Plain: the steps of v are
  // summed from the start (eq-nc-picard). Semilinear: the linear part of each step is unrolled exactly
  // (eq-nc-semilinear). Both end at DDIM, after N iterations at most.
  function* picard(denoise, x, sigmas, { semilinear = false, tolerance = 1e-3 }) {
    const steps = sigmas.length - 1;
    const scale = Array.from(sigmas, (sigma) => 1 / Math.sqrt(1 + sigma ** 2));
    let states = scale.map((c) => x.map((value) => (value * scale[0]) / c));
    let start = 0;
    yield states;
    while (start < steps) {
      const next = states.slice(0, start + 1);
      let sum = states[start]; // the state before, as this iteration has it
      let settled = true; // every state so far has moved less than the tolerance
      let reached = start + 1;
      for (let k = start; k < steps; k++) {
        const denoised = denoise(states[k], sigmas[k]);
        const keep = sigmas[k + 1] / sigmas[k];
        sum = semilinear
          ? lerp(denoised, sum, keep)
          : combine((total, here, d) => d + keep * (here - d) + (scale[k] / scale[k + 1]) * (total - here), sum, states[k], denoised);
        next.push(sum);
        if (settled) {
          reached = k + 1;
          settled = furthest(sum, states[k + 1]) * scale[k + 1] <= tolerance;
        }
      }
      states = next;
      start = reached;
      yield states;
    }
  }

  // The largest root-mean-square change of a coordinate, over points.
  const furthest = (a, b) => {
    let most = 0;
    for (let i = 0; i < a.length; i += 2) most = Math.max(most, ((a[i] - b[i]) ** 2 + (a[i + 1] - b[i + 1]) ** 2) / 2);
    return Math.sqrt(most);
  };

  // The converged flow: Heun's steps between neighbouring levels, each cut into `pieces` at equal ratios.
  // From the last positive level it goes on at equal ratios, far below the narrowest mode, and then to 0.
  function* flow(denoise, x, sigmas, pieces, lowest) {
    const { log_linear: logLinear } = Playground.schedules;
    yield x;
    for (let i = 0; i + 1 < sigmas.length; i++) {
      const here = sigmas[i], below = sigmas[i + 1];
      let levels;
      if (below > 0) levels = logLinear(pieces + 1, here, below).subarray(0, pieces + 1);
      else levels = here > lowest ? logLinear(4 * pieces + 1, here, lowest) : [here, 0];
      for (const state of heun(denoise, x, levels)) x = state;
      yield x;
    }
  }

  // name: [what readers call it, its colour (companion.plotting.METHODS), the generator, fixed options]
  const SAMPLERS = {
    ddim: ["DDIM", "blue", ddim],
    ddpm: ["DDPM", "orange", ddpm],
    heun: ["Heun", "green", heun],
    ge: ["Gradient estimation", "vermillion", gradientEstimation],
    learned: ["Learned for N steps", "ink", learned],
    picard: ["Picard, plain", "purple", picard],
    semilinear: ["Picard, semilinear", "purple", picard, { semilinear: true }],
  };
  // Run one. `options` may have gamma, scale, noise, tolerance, weights, second.
  const sample = (name, denoise, x, sigmas, options = {}) => SAMPLERS[name][2](denoise, x, sigmas, { ...options, ...SAMPLERS[name][3] });

  Object.assign(Playground, { SAMPLERS, sample, learnedFor, flow, isPicard: (name) => SAMPLERS[name][2] === picard });
})();
