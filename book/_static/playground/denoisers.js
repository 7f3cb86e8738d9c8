// What a panel's sampler is told: the exact denoiser, or one of the book's changes of it.
(() => {

  const map = (x, answer, f) => {
    const out = new Float64Array(x.length);
    for (let i = 0; i < x.length; i += 2) [out[i], out[i + 1]] = f(x[i], x[i + 1], answer[i], answer[i + 1]);
    return out;
  };

  // x - (x - D(x, level sigma)) / shrink, as companion.objectives.Relabelled.
  const relabelled = (mixture, level, shrink) => (x, sigma) =>
    map(x, mixture.denoise(x, level * sigma), (a, b, c, d) => [a - (a - c) / shrink, b - (b - d) / shrink]);

  // Right where training goes, wrong where it never does: at a point that is farther from all data than
  // 999 of 1,000 noisy points of this level are, the noise that it sees is multiplied by up to 1 + excess.
  const REACH = 3.717; // of a standard normal point in the plane
  const offPath = (mixture, excess) => (x, sigma) =>
    map(x, mixture.denoise(x, sigma), (a, b, c, d) => {
      const seen = Math.hypot(a - c, b - d) / sigma;
      const factor = 1 + excess * Math.max(0, 1 - REACH / seen);
      return [a - factor * (a - c), b - factor * (b - d)];
    });

  // Share of points that are as far from all data as that.
  const shareOff = (mixture, x, sigma) => {
    const answer = mixture.denoise(x, sigma);
    let off = 0;
    for (let i = 0; i < x.length; i += 2) off += Math.hypot(x[i] - answer[i], x[i + 1] - answer[i + 1]) > REACH * sigma;
    return off / (x.length / 2);
  };

  // Constraints R(x) = 0: a signed distance-like function and its gradient.
  const SHAPES = {
    circle: { label: "circle of radius 1", residual: (x, y) => [(x * x + y * y - 1) / 2, x, y] },
    line: { label: "line y = x / 2", residual: (x, y) => [y - x / 2, -0.5, 1] },
  };
  // Guidance: after each answer a Newton step of size `weight` towards R = 0. A weight of 1 nearly projects.
  const guided = (mixture, shape, weight) => (x, sigma) =>
    map(x, mixture.denoise(x, sigma), (_x, _y, c, d) => {
      const [value, gx, gy] = SHAPES[shape].residual(c, d);
      const step = (weight * value) / Math.max(1e-9, gx * gx + gy * gy);
      return [c - step * gx, d - step * gy];
    });

  const exact = (mixture) => (x, sigma) => mixture.denoise(x, sigma);

  // name: [what readers see, the function of (mixture, state) that makes it]
  const TOLD = {
    exact: ["the exact denoiser", exact],
    level: ["told too low a level (chapter 1)", (m, s) => relabelled(m, Math.hypot(1, s.extra), 1)],
    shrunken: ["too low a level, and shrunken (chapter 1)", (m, s) => relabelled(m, Math.hypot(1, s.extra), 1 + s.extra ** 2)],
    naive: ["taught that noisy data are clean (chapter 2)", (m, s) => exact(m.noisy(s.noise))],
    stop: ["exact, but stopped at σₙ (chapter 2)", exact],
    offpath: ["wrong off the path (chapter 3)", (m, s) => offPath(m, s.excess)],
    guided: ["guided to a constraint (chapter 6)", (m, s) => guided(m, s.shape, s.guide)],
  };
  const denoiser = (name, mixture, state) => TOLD[name][1](mixture, state);

  Object.assign(Playground, { TOLD, SHAPES, denoiser, shareOff });
})();
