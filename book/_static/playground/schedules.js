// The noise levels that a sampler visits: N + 1 of them, decreasing, the last one 0.
// The same as companion.noise.log_linear, karras, ddpm and cosine with final_zero=True.
(() => {

  // N levels along `curve`, which goes from sigma_max at 0 to sigma_min at 1, then 0.
  const along = (curve, steps, max, min) => {
    if (!(Number.isInteger(steps) && steps >= 1)) throw new Error(`steps: got ${steps}; allowed are whole numbers from 1`);
    if (!(min > 0 && min < max && max < Infinity)) throw new Error(`min, max: got ${min} and ${max}; allowed is 0 < min < max`);
    const sigmas = Float64Array.from({ length: steps + 1 }, (_, i) => (i < steps ? curve(i / Math.max(1, steps - 1)) : 0));
    if (steps > 1) sigmas[steps - 1] = min;
    sigmas[0] = max;
    return sigmas;
  };

  // Equal ratios.
  const logLinear = (steps, max, min) => along((u) => Math.exp(Math.log(max) * (1 - u) + Math.log(min) * u), steps, max, min);

  // Equal distances of sigma^(1/7) (Karras et al. 2022, eq. 5).
  const karras = (steps, max, min) => along((u) => ((1 - u) * max ** (1 / 7) + u * min ** (1 / 7)) ** 7, steps, max, min);

  // Equal angles arctan(sigma) (Nichol and Dhariwal 2021).
  const cosine = (steps, max, min) => along((u) => Math.tan(Math.atan(max) * (1 - u) + Math.atan(min) * u), steps, max, min);

  // Logarithms of the 1000 levels of DDPM's training, beta from 1e-4 to 0.02 (Ho et al. 2020).
  const trained = (() => {
    let power = 1;
    return Float64Array.from({ length: 1000 }, (_, t) => {
      power *= 1 - (1e-4 + (t / 999) * (0.02 - 1e-4));
      return 0.5 * Math.log((1 - power) / power);
    });
  })();
  const lowest = Math.exp(trained[0]);

  // Fractional position of a level among those of the training.
  const timestep = (sigma) => {
    const value = Math.log(sigma);
    let above = 1;
    while (above < trained.length - 1 && trained[above] < value) above++;
    const t = above - 1 + (value - trained[above - 1]) / (trained[above] - trained[above - 1]);
    return Math.min(trained.length - 1, Math.max(0, t));
  };

  // Equal distances of the training's timestep. It begins at sigma = 0.01; a smaller min becomes that.
  const ddpm = (steps, max, min) => {
    const low = Math.max(min, lowest), start = timestep(max), end = timestep(low);
    const curve = (u) => {
      const t = start * (1 - u) + end * u;
      const below = Math.min(trained.length - 2, Math.floor(t));
      return Math.exp(trained[below] + (t - below) * (trained[below + 1] - trained[below]));
    };
    return along(curve, steps, max, low);
  };

  Playground.schedules = { log_linear: logLinear, karras, ddpm, cosine };
})();
