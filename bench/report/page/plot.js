/* ---- scales ---- */

function niceStep(span, most, steps) {
  const rough = span / Math.max(1, most);
  if (steps) return steps.find(s => s >= rough * 0.999) || steps[steps.length - 1];
  const ten = 10 ** Math.floor(Math.log10(rough));
  return ten * [1, 2, 5, 10].find(f => f * ten >= rough * 0.999);
}
const TIME_STEPS = [1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900,
  1800, 3600, 7200, 14400, 21600, 43200, 86400];

/* From 0, or from a round number at or below `min`, to one at or above `max`. */
function linear(max, most, format, steps, min = 0) {
  if (max <= min) max = min + 1;
  const step = niceStep(max - min, most, steps), ticks = [];
  const first = Math.floor(min / step + 1e-9), last = Math.ceil(max / step - 1e-9);
  for (let i = first; i <= last; i++)
    ticks.push({v: i * step, label: format(Number((i * step).toPrecision(12)))});
  const bottom = first * step, top = last * step;
  return {ticks, top, part: v => (v - bottom) / (top - bottom)};
}

/* From a round number below to one above: 1, 2 or 5 times a power of ten; nine decades at most. */
function logarithmic(least, most, format) {
  const high = most > 0 ? most : 1, low = Math.max(least, high / 1e9);
  const round = (v, up) => {
    const ten = 10 ** Math.floor(Math.log10(v) + 1e-9), all = [1, 2, 5, 10].map(f => f * ten);
    return up ? all.find(x => x >= v * (1 - 1e-9)) : all.filter(x => x <= v * (1 + 1e-9)).pop();
  };
  const from = round(low, false);
  let to = round(high, true);
  if (to <= from) to = from * 10;
  const decades = Math.log10(to / from), ticks = [];
  for (let d = Math.floor(Math.log10(from) + 1e-9); d <= Math.log10(to) + 1e-9; d++)
    for (const f of [1, 2, 5]) {
      const v = Number((f * 10 ** d).toPrecision(3));
      if (v >= from * 0.999 && v <= to * 1.001)
        ticks.push({v, label: f === 1 || decades <= 2.5 || v === from ? format(v) : ''});
    }
  return {ticks, top: to, part: v => Math.log10(Math.max(v, from) / from) / decades};
}

/* ---- plots: drawn anew when their width changes ---- */

const plots = [];
function plot(height, draw) {
  const box = el('div', {class: 'plot', style: `height:${height}px`});
  plots.push(() => { if (box.clientWidth > 40) box.replaceChildren(draw(box.clientWidth, height)); });
  return box;
}
const redraw = () => plots.forEach(p => p());

const SIDE = 58, RIGHT = 14, TOP = 10, BOTTOM = 24;
const px = v => v.toFixed(1);

/* Grid, ticks and labels; X and Y take values to pixels. */
function frame(width, height, label, xTicks, xPart, y, top) {
  const head = top || TOP, w = width - SIDE - RIGHT, h = height - head - BOTTOM;
  const X = v => SIDE + xPart(v) * w, Y = v => head + (1 - y.part(v)) * h;
  const svg = sv('svg', {width, height, viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': label,
    tabindex: 0});
  for (const t of y.ticks)
    svg.append(sv('line', {class: 'grid', x1: SIDE, x2: width - RIGHT, y1: px(Y(t.v)), y2: px(Y(t.v))}),
      t.label ? sv('text', {x: SIDE - 8, y: px(Y(t.v) + 4), 'text-anchor': 'end'}, t.label) : '');
  for (const t of xTicks) {
    svg.append(sv('line', {class: 'grid', x1: px(X(t.v)), x2: px(X(t.v)), y1: head, y2: head + h}));
    const near = X(t.v) > width - RIGHT - 22;
    if (t.label) svg.append(sv('text', {x: px(near ? width - RIGHT + 10 : X(t.v)), y: height - 6,
      'text-anchor': near ? 'end' : 'middle'}, t.label));
  }
  svg.append(sv('line', {class: 'axis', x1: SIDE, x2: width - RIGHT, y1: head + h, y2: head + h}));
  return {svg, X, Y, left: SIDE, right: width - RIGHT, top: head, bottom: head + h, w, h};
}

const tip = document.getElementById('tip');
const tipRow = (label, value, mark, name) =>
  el('div', {class: name}, el('span', {}, mark || '', label), el('span', {}, value));
function showTip(content, x, y) {
  tip.replaceChildren(...content);
  tip.hidden = false;
  const b = tip.getBoundingClientRect();
  tip.style.left = Math.max(4, x + 16 + b.width > innerWidth ? x - b.width - 14 : x + 16) + 'px';
  tip.style.top = Math.max(4, Math.min(y + 14, innerHeight - b.height - 4)) + 'px';
}
let hideMarks = () => {};
function hideTip() {
  tip.hidden = true;
  hideMarks();
}
addEventListener('scroll', hideTip, {passive: true});
addEventListener('keydown', e => { if (e.key === 'Escape') hideTip(); });
document.addEventListener('pointerdown', e => { if (!e.target.closest('.plot svg')) hideTip(); });

