/* ---- the page ---- */

const view = {log: true};
const page = document.getElementById('page');

const logo = () => sv('svg', {viewBox: '0 0 20 20', 'aria-hidden': 'true', fill: 'none', 'stroke-width': 3},
  sv('circle', {cx: 10, cy: 10, r: 7.5, style: 'stroke:var(--line)'}),
  sv('path', {d: 'M10 2.5A7.5 7.5 0 0 1 17.5 10', style: 'stroke:var(--answered)'}),
  sv('circle', {cx: 10, cy: 2.5, r: 2.5, style: 'fill:var(--answered)'}),
  sv('circle', {cx: 17.5, cy: 10, r: 2.5, style: 'fill:var(--move)'}));

const versionOf = m => word(m.ring ? m.r.version : m.r.ringbench);
const titleOf = m => m.ring ? RING_TITLE : word(m.r.target);
const leadOf = m => m.ring ? ringLead(m) : `${kindText(m)} · ${span(amount(m.r.seconds))}`;

/* What tells several runs apart. */
const legendOf = models => !models[0].ring ? runLegend(models, true) : el('ul', {class: 'legend'},
  models.map(m => el('li', {}, el('strong', {}, m.letter), el('span', {class: 'total'}, ringLead(m)))));

function fillTop(models) {
  const m = models[0], one = models.length === 1;
  const title = one ? titleOf(m) : `Comparison of ${models.length} runs`;
  document.title = title + ' · ringbench';
  document.getElementById('top').replaceChildren(
    el('div', {class: 'brand'}, logo(), `ringbench ${versionOf(m)}`,
      el('span', {class: 'when'}, one && m.r.started !== undefined ? when(m.r.started) : '')),
    el('h1', {}, title),
    one ? el('p', {class: 'lead'}, leadOf(m)) : legendOf(models),
    one ? optionList(m) : '');
}

/* Whose details are shown says a switch. What is drawn for one run is forgotten when another is chosen. */
function details(models) {
  const place = el('div', {}), kept = plots.length;
  const buttons = models.map(m => el('button', {type: 'button'}, 'Run ' + m.letter));
  const choose = k => {
    plots.length = kept;
    hideTip();
    buttons.forEach((b, i) => b.setAttribute('aria-pressed', String(i === k)));
    place.replaceChildren(optionList(models[k]), ...sections(models[k]));
    showScale();
    redraw();
  };
  buttons.forEach((b, k) => b.addEventListener('click', () => choose(k)));
  const head = el('div', {class: 'head apart'}, el('h2', {}, 'Each run by itself'),
    el('div', {class: 'switch', role: 'group', 'aria-label': 'Run'}, buttons));
  return {nodes: [head, place], choose};
}

/* The results in a page are of one kind. */
const modelOf = (r, index) => Array.isArray(obj(r).rings) ? readRing(r, index) : read(r, index);

function main() {
  const models = arr(JSON.parse(document.getElementById('results').textContent)).map(modelOf);
  if (!models.length) {
    page.replaceChildren(el('p', {class: 'card'}, 'There is no result in this page.'));
    return;
  }
  fillTop(models);
  if (models[0].ring) {
    page.replaceChildren(...ringSections(models));
  } else if (models.length === 1) {
    page.replaceChildren(...sections(models[0]));
  } else {
    const parts = comparison(models), more = details(models);
    page.replaceChildren(...parts, ...more.nodes);
    more.choose(0);
  }
  document.getElementById('foot').textContent = `Made by ringbench ${versionOf(models[0])}. ` +
    `What it measured is in this file as JSON.`;
  showScale();
  redraw();
  let width = innerWidth;
  addEventListener('resize', () => {
    if (innerWidth === width) return;
    width = innerWidth;
    hideTip();
    redraw();
  });
}

try {
  main();
} catch (e) {
  page.prepend(el('p', {class: 'verdict bad'}, 'This report could not be drawn: ' + e.message));
  throw e;
}
