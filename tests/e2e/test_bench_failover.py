"""ringbench failover: plays scenarios to their end, counts rightly, leaves nothing behind."""

import json
import os
import pathlib
import re
import signal
import subprocess

import pytest

import harness
from harness import RINGBENCH, RINGPROXY, ROOT, SANITIZER_REPORT, SLOW, wait_until

BINARY = {'ringproxy': RINGPROXY, 'haproxy': None, 'nginx': None}
RATE, KEYS = 300, 100


class Bench:
    """Runs of `ringbench failover` whose temporary folders are in one of the test's."""

    def __init__(self, folder):
        self.folder = folder
        self.temp = folder / 'temp'
        self.temp.mkdir()
        self.environment = dict(os.environ, TMPDIR=str(self.temp))

    def scenario(self, events, name='test', backends=3, standbys=1, duration='8s', **more):
        more = {'keys': KEYS, 'rate': RATE, 'connections': 30, 'duration': duration, **more}
        path = self.folder / f'{name}.yaml'
        path.write_text(f'name: {name}\nabout: a test\nbackends: {backends}\nstandbys: {standbys}\n'
                        + ''.join(f'{k}: {v}\n' for k, v in more.items())
                        + 'events:\n' + ''.join(f'  - {{{e}}}\n' for e in events))
        return path

    def start(self, *arguments):
        out, err = self.folder / 'out', self.folder / 'err'
        with open(out, 'wb') as o, open(err, 'wb') as e:
            process = subprocess.Popen([RINGBENCH, 'failover', *map(str, arguments)],
                                       stdin=subprocess.DEVNULL, stdout=o, stderr=e,
                                       cwd=self.folder, env=self.environment)
        return process

    def end(self, process, expect, deadline=60):
        try:
            code = process.wait(deadline * SLOW)
        finally:
            process.kill()
        err = (self.folder / 'err').read_text(errors='replace')
        assert not SANITIZER_REPORT.search(err), err
        assert code == expect, (code, err)
        return (self.folder / 'out').read_text(errors='replace'), err

    def run(self, *arguments, expect=0, deadline=60):
        return self.end(self.start(*arguments), expect, deadline)

    def logs(self):
        """What all processes of all runs with --keep have said: {name: text}."""
        return {p.name: p.read_text(errors='replace') for p in self.temp.glob('*/*.log')}

    def play(self, *scenarios, proxy='ringproxy'):
        """The documents of a run; what must always hold of them is asserted here."""
        path = self.folder / 'result.json'
        binary = ('--binary', BINARY[proxy]) if BINARY[proxy] else ()
        out, _ = self.run('--proxy', proxy, *binary, '--keep', '--json', path, *scenarios,
                          deadline=60 * len(scenarios))
        logs = self.logs()
        for name, text in logs.items():
            assert not SANITIZER_REPORT.search(text), (name, text)
        results = json.loads(path.read_text())
        assert len(results) == len(scenarios)
        for r in results:
            assert r['scenario'] in out
            reconcile(r)
        return results


def reconcile(r):
    a = r['aftermath']
    assert r['sent'] == r['answered'] + r['failed']
    assert r['failed'] == sum(r['errors'].values())
    assert r['answered'] == sum(r['statuses'].values())
    assert r['sent'] + r['unsent'] == RATE * r['options']['duration_ms'] // 1000
    assert a['failed'] == r['failed'] + sum(n for s, n in r['statuses'].items() if s >= '500')
    assert a['keys_foreign'] <= a['keys_moved'] <= r['keys']['asked'] == r['options']['keys']
    assert sum(f['keys'] for f in {f['server']: f for f in r['faults']}.values()) \
        == a['keys_minimum']
    assert not a['cut']
    for e in r['events']:
        assert e['done_ms'] >= e['at_ms']
    assert [e['at_ms'] for e in r['events']] == sorted(e['at_ms'] for e in r['events'])


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


