"""`ringbench ring`: its figures as JSON, tables and plot; and the layout `ketama` beside a real nginx."""

import http.client
import json
import math
import os
import pathlib
import re
import xml.etree.ElementTree

import pytest

import harness
from bench_results import drawn, embedded
from harness import RINGBENCH, accepts, free_port, programs, wait_until

LAYOUTS = ['ringproxy', 'ketama', 'maglev', 'rendezvous', 'modulo']
SMALL = ('--backends', '5,40', '--vnodes', '20,60', '--keys', '20000')


def ring(*arguments):
    return harness.run('ring', *arguments, program=RINGBENCH, deadline=120)


def figures(*arguments):
    done = ring('--json', *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ''
    return json.loads(done.stdout)


@pytest.fixture(scope='module')
def all_rings():
    return figures(*SMALL)['rings']


# --- figures ----------------------------------------------------------------------------------

def test_each_layout_and_size_is_measured_once(all_rings):
    sizes = [(r['layout'], r['vnodes'], r['backends']) for r in all_rings]
    expected = [(layout, v, b) for layout in LAYOUTS
                for v in ((20, 60) if layout in ('ringproxy', 'ketama') else (None,))
                for b in (5, 40)]
    assert sizes == expected


def test_the_head_says_what_was_run():
    whole = figures('--layout', 'modulo,ringproxy', '--backends', '3', '--vnodes', '10',
                    '--keys', '777')
    assert whole['keys'] == 777 and whole['rounds'] >= 1
    assert re.fullmatch(r'\d+\.\d+\.\d+', whole['version'])
    assert [r['layout'] for r in whole['rings']] == ['modulo', 'ringproxy']


def test_times_and_sizes_are_there(all_rings):
    for r in all_rings:
        for name in ('find_ns', 'chained_ns', 'hash_find_ns'):
            assert r[name] > 0, (name, r)
        assert r['build_ms'] >= 0
        assert r['bytes'] > 0
        assert r['bytes_per_backend'] == pytest.approx(r['bytes'] / r['backends'], abs=1e-3)
        assert 1 <= r['timed_keys'] <= 20000
        if r['vnodes']:
            assert r['points'] == r['backends'] * r['vnodes']
            assert 8 <= r['bytes_per_point'] < 11
    assert {r['points'] for r in all_rings if r['layout'] == 'maglev'} == {65537}
    assert {r['points'] for r in all_rings if r['layout'] in ('rendezvous', 'modulo')} == {None}


def test_shares_are_exact_where_they_can_be(all_rings):
    for r in all_rings:
        assert r['shares'] == ('sampled' if r['layout'] == 'rendezvous' else 'exact')
        assert 1 <= r['share_max'] < 2 and 0 <= r['share_deviation'] < 0.5
        if r['layout'] == 'modulo':
            assert r['share_max'] == 1 and r['share_deviation'] == 0
        if r['layout'] == 'maglev':  # of 65537 entries some have one more
            assert r['share_max'] < 1 + r['backends'] / 65537


def test_ringproxy_moves_exactly_the_least(all_rings):
    for r in all_rings:
        if r['layout'] == 'ringproxy':
            assert r['moves'] == 'exact'
            assert (r['foreign_positions'], r['foreign_keys']) == (0, 0)
            assert (r['added_foreign_positions'], r['added_foreign_keys']) == (0, 0)
            assert r['moved'] == r['least'] == pytest.approx(r['share_max'] / r['backends'],
                                                             abs=1e-6)
            assert r['added_moved'] == r['added_least'] > 0


def test_what_each_layout_moves_is_its_nature(all_rings):
    for r in all_rings:
        n = r['backends']
        assert r['added_ideal'] == pytest.approx(1 / (n + 1), abs=1e-9)
        if r['layout'] != 'ringproxy':
            assert r['moves'] == 'sampled'
            assert r['foreign_positions'] is None and r['added_foreign_positions'] is None
            assert r['foreign_keys'] == round((r['moved'] - r['least']) * 20000)
            assert r['added_foreign_keys'] == round((r['added_moved'] - r['added_least']) * 20000)
        if r['layout'] in ('ketama', 'rendezvous'):
            assert (r['foreign_keys'], r['added_foreign_keys']) == (0, 0)
        if r['layout'] == 'maglev':
            assert 0 < r['moved'] - r['least'] < 0.05
            assert 0 < r['added_moved'] - r['added_least'] < 0.05
        if r['layout'] == 'modulo':  # all but one in n stay by chance alone
            assert r['moved'] == pytest.approx(1 - 1 / n, abs=0.02)
            assert r['added_moved'] == pytest.approx(1 - 1 / (n + 1), abs=0.02)


def test_the_same_run_gives_the_same_keys(all_rings):
    def timeless(rings):
        return [{k: v for k, v in r.items() if not k.endswith(('_ns', '_ms'))} for r in rings]
    assert timeless(figures(*SMALL)['rings']) == timeless(all_rings)


def test_a_lone_backend_loses_everything():
    for r in figures('--backends', '1', '--vnodes', '1', '--keys', '50')['rings']:
        assert (r['moved'], r['least'], r['foreign_keys']) == (1, 1, 0)
        assert r['share_max'] == 1 and r['share_deviation'] == 0


def test_at_the_limit_nothing_can_be_added():
    """4096 backends are the most, and so are 2^22 points."""
    rings = figures('--layout', 'ringproxy,modulo', '--backends', '4096', '--vnodes', '2',
                    '--keys', '100')['rings']
    rings += figures('--layout', 'ringproxy', '--backends', '1024', '--vnodes', '4096', '--keys',
                     '100')['rings']
    assert len(rings) == 3
    for r in rings:
        assert r['moved'] is not None
        for name in ('added_moved', 'added_least', 'added_foreign_keys', 'added_foreign_positions'):
            assert r[name] is None


# --- tables -----------------------------------------------------------------------------------

def test_tables_have_a_row_each_and_fit_120_columns():
    done = ring(*SMALL)
    assert done.returncode == 0 and done.stderr == ''
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 120, max(lines, key=len)
    cost, keys = done.stdout.split('\n\n')
    for table in (cost, keys):
        names = [line.split()[0] for line in table.splitlines() if line.split()[0] in LAYOUTS]
        assert names == [r for r in LAYOUTS for _ in range(4 if r in LAYOUTS[:2] else 2)]
    assert 'of the 2^48 positions of its circle 0 moved besides' in keys
    assert not any('nan' in line or 'inf' in line for line in lines)


def test_only_what_was_asked_for():
    done = ring('--layout', 'maglev', '--backends', '10', '--keys', '1000')
    assert done.returncode == 0
    assert 'ringproxy' not in done.stdout and done.stdout.count('maglev') == 2


# --- usage ------------------------------------------------------------------------------------

@pytest.mark.parametrize('arguments', [
    ('--layout', ''), ('--layout', 'ring'), ('--layout', 'ketama,'), ('--layout', ',ketama'),
    ('--layout', 'ketama,ketama'), ('--layout', 'Ketama'), ('--layout',),
    ('--backends', '0'), ('--backends', '4097'), ('--backends', '5,'), ('--backends', '5;6'),
    ('--backends', '-5'), ('--backends', ' 5'), ('--backends', ','.join(['5'] * 33)),
    ('--vnodes', '0'), ('--vnodes', '4097'), ('--vnodes', 'x'),
    ('--backends', '4096', '--vnodes', '4096'),
    ('--keys', '0'), ('--keys', '100000001'), ('--keys', '5,6'), ('--keys', '99999999999999999999'),
    ('--plot',), ('--nonsense',), ('extra',), ('--json=1',),
])
def test_bad_usage(arguments):
    done = ring(*arguments)
    assert done.returncode == 2
    assert done.stdout == '' and done.stderr != ''


def test_help_names_every_layout_and_option():
    done = ring('--help')
    assert done.returncode == 0 and done.stderr == ''
    for word in LAYOUTS + ['--layout', '--backends', '--vnodes', '--keys', '--json', '--plot']:
        assert word in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


# --- the plot ---------------------------------------------------------------------------------

def plot(path, *arguments):
    """What the page shows; it holds what --json prints."""
    done = ring('--json', '--plot', path, *arguments)
    assert done.returncode == 0, done.stderr
    assert embedded(path.read_text())[0] == [json.loads(done.stdout)]
    return drawn(path)


def charts_of(root):
    return [f.find('.//svg') for f in root.iter('figure')]


def paths(chart, name):
    return [p for p in chart.iter('path') if (p.get('class') or '').split() == ['ring', name]]


def texts(root):
    return [t.text for t in root.iter('text')]


def test_the_plot_has_four_charts_with_a_line_each(tmp_path):
    root = plot(tmp_path / 'ring.html', *SMALL)
    assert root.get('title').startswith('Where keys go, and what it costs')
    charts = charts_of(root)
    assert len(charts) == 4
    series = ['ringproxy, 20 vnodes', 'ringproxy, 60 vnodes', 'ketama, 20 vnodes',
              'ketama, 60 vnodes', 'maglev', 'rendezvous', 'modulo']
    for i, chart in enumerate(charts):
        shown = [s for s in series if i != 1 or s != 'rendezvous']  # sampled shares are not
        assert len(paths(chart, 'line')) == len(shown)
        titles = [m.find('title').text for m in paths(chart, 'marker')]
        assert [re.sub(': .*', '', t) for t in titles] == [f'{s}, {n}' for s in shown
                                                           for n in (5, 40)]
    assert [''.join(item.itertext()) for item in root.iter('li')][-len(series):] == series  # the legend


def test_the_marks_lie_where_the_figures_are(tmp_path):
    """Against the labels of the axes: the logarithm of a size across, and of the times up."""
    path = tmp_path / 'ring.html'
    chart = charts_of(plot(path, '--layout', 'modulo', '--backends', '10,100,1000', '--keys', '1000'))[2]
    rings = embedded(path.read_text())[0][0]['rings']

    at = {float(t.text): float(t.get('y')) for t in chart.iter('text')
          if t.get('x') == '50' and t.text in ('1', '10', '100', '1000')}
    (low, a), (high, b) = min(at.items()), max(at.items())

    def up(v):
        return a + (b - a) * math.log(v / low) / math.log(high / low)
    for mark, r in zip(paths(chart, 'marker'), rings, strict=True):
        _, y = map(float, re.match(r'translate\((\S+) (\S+)\)', mark.get('transform')).groups())
        assert y == pytest.approx(up(r['moved'] / r['least']) - 4, abs=0.3)  # a label stands 4 below its line
    xs = [float(m.get('transform')[10:].split()[0]) for m in paths(chart, 'marker')]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.3)


