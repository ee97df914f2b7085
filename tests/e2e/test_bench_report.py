"""`ringbench report`: the page holds what was measured and nothing from elsewhere.

With E2E_BROWSER=chromium in the environment it is also opened in that browser, and what was drawn
is read back: not by default, as a browser takes a minute to start on a busy machine."""

import html
import json
import os
import re
import subprocess

import pytest

import bench_results as results
import harness
from bench_results import drawn, embedded
from harness import RINGBENCH, run

def report(*arguments):
    return run('report', *arguments, program=RINGBENCH)


def made(save, result):
    """The page of one result, as text."""
    path = save('one', result)
    out = path.with_suffix('.html')
    done = report(path, '-o', out)
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
    return out.read_text()


SAMPLES = {
    'steady': lambda: results.steady(cells=20, a_cell=50),
    'failover': lambda: results.failover(cells=50, a_cell=40),
    'nothing': results.nothing,
    'one interval': lambda: results.steady(cells=1, a_cell=20),
    'many intervals': lambda: results.steady(cells=1200, a_cell=4, interval=0.4),
    'many backends': lambda: results.steady(cells=10, a_cell=300, names=[f'b{i}' for i in range(60)]),
    'many moves': lambda: results.failover(cells=30, a_cell=30, keys=3000),
    'no keys': lambda: results.steady(cells=10, a_cell=30, names=None, keys=0),
    'ping-pong': lambda: results.steady(cells=10, a_cell=30, names=None, kind='tcp'),
    'bulk': lambda: results.bulk(cells=10),
}


@pytest.mark.parametrize('name', SAMPLES)
def test_the_page_holds_the_result_as_it_was(save, name):
    result = SAMPLES[name]()
    assert embedded(made(save, result))[0] == [result]


@pytest.mark.parametrize('name', SAMPLES)
def test_the_script_draws_every_kind_of_result(save, name):
    result = SAMPLES[name]()
    path = save('one', result).with_suffix('.html')
    made(save, result)
    text = ' '.join(drawn(path).itertext())
    assert not re.search(r'\bNaN\b|\bInfinity\b|\bundefined\b', text)
    if 'answered' in result:
        assert f"{result['answered']:,} of {result['sent']:,} sent" in text


def test_the_page_needs_nothing_from_elsewhere(save):
    _, around = embedded(made(save, SAMPLES['failover']()))
    assert not re.search(r'https?://|//[\w-]+\.\w|@import|url\(|\bimport\b|\bfetch\(|XMLHttpRequest|<link|<iframe|<base',
                         around)
    assert not re.search(r'<[^>]*\s(src|srcset|href|action|data|poster)\s*=', around)
    assert "default-src 'none'" in around
    assert 'innerHTML' not in around and 'insertAdjacentHTML' not in around and 'document.write' not in around


EVIL = '</script><script>document.title="broken"</script><img src=x onerror="document.title=1"><!--<script>'


def with_evil():
    result = results.failover(cells=20, a_cell=30)
    result['target'] = result['options'][EVIL] = result['options']['key_in'] = EVIL
    result['statuses'][EVIL] = result['errors'][EVIL] = 1
    result['backends'].append({'name': EVIL, 'answers': 1, 'share': 0.1})
    result['timeline']['backends'][EVIL] = [1] * 20
    result['timeline']['backends']['__proto__'] = [1] * 20
    for row in result['moves'][:5]:
        row['key'] = row['from'] = EVIL
    return result


def test_nothing_in_a_result_becomes_markup(save):
    plain, result = made(save, results.failover(cells=20, a_cell=30)), with_evil()
    page = made(save, result)
    assert embedded(page)[0] == [result]
    # not one more tag, comment or reference than without it
    for sign in '<>&':
        assert page.count(sign) == plain.count(sign)


def test_several_results_go_into_one_page(save, tmp_path):
    runs = [results.steady(cells=5, a_cell=20, seed=i) for i in range(8)]
    paths = [save(f'run{i}', r) for i, r in enumerate(runs)]
    out = tmp_path / 'all.html'
    assert report('-o', out, *paths).returncode == 0
    assert embedded(out.read_text())[0] == runs
    done = report('-o', out, *paths, paths[0])
    assert done.returncode == 2 and 'at most 8' in done.stderr


