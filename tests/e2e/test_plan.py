"""`ringproxy plan`: its figures are those of the routing, counted key by key."""

import collections
import json
import math
import re

import pytest

from harness import run

B = {name: {'name': name, 'address': f'127.0.0.1:{i}'} for i, name in
     enumerate(['b1', 'b2', 'b3', 'b4', 'b5', 'x1', 'x2', 's1', 's2'], 1)}
BASE = ['b1', 'b2', 'b3', 'b4']


def server(name, **more):
    return {**B[name], **more}


def pool(*names, name='p', **more):
    return {'name': name, 'backends': [server(n) if isinstance(n, str) else n for n in names], **more}


@pytest.fixture
def write(tmp_path):
    """Writes a configuration of some pools; JSON is YAML."""
    def write(file, *pools, listeners=None, **top):
        listeners = listeners or [
            {'name': f'l{i}', 'listen': f'127.0.0.1:{i}', 'pool': p['name'], 'key': 'header:X-Id'}
            for i, p in enumerate(pools, 1)]
        path = tmp_path / file
        path.write_text(json.dumps({**top, 'listeners': listeners, 'pools': pools}))
        return path
    return write


KEYS = {n: b''.join(b'key-%d\n' % i for i in range(n)) for n in (40_000, 100_000, 1_000_000)}


def owners(config, n, *arguments):
    """The servers of keys `key-0` to `key-(n-1)`."""
    done = run('route', '-c', config, *arguments, stdin=KEYS[n])
    assert done.returncode == 0, done.stderr
    names = re.findall(r'\t(.*)\n', done.stdout)
    assert len(names) == n
    return names


def plan(*arguments, status=0):
    done = run('plan', *arguments, '--json')
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


def fits(count, n, share):
    """Whether a count of n samples fits a share: within 6 standard deviations, and one."""
    return abs(count - n * share) <= 6 * math.sqrt(n * share * (1 - share)) + 1


# --- two configurations against a count of keys -----------------------------------------------

CHANGES = {
    'several': (pool(server('b1', weight=3), 'b3', 'b4', 'b5', 'x1'), 1_000_000),
    'weight': (pool('b1', server('b2', weight=2), 'b3', 'b4'), 100_000),
    'added': (pool(*BASE, 'b5'), 100_000),
    'removed': (pool(*BASE[1:]), 100_000),
    'renamed': (pool('b1', 'b2', 'b3', 'x1'), 100_000),
    'vnodes': (pool(*BASE, ring={'vnodes': 160}), 100_000),
    'order': (pool(*reversed(BASE)), 100_000),
}


@pytest.mark.parametrize('change', CHANGES)
def test_a_plan_is_what_a_count_of_keys_finds(write, change):
    new, n = CHANGES[change]
    before, after = write('old.yaml', pool(*BASE)), write('new.yaml', new)
    p, = plan(before, after)['pools']
    was, now = owners(before, n), owners(after, n)
    moved = sum(a != b for a, b in zip(was, now))
    assert fits(moved, n, p['moved'])
    if change == 'order':
        assert p['change'] == 'same' and moved == 0 and p['moved_positions'] == 0
    else:
        assert p['change'] == 'moved' and moved > 0
    pairs = collections.Counter((a, b) for a, b in zip(was, now) if a != b)
    told = {(m['from'], m['to']): m['share'] for m in p['moves']}
    assert p['further_moves'] == 0 and not set(pairs) - set(told)
    assert all(fits(pairs[pair], n, share) for pair, share in told.items())
    for s in p['servers']:
        assert fits(was.count(s['name']), n, s['before']['share'])
        assert fits(now.count(s['name']), n, s['after']['share'])


def check_sums(p, positions):
    servers = p['servers']
    gains = {s['name']: s['after']['positions'] - s['before']['positions'] for s in servers}
    assert sum(s['before']['positions'] for s in servers) == positions
    assert sum(s['after']['positions'] for s in servers) == positions
    assert p['least_positions'] == sum(g for g in gains.values() if g > 0)
    assert p['moved_positions'] == sum(m['positions'] for m in p['moves'])
    for m in p['moves']:
        gains[m['from']] += m['positions']
        gains[m['to']] -= m['positions']
    assert not any(gains.values())
    shares = [m['positions'] for m in p['moves']]
    assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize('change', CHANGES)
