// Scenes: settings that show the point of a chapter, with what to look at. Their names stand in links: keep them.
(() => {

  Playground.CHAPTERS = {
    0: ["One denoiser", "../notebooks/00-one-denoiser.html"],
    1: ["Extra noise", "../notebooks/01-extra-noise.html"],
    2: ["Noisy data", "../notebooks/02-tweedie-consistency.html"],
    3: ["Classifier", "../notebooks/03-noise-classifier.html"],
    4: ["Projection", "../notebooks/04-gradient-estimation.html"],
    5: ["All together", "../notebooks/05-four-noises.html"],
    6: ["Constraint", ""],
  };

  Playground.SCENES = {
    start: {
      chapter: 0, title: "From noise to data",
      text: "Each dot starts as noise. At every step the sampler asks the denoiser which data are behind the dot, and moves the dot some way there.",
      state: {},
    },
    random: {
      chapter: 0, title: "With fresh noise or without",
      text: "Both start from the same noise and ask the same denoiser. DDIM goes smoothly. DDPM adds fresh noise at each step, so its dots zigzag and end elsewhere.",
      state: { b: "ddpm" },
    },
    heun: {
      chapter: 0, title: "Equal cost: DDIM or Heun",
      text: "Heun asks twice at each step, so 10 of its steps cost as much as 19 of DDIM's. See which one ends nearer to the exact flow. Then try 9 steps against 5.",
      state: { data: "moons", steps: 19, b: "heun", bsteps: 10 },
    },
    shrunken: {
      chapter: 1, title: "Told too low a level, and shrunken",
      text: "Left: the exact denoiser. Right: what input perturbation makes of it. It was trained with more noise than it was told, and removes too little. The samples stay too wide.",
      state: { b: "ddim", btold: "shrunken", extra: 0.6 },
    },
    level: {
      chapter: 1, title: "Told too low a level",
      text: "With the clean data as its target, a network trained with extra noise is the exact denoiser of a higher level. It takes the dots for noisier than they are, removes too much, and the samples are too narrow.",
      state: { data: "three", b: "ddim", btold: "level", extra: 1 },
    },
    collapse: {
      chapter: 1, title: "DDPM without its fresh noise",
      text: "Left: DDPM. Right: the same without the fresh noise (noise_scale 0). The dots fall inwards too fast and collapse. More steps do not help.",
      state: { a: "ddpm", steps: 50, b: "ddpm", bsteps: 50, bscale: 0 },
    },
    naive: {
      chapter: 2, title: "Noisy data taken for clean",
      text: "All training data are noisy (grey). Left: a denoiser that takes them for clean makes noisy samples. Right: the exact denoiser of the clean data, which chapter 2 learns from them.",
      state: { data: "three", told: "naive", b: "ddim", noise: 0.4 },
    },
    stop: {
      chapter: 2, title: "Stopped at the noise of the data",
      text: "Left: sampling stops at the level of the data's noise and takes the denoiser's answer there. Those are means of what each sample could be: too narrow, with bridges. Right: all the way down.",
      state: { data: "three", told: "stop", b: "ddim", noise: 0.6 },
    },
    classifier: {
      chapter: 3, title: "Clean or noised?",
      text: "The same denoiser knows how likely a point is to be clean (blue) or to carry added noise (orange). Change the added noise, or move a mode: the map follows.",
      state: { map: "classifier", at: "100", contrast: 0.3, paths: false },
    },
    parallel: {
      chapter: 3, title: "All levels at once: two forms of Picard",
      text: "Picard guesses the whole path of each dot, and corrects all of it in one call, again and again. The plain form sums the steps. The semilinear form solves their linear part exactly. Both end where DDIM does, with fewer calls one after the other.",
      state: { a: "picard", b: "semilinear" },
    },
    offpath: {
      chapter: 3, title: "A denoiser that is wrong off the path",
      text: "This denoiser is right where training goes, and wrong elsewhere (orange). DDIM never leaves the right region and does not notice. A few of Picard's first guesses do. They soon come back, so it needs fewer calls here too.",
      state: { told: "offpath", b: "semilinear", btold: "offpath", map: "wrong" },
    },
    arrows: {
      chapter: 4, title: "Denoising is nearly projection",
      text: "Thin arrows lead to the denoiser's answer, thick ones to the nearest data point. Move the slider: at low noise they agree, at high noise the denoiser answers with the mean of the data.",
      state: { arrows: "both", at: "70", zoom: false, paths: false },
    },
    gamma: {
      chapter: 4, title: "Gradient estimation: extrapolate the direction",
      text: "Left: DDIM with few steps. Right: gradient estimation with gamma = 2, at the same cost. It extrapolates the direction from the last two answers. Compare their errors against the exact flow.",
      state: { steps: 10, b: "ge", bsteps: 10, data: "moons" },
    },
    learned: {
      chapter: 4, title: "Learned for five steps",
      text: "Left: gradient estimation. Right: levels and weights that were learned for these data and this number of steps. There are some for 3, 5, 10 and 20 steps from the level 10. Compare the errors. Your own data get what was learned on the ring.",
      state: { a: "ge", steps: 5, b: "learned", bsteps: 5, data: "moons" },
    },
    together: {
      chapter: 5, title: "Two ideas together",
      text: "Both sides ask the denoiser that input perturbation makes (chapter 1). The right one extrapolates as well (chapter 4). Does one idea repair what the other breaks?",
      state: { steps: 10, told: "shrunken", b: "ge", bsteps: 10, btold: "shrunken", extra: 0.6 },
    },
    constraint: {
      chapter: 6, title: "Samples that must lie on a circle",
      text: "Left: the exact denoiser knows nothing of the dashed circle. Right: after each answer, guidance takes a step towards it. All dots end on the circle, but are they where the data are?",
      state: { data: "three", b: "ddim", btold: "guided", shape: "circle", guide: 1 },
    },
  };
})();