def test_bad_usage_and_bad_files_exit_2(save, tmp_path):
    good, out = save('good', SAMPLES['steady']()), tmp_path / 'out.html'
    foreign, broken = tmp_path / 'foreign.json', tmp_path / 'broken.json'
    foreign.write_text('{"wrk": 1}')
    broken.write_text('{"ringbench": "0.1.0",\n "kind": }')
    missing, tcp = tmp_path / 'missing.json', save('tcp', SAMPLES['bulk']())
    for path, words in ((foreign, 'not a result of ringbench'), (broken, 'broken.json:2:'),
                        (missing, 'No such file'), (tmp_path, 'Is a directory'),
                        (tcp, 'a result of kind tcp bulk, but')):
        done = report(good, path, '-o', out)
        assert done.returncode == 2 and done.stdout == ''
        assert f'{path}' in done.stderr and words in done.stderr, done.stderr
        assert done.stderr.count('\n') == 1
    assert not out.exists()
    for done in (report(good), report('-o', out), report(good, '-o'), report('--nonsense')):
        assert done.returncode == 2 and done.stderr and not done.stdout
    done = report('--help')
    assert done.returncode == 0 and done.stdout.startswith('usage: ringbench report ')


def test_what_cannot_be_written_exits_1(save, tmp_path):
    good = save('good', SAMPLES['steady']())
    for done in (report(good, '-o', tmp_path / 'no' / 'folder'), report(good, '-o', '/dev/full')):
        assert done.returncode == 1
        assert re.search(r'(folder: No such file|/dev/full: No space)', done.stderr), done.stderr


# --- in a browser, if one is named ----------------------------------------------------------------

def browse(page, folder):
    """The document after its script ran, and what the console said."""
    program = os.environ.get('E2E_BROWSER')
    if not program:
        pytest.skip('E2E_BROWSER does not name a browser')
    done = subprocess.run(
        [program, '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
         '--disable-background-networking', '--disable-component-update', '--disable-sync',
         '--disable-dev-shm-usage', f'--user-data-dir={folder}', '--enable-logging=stderr',
         '--window-size=1280,2000', '--dump-dom', page.as_uri()],
        capture_output=True, text=True, check=False, timeout=120 * harness.SLOW)
    assert done.returncode == 0, done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if 'CONSOLE' in line]
    return re.sub(r'<script.*?</script>', '', done.stdout, flags=re.S), console


def svg_of(dom, label):
    found = re.findall(r'<svg[^>]*aria-label="' + label + r'[^"]*"[^>]*>.*?</svg>', dom, re.S)
    assert len(found) == 1, label
    return found[0]


def text_of(markup):
    return html.unescape(re.sub(r'<[^>]*>', ' ', markup)).replace('\xa0', ' ')


def scale_of(svg):
    """Pixels to values, from two labels of a linear axis of y; 1.5 k is 1500."""
    found = re.findall(r'<text x="50" y="([\d.]+)" text-anchor="end">([\d.]+)(?:\xa0|&nbsp;)?(k?)</text>', svg)
    ticks = [(float(y) - 4, float(v) * (1000 if k else 1)) for y, v, k in found]
    (y0, v0), (y1, v1) = ticks[0], ticks[-1]
    return lambda y: v0 + (y - y0) / (y1 - y0) * (v1 - v0)


def steps_of(svg):
    """The heights of the line that goes in steps, in values."""
    line = re.search(r'<path d="(M[^"]*)"[^>]*fill="none"', svg).group(1)
    value = scale_of(svg)
    return [value(float(y)) for y in re.findall(r'(?:M[\d.]+ |V)([\d.]+)H', line)]


def test_what_a_browser_draws_is_what_was_measured(save, tmp_path):
    result = results.failover(cells=40, a_cell=100, keys=400)
    made(save, result)
    dom, console = browse(tmp_path / 'one.html', tmp_path / 'profile')
    assert console == []
    assert not re.search('NaN|Infinity|undefined|could not be drawn', dom)
    text = text_of(dom)
    for figure in (f"{result['answered']:,}", f"{result['sent']:,} sent", '5 of', 'b1 → s1', 's1 → b1'):
        assert figure in text, figure
    drawn = steps_of(svg_of(dom, 'Answers per second over time'))
    assert drawn == pytest.approx([n / 0.1 for n in result['timeline']['answered']], abs=10)
    # the layers at the left edge, from the top down, are the shares of the first interval
    edges = [float(y) for y in re.findall(r'<path d="M58\.0 ([\d.]+)V[\d.]+H[^"]*" class="layer"',
                                          svg_of(dom, 'Share of the answers'))]
    counts = [result['timeline']['backends'][name][0] for name in ('b1', 'b2', 'b3', 'b4')]
    passed = [sum(counts[:i]) / sum(counts) for i in range(4)]
    height = edges[0] - 10
    assert edges == pytest.approx([10 + height * (1 - p) for p in passed], abs=0.2)
    for b in result['backends']:
        assert re.search(rf"{b['name']} +{b['answers']:,} +{b['share'] * 100:.2f}%", text), b
    rows = re.findall(r'([\d.]+) s +(key\d+) +(\w+) +(\w+)', text)
    assert [(float(at), key, old, new) for at, key, old, new in rows] == [
        (pytest.approx(r['at_s'], abs=6e-4), r['key'], r['from'], r['to']) for r in result['moves'][:200]]