def test_a_plan_adds_up_to_the_position(write, change):
    document = plan(write('old.yaml', pool(*BASE)), write('new.yaml', CHANGES[change][0]))
    assert document['positions'] == 2 ** 48
    check_sums(document['pools'][0], document['positions'])
    p = document['pools'][0]
    if change in ('weight', 'added', 'removed', 'renamed'):
        assert 0 < p['moved_positions']
        least = p['least_positions']  # but for a name in place of another: that moves others, too
        assert p['moved_positions'] == least if change != 'renamed' else p['moved_positions'] > least
    if change == 'vnodes':
        assert p['moved_positions'] > p['least_positions']


def test_text_and_json_say_the_same(write):
    before, after = write('old.yaml', pool(*BASE)), write('new.yaml', CHANGES['several'][0])
    text = run('plan', before, after).stdout
    p, = plan(before, after)['pools']

    def percent(share):
        return f'{share * 100:.4f}%'

    lines = [line.split() for line in text.splitlines()]
    assert f'pool p: {percent(p["moved"])} of the keys move, ' \
           f'the least possible is {percent(p["least"])}' in text
    assert [m for m in lines if len(m) == 3][1:] == \
        [[m['from'], m['to'], percent(m['share'])] for m in p['moves']]
    rows = {row[0]: row[1:] for row in lines if len(row) == 6 and row[0] in B}
    assert set(rows) == {s['name'] for s in p['servers']} == {'b1', 'b2', 'b3', 'b4', 'b5', 'x1'}
    for s in p['servers']:
        for at, side in ((0, 'before'), (2, 'after')):
            weight, share = rows[s['name']][at:at + 2]
            if s[side]['weight'] is None:
                assert (weight, share) == ('-', '-') and s[side]['positions'] == 0
            else:
                assert (int(weight), share) == (s[side]['weight'], percent(s[side]['share']))
    full = p['fullest']
    assert f'fullest: {full["name"]} with {percent(full["share"])}, {full["relative"]:.4f} times' in text
    assert full['relative'] == pytest.approx(max(
        s['after']['share'] / s['after']['weight'] for s in p['servers'] if s['after']['weight']) * 7)


# --- what is said beside the figures ----------------------------------------------------------

def test_a_changed_key_is_all_keys_of_the_pools_that_it_feeds(write):
    pools = [pool(*BASE), pool(*BASE, name='q')]
    listeners = [{'name': 'a', 'listen': '127.0.0.1:1', 'pool': 'p', 'key': ['cookie:sid', 'source_ip']},
                 {'name': 'b', 'listen': '127.0.0.1:2', 'pool': 'q', 'key': 'path'}]
    before = write('old.yaml', *pools, listeners=listeners)
    after = write('new.yaml', *pools, listeners=[{**listeners[0], 'key': 'cookie:sid'}, listeners[1]])
    p, q = plan(before, after)['pools']
    assert (p['change'], p['moved'], p['moves']) == ('all_keys', 1.0, [])
    assert p['why'] == ['key of listener a: was [cookie:sid, source_ip], is [cookie:sid]']
    assert (q['change'], q['moved'], q['why']) == ('same', 0, [])
    text = run('plan', before, after).stdout
    assert 'pool p: all keys move, as they are others\n  key of listener a: was' in text
    assert 'pool q: no key moves\n' in text


