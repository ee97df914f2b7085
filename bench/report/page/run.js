/* ---- header, key figures, tables ---- */

function optionList(m) {
  const number = v => Math.abs(v) >= 10000 ? v.toLocaleString('en-US') : String(v);
  const shown = v => typeof v === 'boolean' ? (v ? 'yes' : 'no') : typeof v === 'number' ? number(v) : word(v);
  return el('ul', {class: 'chips'}, Object.entries(m.options).map(([k, v]) =>
    el('li', {}, el('span', {}, k.replace(/_/g, ' ') + ' '), shown(v))));
}

const kindText = m => m.bulk ? `tcp bulk, ${word(m.options.direction)}` : m.http ? 'http' : 'tcp ping-pong';
const unitText = m => m.http ? 'requests' : 'round trips';

function tile(name, value, unit, more, state) {
  return el('div', {class: 'tile ' + (state || '')}, el('div', {class: 'name'}, name),
    el('div', {class: 'value'}, value, unit ? el('small', {}, unit) : ''),
    el('div', {class: 'more'}, more || '\u00a0'));
}
const unitTile = (name, text, more) => tile(name, ...text.split('\u00a0').concat('').slice(0, 2), more);
const maybe = (v, format) => num(v) === null ? '–' : format(v);
const hasKeys = m => amount(m.keys.asked) > 0;

function wantedText(m) {
  const wanted = amount(m.options.rate);
  if (!wanted) return `over ${span(amount(m.r.seconds))}`;
  return percent(amount(m.r.requests_per_second) / wanted) + ` of ${rate(wanted)} wanted`;
}

function keysTile(m) {
  const moves = amount(m.keys.moves);
  if (!hasKeys(m)) return tile('Keys moved', '–', '', 'no keys in this run');
  if (!m.backends.length) return tile('Keys moved', '–', '', 'no backends named');
  return tile('Keys moved', whole(amount(m.keys.moved)), '',
    `of ${whole(amount(m.keys.asked))} keys` + (moves ? `, ${whole(moves)} moves` : ''));
}

const cpuText = m => `ringbench used ${span(amount(m.r.cpu_seconds))}`;

function bulkTiles(m) {
  const r = m.r, failed = amount(r.failed);
  return [tile('Throughput', maybe(r.mib_per_second, rate), 'MiB/s', `over ${span(amount(r.seconds))}`),
    tile('Per CPU second', maybe(r.mib_per_cpu_second, rate), 'MiB', cpuText(m)),
    unitTile('Received', bytes(amount(r.bytes_in))), unitTile('Sent', bytes(amount(r.bytes_out))),
    tile('Failed', whole(failed), '', 'connections', failed ? 'bad' : '')];
}

function requestTiles(m) {
  const r = m.r, l = obj(m.latency), failed = amount(r.failed), share = amount(r.sent) ? failed / r.sent : 0;
  const all = [tile(m.http ? 'Requests' : 'Round trips', maybe(r.requests_per_second, rate), '/s', wantedText(m)),
    tile('Per CPU second', maybe(r.requests_per_cpu_second, rate), '', cpuText(m)),
    tile('Answered', whole(amount(r.answered)), '', `of ${whole(amount(r.sent))} sent`),
    unitTile('Median latency', maybe(l.p50, duration), 'p50'),
    unitTile('p99 latency', maybe(l.p99, duration), '1 in 100 is slower'),
    unitTile('Slowest', maybe(l.max, duration), 'max'),
    tile('Failed', whole(failed), '', percent(share) + ' of those sent', failed ? 'bad' : '')];
  return !m.http ? all : [...all,
    tile('Refused', whole(m.refused), '', 'status 400 or more', m.refused ? 'warn' : ''), keysTile(m),
    tile('Balance', maybe(r.balance, three), '', num(r.balance) === null ? 'no backends named' : 'busiest / mean')];
}

