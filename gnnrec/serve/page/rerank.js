// Another order of the same candidates. Every part is taken in standard deviations over the candidates, so that a weight
// of 1 makes it count as much as the run's own score. With all weights at 0 the order is the run's.

export const NEUTRAL = { content: {}, popularity: 0, diversity: 0 };

function standardized(values) {
  const there = values.filter((value) => value !== null);
  const mean = there.reduce((sum, value) => sum + value, 0) / Math.max(there.length, 1);
  const variance = there.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(there.length, 1);
  const spread = Math.sqrt(variance);
  return values.map((value) => (value === null || spread < 1e-12 ? 0 : (value - mean) / spread));
}

/** Places of the candidates [K], the best first. weights: content by modality, popularity (-1 to 1), diversity (0 to 1). */
export function reorder({ items, alike }, weights) {
  const total = standardized(items.map((item) => item.score));
  const add = (weight, values) => {
    if (weight) standardized(values).forEach((value, place) => (total[place] += weight * value));
  };
  for (const [modality, weight] of Object.entries(weights.content)) {
    add(weight, items.map((item) => item.content[modality] ?? null));
  }
  add(weights.popularity, items.map((item) => Math.log1p(item.interactions)));
  const order = items.map((_, place) => place).sort((a, b) => total[b] - total[a] || a - b);
  return weights.diversity && alike ? diverse(order, total, alike, weights.diversity) : order;
}

/** Maximal marginal relevance (Carbonell & Goldstein 1998): the next is the best that is least like one taken before. */
function diverse(order, total, alike, weight) {
  const low = Math.min(...total);
  const width = Math.max(...total) - low || 1;
  const cosine = (a, b) => alike[Math.max(a, b)][Math.min(a, b)] / 100;
  const left = [...order];
  const nearest = new Map(left.map((place) => [place, 0])); // to what was taken
  const taken = [];
  while (left.length) {
    const worth = (place) => (1 - weight) * ((total[place] - low) / width) - weight * nearest.get(place);
    let best = 0;
    for (let i = 1; i < left.length; i++) if (worth(left[i]) > worth(left[best])) best = i;
    const [chosen] = left.splice(best, 1);
    taken.push(chosen);
    for (const place of left) {
      nearest.set(place, Math.max(taken.length === 1 ? -1 : nearest.get(place), cosine(place, chosen)));
    }
  }
  return taken;
}
