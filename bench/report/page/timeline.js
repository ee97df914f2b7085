/* ---- one run over time ---- */

/* Cells in which keys moved, joined where they are less than 6 pixels apart. */
function moveGroups(m, f) {
  const groups = [];
  m.cells.forEach((c, i) => {
    const rows = m.rowsOf[i], n = Math.max(c.moves || 0, rows.length);
    if (!n) return;
    const last = groups[groups.length - 1], t = rows.length ? rows[0].at_s : (c.t0 + c.t1) / 2;
    const x = f.X(Math.min(t, m.end));
    if (last && x - last.x < 6) {
      last.n += n;
      last.rows.push(...rows);
    } else {
      groups.push({x, t: Math.min(t, m.end), n, rows: [...rows]});
    }
  });
  return groups;
}

function describeMoves(g) {
  const shown = g.rows.slice(0, 6).map(row => el('div', {},
    el('span', {}, row.at_s.toFixed(3) + '\u00a0s ', word(row.key)),
    el('span', {}, word(row.from) + ' → ' + word(row.to))));
  const rest = shown.length ? g.n - shown.length : 0;
  return el('div', {class: 'moves'}, g.n === 1 ? '1 key move' : whole(g.n) + ' key moves', shown,
    rest > 0 ? '… and ' + whole(rest) + ' more' : '');
}

function describeCell(m, c, i) {
  const rows = [el('b', {}, seconds(c.t0) + ' to ' + seconds(c.t1))];
  if (m.bulk) {
    rows.push(tipRow('received', bytes(perSecond(c, 'bytes_in')) + '/s', swatch('var(--answered)')),
      tipRow('sent', bytes(perSecond(c, 'bytes_out')) + '/s', swatch('var(--refused)')));
    return rows;
  }
  rows.push(tipRow('answered', rate(perSecond(c, 'answered')) + '/s', swatch('var(--answered)')));
  if (c.failed) rows.push(tipRow('failed', whole(c.failed), swatch('var(--failed)')));
  if (c.refused) rows.push(tipRow('refused', whole(c.refused), swatch('var(--refused)')));
  rows.push(tipRow('slowest answer', c.max ? duration(c.max) : '–', swatch('var(--slow)')));
  return rows;
}

function describeBackends(m, i, f, y) {
  const total = stackTotal(m, i), share = 1 - (y - f.top) / f.h;
  let passed = 0, hit = null;
  const all = m.layers.map(b => {
    const one = {b, n: b.counts[i]};
    passed += one.n / (total || 1);
    if (!hit && one.n && share <= passed) hit = one;
    return one;
  }).filter(one => one.n);
  const rest = all.filter(one => one !== hit).sort((a, b) => b.n - a.n).slice(0, 7);
  return [hit, ...rest].filter(Boolean).map(one => tipRow(one.b.name, `${whole(one.n)} · ${percent(one.n / total)}`,
    swatch(one.b.color, one.b.alpha), one === hit ? 'first' : null));
}

function runAxis(m) {
  m.rowsOf = m.cells.map(() => []);
  for (const row of m.moves) if (m.cells.length) m.rowsOf[indexAt(m.cells, row.at_s)].push(row);
  const axis = timeAxis(m.end, (t, f, x, y) => {
    const near = m.bulk ? null : moveGroups(m, f).filter(g => Math.abs(g.x - x) < 7)
      .sort((a, b) => Math.abs(a.x - x) - Math.abs(b.x - x))[0];
    const i = indexAt(m.cells, near ? near.t : t), c = m.cells[i];
    const content = describeCell(m, c, i);
    if (y !== null) content.push(...describeBackends(m, i, f, y));
    if (near) content.push(describeMoves(near));
    return {t: near ? near.t : (c.t0 + c.t1) / 2, content};
  });
  axis.step = (at, by) => {
    const c = m.cells[Math.max(0, Math.min(m.cells.length - 1, at === null ? 0 : indexAt(m.cells, at) + by))];
    return (c.t0 + c.t1) / 2;
  };
  return axis;
}

const marksOf = m => f => moveGroups(m, f);

