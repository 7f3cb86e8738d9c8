// A mixture of round Gaussians in the plane, whose denoiser is a closed form; and seeded random numbers.
// The same as companion.oracles.GaussianMixture. Points are Float64Arrays x0, y0, x1, y1, ...
window.Playground = {};
(() => {

  // Seeded uniform numbers in (0, 1): a counter, mixed by multiplications (the scheme "mulberry32").
  const uniform = (seed) => {
    let a = (seed + 1) * 0x9e3779b9;
    return () => {
      a = (a + 0x6d2b79f5) | 0;
      let t = Math.imul(a ^ (a >>> 15), a | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 4294967296;
    };
  };

  // Seeded standard normal numbers (Box and Muller), `count` of them, an even number.
  const normals = (seed, count) => {
    const next = uniform(seed);
    const z = new Float64Array(count);
    for (let i = 0; i < count; i += 2) {
      const radius = Math.sqrt(-2 * Math.log(next()));
      const angle = 2 * Math.PI * next();
      z[i] = radius * Math.cos(angle);
      z[i + 1] = radius * Math.sin(angle);
    }
    return z;
  };

  class Mixture {
    // modes: a list of {x, y, std, weight}; weights are normalised.
    constructor(modes) {
      if (!modes.length) throw new Error("modes: got none; allowed are one or more");
      for (const { x, y, std, weight } of modes) {
        if (![x, y].every(Number.isFinite) || !(std > 0) || !(weight > 0)) {
          throw new Error(`modes: got ${[x, y, std, weight]}; allowed are finite numbers, std and weight above 0`);
        }
      }
      const total = modes.reduce((sum, mode) => sum + mode.weight, 0);
      this.modes = modes;
      this.x = Float64Array.from(modes, (mode) => mode.x);
      this.y = Float64Array.from(modes, (mode) => mode.y);
      this.variance = Float64Array.from(modes, (mode) => mode.std ** 2);
      this.logWeight = Float64Array.from(modes, (mode) => Math.log(mode.weight / total));
      this.logits = new Float64Array(modes.length);
    }

    // Fill this.logits with log(weight * density) of each mode at (x, y), and return the largest.
    // Under noise `sigma` a mode has the variance std^2 + sigma^2; `scales` are those of one level.
    joint(x, y, scales) {
      const { logits } = this;
      let top = -Infinity;
      for (let k = 0; k < logits.length; k++) {
        const dx = x - this.x[k], dy = y - this.y[k];
        const value = scales.constant[k] - scales.half[k] * (dx * dx + dy * dy);
        logits[k] = value;
        if (value > top) top = value;
      }
      return top;
    }

    scales(sigma) {
      const total = this.variance.map((v) => v + sigma * sigma);
      return {
        constant: total.map((v, k) => this.logWeight[k] - Math.log(2 * Math.PI * v)),
        half: total.map((v) => 0.5 / v),
        shrink: total.map((v, k) => this.variance[k] / v),
      };
    }

    // D(x, sigma) = E[x_0 | x_sigma = x] (eq-mixture-denoiser): the modes' own answers, weighted.
    denoise(x, sigma) {
      const scales = this.scales(sigma), { shrink } = scales;
      const answer = new Float64Array(x.length);
      for (let i = 0; i < x.length; i += 2) {
        const top = this.joint(x[i], x[i + 1], scales);
        let mass = 0, sumX = 0, sumY = 0;
        for (let k = 0; k < shrink.length; k++) {
          const logit = this.logits[k] - top;
          if (logit < -45) continue; // less than 1e-19 of the whole
          const w = Math.exp(logit);
          mass += w;
          sumX += w * (this.x[k] + shrink[k] * (x[i] - this.x[k]));
          sumY += w * (this.y[k] + shrink[k] * (x[i + 1] - this.y[k]));
        }
        answer[i] = sumX / mass;
        answer[i + 1] = sumY / mass;
      }
      return answer;
    }

    // Log density of x_sigma at each point, in nats.
    logProb(x, sigma) {
      const scales = this.scales(sigma);
      return Float64Array.from({ length: x.length / 2 }, (_, i) => {
        const top = this.joint(x[2 * i], x[2 * i + 1], scales);
        return top + Math.log(this.logits.reduce((sum, logit) => sum + Math.exp(logit - top), 0));
      });
    }

    // The distribution of x_sigma.
    noisy(sigma) {
      return new Mixture(this.modes.map((mode) => ({ ...mode, std: Math.hypot(mode.std, sigma) })));
    }

    // `count` points; which mode each comes from is as even as the weights allow, not drawn.
    sample(count, seed) {
      const z = normals(seed, 2 * count);
      let k = 0, cumulated = Math.exp(this.logWeight[0]);
      for (let i = 0; i < count; i++) {
        while (i + 0.5 > cumulated * count && k < this.x.length - 1) cumulated += Math.exp(this.logWeight[++k]);
        const std = Math.sqrt(this.variance[k]);
        z[2 * i] = this.x[k] + std * z[2 * i];
        z[2 * i + 1] = this.y[k] + std * z[2 * i + 1];
      }
      return z;
    }
  }

  Object.assign(Playground, { Mixture, normals });
})();
