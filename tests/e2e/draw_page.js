/* Runs the script of a page of ringbench without a browser: `node draw_page.js PAGE WIDTH` prints what the
   script has made of the document, as XML. The document is the little of the DOM that the page uses: a plot is
   WIDTH pixels wide, nothing has a place on a screen, and no event ever comes. A name that is missing here is an
   error of the page, unless a browser knows it. */
'use strict';
const fs = require('fs');
const vm = require('vm');

class Element {
  constructor(tag, namespaceURI) {
    Object.assign(this, {tag, namespaceURI, attributes: new Map(), kids: [], style: {}, hidden: false});
    this.clientWidth = WIDTH;
    this.classList = {toggle() {}};
  }
  setAttribute(name, value) { this.attributes.set(name, String(value)); }
  append(...kids) { this.kids.push(...kids.map(kid => kid instanceof Element ? kid : String(kid))); }
  prepend(...kids) { this.kids.unshift(...kids); }
  replaceChildren(...kids) { this.kids = []; this.append(...kids); }
  addEventListener() {}
  getBoundingClientRect() { return {left: 0, top: 0, width: 0, height: 0}; }
  get dataset() {
    const data = [...this.attributes].filter(([name]) => name.startsWith('data-'));
    return Object.fromEntries(data.map(([name, value]) => [name.slice(5), value]));
  }
  get textContent() { return this.kids.map(kid => kid instanceof Element ? kid.textContent : kid).join(''); }
  set textContent(text) { this.kids = [String(text)]; }
}

const escaped = text => text.replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`);
function xml(e) {
  if (!(e instanceof Element)) return escaped(e);
  const attributes = [...e.attributes].map(([k, v]) => ` ${k}="${escaped(v)}"`).join('');
  return `<${e.tag}${attributes}>${e.kids.map(xml).join('')}</${e.tag}>`;
}

const [, , path, width] = process.argv;
const WIDTH = Number(width);
const page = fs.readFileSync(path, 'utf8');
const [, results, script] = page.match(/id="results">([^]*?)<\/script>\s*<script>([^]*?)<\/script>/);

const root = new Element('page'), named = new Map();
for (const id of ['top', 'page', 'foot', 'tip', 'proto', 'results']) {
  named.set(id, new Element('div', id === 'proto' ? 'svg' : 'html'));
  if (id !== 'results' && id !== 'proto') root.append(named.get(id));
}
named.get('results').textContent = results;

const document = {
  title: '', body: root,
  getElementById: id => named.get(id),
  createElement: tag => new Element(tag, 'html'),
  createElementNS: (space, tag) => new Element(tag, space),
  querySelectorAll: () => [],
  addEventListener() {},
};
vm.runInNewContext(script, {document, addEventListener() {}, innerWidth: 1280, innerHeight: 800});
root.setAttribute('title', document.title);
process.stdout.write(xml(root));