def test_a_browser_takes_nothing_in_a_result_for_markup(save, tmp_path):
    made(save, with_evil())
    dom, console = browse(tmp_path / 'one.html', tmp_path / 'profile')
    assert console == [] and '<img' not in dom and 'could not be drawn' not in dom
    assert re.search(r'<title>&lt;/script&gt;', dom)


def test_a_browser_draws_any_runs_side_by_side(save, tmp_path):
    """Each run's own sections are drawn when it is chosen, so a script chooses all of them."""
    runs = [make() for name, make in SAMPLES.items() if name not in ('ping-pong', 'bulk')]
    runs[0]['options']['connections'] = 8
    out = tmp_path / 'all.html'
    assert report('-o', out, *[save(f'run{i}', r) for i, r in enumerate(runs)]).returncode == 0
    out.write_text(out.read_text().replace('</body>', """<script>
        const seen = [];
        for (const button of document.querySelectorAll('.head.apart button')) {
          button.click();
          seen.push(document.getElementById('page').textContent);
        }
        document.body.append(...seen);
        </script></body>"""))
    dom, console = browse(out, tmp_path / 'profile')
    assert console == []
    assert not re.search('NaN|Infinity|undefined|could not be drawn', dom)
    text = text_of(dom)
    assert 'Not the same load: connections 8 / 64 / 64' in text
    for r in runs:
        assert f"{r['answered']:,}of {r['sent']:,} sent" in text
    for words in ('Nothing was answered in this run', 'No keys in this run', 'No backends in this run',
                  'each of 1,000 keys was answered by the same backend all the time'):
        assert words in text, words
    lines = re.search(r'<svg[^>]*aria-label="Latency by percentile; A: .*?</svg>', dom, re.S).group(0)
    assert len(re.findall('<path', lines)) == sum(r['answered'] > 0 for r in runs)


@pytest.mark.parametrize('name', ['ping-pong', 'bulk'])
def test_a_browser_draws_tcp_runs(save, tmp_path, name):
    result = SAMPLES[name]()
    made(save, result)
    dom, console = browse(tmp_path / 'one.html', tmp_path / 'profile')
    assert console == []
    assert not re.search('NaN|Infinity|undefined|could not be drawn', dom)
    if name == 'bulk':
        drawn = steps_of(svg_of(dom, 'MiB per second over time'))
        assert drawn == pytest.approx([n / 0.1 / 2**20 for n in result['timeline']['bytes_in']], rel=0.01)
    else:
        drawn = steps_of(svg_of(dom, 'Answers per second over time'))
        assert drawn == pytest.approx([n / 0.1 for n in result['timeline']['answered']], abs=3)
        assert 'Backends' not in text_of(dom)


# --- the page of a run itself -----------------------------------------------------------------

def test_a_load_draws_its_own_page(rig, tmp_path):
    server = rig.serve('b1')
    page, document = tmp_path / 'run.html', tmp_path / 'run.json'
    done = run('http', f'http://127.0.0.1:{server.port}/', '--requests', 200, '--keys', 10,
               '--json', document, '--report', page, program=RINGBENCH)
    assert done.returncode == 0, done.stderr
    assert embedded(page.read_text())[0] == [json.loads(document.read_text())]


def test_a_page_that_cannot_be_written_is_exit_1(rig):
    server = rig.serve('b1')
    done = run('http', f'http://127.0.0.1:{server.port}/', '--requests', 1, '--report',
               '/nonexistent/run.html', program=RINGBENCH)
    assert done.returncode == 1 and '/nonexistent/run.html' in done.stderr