def test_the_plot_stays_inside_and_has_no_holes(tmp_path):
    path = tmp_path / 'ring.html'
    root = plot(path, '--backends', '4096,1,7,300', '--vnodes', '1,33', '--keys', '2000')
    text = xml.etree.ElementTree.tostring(root, encoding='unicode')
    assert not re.search(r'\b(nan|infinity|undefined|null)\b', text, re.I)
    assert not re.search(r'https?://|url\(', embedded(path.read_text())[1])  # needs nothing else
    for i, chart in enumerate(charts_of(root)):
        _, _, width, height = map(float, chart.get('viewBox').split())
        for e in paths(chart, 'marker'):
            x, y = map(float, re.match(r'translate\((\S+) (\S+)\)', e.get('transform')).groups())
            assert 0 <= x <= width and 0 <= y <= height
        for e in paths(chart, 'line'):
            places = re.findall(r'[ML](\S+) ([0-9.]+)', e.get('d'))
            assert len(places) >= (4 if i < 2 else 3)  # 4096 are the most, and each has few keys
            for x, y in places:
                assert 0 <= float(x) <= width and 0 <= float(y) <= height
        labels = [t for t in texts(chart) if re.fullmatch(r'[0-9.]+', t)]
        assert len(labels) >= 5
        if i != 1:  # both axes are logarithmic
            assert all(re.fullmatch(r'[125]0*|0\.0*[125]', t) for t in labels), labels