function verdictOf(m) {
  const r = m.r, failed = amount(r.failed), sent = amount(r.sent), what = unitText(m);
  if (m.bulk)
    return failed ? ['bad', `${whole(failed)} connections failed.`] : ['good', 'No connection failed.'];
  const answers = m.refused === 1 ? 'answer' : 'answers';
  const also = m.refused ? ` ${whole(m.refused)} ${answers} had an error status (400 or more).` : '';
  if (!sent) return ['warn', `No ${what} were sent.`];
  if (!amount(r.answered)) return ['bad', `Nothing was answered: all ${whole(failed)} ${what} failed.`];
  if (failed) return ['bad', `${whole(failed)} of ${whole(sent)} ${what} failed (${percent(failed / sent)}).${also}`];
  return [also ? 'warn' : 'good', `All ${whole(sent)} ${what} were answered.${also}`];
}

function verdict(m) {
  const [state, text] = verdictOf(m);
  return el('p', {class: 'verdict ' + state}, text);
}

/* what: of what there are so many; color(name): of its bar. */
function countTable(what, counts, color) {
  const most = largest(counts.map(c => c[1])) || 1, total = sum(counts.map(c => c[1]));
  const bar = (name, n) => `width:${px(n / most * 100)}%;background:${color(name)}`;
  return table([[what[0], 'left'], [what[1]], ['share'], ['']], counts.map(([name, n]) =>
    el('tr', {class: n ? null : 'zero'}, el('th', {scope: 'row', class: 'wrap'}, name), cell(whole(n)),
      cell(total ? percent(n / total) : '–'), el('td', {class: 'bar'}, n ? el('i', {style: bar(name, n)}) : ''))));
}

const countsOf = o => Object.entries(obj(o)).map(([name, n]) => [name, amount(n)]);

function errorsCard(m) {
  const errors = countsOf(m.r.errors);
  if (!errors.length) return emptyCard('Failures by kind', 'This result does not tell errors by kind.');
  return card('Failures by kind', {}, countTable(['error', m.bulk ? 'connections' : unitText(m)], errors,
    () => 'var(--failed)'));
}

function statusesCard(m) {
  const statuses = countsOf(m.r.statuses);
  if (!statuses.length) return emptyCard('Answers by status', 'Nothing was answered in this run.');
  return card('Answers by status', {}, countTable(['status', 'answers'], statuses,
    status => Number(status) >= 400 ? 'var(--refused)' : 'var(--answered)'));
}

/* ["b1 → s1", how often], the most frequent first. */
function waysOf(m) {
  const found = new Map();
  for (const row of m.moves) {
    const way = word(row.from) + ' → ' + word(row.to);
    found.set(way, (found.get(way) || 0) + 1);
  }
  return [...found].sort((a, b) => b[1] - a[1]);
}

const MOVES_SHOWN = 200, WAYS_SHOWN = 12;
const MOVES_TITLE = 'Keys that changed backend';

function movesCard(m) {
  if (!hasKeys(m)) return emptyCard(MOVES_TITLE, 'No keys in this run (--keys).');
  if (!m.backends.length)
    return emptyCard(MOVES_TITLE, 'Not known: no answer said which backend it came from (--backend-from).');
  const asked = whole(amount(m.keys.asked)), all = Math.max(amount(m.keys.moves), m.moves.length);
  if (!all)
    return emptyCard(MOVES_TITLE, `None: each of ${asked} keys was answered by the same backend all the time.`);
  const note = `${whole(amount(m.keys.moved))} of ${asked} keys changed backend, in ${whole(all)} moves. ` +
    (all > m.moves.length ? `The result names the first ${whole(m.moves.length)}, which went:` : 'They went:');
  const ways = waysOf(m), rest = ways.length - WAYS_SHOWN;
  const rows = m.moves.slice(0, MOVES_SHOWN).map(row => el('tr', {}, cell(row.at_s.toFixed(3) + '\u00a0s', 'left'),
    cell(word(row.key), 'left wrap'), cell(word(row.from), 'left wrap'), cell(word(row.to), 'left wrap')));
  return card(MOVES_TITLE, {note},
    el('ul', {class: 'chips ways'}, ways.slice(0, WAYS_SHOWN).map(([way, n]) =>
      el('li', {}, way + ' ', el('span', {}, whole(n)))),
    rest > 0 ? el('li', {}, el('span', {}, `${whole(rest)} other ways`)) : ''),
    m.moves.length > MOVES_SHOWN ? el('p', {class: 'note'}, `The first ${MOVES_SHOWN}:`) : '',
    table([['at', 'left'], ['key', 'left'], ['from', 'left'], ['to', 'left']], rows, rows.length > 10));
}

