// Distances between clouds of points, all of the same number.
(() => {

  // Root mean square distance of paired points.
  const apart = (a, b) => {
    let sum = 0;
    for (let i = 0; i < a.length; i++) sum += (a[i] - b[i]) ** 2;
    return Math.sqrt(sum / (a.length / 2));
  };

  // Directions of the sliced Wasserstein distance, at equal angles.
  const DIRECTIONS = Array.from({ length: 32 }, (_, i) => [Math.cos((Math.PI * i) / 32), Math.sin((Math.PI * i) / 32)]);

  const shadows = (x) =>
    DIRECTIONS.map(([c, s]) => Float64Array.from({ length: x.length / 2 }, (_, i) => c * x[2 * i] + s * x[2 * i + 1]).sort());

  // Sliced Wasserstein distance of order 2: sort along each direction, compare. Takes `shadows` of both.
  const sliced = (first, second) => {
    let sum = 0;
    first.forEach((shadow, k) => {
      for (let i = 0; i < shadow.length; i++) sum += (shadow[i] - second[k][i]) ** 2;
    });
    return Math.sqrt(sum / first.length / first[0].length);
  };

  // Position in `data` of the point nearest to (x, y).
  const nearest = (data, x, y) => {
    let best = 0, least = Infinity;
    for (let i = 0; i < data.length; i += 2) {
      const square = (data[i] - x) ** 2 + (data[i + 1] - y) ** 2;
      if (square < least) [least, best] = [square, i];
    }
    return best;
  };

  // Mean distance of points to their nearest data point.
  const toData = (x, data) => {
    let sum = 0;
    for (let i = 0; i < x.length; i += 2) {
      const k = nearest(data, x[i], x[i + 1]);
      sum += Math.hypot(data[k] - x[i], data[k + 1] - x[i + 1]);
    }
    return sum / (x.length / 2);
  };

  Playground.measures = { apart, shadows, sliced, nearest, toData };
})();
