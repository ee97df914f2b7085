/* ---- reading: what is not as it should be counts as absent ---- */

const num = v => typeof v === 'number' && isFinite(v) ? v : null;
const amount = v => Math.max(0, num(v) || 0);
const obj = v => v && typeof v === 'object' && !Array.isArray(v) ? v : {};
const arr = v => Array.isArray(v) ? v : [];
const word = v => typeof v === 'string' ? v : v === undefined || v === null ? '–' : JSON.stringify(v);
const sum = list => list.reduce((a, b) => a + b, 0);
const largest = list => list.reduce((a, b) => Math.max(a, b), 0);

/* ---- numbers in words ---- */

const three = v => v.toFixed(v < 9.995 ? 2 : v < 99.95 ? 1 : 0);
const whole = v => Math.round(v).toLocaleString('en-US');
const rate = v => v < 999.5 ? three(v) : whole(v);
const plain = v => String(Number(v.toPrecision(6)));
const US = [[1, 'µs'], [1e3, 'ms'], [1e6, 's']];
const SI = [[1, ''], [1e3, 'k'], [1e6, 'M'], [1e9, 'G']];
const BYTES = [[1, 'B'], [1024, 'KiB'], [1024 ** 2, 'MiB'], [1024 ** 3, 'GiB'], [1024 ** 4, 'TiB']];

function scaled(v, units, format) {
  let [by, name] = units[0];
  for (const [b, n] of units)
    if (v >= b * 0.9995) [by, name] = [b, n];
  return format(v / by) + (name ? '\u00a0' + name : '');
}
const duration = us => scaled(us, US, three);
const bytes = v => v < 1024 ? whole(v) + '\u00a0B' : scaled(v, BYTES, three);
const axisUs = us => us === 0 ? '0' : scaled(us, US, plain);
const axisSi = v => v === 0 ? '0' : scaled(v, SI, plain);
const seconds = t => plain(Math.round(t * 1e4) / 1e4) + '\u00a0s';
function percent(share) {
  const p = share * 100;
  if (p === 0 || p === 100) return p + '%';
  if (p < 0.0001) return 'below 0.0001%';
  return (p < 0.01 ? p.toPrecision(2) : p.toFixed(p < 1 ? 3 : 2)) + '%';
}
const two = v => String(Math.floor(v)).padStart(2, '0');
function clock(t, end) {
  if (end <= 120) return plain(t) + '\u00a0s';
  if (end > 7200) return Math.floor(t / 3600) + ':' + two(t % 3600 / 60) + '\u00a0h';
  return Math.floor(t / 60) + (t % 60 ? ':' + two(t % 60) : '') + '\u00a0min';
}
function span(t) {
  if (t < 120) return seconds(t);
  if (t >= 7200) return Math.floor(t / 3600) + '\u00a0h ' + Math.round(t % 3600 / 60) + '\u00a0min';
  return Math.floor(t / 60) + '\u00a0min' + (Math.round(t % 60) ? ' ' + Math.round(t % 60) + '\u00a0s' : '');
}
function when(text) {
  const date = new Date(text);
  return isNaN(date) ? word(text) : date.toLocaleString('en-GB', {timeZone: 'UTC', day: 'numeric', month: 'short',
    year: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit'}) + ' UTC';
}

/* ---- elements: a kid that is a string becomes text, never markup ---- */

const SVG = document.getElementById('proto').namespaceURI;
function fill(e, attributes, kids) {
  for (const [k, v] of Object.entries(attributes || {}))
    if (v !== null && v !== undefined && v !== false) e.setAttribute(k, v);
  e.append(...kids.flat(9).filter(k => k !== null && k !== undefined && k !== false));
  return e;
}
const el = (tag, attributes, ...kids) => fill(document.createElement(tag), attributes, kids);
const sv = (tag, attributes, ...kids) => fill(document.createElementNS(SVG, tag), attributes, kids);
const swatch = (color, alpha) => el('span', {class: 'swatch', style: `background:${color};opacity:${alpha || 1}`});
const cell = (text, name) => el('td', {class: name}, text);

/* heads: [text, class]; a tall one scrolls in its place. */
function table(heads, rows, tall) {
  const head = heads.map(([text, name]) => el('th', {class: name, scope: 'col'}, text));
  return el('div', {class: tall ? 'scroll tall' : 'scroll', tabindex: tall ? 0 : null},
    el('table', {}, el('thead', {}, el('tr', {}, head)), el('tbody', {}, rows)));
}
const card = (title, more, ...kids) => el('section', {class: 'card'}, el('div', {class: 'head'}, el('div', {},
  el('h2', {}, title), more.note ? el('p', {class: 'note'}, more.note) : ''), more.control || ''), kids);
const emptyCard = (title, text) => card(title, {}, el('p', {class: 'empty'}, text));