def test_lines_in_one_place_are_drawn_side_by_side(tmp_path):
    """ringproxy and ketama move the least, so in the charts of what moves they would hide each other."""
    root = plot(tmp_path / 'ring.html', '--layout', 'ringproxy,ketama', '--vnodes', '100', '--backends', '5,50')
    for chart in charts_of(root)[2:]:
        first, second = [[float(y) for y in re.findall(r'[ML]\S+ ([0-9.]+)', p.get('d'))]
                         for p in paths(chart, 'line')]
        assert [a - b for a, b in zip(first, second)] == pytest.approx([2.5, 2.5], abs=0.11)


def test_a_plot_of_one_point(tmp_path):
    root = plot(tmp_path / 'one.html', '--layout', 'modulo', '--backends', '1', '--keys', '10')
    assert len(charts_of(root)) == 4


def test_figures_are_drawn_later_and_beside_others(tmp_path):
    path, page = tmp_path / 'ring.json', tmp_path / 'ring.html'
    path.write_text(json.dumps(figures('--layout', 'maglev,modulo', '--keys', '100', '--backends', '3,9')))
    done = harness.run('report', path, path, '-o', page, program=RINGBENCH)
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
    root = drawn(page)
    assert len(charts_of(root)) == 8
    assert [h.text for h in root.iter('h2')] == ['Run A', 'Run B']
    done = harness.run('diff', path, path, program=RINGBENCH)
    assert done.returncode == 2 and f'{path}: a result of kind ring' in done.stderr