KILL = ['at: 1s, do: kill, server: b2', 'at: 2s, do: start, server: b2']


# --- what is found ----------------------------------------------------------------------------

def test_kill_behind_ringproxy_fails_nothing_and_moves_only_what_must(bench):
    (r,) = bench.play(bench.scenario(KILL))
    a = r['aftermath']
    assert a['failed'] == 0
    assert a['keys_moved'] == a['keys_minimum'] > 0 and a['keys_foreign'] == 0
    assert a['keys_not_home'] == 0 and a['home_ms'] > 0
    (fault,) = r['faults']
    assert (fault['server'], fault['do'], fault['away']) == ('b2', 'kill', 0)
    assert 1000 <= fault['from_ms'] < fault['to_ms'] and fault['to_ms'] >= 2000
    assert fault['takeover_ms'] == a['takeover_ms'] > 0
    answers = {b['name']: b['answers'] for b in r['backends']}
    assert set(answers) == {'b1', 'b2', 'b3', 's1'} and sum(answers.values()) == r['answered']


def test_every_way_to_hurt_a_server_is_done_and_undone(bench):
    hurts = bench.scenario([
        'at: 1s, do: fail_checks, server: b1', 'at: 1s, do: hang, server: b2',
        'at: 1500ms, do: stop, server: s1', 'at: 2500ms, do: continue, server: s1',
        'at: 3s, do: terminate, servers: [b3, b4]', 'at: 3500ms, do: start, servers: [b4, b3]',
        'at: 4s, do: pass_checks, server: b1', 'at: 4s, do: unhang, server: b2'],
        name='hurts', backends=4, duration='14s')
    (r,) = bench.play(hurts)
    a = r['aftermath']
    assert a['failed'] == 0
    assert a['keys_foreign'] == 0 and a['keys_not_home'] == 0
    faults = {(f['server'], f['do']): f for f in r['faults']}
    assert set(faults) == {('b1', 'fail_checks'), ('b2', 'hang'), ('s1', 'stop'),
                           ('b3', 'terminate'), ('b4', 'terminate')}
    assert faults['s1', 'stop']['keys'] == 0
    assert faults['b2', 'hang']['slow'] > 0 and faults['b2', 'hang']['recovery_ms'] > 250
    assert all(f['to_ms'] > f['from_ms'] for f in faults.values())
    assert a['recovery_ms'] >= faults['b2', 'hang']['recovery_ms'] and a['slowest_ms'] > 250


def test_errors_of_the_application_are_counted_by_kind(bench):
    events = ['at: 1s, do: status, server: b2, value: 503',
              'at: 2s, do: status, server: b2, value: 200']
    (r,) = bench.play(bench.scenario(events, duration='3s'))
    (fault,) = r['faults']
    assert r['failed'] == 0 and r['statuses']['503'] == fault['failed'] > 0
    assert r['aftermath']['keys_moved'] == 0
    assert 0 < r['aftermath']['recovery_ms'] == fault['recovery_ms']


@pytest.mark.parametrize('proxy', ['haproxy', 'nginx'])
def test_other_proxies_are_played_too(bench, proxy):
    hang = ['at: 1s, do: stop, server: b1', 'at: 2s, do: continue, server: b1']
    kill, hang = bench.play(bench.scenario(KILL), bench.scenario(hang, 'hang', connections=200),
                            proxy=proxy)
    for r, server in (kill, 'b2'), (hang, 'b1'):
        assert r['proxy'] == proxy and r['answered'] > 0
        assert [f['server'] for f in r['faults']] == [server]
        assert r['aftermath']['keys_minimum'] > 0
    assert kill['aftermath']['takeover_ms'] > 0
    assert {b['name'] for b in kill['backends']} == {'b1', 'b2', 'b3'}  # it needs no standby


