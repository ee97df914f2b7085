"""`ringbench diff`: the figures of two results, checked by computing them again."""

import json
import re

import pytest

import bench_results as results
from bench_results import embedded
from harness import RINGBENCH, run


def diff(*arguments):
    return run('diff', *arguments, program=RINGBENCH)


def steady(**more):
    return results.steady(cells=20, a_cell=50, **more)


def compared(save, a, b):
    """The table as {label: [A, B, B/A]}, the whole text, and the JSON."""
    one, two = save('a', a), save('b', b)
    out = one.with_name('diff.json')
    done = diff(one, two, '--json', out)
    assert done.returncode == 0 and done.stderr == ''
    rows = [re.split(r' {2,}', line.strip()) for line in done.stdout.splitlines()]
    return {row[0]: row[1:] for row in rows if len(row) == 4}, done.stdout, json.loads(out.read_text())


def test_diff_tells_each_figure_and_its_ratio(save):
    a, b = results.steady(cells=50, a_cell=60), results.failover(cells=50, a_cell=90, seed=2)
    table, _, out = compared(save, a, b)
    for name in ('requests_per_second', 'requests_per_cpu_second', 'sent', 'failed', 'balance', 'seconds'):
        figure = out['figures'][name]
        assert (figure['a'], figure['b']) == (a[name], b[name])
    for name, us in a['latency_us'].items():
        figure = out['figures'][f'latency_us.{name}']
        assert (figure['a'], figure['b']) == (us, b['latency_us'][name])
        assert figure['ratio'] == pytest.approx(b['latency_us'][name] / us)
        assert float(table[f'latency {name}'][2]) == pytest.approx(figure['ratio'], abs=5e-4)
    assert out['figures']['refused'] == {'a': 0, 'b': results.refused(b), 'ratio': None}
    assert results.refused(b) > 0
    assert table['refused'] == ['0', str(results.refused(b)), '-']
    assert table['moves'] == ['0', str(b['keys']['moves']), '-'] and b['keys']['moves'] > 100
    assert table['failed'] == ['0', '5', '-']
    assert table['requests/s'][2] == f"{b['requests_per_second'] / a['requests_per_second']:.3f}"


def test_diff_says_what_was_not_the_same_load(save):
    a, b = (results.steady(cells=5, a_cell=20) for _ in range(2))
    _, text, out = compared(save, a, b)
    assert 'warning' not in text and out['not_the_same'] == []
    b['options'].update(connections=128, method='PUT')
    del b['options']['seed']
    b['ringbench'] = '0.2.0'
    _, text, out = compared(save, a, b)
    assert ('warning: not the same load: connections 64 / 128, method GET / PUT, seed 1 / -, '
            'ringbench 0.1.0 / 0.2.0\n') in text
    assert [one['name'] for one in out['not_the_same']] == ['connections', 'method', 'seed', 'ringbench']
    assert out['not_the_same'][2] == {'name': 'seed', 'a': 1, 'b': None}


def distance(a, b):
    """The Kolmogorov-Smirnov distance, computed again."""
    bounds = sorted({bound for bound, _ in a + b})
    share = lambda h, at: sum(n for bound, n in h if bound <= at) / sum(n for _, n in h)  # noqa: E731
    return max(abs(share(a, at) - share(b, at)) for at in bounds)


@pytest.mark.parametrize('middle, differ', [(80.0, False), (88.0, True)])
def test_diff_tells_whether_the_distributions_differ(save, middle, differ):
    a, b = results.steady(a_cell=40), results.steady(a_cell=40, seed=2, middle=middle)
    _, text, out = compared(save, a, b)
    told = out['latency']
    assert told['distance'] == pytest.approx(distance(a['histogram'], b['histogram']))
    n, m = a['answered'], b['answered']
    assert (told['answers_a'], told['answers_b']) == (n, m)
    assert told['threshold'] == pytest.approx(1.628 * ((n + m) / (n * m)) ** 0.5, rel=1e-3)
    assert told['differ'] is differ is (told['distance'] > told['threshold'])
    assert ('distributions differ' in text) is differ
    assert 'only a hint' in text


def test_diff_copes_with_runs_without_answers_and_with_bulk(save):
    table, text, out = compared(save, results.nothing(), steady())
    assert out['latency'] is None and 'one of the runs has no answers' in text
    assert table['latency p99'][0] == '-' and table['latency p99'][2] == '-'
    a, b = results.bulk(cells=10), results.bulk(cells=10, seed=2)
    table, text, out = compared(save, a, b)
    assert out['figures']['mib_per_second'] == {
        'a': a['mib_per_second'], 'b': b['mib_per_second'],
        'ratio': pytest.approx(b['mib_per_second'] / a['mib_per_second'])}
    assert 'MiB/s' in table and 'latency' not in text and 'requests/s' not in table


def test_diff_writes_a_page_of_both(save, tmp_path):
    a, b = steady(), results.failover(cells=20, a_cell=50)
    out = tmp_path / 'both.html'
    assert diff(save('a', a), save('b', b), '--report', out).returncode == 0
    assert embedded(out.read_text())[0] == [a, b]


def test_nothing_in_a_result_plays_tricks_with_the_terminal(save):
    a, b = steady(), steady()
    a['target'] = 'x\x1b[2Jy\r\n\x9b'
    a['options']['\x1b]0;t\x07'] = '\x1b'
    _, text, _ = compared(save, a, b)
    assert not set(text) & set('\x1b\r\x07\x9b') and 'x\\u001b[2jy\\r\\n' in text.lower()


def test_bad_usage_and_bad_files_exit_2(save, tmp_path):
    good, foreign, missing = save('good', steady()), tmp_path / 'foreign.json', tmp_path / 'missing.json'
    foreign.write_text('{"wrk": 1}')
    tcp = save('tcp', results.bulk(cells=3))
    for path, words in ((foreign, 'not a result of ringbench'), (missing, 'No such file'),
                        (tcp, 'a result of kind tcp bulk, but')):
        done = diff(good, path, '--json', tmp_path / 'out.json')
        assert done.returncode == 2 and done.stdout == '' and done.stderr.count('\n') == 1
        assert f'{path}: ' in done.stderr and words in done.stderr, done.stderr
    assert diff(foreign, good).returncode == 2
    assert not (tmp_path / 'out.json').exists()
    for done in (diff(good), diff(), diff(good, good, good), diff(good, good, '--nonsense')):
        assert done.returncode == 2 and done.stderr and not done.stdout
    done = diff('--help')
    assert done.returncode == 0 and done.stdout.startswith('usage: ringbench diff ')


def test_what_cannot_be_written_exits_1(save, tmp_path):
    good, nowhere = save('good', steady()), tmp_path / 'no' / 'folder'
    for option, path in (('--report', nowhere), ('--json', nowhere), ('--json', '/dev/full')):
        done = diff(good, good, option, path)
        assert done.returncode == 1
        assert re.search(r'(folder: No such file|/dev/full: No space)', done.stderr), done.stderr