def test_a_plot_that_cannot_be_written(tmp_path):
    done = ring('--plot', tmp_path / 'no' / 'where.html', '--layout', 'modulo', '--keys', '10')
    assert done.returncode == 1 and done.stdout == ''
    assert 'No such file' in done.stderr
    done = ring('--plot', '/dev/full', '--layout', 'modulo', '--keys', '10')
    assert done.returncode == 1 and '/dev/full: No space' in done.stderr


# --- ketama, beside nginx ---------------------------------------------------------------------

OWNERS = pathlib.Path(os.path.realpath(RINGBENCH)).parent.parent / 'tests' / 'layout_owners'
NGINX = programs.find('nginx')


def owners(servers, keys):
    """What the layout says, {key: server}."""
    done = harness.run('ketama', 160, *sorted(servers), program=str(OWNERS),
                       stdin=''.join(f'{k}\n' for k in keys).encode())
    assert done.returncode == 0, done.stderr
    return dict(zip(keys, done.stdout.splitlines(), strict=True))


def asked(port, keys):
    """What nginx does, {key: server}."""
    out = {}
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=20 * harness.SLOW)
    try:
        for key in keys:
            connection.request('GET', f'/?key={key}')
            answer = connection.getresponse()
            out[key] = answer.read().decode()
            assert answer.status == 200, (key, answer.status)
    finally:
        connection.close()
    return out


@pytest.mark.skipif(NGINX is None, reason='no nginx')
@pytest.mark.skipif(not OWNERS.exists(), reason='layout_owners was not built, only ringbench')
def test_ketama_is_what_nginx_does(rig, tmp_path):
    socket = tmp_path / 's'
    servers = [f'127.0.0.1:{free_port()}' for _ in range(6)] + [f'unix:{socket}']
    all_up, one_down = free_port(), free_port()
    lost = servers[2]

    def upstream(name, down=None):
        lines = ''.join(f'server {s}{" down" if s == down else ""};' for s in servers)
        return f'upstream {name} {{ hash $arg_key consistent; {lines} }}\n'

    extra = upstream('all_up') + upstream('one_down', lost)
    extra += ''.join(f'server {{ listen {s}; location / {{ return 200 "{s}"; }} }}\n'
                     for s in servers)
    extra += ''.join(f'server {{ listen 127.0.0.1:{port};'
                     f' location / {{ proxy_pass http://{name}; }} }}\n'
                     for name, port in (('all_up', all_up), ('one_down', one_down)))
    nginx = harness.Nginx(rig.folder, 'ring', extra=extra)
    rig.daemons.append(nginx)
    nginx.start()
    wait_until(lambda: accepts(all_up) and accepts(one_down), 'both front ends')

    keys = [f'key-{i}' for i in range(1000)]
    home = asked(all_up, keys)
    assert set(home.values()) == set(servers)
    assert owners(servers, keys) == home
    moved = asked(one_down, keys)
    assert owners([s for s in servers if s != lost], keys) == moved
    assert {k for k in keys if moved[k] != home[k]} == {k for k in keys if home[k] == lost}