def test_pools_addresses_standbys_and_listeners_that_change_are_told(write):
    before = write('old.yaml', pool(*BASE), pool('b1', name='old'))
    moved = server('b2', address='127.0.0.9:9')
    new = pool('b1', moved, 'b3', 'b4', standbys=[server('s1')])
    after = write('new.yaml', new, pool('b1', 'b2', name='new'),
                  listeners=[{'name': 'l1', 'listen': '127.0.0.1:1', 'pool': 'new', 'key': 'header:X-Id'}])
    document = plan(before, after, '--max-move', '0%')
    assert [(p['name'], p['change'], p['moved_positions']) for p in document['pools']] == \
        [('p', 'same', 0), ('new', 'added', 0), ('old', 'removed', 0)]
    p = document['pools'][0]
    assert p['addresses'] == [{'name': 'b2', 'before': '127.0.0.1:2', 'after': '127.0.0.9:9'}]
    assert p['notes'] == ['standby s1 is added, for any backend']
    assert document['routes'] == [
        {'listener': 'l1', 'route': '', 'before': 'p', 'after': 'new'},
        {'listener': 'l2', 'route': '', 'before': 'old', 'after': None}]
    text = run('plan', before, after, '--pool', 'p').stdout
    assert 'listener l1: goes to pool new, was to pool p\n' in text and 'listener l2' not in text
    assert plan(before, after, '--pool', 'p')['routes'] == document['routes'][:1]
    text = run('plan', before, after).stdout
    assert 'listener l1: goes to pool new, was to pool p\n' in text
    assert 'listener l2: removed, was to pool old\n' in text
    assert 'b2 keeps its keys at another address: 127.0.0.9:9, was 127.0.0.1:2\n' in text
    assert 'pool new: added\n' in text and 'pool old: removed\n' in text
    assert 'note: standby s1 is added, for any backend\n' in text


# --- exit codes -------------------------------------------------------------------------------

def test_max_move_is_the_exit_code_of_the_pools_shown(write):
    before = write('old.yaml', pool(*BASE), pool(*BASE, name='q'))
    after = write('new.yaml', pool(*BASE), pool(*BASE, 'b5', name='q'))
    moved = plan(before, after)['pools'][1]['moved'] * 100
    assert 15 < moved < 25
    assert run('plan', before, after, '--max-move', f'{moved + 0.01}%').returncode == 0
    done = run('plan', before, after, '--max-move', f'{moved - 0.01}%')
    assert done.returncode == 3
    assert f'pool q: {moved:.4f}% of the keys move, more than --max-move' in done.stderr
    assert 'pool p' not in done.stderr and 'pool p: no key moves' in done.stdout
    assert run('plan', before, after, '--max-move', '5%', '--pool', 'q').returncode == 3
    done = run('plan', before, after, '--max-move', '5%', '--pool', 'p')
    assert done.returncode == 0 and 'pool q' not in done.stdout
    assert plan(before, after, '--max-move', '5%', status=3)['pools'][1]['name'] == 'q'
    assert run('plan', before, before, '--max-move=0%').returncode == 0


def test_errors_of_both_files_are_those_of_check(write, tmp_path):
    good = write('good.yaml', pool('b1'))
    bad = [write('bad1.yaml', pool(server('b1', weight=0))), write('bad2.yaml', pool('b1', 'b1'))]
    told = [run('check', '-c', path).stderr for path in bad]
    assert all(told)
    assert run('plan', *bad).stderr == ''.join(told)
    for files, stderr in (((good, bad[0]), told[0]), ((bad[1], good), told[1]),
                          ((bad[0], '--failures'), told[0])):
        done = run('plan', *files)
        assert (done.returncode, done.stdout, done.stderr) == (2, '', stderr)
    missing = run('plan', good, tmp_path / 'missing.yaml')
    assert missing.returncode == 2 and 'missing.yaml:1:1' in missing.stderr


@pytest.mark.parametrize('arguments, says', [
    (['F'], 'two files'), (['F', 'F', 'F'], 'two files'), (['F', 'F', '--failures'], 'one FILE'),
    (['F', 'F', '--max-move', '5'], '--max-move 5'), (['F', 'F', '--max-move', '%'], '--max-move %'),
    (['F', 'F', '--max-move', '100.1%'], '100.1%'), (['F', 'F', '--max-move', '-1%'], '-1%'),
    (['F', 'F', '--max-move', '1.2.3%'], '1.2.3%'), (['F', 'F', '--pool', 'z'], 'pool z'),
    (['F', 'F', '--pool', 'z', '--json'], 'pool z'), (['F', '--failures', '--pool', 'z'], 'pool z'),
    (['F', '--failures=3'], '--failures 3'), (['F', '--failures', '--max-move', '1%'], '--max-move'),
    (['F', 'F', '--worst', '3'], '--worst'), (['F', '--failures', '--worst', '0'], '--worst 0'),
    (['F', 'F', '--nonsense'], '--nonsense'), (['F', 'F', '--pool'], 'needs a value')])
