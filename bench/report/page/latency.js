/* ---- the latency distribution ---- */

const toX = share => share >= 1 ? Infinity : -Math.log10(1 - share);
const NINES = [['p50', 0.5], ['p90', 0.9], ['p99', 0.99], ['p99.9', 0.999], ['p99.99', 0.9999]];

function percentileLabel(x) {
  const digits = Math.min(8, Math.max(1, Math.ceil(x)));
  return Number(((1 - 10 ** -x) * 100).toFixed(digits)) + '%';
}

/* The first step at or behind a share, that is the latency which this share of the answers did not exceed. */
function stepAt(h, share) {
  let low = 0, high = h.steps.length - 1;
  while (low < high) {
    const mid = (low + high) >> 1;
    if (h.steps[mid].share >= share - 1e-12) high = mid; else low = mid + 1;
  }
  return h.steps[low];
}

function distributionTicks(end, width) {
  const decade = width / end, ticks = [{v: 0, label: '0%'}];
  if (decade > 110) ticks.push({v: toX(0.5), label: '50%'});
  for (let d = 1; d <= end + 1e-9; d++)
    ticks.push({v: d, label: decade > 60 || d % 2 === 1 ? percentileLabel(d) : ''});
  return ticks;
}

function paintDistribution(f, m, end, labels) {
  const h = m.histogram, stop = Math.min(end, Math.log10(h.total) + 0.3);
  let d = `M${px(f.X(0))} ${px(f.Y(h.steps[0].us))}`;
  for (const s of h.steps) d += `V${px(f.Y(s.us))}H${px(f.X(s.left ? Math.log10(h.total / s.left) : stop))}`;
  f.svg.append(sv('path', {d, fill: 'none', style: `stroke:${m.color}`, 'stroke-width': 2,
    'stroke-dasharray': m.dash || null, 'stroke-linejoin': 'round'}));
  let free = -Infinity;
  for (const [name, share] of NINES) {
    const us = num(obj(m.latency)[name]);
    if (us === null || h.total * (1 - share) < 1 - 1e-9) continue;
    const x = f.X(toX(share)), y = f.Y(us);
    f.svg.append(sv('circle', {cx: px(x), cy: px(y), r: 3.6, style: `fill:${m.color};stroke:var(--card)`,
      'stroke-width': 1.5}));
    if (!labels || x - free < 66) continue;
    const inside = x - f.left > 52; /* else it would lie on the axis */
    f.svg.append(sv('text', {x: px(inside ? x - 2 : x + 7), y: px(inside ? y - 10 : y + 15),
      'text-anchor': inside ? 'end' : 'start', class: 'strong'}, duration(us)));
    free = x;
  }
}

function distributionPlot(models) {
  const drawn = models.filter(m => m.histogram.total);
  const all = drawn.map(m => m.histogram.steps);
  const low = Math.min(...all.map(s => s[0].us)), high = largest(all.map(s => s[s.length - 1].us));
  const end = Math.max(1, largest(drawn.map(m => Math.log10(m.histogram.total))) + 0.3);
  const told = m => !m.latency ? '' : `; ${models.length > 1 ? m.letter + ': ' : ''}half took at most ` +
    `${duration(amount(m.latency.p50))}, 99% at most ${duration(amount(m.latency.p99))}`;
  const label = 'Latency by percentile' + drawn.map(told).join('');
  return plot(330, (width, height) => {
    const w = width - SIDE - RIGHT;
    const y = view.log ? logarithmic(low, high, axisUs) : linear(high, 6, axisUs);
    const f = frame(width, height, label, distributionTicks(end, w), x => x / end, y, 24);
    for (const m of drawn) paintDistribution(f, m, end, drawn.length === 1 && w > 420);
    const cross = sv('line', {class: 'cross', x1: 0, x2: 0, y1: f.top, y2: f.bottom});
    f.svg.append(cross, sv('rect', {x: 0, y: 0, width, height, fill: 'transparent'}));
    let at = 0;
    watch(f.svg, (x, _, cx, cy) => {
      at = Math.min(end, Math.max(0, (x - f.left) / f.w * end));
      hideMarks = () => { cross.style.visibility = 'hidden'; };
      cross.style.visibility = 'visible';
      for (const k of ['x1', 'x2']) cross.setAttribute(k, px(f.X(at)));
      showTip([el('b', {}, percentileLabel(at) + ' of the answers'), drawn.map(m =>
        tipRow(models.length > 1 ? m.letter : 'took at most', duration(stepAt(m.histogram, 1 - 10 ** -at).us),
          swatch(m.color)))].flat(), cx, cy);
    }, by => [f.X(Math.min(end, Math.max(0, at + by * end / 60))), f.top + 10]);
    return f.svg;
  });
}

function scaleSwitch() {
  const make = (name, log) => {
    const b = el('button', {type: 'button', 'data-log': String(log)}, name);
    b.addEventListener('click', () => { view.log = log; showScale(); redraw(); });
    return b;
  };
  return el('div', {class: 'switch', role: 'group', 'aria-label': 'Scale of the latency axes'}, make('log', true),
    make('linear', false));
}
function showScale() {
  for (const b of document.querySelectorAll('.switch button[data-log]'))
    b.setAttribute('aria-pressed', String((b.dataset.log === 'true') === view.log));
}

/* Of so many answers one is slower: with fewer answers the quantile is just the slowest of them. */
const ONE_IN = {p90: 10, p99: 100, 'p99.9': 1000, 'p99.99': 10000};
const LATENCIES = [['min', 'the quickest'], ['mean', ''], ['p50', 'half took longer'], ['p90', '1 in 10 longer'],
  ['p99', '1 in 100'], ['p99.9', '1 in 1,000'], ['p99.99', '1 in 10,000'], ['max', 'the slowest']];

function latencyTable(m) {
  const rows = LATENCIES.map(([name, what]) => {
    const few = m.histogram.total < (ONE_IN[name] || 0);
    return el('tr', {class: few ? 'zero' : null}, el('th', {scope: 'row'}, name),
      cell(maybe(m.latency[name], duration)), cell(few ? 'too few answers' : what, 'left faint'));
  });
  return table([['', 'left'], ['latency'], ['', 'left']], rows);
}

const loopText = m => amount(m.options.rate) ?
  'Counted from the moment a request was due, so a stall shows in each request that had to wait for it.' :
  'Closed loop: a connection asks again when it has its answer, so a server that stalls is asked less meanwhile. ' +
  'A fixed rate (--rate) shows what users would have waited.';
const STEP_TEXT = 'each step to the right: ten times fewer answers are slower';

function latencyCard(m) {
  if (!m.latency || !m.histogram.total)
    return emptyCard('Latency', 'Nothing was answered in this run, so there is no latency.');
  const figure = el('figure', {},
    el('figcaption', {}, 'Latency by percentile', el('span', {class: 'aside'}, STEP_TEXT)),
    distributionPlot([{...m, color: 'var(--answered)', dash: ''}]));
  return card('Latency', {note: loopText(m), control: scaleSwitch()},
    el('div', {class: 'latency'}, latencyTable(m), figure));
}