def test_tables_tell_what_happened(bench):
    out, err = bench.run('--binary', RINGPROXY, bench.scenario(KILL, duration='3s'))
    assert err == ''
    for line in out.splitlines():
        assert len(line) <= 110, line
    sent, answered = re.search(r'^  requests  (\d+) sent, (\d+) answered, 0 without answer', out,
                               re.MULTILINE).groups()
    assert 0 < int(sent) == int(answered) <= 3 * RATE
    assert list(bench.temp.iterdir()) == []


def test_kept_files_are_said_and_good(bench):
    _, err = bench.run('--binary', RINGPROXY, '--keep', bench.scenario(KILL, duration='3s'))
    (folder,) = bench.temp.iterdir()
    assert str(folder) in err
    assert harness.run('check', '-c', folder / 'proxy.conf').returncode == 0
    assert 'b2 listening' in (folder / 'b2.log').read_text()


# --- what is wrong ----------------------------------------------------------------------------

def test_a_bad_scenario_is_told_with_its_place(bench):
    bad = bench.scenario(['at: 1s, do: kill, server: b7'])
    worse = bench.scenario(['at: 1s, do: start, server: b1'], name='worse', rate='fast')
    out, err = bench.run(bad, worse, bench.scenario(KILL, name='good'), expect=2)
    assert out == ''
    assert f'{bad}:10:32: events[0].server: b7 is no server, allowed b1 to b3, s1\n' in err
    assert f'{worse}:6:7: rate: fast is not a whole number, allowed 1 to 100000\n' in err
    assert list(bench.temp.iterdir()) == []


def test_bad_usage(bench):
    _, err = bench.run(expect=2)
    assert 'bench/scenarios/*.yaml' in err
    _, err = bench.run('--proxy', 'squid', bench.scenario(KILL), expect=2)
    assert 'ringproxy, haproxy, nginx' in err
    bench.run('--nonsense', expect=2)
    out, _ = bench.run('--help')
    assert '--proxy' in out


def test_the_scenarios_of_the_folder_are_good(bench):
    """A program that ends at once shows that they were read: a bad one is told before."""
    files = sorted((ROOT / 'bench' / 'scenarios').glob('*.yaml'))
    assert {f.stem for f in files} >= {'kill', 'hang', '500s', 'flap', 'two-at-once',
                                       'rolling-restart'}
    (bench.folder / 'bench').symlink_to(ROOT / 'bench')
    for arguments in (files, ()):
        _, err = bench.run('--binary', '/bin/false', *arguments, expect=1)
        assert '500s: ringproxy ended with exit code 1' in err
    assert list(bench.temp.iterdir()) == []


def test_a_proxy_that_is_missing_or_ends_is_told(bench):
    scenario = bench.scenario(KILL)
    _, err = bench.run('--binary', '/nonexistent/ringproxy', scenario, expect=1)
    assert '/nonexistent/ringproxy: no such program' in err
    script = bench.folder / 'broken'
    script.write_text('#!/bin/sh\necho "cannot bind: it is raining" >&2\nexit 7\n')
    script.chmod(0o755)
    out, err = bench.run('--proxy', 'nginx', '--binary', script, scenario, expect=1)
    assert out == ''
    assert 'test: nginx ended with exit code 7' in err and 'it is raining' in err
    bench.environment['PATH'] = '/nonexistent'
    if not any(pathlib.Path(d, 'haproxy').exists() for d in ('/usr/local/sbin', '/usr/sbin', '/sbin')):
        _, err = bench.run('--proxy', 'haproxy', scenario, expect=1)
        assert 'not installed' in err
    assert list(bench.temp.iterdir()) == []


def test_a_file_that_cannot_be_written_is_told_before_the_run(bench):
    _, err = bench.run('--json', '/nonexistent/x.json', bench.scenario(KILL), expect=1)
    assert '/nonexistent/x.json: No such file or directory' in err
    assert list(bench.temp.iterdir()) == []


# --- nothing is left behind -------------------------------------------------------------------