/* Calls back with the place under the pointer, a finger, or the arrow keys. */
function watch(svg, at, keys) {
  const point = e => {
    const b = svg.getBoundingClientRect();
    at(e.clientX - b.left, e.clientY - b.top, e.clientX, e.clientY);
  };
  svg.addEventListener('pointermove', point);
  svg.addEventListener('pointerdown', point);
  svg.addEventListener('pointerleave', e => { if (e.pointerType === 'mouse') hideTip(); });
  svg.addEventListener('blur', hideTip);
  svg.addEventListener('keydown', e => {
    const by = {ArrowLeft: -1, ArrowRight: 1}[e.key];
    if (!by) return;
    e.preventDefault();
    const b = svg.getBoundingClientRect(), [x, y] = keys(by);
    at(x, y, b.left + x, b.top + y);
  });
}

/* ---- plots over time: one cross through all of them ---- */

/* describe(t, frame, x, y) gives the time that the cross goes to, and what the tip says. */
function timeAxis(end, describe) {
  const axis = {end, describe, panels: [], at: null};
  axis.mark = t => {
    axis.at = t;
    hideMarks = () => axis.mark(null);
    for (const p of axis.panels) {
      if (!p.cross) continue;
      p.cross.style.visibility = t === null ? 'hidden' : 'visible';
      if (t !== null) for (const k of ['x1', 'x2']) p.cross.setAttribute(k, px(p.X(t)));
    }
  };
  return axis;
}

/* spec: title, aside and control beside it; label for those who don't see; height; y() gives the scale, paint(frame)
   draws, marks(frame) gives groups; under: what lies under the pointer is told too. */
function timePanel(axis, spec) {
  const panel = {cross: null, X: null};
  axis.panels.push(panel);
  const box = plot(spec.height, (width, height) => {
    const xs = linear(axis.end, Math.max(2, (width - SIDE) / 84), t => clock(t, axis.end), TIME_STEPS);
    const ticks = xs.ticks.filter(t => t.v <= axis.end * 1.0001);
    const f = frame(width, height, spec.label, ticks, t => t / axis.end, spec.y());
    spec.paint(f);
    paintMarks(f, spec.marks ? spec.marks(f) : []);
    panel.X = f.X;
    panel.cross = sv('line', {class: 'cross', x1: 0, x2: 0, y1: f.top, y2: f.bottom});
    f.svg.append(panel.cross, sv('rect', {x: 0, y: 0, width, height, fill: 'transparent'}));
    watch(f.svg, (x, y, cx, cy) => {
      const t = Math.min(axis.end, Math.max(0, (x - f.left) / f.w * axis.end));
      const found = axis.describe(t, f, x, spec.under ? y : null);
      axis.mark(found.t);
      showTip(found.content, cx, cy);
    }, by => [f.X(axis.step ? axis.step(axis.at, by) : 0), f.top + 10]);
    return f.svg;
  });
  return el('figure', {}, el('figcaption', {}, el('span', {}, spec.title),
    spec.aside ? el('span', {class: 'aside'}, spec.aside) : '', spec.control || ''), box);
}

function paintMarks(f, groups) {
  const strength = Math.min(0.75, Math.max(0.12, 14 / Math.max(1, groups.length)));
  for (const g of groups)
    f.svg.append(sv('line', {class: 'mark', x1: px(g.x), x2: px(g.x), y1: f.top, y2: f.bottom,
      'stroke-opacity': strength}));
}

/* A line in steps, as each value holds for its whole interval; null leaves a gap. */
function stepLine(f, cells, value) {
  let d = '', open = false;
  for (const c of cells) {
    const v = value(c);
    if (v === null) { open = false; continue; }
    d += open ? `V${px(f.Y(v))}` : `M${px(f.X(c.t0))} ${px(f.Y(v))}`;
    d += `H${px(f.X(c.t1))}`;
    open = true;
  }
  return d;
}
function stepArea(f, cells, value) {
  let d = '';
  for (const run of runsOf(cells, c => value(c) !== null))
    d += `M${px(f.X(run[0].t0))} ${f.bottom}${run.map(c => `V${px(f.Y(value(c)))}H${px(f.X(c.t1))}`).join('')}` +
      `V${f.bottom}Z`;
  return d;
}
function runsOf(cells, wanted) {
  const runs = [];
  let run = null;
  for (const c of cells) {
    if (!wanted(c)) { run = null; continue; }
    if (!run) runs.push(run = []);
    run.push(c);
  }
  return runs;
}
function paintLine(f, cells, value, color, dash) {
  if (!dash) f.svg.append(sv('path', {d: stepArea(f, cells, value), style: `fill:${color}`, 'fill-opacity': 0.12}));
  f.svg.append(sv('path', {d: stepLine(f, cells, value), style: `stroke:${color}`, fill: 'none', 'stroke-width': 1.7,
    'stroke-linejoin': 'round', 'stroke-dasharray': dash || null}));
}
function paintBars(f, cells, value, color) {
  let d = '';
  for (const c of cells) {
    if (!value(c)) continue;
    const w = Math.max(2, f.X(c.t1) - f.X(c.t0) - 0.5), y = Math.min(f.Y(value(c)), f.bottom - 3);
    d += `M${px(f.X(c.t0))} ${f.bottom}V${px(y)}h${px(w)}V${f.bottom}Z`;
  }
  f.svg.append(sv('path', {d, style: `fill:${color}`}));
}
