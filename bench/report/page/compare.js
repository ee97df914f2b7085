/* ---- several runs ---- */

const FIGURES = [
  ['Requests/s', m => m.r.requests_per_second, rate],
  ['Requests per CPU second', m => m.r.requests_per_cpu_second, rate],
  ['MiB/s', m => m.r.mib_per_second, rate],
  ['MiB per CPU second', m => m.r.mib_per_cpu_second, rate],
  ...LATENCIES.map(([q]) => ['Latency ' + q, m => obj(m.latency)[q], duration]),
  ['Answered', m => m.r.answered, whole],
  ['Failed', m => m.r.failed, whole],
  ['Refused', m => m.bulk ? null : m.refused, whole],
  ['Balance', m => m.r.balance, three],
  ['Keys moved', m => m.keys.moved, whole],
  ['Moves', m => m.keys.moves, whole],
  ['Received', m => m.r.bytes_in, bytes],
  ['Sent', m => m.r.bytes_out, bytes],
  ['Seconds', m => m.r.seconds, three],
];

/* Each run in a column, and beside it how many times the first it is. */
function comparedTable(models) {
  const heads = [['', 'left'], ...models.flatMap((m, i) => i ? [[m.letter], [`${m.letter}/A`]] : [[m.letter]])];
  const row = ([name, value, format]) => {
    const values = models.map(m => num(value(m))), first = values[0];
    if (values.every(v => v === null)) return null;
    const times = v => cell(v === null || !first ? '–' : (v / first).toFixed(3), 'factor');
    return el('tr', {}, el('th', {scope: 'row', class: 'wrap'}, name),
      values.map((v, i) => [cell(maybe(v, format)), i ? times(v) : null]));
  };
  return table(heads, FIGURES.map(row).filter(Boolean));
}

function differences(models) {
  const lines = [], names = new Set(models.flatMap(m => Object.keys(m.options)));
  const compare = (name, values) => {
    if (new Set(values.map(v => JSON.stringify(v))).size > 1) lines.push(`${name} ${values.map(word).join(' / ')}`);
  };
  for (const name of names)
    compare(name, models.map(m => Object.hasOwn(m.options, name) ? m.options[name] : undefined));
  compare('ringbench', models.map(m => m.r.ringbench));
  return lines;
}

function overlayPanel(models) {
  const bulk = models[0].bulk, shown = models.filter(m => m.cells.length);
  const both = c => (perSecond(c, 'bytes_in') + perSecond(c, 'bytes_out')) / 2 ** 20;
  const value = bulk ? both : c => perSecond(c, 'answered');
  const end = largest(shown.map(m => m.end)) || 1, most = largest(shown.flatMap(m => m.cells.map(value)));
  const row = (m, t) => tipRow(m.letter, rate(value(m.cells[indexAt(m.cells, t)])) + (bulk ? ' MiB/s' : '/s'),
    swatch(m.color));
  const axis = timeAxis(end, t => ({t, content: [el('b', {}, seconds(Math.round(t * 100) / 100)),
    ...shown.filter(m => t <= m.end).map(m => row(m, t))]}));
  axis.step = (at, by) => Math.min(end, Math.max(0, (at || 0) + by * end / 100));
  const line = (f, m) => sv('path', {d: stepLine(f, m.cells, value), fill: 'none', style: `stroke:${m.color}`,
    'stroke-width': 1.8, 'stroke-dasharray': m.dash || null});
  return timePanel(axis, {title: bulk ? 'MiB per second, both ways' : 'Answered per second',
    label: 'Throughput of the runs over time', height: 230, y: () => linear(most, 4, axisSi),
    paint: f => f.svg.append(...shown.map(m => line(f, m)))});
}

const runLegend = (models, full) => el('ul', {class: 'legend'}, models.map(m => el('li', {}, dashMark(m.color, m.dash),
  el('strong', {}, m.letter),
  el('span', {class: 'total'}, word(m.r.target) + (full ? ', ' + when(m.r.started) : '')))));

function comparison(models) {
  const differ = differences(models), some = models.some(m => m.histogram.total);
  const latency = some ? card('Latency by percentile', {note: STEP_TEXT, control: scaleSwitch()},
    distributionPlot(models), runLegend(models)) : '';
  const time = card('Over time', {}, overlayPanel(models), runLegend(models));
  return [differ.length ? el('p', {class: 'verdict warn'}, 'Not the same load: ' + differ.join(', ')) : '',
    el('div', {class: models.length === 2 ? 'beside' : null}, card('Figures', {}, comparedTable(models)),
      el('div', {}, latency, time))];
}