/* ---- the sections of one run ---- */

/* What did not happen gets words instead of an empty plot. */
function quietText(m, failed, refused) {
  const failures = failed ? '' : m.http ? 'No request failed. ' : 'No round trip failed.';
  return failures + (refused || !m.http ? '' : 'No answer had an error status.');
}

function timeCard(m, axis) {
  if (!m.cells.length) return emptyCard('Over time', 'This result has no timeline.');
  if (m.bulk) return card('Over time', {}, bulkPanel(m, axis));
  const total = name => sum(m.cells.map(c => c[name])), answered = c => perSecond(c, 'answered');
  const failed = total('failed'), refused = total('refused'), moves = total('moves');
  const most = largest(m.cells.map(answered)), quiet = quietText(m, failed, refused);
  const note = `Intervals of ${seconds(m.step)}.` + (moves ? ' Dashed lines: keys changed backend.' : '');
  return card('Over time', {note},
    timePanel(axis, {title: m.http ? 'Answered per second' : 'Round trips per second',
      label: 'Answers per second over time', height: 210, y: () => linear(most, 4, axisSi), marks: marksOf(m),
      paint: f => paintLine(f, m.cells, answered, 'var(--answered)')}),
    failed ? countPanel(m, axis, 'failed', 'Failed per second', 'var(--failed)', `${whole(failed)} in all`) : '',
    refused ? countPanel(m, axis, 'refused', 'Refused per second (status 400 or more)', 'var(--refused)',
      `${whole(refused)} in all`) : '',
    quiet ? el('p', {class: 'note quiet'}, quiet) : '',
    moves ? countPanel(m, axis, 'moves', MOVES_TITLE + ', per second', 'var(--move)',
      `${whole(amount(m.keys.moves))} moves of ${whole(amount(m.keys.moved))} keys`) : '',
    m.cells.some(c => c.max) ? slowPanel(m, axis) : '');
}

const LANES = [['bytes_in', 'received', 'var(--answered)', ''], ['bytes_out', 'sent', 'var(--refused)', '7 4']];

function bulkPanel(m, axis) {
  const lanes = LANES.filter(([name]) => m.cells.some(c => c[name])), mib = (c, name) => perSecond(c, name) / 2 ** 20;
  const most = largest(m.cells.map(c => largest(lanes.map(([name]) => mib(c, name)))));
  return timePanel(axis, {title: 'MiB per second', label: 'MiB per second over time', height: 260,
    aside: lanes.map(([, what, color, dash]) => [dashMark(color, dash), ` ${what} `]),
    y: () => linear(most, 5, axisSi),
    paint: f => lanes.forEach(([name, , color, dash]) => paintLine(f, m.cells, c => mib(c, name), color, dash))});
}

const dashMark = (color, dash) => sv('svg', {class: 'dash', viewBox: '0 0 26 10', 'aria-hidden': 'true'},
  sv('line', {x1: 0, x2: 26, y1: 5, y2: 5, style: `stroke:${color}`, 'stroke-width': 2.4,
    'stroke-dasharray': dash || null}));

function sections(m) {
  const axis = runAxis(m);
  if (m.bulk)
    return [verdict(m), el('div', {class: 'tiles'}, bulkTiles(m)), timeCard(m, axis), errorsCard(m)];
  const all = [verdict(m), el('div', {class: 'tiles'}, requestTiles(m)), latencyCard(m), timeCard(m, axis)];
  return m.http ? [...all, backendsCard(m, axis), el('div', {class: 'pair'}, errorsCard(m), statusesCard(m)),
    movesCard(m)] : [...all, errorsCard(m)];
}