/* What is rare: a bar for each interval that has any, never too low to be seen. */
function countPanel(m, axis, name, title, color, aside) {
  const most = largest(m.cells.map(c => perSecond(c, name)));
  return timePanel(axis, {title, aside, label: title + ' over time', height: 92, y: () => linear(most, 2, axisSi),
    marks: marksOf(m), paint: f => paintBars(f, m.cells, c => perSecond(c, name), color)});
}

function slowPanel(m, axis) {
  const slow = m.cells.map(c => c.max).filter(v => v > 0);
  return timePanel(axis, {title: 'Slowest answer of each interval', label: 'Slowest answer over time', height: 150,
    control: scaleSwitch(),
    y: () => view.log ? logarithmic(Math.min(...slow), largest(slow), axisUs) : linear(largest(slow), 4, axisUs),
    marks: marksOf(m), paint: f => paintLine(f, m.cells, c => c.max > 0 ? c.max : null, 'var(--slow)')});
}

/* ---- answers by backend, stacked ---- */

const stackTotal = (m, i) => Math.max(m.cells[i].answered, sum(m.backends.map(b => b.counts[i])));

/* All backends, and what no backend's name was found in, if there is such. */
function layersOf(m) {
  const rest = m.cells.map((c, i) => stackTotal(m, i) - sum(m.backends.map(b => b.counts[i])));
  const layers = [...m.backends];
  if (sum(rest)) layers.push({name: 'no name', color: 'var(--none)', alpha: 1, counts: rest, answers: sum(rest),
    share: sum(rest) / amount(m.r.answered)});
  return layers;
}

/* Cells put together until each is 3 pixels wide: narrower ones only flicker. */
function binned(m, f) {
  const bins = [];
  m.cells.forEach((c, i) => {
    const last = bins[bins.length - 1];
    if (last && f.X(last.t1) - f.X(last.t0) < 3) {
      last.t1 = c.t1;
      last.to = i;
    } else {
      bins.push({t0: c.t0, t1: c.t1, from: i, to: i});
    }
  });
  const total = (counts, b) => { let n = 0; for (let i = b.from; i <= b.to; i++) n += counts[i]; return n; };
  for (const b of bins) {
    const counts = m.layers.map(l => total(l.counts, b)), all = sum(counts);
    let passed = 0;
    b.edges = all ? [0, ...counts.map(n => (passed += n) / all)] : null;
  }
  return bins;
}

/* Where a name fits into its layer: not at the brink, and as near to the middle of its longest stretch as that
   allows. [x, y] or null. */
function labelPlace(f, bins, k, width) {
  const thick = b => b.edges && b.edges[k + 1] > b.edges[k], length = run => run[run.length - 1].t1 - run[0].t0;
  const run = runsOf(bins, thick).sort((a, b) => length(b) - length(a))[0];
  if (!run) return null;
  const from = f.X(run[0].t0), to = f.X(run[run.length - 1].t1);
  let best = null, first = 0;
  for (let x = from + width / 2; x <= to - width / 2; x += 5) {
    while (f.X(run[first].t1) <= x - width / 2) first++;
    let low = 0, high = 1;
    for (let i = first; i < run.length && f.X(run[i].t0) < x + width / 2; i++) {
      low = Math.max(low, run[i].edges[k]);
      high = Math.min(high, run[i].edges[k + 1]);
    }
    const room = (high - low) * f.h, worth = Math.min(room, 20) - Math.abs(x - (from + to) / 2) / f.w * 40;
    if (room >= 13 && (!best || worth > best.worth)) best = {worth, x, y: f.Y((low + high) / 2)};
  }
  return best;
}

