// A run: one sampler from noise to data, every state kept, with what is measured on the way.
(() => {
  const { measures } = Playground;

  const POINTS = 500;
  const GUESSES = 80; // points whose guessed paths are kept, of Picard

  // Half of the width that shows 95 % of the points.
  const reach = (x) => 1.15 * Float64Array.from(x, Math.abs).sort()[Math.floor(0.95 * x.length)];

  class Run {
    // state: all settings; prefix: "" for the left panel, "b" for the right one.
    constructor(state, prefix, mixture) {
      const get = (name) => state[prefix + name];
      this.name = prefix ? state.b : state.a;
      const learned = this.name === "learned" && Playground.learnedFor(state.data, get("steps"));
      // A learned sampler has levels of its own, down to 0.
      this.told = learned && get("told") === "stop" ? "exact" : get("told");
      this.parallel = Playground.isPicard(this.name);
      // Stopped at the noise of the data: the last level is sigma_n, and the answer there is the sample.
      const min = this.told === "stop" ? state.noise : state.min;
      this.sigmas = learned ? learned.sigmas : Playground.schedules[state.schedule](get("steps"), Math.max(state.max, 1.01 * min), min);
      this.random = this.name === "ddpm" && get("scale") > 0;
      this.ask = Playground.denoiser(this.told, mixture, state);
      this.mixture = mixture;
      const noise = (i) => Playground.normals(1000 * (state.seed + 1) + i, 2 * POINTS);
      this.options = { gamma: get("gamma"), scale: get("scale"), noise, ...learned };
      this.start = Playground.normals(state.seed, 2 * POINTS).map((z) => z * this.sigmas[0]);
      this.frames = [];
      this.asked = this.off = 0;
    }

    get steps() { return this.sigmas.length - 1; }
    get calls() { return this.frames.at(-1).calls; }
    get last() { return this.frames.at(-1); }

    // Fill this.frames; yields after each, so that the page can do something else between them.
    *compute() {
      let calls = 0; // network calls one after the other: Picard asks at all its levels in one
      const counted = (x, sigma) => {
        calls += 1;
        this.asked += 1;
        if (this.told === "offpath") this.off += Playground.shareOff(this.mixture, x, sigma);
        return this.ask(x, sigma);
      };
      for (const shown of Playground.sample(this.name, counted, this.start, this.sigmas, this.options)) {
        const i = this.frames.length;
        const points = this.parallel ? shown.at(-1) : shown;
        this.frames.push({
          calls: this.parallel ? i : calls,
          sigma: this.parallel ? 0 : this.sigmas[i],
          points,
          guess: this.parallel && shown.map((x) => Float32Array.from(x.subarray(0, 2 * GUESSES))),
          half: reach(points),
          off: this.asked ? this.off / this.asked : 0,
        });
        this.asked = this.off = 0;
        yield;
      }
    }

    // Number of the frame before `calls`, and how far it is to the next.
    at(calls) {
      const { frames } = this;
      let i = 0;
      while (i + 1 < frames.length && frames[i + 1].calls <= calls) i++;
      if (i + 1 === frames.length) return [i, 0];
      return [i, (calls - frames[i].calls) / (frames[i + 1].calls - frames[i].calls)];
    }

    // Measure each frame against the data and the exact flow. `cloud` is {points, shadows} of the data.
    *measure(cloud, flow) {
      for (const [i, frame] of this.frames.entries()) {
        frame.distance = measures.sliced(measures.shadows(frame.points), cloud.shadows);
        frame.nearest = measures.toData(frame.points, cloud.points);
        if (!this.random) frame.error = measures.apart(frame.points, this.parallel ? flow.at(-1) : flow[i]);
        yield;
      }
    }
  }

  // Generators of exact flows at the levels of runs; runs with the same levels share one.
  const flowOf = (run, mixture, known) => {
    const key = run.sigmas.join();
    if (!known.has(key)) {
      const pieces = Math.max(4, Math.ceil(100 / run.steps));
      const narrowest = Math.sqrt(Math.min(...mixture.variance));
      known.set(key, { states: [], work: Playground.flow((x, s) => mixture.denoise(x, s), run.start, run.sigmas, pieces, narrowest / 50) });
    }
    return known.get(key);
  };

  // All of the work for a state, as a generator that yields often; `done` gets what is ready: first the runs, then measures.
  function* prepare(state, done) {
    const mixture = new Playground.Mixture(Playground.modesOf(state));
    const points = mixture.sample(POINTS, 12345);
    const cloud = { points, shadows: measures.shadows(points) };
    const runs = [new Run(state, "", mixture)];
    if (state.b !== "none") runs.push(new Run(state, "b", mixture));
    for (const run of runs) yield* run.compute();
    done({ mixture, cloud, runs, measured: false });
    const known = new Map();
    for (const run of runs) {
      const { states, work } = flowOf(run, mixture, known);
      for (const x of work) {
        states.push(x);
        yield;
      }
      yield* run.measure(cloud, states);
    }
    const exact = known.get(runs[0].sigmas.join()).states.at(-1);
    done({ mixture, cloud, runs, measured: true, floor: measures.sliced(measures.shadows(exact), cloud.shadows) });
  }

  Object.assign(Playground, { prepare, POINTS });
})();