def test_bad_usage_is_2(write, arguments, says):
    good = write('good.yaml', pool('b1'))
    done = run('plan', *[good if a == 'F' else a for a in arguments])
    assert done.returncode == 2 and done.stdout == ''
    assert done.stderr.startswith('ringproxy plan: ') and says in done.stderr


def test_help_has_both_forms():
    text = run('--help').stdout
    assert 'ringproxy plan OLD NEW [--pool P] [--max-move 5%] [--json]' in text
    assert 'ringproxy plan FILE --failures [1 or 2]' in text


# --- failures against route --down ------------------------------------------------------------

STANDBYS = {'standbys': [server('s1', **{'for': ['b2']}), server('s2')]}
FAILING = {
    'next': pool(server('b1', weight=2), *BASE[1:]),
    'fail': pool(*BASE, when_down='fail'),
    'standbys': pool(*BASE, **STANDBYS),
    'standbys, fail': pool(*BASE, when_down='fail', **STANDBYS),
    'try': pool('b1', 'b2', when_all_down='try'),
}


@pytest.mark.parametrize('kind', FAILING)
def test_failures_are_what_route_says_with_down(write, kind):
    n = 40_000
    config = write('f.yaml', FAILING[kind])
    servers = [s['name'] for k in ('backends', 'standbys') for s in FAILING[kind].get(k, [])]
    p, = plan(config, '--failures', '2', '--worst', '100')['pools']
    assert p['cases'] == len(p['worst']) == len(servers) * (len(servers) + 1) // 2
    assert len({tuple(c['out']) for c in p['worst']}) == p['cases']
    home = owners(config, n)
    normal = collections.Counter(home)
    for case in p['worst']:
        if len(case['out']) == 2 and servers.index(case['out'][0]) % 2:
            continue  # half of the pairs will do
        now = owners(config, n, *[a for name in case['out'] for a in ('--down', name)])
        count = collections.Counter(now)
        assert fits(count['-'], n, case['refused'])
        assert fits(sum(a != b for a, b in zip(home, now)), n, case['moved'])
        told = {t['name']: t for t in case['to']}
        assert {s for s in servers if count[s] > normal[s]} == set(told)
        for name, t in told.items():
            assert fits(count[name], n, t['share'])
            assert fits(count[name] - normal[name], n, t['gained'])
        if case['fullest'] is None:
            assert count['-'] == n
        else:
            assert fits(count[case['fullest']['name']], n, case['fullest']['share'])
    singles = plan(config, '--failures')['pools'][0]
    assert [c for c in p['worst'] if len(c['out']) == 1] == singles['worst']


def test_the_worst_failures_come_first_and_are_summed_up(write):
    config = write('f.yaml', pool(*BASE), pool(*BASE, name='q', when_down='fail'))
    text = run('plan', config, '--failures', '2', '--worst', '3').stdout
    p, q = plan(config, '--failures=2', '--worst', '3')['pools']
    worst = p['worst'][0]
    relative = [c['fullest']['relative'] for c in p['worst']]
    assert len(relative) == 3 and p['cases'] == 10 and relative == sorted(relative, reverse=True)
    assert 'and 7 cases that are no worse' in text
    assert f'fullest: with {", ".join(worst["out"])} out, {worst["fullest"]["name"]} has ' \
           f'{worst["fullest"]["share"] * 100:.4f}%, {relative[0]:.4f} times' in text
    refused = [c['refused'] for c in q['worst']]
    assert refused == sorted(refused, reverse=True) and refused[0] > 0.45
    assert f'refused: 10 of 10 cases refuse keys, {refused[0] * 100:.4f}% with ' in text
    only = run('plan', config, '--failures', '--pool', 'q').stdout
    assert 'pool q: with all in service' in only and 'pool p' not in only


def test_too_many_pairs_are_refused_with_the_bound(write):
    many = [{'name': f'n{i}', 'address': '127.0.0.1:1'} for i in range(3000)]
    config = write('f.yaml', {'name': 'p', 'ring': {'vnodes': 160}, 'backends': many})
    done = run('plan', config, '--failures', '2')
    assert done.returncode == 2 and done.stdout == ''
    assert 'pool p: 4501500 cases of 320 points' in done.stderr and '2000000000 at most' in done.stderr
    assert run('plan', config, '--failures', '1', '--worst', '1').returncode == 0