def children(pid):
    try:
        text = pathlib.Path(f'/proc/{pid}/task/{pid}/children').read_text(encoding='ascii')
    except OSError:
        return []
    return [int(one) for one in text.split()]


def command(pid):
    try:
        return pathlib.Path(f'/proc/{pid}/cmdline').read_bytes().replace(b'\0', b' ').decode()
    except OSError:
        return ''


def family(process, n):
    """All processes below, once there are at least n children."""
    first = wait_until(lambda: len(children(process.pid)) >= n and children(process.pid),
                       f'{n} children', deadline=30)
    return first + [grandchild for one in first for grandchild in children(one)]


def find(pids, words):
    """The one whose command has these words; a child that was just made has its parent's."""
    return wait_until(lambda: [p for p in pids if words in command(p)], words)[0]


def gone(pids):
    return all(not os.path.exists(f'/proc/{p}') for p in pids)


@pytest.mark.parametrize('proxy', ['ringproxy', 'haproxy', 'nginx'])
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing_behind(bench, proxy, number):
    binary = ('--binary', BINARY[proxy]) if BINARY[proxy] else ()
    stop = bench.scenario(['at: 500ms, do: stop, server: b1'], duration='100s')
    process = bench.start('--proxy', proxy, *binary, stop)
    servers = 3 if proxy == 'nginx' else 4
    pids = family(process, servers + 1)  # all, and the proxy
    b1 = find(pids, '--name b1')
    wait_until(lambda: pathlib.Path(f'/proc/{b1}/stat').read_text().split(') ')[1][0] == 'T',
               'b1 to be stopped')
    process.send_signal(number)
    out, err = bench.end(process, expect=1)
    assert out == '' and f'test: interrupted by {number.name}' in err
    wait_until(lambda: gone(pids), 'all of them to be gone')  # orphans are reaped by others
    assert list(bench.temp.iterdir()) == []


def test_a_signal_during_the_start_leaves_nothing_behind(bench):
    script = bench.folder / 'deaf'
    script.write_text('#!/bin/sh\nexec sleep 1000\n')
    script.chmod(0o755)
    process = bench.start('--binary', script, bench.scenario(KILL))
    pids = family(process, 5)
    process.send_signal(signal.SIGINT)
    bench.end(process, expect=1)
    wait_until(lambda: gone(pids), 'all of them to be gone')  # orphans are reaped by others
    assert list(bench.temp.iterdir()) == []


def test_a_proxy_that_does_not_end_is_killed_after_a_second_signal(bench):
    script = bench.folder / 'stubborn'
    script.write_text('#!/bin/sh\ntrap "" TERM\necho up\nwhile :; do sleep 1000; done\n')
    script.chmod(0o755)
    process = bench.start('--keep', '--binary', script, bench.scenario(KILL))
    pids = family(process, 5)
    wait_until(lambda: 'up\n' in bench.logs().get('ringproxy.log', ''), 'the trap')
    process.send_signal(signal.SIGINT)
    wait_until(lambda: len(children(process.pid)) == 1, 'the servers to end')
    process.send_signal(signal.SIGINT)
    bench.end(process, expect=1, deadline=9)  # less than it would wait
    wait_until(lambda: gone(pids), 'all of them to be gone')  # orphans are reaped by others


@pytest.mark.parametrize('who', ['--name b3', 'ringproxy run'])
def test_a_process_that_ends_by_itself_is_told(bench, who):
    process = bench.start('--binary', RINGPROXY, bench.scenario(KILL, duration='100s'))
    pids = family(process, 5)
    os.kill(find(pids, who), signal.SIGKILL)
    out, err = bench.end(process, expect=1)
    name = 'b3' if 'b3' in who else 'ringproxy'
    assert out == '' and f'test: {name} was ended by SIGKILL' in err
    wait_until(lambda: gone(pids), 'all of them to be gone')  # orphans are reaped by others
    assert list(bench.temp.iterdir()) == []
