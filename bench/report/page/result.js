/* ---- a result as the page uses it ---- */

/* The cells of the timeline. The last one is cut off by the end of the run: a rate is over the time that it
   really lasted, and a rest shorter than half an interval goes to the cell before it. */
function cellsOf(r, names) {
  const t = obj(r.timeline), step = num(t.interval_s) > 0 ? t.interval_s : 0.1;
  const n = largest(names.map(name => arr(t[name]).length));
  const rest = n ? amount(r.seconds) - (n - 1) * step : 0;
  const last = rest > 0 && rest < step ? rest : step, joined = n > 1 && last < step / 2;
  const cells = [];
  for (let i = 0; i < n; i++) {
    if (joined && i === n - 1) {
      cells[i - 1].t1 += last;
    } else {
      cells.push({t0: i * step, t1: i * step + (i === n - 1 ? last : step), max: 0});
    }
    const c = cells[cells.length - 1];
    for (const name of names) c[name] = (c[name] || 0) + amount(arr(t[name])[i]);
    c.max = Math.max(c.max, amount(arr(t.max_us)[i]));
  }
  return cells;
}

function histogramOf(r) {
  const pairs = arr(r.histogram).filter(p => num(arr(p)[0]) !== null && amount(p[1]) > 0);
  const total = sum(pairs.map(p => p[1]));
  let passed = 0;
  return {total, steps: pairs.map(([us, n]) => ({us, share: (passed += n) / total, left: total - passed}))};
}

const byName = new Intl.Collator('en', {numeric: true}).compare;

function backendsOf(r, cells) {
  const found = new Map();
  const entry = name => found.get(name) || found.set(name, {name, answers: null, counts: cells.map(() => 0)}).get(name);
  for (const b of arr(r.backends).map(obj)) entry(word(b.name)).answers = amount(b.answers);
  for (const [name, counts] of Object.entries(obj(obj(r.timeline).backends)))
    arr(counts).slice(0, cells.length + 1).forEach((n, i) => {
      if (cells.length) entry(name).counts[Math.min(i, cells.length - 1)] += amount(n);
    });
  const list = [...found.values()].sort((a, b) => byName(a.name, b.name));
  const named = sum(list.map(b => b.answers === null ? b.answers = sum(b.counts) : b.answers));
  list.forEach((b, i) => {
    b.share = named + amount(r.unnamed) ? b.answers / (named + amount(r.unnamed)) : 0;
    b.color = `var(--b${i % 8})`;
    b.alpha = [1, 0.72, 0.5, 0.86, 0.6][Math.floor(i / 8) % 5];
  });
  return list;
}

function read(r, index) {
  r = obj(r);
  const options = obj(r.options), bulk = r.kind === 'tcp' && options.mode === 'bulk';
  const m = {r, options, bulk, index, http: r.kind !== 'tcp', letter: 'ABCDEFGH'[index % 8],
    color: `var(--r${index % 8})`, dash: ['', '7 4', '2 3', '10 3 2 3', '5 2', '12 5', '1 4', '8 2 2 2'][index % 8]};
  m.cells = cellsOf(r, bulk ? ['bytes_in', 'bytes_out'] : ['answered', 'failed', 'refused', 'moves']);
  m.end = Math.max(amount(r.seconds), m.cells.length ? m.cells[m.cells.length - 1].t1 : 0) || 1;
  m.step = num(obj(r.timeline).interval_s) || m.end;
  m.histogram = histogramOf(r);
  m.backends = backendsOf(r, m.cells);
  m.latency = r.latency_us && typeof r.latency_us === 'object' ? r.latency_us : null;
  m.refused = sum(Object.entries(obj(r.statuses)).map(([s, n]) => Number(s) >= 400 ? amount(n) : 0));
  m.moves = arr(r.moves).map(obj).filter(row => num(row.at_s) !== null);
  m.keys = obj(r.keys);
  return m;
}

const indexAt = (cells, t) => {
  let low = 0, high = cells.length - 1;
  while (low < high) {
    const mid = (low + high + 1) >> 1;
    if (cells[mid].t0 <= t) low = mid; else high = mid - 1;
  }
  return low;
};
const perSecond = (c, name) => c.t1 > c.t0 ? c[name] / (c.t1 - c.t0) : 0;