function paintStack(m, f) {
  const bins = binned(m, f), labels = [];
  m.layers.forEach((layer, k) => {
    let d = '';
    for (const run of runsOf(bins, b => b.edges && b.edges[k + 1] > b.edges[k])) {
      d += `M${px(f.X(run[0].t0))} ${px(f.Y(run[0].edges[k]))}`;
      d += run.map(b => `V${px(f.Y(b.edges[k + 1]))}H${px(f.X(b.t1))}`).join('');
      d += run.reverse().map(b => `V${px(f.Y(b.edges[k]))}H${px(f.X(b.t0))}`).join('') + 'Z';
    }
    f.svg.append(sv('path', {d, class: 'layer', 'data-layer': k, style: `fill:${layer.color}`,
      'fill-opacity': layer.alpha}));
    const place = labelPlace(f, bins, k, layer.name.length * 7 + 10);
    if (place)
      labels.push(sv('text', {x: px(place.x), y: px(place.y + 4), 'text-anchor': 'middle', class: 'inside'},
        layer.name));
  });
  f.svg.append(...labels);
}

function backendsCard(m, axis) {
  if (!m.backends.length)
    return emptyCard('Backends', 'No backends in this run: no answer said which one it came from (--backend-from).');
  m.layers = layersOf(m);
  const figure = m.cells.length ? timePanel(axis, {
    title: 'Share of the answers', label: 'Share of the answers of each backend over time',
    aside: m.layers.length > 8 ? 'point at a name below to see it alone' : '',
    height: Math.min(460, 240 + 4 * m.layers.length), under: true,
    y: () => linear(1, 4, v => Math.round(v * 100) + '%', [0.25, 0.5]),
    marks: marksOf(m), paint: f => paintStack(m, f),
  }) : '';
  return card('Backends', {note: balanceText(m)}, figure, backendLegend(m), backendTable(m));
}

function balanceText(m) {
  const n = m.backends.length, who = n === 1 ? 'One backend' : whole(n) + ' backends';
  const balance = num(m.r.balance) === null || n === 1 ? '' :
    `; the busiest of them ${three(m.r.balance)} times the mean`;
  return `${who} answered${balance}.` + (amount(m.r.unnamed) ? ` ${whole(m.r.unnamed)} answers named none.` : '');
}

/* Pointing at a name lights its layer up, a click keeps it lit. */
function backendLegend(m) {
  let pinned = null;
  const items = m.layers.map(b => el('li', {class: 'pick', tabindex: 0}, swatch(b.color, b.alpha), b.name,
    el('span', {class: 'total'}, whole(b.answers))));
  const light = k => {
    items.forEach((item, i) => item.classList.toggle('on', i === k));
    for (const path of document.querySelectorAll('.layer')) {
      path.classList.toggle('dim', k !== null && Number(path.dataset.layer) !== k);
      path.classList.toggle('lit', Number(path.dataset.layer) === k);
    }
  };
  items.forEach((item, k) => {
    const pin = () => light(pinned = pinned === k ? null : k);
    item.addEventListener('pointerenter', () => light(k));
    item.addEventListener('pointerleave', () => light(pinned));
    item.addEventListener('click', pin);
    item.addEventListener('keydown', e => {
      if (e.key !== 'Enter' && e.key !== ' ') return;
      e.preventDefault();
      pin();
    });
  });
  return el('ul', {class: 'legend low', 'aria-label': 'Backends and how many answers they gave'}, items);
}

function backendTable(m) {
  const most = largest(m.layers.map(b => b.share)) || 1;
  const mean = sum(m.backends.map(b => b.answers)) / m.backends.length;
  const beside = b => {
    if (!m.backends.includes(b) || !mean) return '–';
    return (b.answers < mean ? '−' : '+') + Math.abs((b.answers / mean - 1) * 100).toFixed(1) + '%';
  };
  const bar = b => `width:${px(b.share / most * 100)}%;background:${b.color};opacity:${b.alpha}`;
  const rows = m.layers.map(b => el('tr', {},
    el('th', {scope: 'row', class: 'wrap'}, swatch(b.color, b.alpha), b.name), cell(whole(b.answers)),
    cell(percent(b.share)), el('td', {class: 'bar narrow-off'}, el('i', {style: bar(b)})), cell(beside(b), 'faint')));
  const heads = [['backend', 'left'], ['answers'], ['share'], ['', 'narrow-off'], ['vs mean']];
  return table(heads, rows, rows.length > 14);
}
