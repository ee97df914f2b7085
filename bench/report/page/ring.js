/* ---- results of `ringbench ring`: four charts over the number of backends ---- */

const MARKERS = ['M-5.5 0a5.5 5.5 0 1 0 11 0a5.5 5.5 0 1 0 -11 0z', 'M-4 -4h8v8h-8z', 'M0 -5l4.5 8h-9z',
  'M0 -4.5l4 4.5l-4 4.5l-4 -4.5z', 'M-3.5 -3.5l7 7M-3.5 3.5l7 -7', 'M0 -4v8M-4 0h8'];
const DASHES = ['', '7 4', '2 3', '9 3 2 3'];

const against = (moved, least) => num(moved) !== null && amount(least) > 0 ? moved / least : null;

/* Of sampled shares the largest says how few the keys were, not how even the layout is: it is not drawn. */
const RING_CHARTS = [
  {title: 'ns a lookup', log: true, base: null, value: r => amount(r.find_ns) || null},
  {title: 'Largest share of a backend / mean, where it is exact', log: false, base: 1,
    value: r => r.shares === 'exact' ? num(r.share_max) : null},
  {title: 'The busiest fails: keys moved / least possible', log: true, base: 1,
    value: r => against(r.moved, r.least)},
  {title: 'One is added: keys moved / least possible', log: true, base: 1,
    value: r => against(r.added_moved, r.added_least)},
];

/* A colour and a marker for each layout; of one layout with several numbers of points the dashes differ. */
function ringSeries(rings) {
  const found = new Map(), layouts = [];
  for (const r of rings) {
    const layout = word(r.layout), points = num(r.vnodes), label = layout + (points ? `, ${points} vnodes` : '');
    if (!layouts.includes(layout)) layouts.push(layout);
    const k = layouts.indexOf(layout);
    if (!found.has(label)) {
      const dash = DASHES[[...found.values()].filter(s => s.layout === layout).length % DASHES.length];
      found.set(label, {label, layout, dash, rings: [], color: `var(--r${k % 8})`,
        marker: MARKERS[k % MARKERS.length]});
    }
    found.get(label).rings.push(r);
  }
  return [...found.values()];
}

function readRing(r, index) {
  const rings = arr(r.rings).map(obj).filter(one => num(one.backends) > 0);
  return {r, index, ring: true, letter: 'ABCDEFGH'[index % 8], rings, series: ringSeries(rings),
    options: {keys: r.keys, rounds: r.rounds}};
}

/* Points of a series in a chart, [backends, value], from few backends to many; null: there is no value. */
const pointsOf = (series, chart) => series.rings.map(r => [r.backends, chart.value(r)]).sort((a, b) => a[0] - b[0]);

/* Whether two lines would lie within a pixel of each other, so that the later one would hide the earlier one. */
function hides(f, a, b) {
  const same = ([x, v], i) => b[i] && b[i][0] === x && (v === null) === (b[i][1] === null) &&
    (v === null || Math.abs(f.Y(v) - f.Y(b[i][1])) <= 1);
  return a.length === b.length && a.some(p => p[1] !== null) && a.every(same);
}

const LANE = 2.5; // pixels between lines that would hide each other
const INSET = 0.03; // the part at each side of a chart that stays free for the markers

function paintRings(f, m, chart) {
  const all = m.series.map(s => pointsOf(s, chart));
  m.series.forEach((s, k) => {
    const up = all.slice(0, k).filter(earlier => hides(f, earlier, all[k])).length * LANE;
    const place = ([x, v]) => [px(f.X(x)), px(f.Y(v) - up)];
    let d = '', open = false;
    for (const point of all[k]) {
      if (point[1] !== null) d += (open ? 'L' : 'M') + place(point).join(' ');
      open = point[1] !== null;
    }
    if (!d) return;
    f.svg.append(sv('path', {class: 'ring line', d, fill: 'none', style: `stroke:${s.color}`, 'stroke-width': 1.8,
      'stroke-linejoin': 'round', 'stroke-dasharray': s.dash || null}));
    for (const point of all[k].filter(p => p[1] !== null))
      f.svg.append(sv('path', {class: 'ring marker', d: s.marker, style: `stroke:${s.color};fill:var(--card)`,
        'stroke-width': 1.6, transform: `translate(${place(point).join(' ')})`},
      sv('title', {}, `${s.label}, ${point[0]}: ${Number(point[1].toPrecision(4))}`)));
  });
}

function ringPlot(m, chart) {
  const sizes = m.rings.map(r => r.backends);
  const values = m.rings.map(chart.value).filter(v => v !== null).concat(chart.base === null ? [] : chart.base);
  const low = values.length ? Math.min(...values) : 1, high = values.length ? largest(values) : 1;
  const box = plot(300, (width, height) => {
    const xs = logarithmic(Math.min(...sizes), largest(sizes), plain);
    const y = chart.log ? logarithmic(low, high, plain) : linear(high, 6, plain, null, low);
    const f = frame(width, height, chart.title, xs.ticks, v => INSET + xs.part(v) * (1 - 2 * INSET),
      {...y, part: v => INSET + y.part(v) * (1 - 2 * INSET)});
    paintRings(f, m, chart);
    return f.svg;
  });
  return el('figure', {}, el('figcaption', {}, el('span', {}, chart.title)), box);
}

const ringMark = s => sv('svg', {class: 'dash', viewBox: '-13 -6 26 12', 'aria-hidden': 'true'},
  sv('line', {x1: -13, x2: 13, y1: 0, y2: 0, style: `stroke:${s.color}`, 'stroke-width': 2,
    'stroke-dasharray': s.dash || null}),
  sv('path', {d: s.marker, style: `stroke:${s.color};fill:var(--card)`, 'stroke-width': 1.6}));

function ringSection(m, title) {
  if (!m.rings.length) return emptyCard(title, 'Nothing was measured in this run.');
  const note = 'Over the number of backends. Lookups without the hash, independent of each other; lines in one place ' +
    'are drawn side by side.';
  return card(title, {note}, el('ul', {class: 'legend low'}, m.series.map(s => el('li', {}, ringMark(s), s.label))),
    el('div', {class: 'pair'}, RING_CHARTS.map(chart => ringPlot(m, chart))));
}

const RING_TITLE = 'Where keys go, and what it costs';
const ringSections = models => models.map(m => ringSection(m, models.length > 1 ? 'Run ' + m.letter : 'Figures'));
const ringLead = m => `ring · ${whole(amount(m.r.keys))} keys · medians of ${whole(amount(m.r.rounds))} passes`;
