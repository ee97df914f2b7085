"""bench/compare/compare: its arithmetic, the configurations it gives the proxies, and small runs of it. What the
figures are is never asked here, but that there are some."""

import concurrent.futures
import contextlib
import http.client
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import types

import pytest

import harness
from harness import FORWARDER, RINGBENCH, RINGPROXY, ROOT, SLOW
from scripted import Backend, TcpBackend

from compare import figures, measure, processes, proxies, report, workloads  # harness knows where

COMPARE = ROOT / 'bench' / 'compare' / 'compare'
DOC = ROOT / 'docs' / 'performance.md'
ALL = ('ringproxy', 'haproxy', 'nginx', 'forwarder')

def load_compare():
    """The program as a module."""
    loader = importlib.machinery.SourceFileLoader('compare', str(COMPARE))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader('compare', loader))
    loader.exec_module(module)
    return module


two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason='needs two cores')


# --- arithmetic -------------------------------------------------------------------------------

def bursts(*values, key='cpu_us'):
    """None: a burst that does not count."""
    return [{'ok': v is not None, 'errors': 0 if v is not None else 3, 'disturbed': False,
             'proxy_busy': 1.0, 'proxy_demand': 1.0, 'load_busy': 0.5, key: v} for v in values]


@pytest.mark.parametrize('values,expected', [([], None), ([3], 3), ([3, 1, 2], 2), ([4, 1, 2, 3], 2.5)])
def test_median(values, expected):
    assert figures.median(values) == expected


def test_ratios_are_taken_round_by_round():
    """A drift that both saw cancels out; a round in which one does not count is left out."""
    assert figures.ratios(bursts(10, 20, 40), bursts(20, 40, 80), 'cpu_us') == [0.5, 0.5, 0.5]
    assert figures.ratios(bursts(10, None, 40), bursts(20, 40, None), 'cpu_us') == [0.5]
    assert figures.ratios(bursts(None), bursts(1), 'cpu_us') == []
    assert figures.ratios(bursts(1), bursts(0), 'cpu_us') == []


def test_interval_holds_the_median_and_is_the_same_each_time():
    sample = [0.61, 0.66, 0.64, 0.70, 0.65, 0.63, 0.67]
    low, high = figures.interval(sample)
    assert (low, high) == figures.interval(list(sample))
    assert min(sample) <= low <= figures.median(sample) <= high <= max(sample)
    assert figures.interval([0.5] * 9) == (0.5, 0.5)
    # one wild round does not move it far, more agreeing rounds make it narrower
    assert figures.interval(sample * 3 + [9.0])[1] < 0.71
    wide, narrow = figures.interval(sample), figures.interval(sample * 8)
    assert narrow[1] - narrow[0] < wide[1] - wide[0]


def test_no_interval_of_few_rounds():
    assert figures.interval([1.0] * 4) is None
    assert figures.ratio_text([0.5, 0.7]) == '0.60'
    assert figures.ratio_text([0.5] * 5) == '0.50 (0.50-0.50)'
    assert figures.ratio_text([]) == '-'


@pytest.mark.parametrize('value,text', [
    (None, '-'), (0, '0'), (0.01234, '0.0123'), (1.2, '1.20'), (9.996, '10.00'), (12.34, '12.3'),
    (123.4, '123'), (1234.5, '1,230'), (98765, '98,800')])
def test_numbers_as_people_read_them(value, text):
    assert figures.significant(value) == text


def test_the_better_of_two_tries():
    good, noisy, bad = ({'ok': True, 'foreign': 0.01}, {'ok': True, 'foreign': 0.4}, {'ok': False})
    assert figures.better(None, bad) is bad
    assert figures.better(bad, noisy) is noisy and figures.better(noisy, bad) is noisy
    assert figures.better(noisy, good) is good and figures.better(good, noisy) is good


RESULT = {'seconds': 2.0, 'sent': 1000, 'answered': 1000, 'failed': 0, 'unsent': 0,
          'statuses': {'200': 1000}, 'errors': {}, 'keys': {'moves': 0},
          'latency_us': {'p50': 100.0, 'p99': 900.0, 'max': 2000.0}}


def load_figures(name='keepalive', hashes=True, **changed):
    return measure.load_figures({**RESULT, **changed}, {'proxy_cpu_s': 0.5},
                                workloads.WORKLOADS[name], hashes)


def test_figures_of_a_burst():
    one = load_figures()
    assert (one['ok'], one['errors'], one['per_s'], one['cpu_us']) == (True, 0, 500, 500)
    assert (one['p50_us'], one['p99_us']) == (100, 900)
    large = load_figures('large')  # 1000 answers of 1 MiB
    assert (large['per_s'], large['cpu_us']) == (500, 500)


@pytest.mark.parametrize('changed', [
    {'failed': 1}, {'statuses': {'200': 999, '503': 1}}, {'statuses': {'302': 1000}},
    {'keys': {'moves': 2}}, {'unsent': 11}, {'answered': 0, 'latency_us': None}])
def test_a_burst_with_errors_does_not_count(changed):
    assert not load_figures(**changed)['ok']


STREAM = {'seconds': 2.0, 'bytes_in': 1000 << 20, 'failed': 0, 'errors': {}}


def test_figures_of_tcp():
    pong = load_figures('pingpong', statuses={})
    assert (pong['ok'], pong['per_s'], pong['cpu_us'], pong['p50_us']) == (True, 500, 500, 100)
    stream = measure.stream_figures(STREAM, {'proxy_cpu_s': 0.5})  # 1000 MiB
    assert (stream['ok'], stream['per_s'], stream['cpu_us']) == (True, 500, 500)
    assert stream['p99_us'] is None


@pytest.mark.parametrize('changed,said', [
    ({'failed': 1, 'errors': {'reset': 1, 'closed': 0}}, '1 connections failed (reset 1)'),
    ({'bytes_in': 0}, 'nothing')])
def test_a_broken_stream_does_not_count(changed, said):
    burst = measure.stream_figures({**STREAM, **changed}, {'proxy_cpu_s': 0.5})
    assert not burst['ok'] and said in measure.told(burst)


def test_a_few_left_over_at_the_end_are_no_error():
    assert load_figures(unsent=10)['ok']


def test_who_hashes_nothing_may_move_keys():
    assert load_figures(hashes=False, keys={'moves': 2})['ok']


@pytest.mark.parametrize('allowed,twins,expected', [
    ({0, 1}, {}, (0, 1, 1)),
    ({2, 5}, {}, (2, 5, 5)),
    ({0, 1, 2, 3}, {}, (0, 1, 2)),
    ({0, 1}, {0: 1}, (0, 1, 1)),                  # nothing better there
    ({0, 1, 2, 3}, {0: 1, 2: 3}, (0, 2, 2)),      # two pieces of hardware
    ({0, 1, 2, 3}, {0: 2, 1: 3}, (0, 1, 1)),
    ({0, 1, 2, 3, 4, 5}, {0: 1, 2: 3, 4: 5}, (0, 2, 4)),
])
def test_cores_are_apart(allowed, twins, expected):
    pairs = {**twins, **{b: a for a, b in twins.items()}}
    assert processes.choose_cores(allowed, lambda c: {c, pairs.get(c, c)}) == expected


@pytest.mark.parametrize('allowed', [set(), {0}])
def test_one_core_is_not_enough(allowed):
    with pytest.raises(processes.Trouble, match='two cores'):
        processes.choose_cores(allowed)


# --- tables -----------------------------------------------------------------------------------

def made_report(rounds, name='keepalive'):
    workload = workloads.WORKLOADS[name]
    return {'started': '2026-01-02T03:04:05Z', 'proxies': list(rounds), 'cores': [0, 1, 1],
            'machine': {'cpu': 'Some CPU', 'cores': 2, 'kernel': '6.1', 'system': 'Debian'},
            'settings': {'rounds': 5, 'secs': 1.0, 'noise': 0.05},
            'versions': {p: f'{p} 1.0' for p in rounds},
            'workloads': {name: {'title': workload.title, 'rate': 0, 'rounds': rounds,
                                 'summary': report.summarise('a', workload, rounds)}}}


def test_table_of_a_workload():
    made = made_report({'a': bursts(*[10] * 5), 'b': bursts(*[20] * 4, None)})
    lines = report.table('keepalive', made['workloads']['keepalive']).splitlines()
    assert lines[0] == '| | CPU µs a request | ratio | requests/s | ratio | p99 ms | ratio | proxy core |'
    assert lines[2] == '| a | 10.0 | | - | | - | | 100 % |'
    assert lines[3] == '| b | 20.0 | 0.50 | - | - | - | - | 100 % |'
    assert len({line.count('|') for line in lines}) == 1


def test_table_of_a_stream():
    made = made_report({'a': bursts(*[10] * 5), 'b': bursts(*[20] * 5)}, 'bulk')
    lines = report.table('bulk', made['workloads']['bulk']).splitlines()
    assert lines[0] == '| | CPU µs a MiB | ratio | MiB/s | ratio | proxy core |'
    assert lines[3] == '| b | 20.0 | 0.50 (0.50-0.50) | - | - | 100 % |'
    assert '**bulk**: ' + workloads.WORKLOADS['bulk'].note[:20] in report.document(made)


def test_nothing_is_compared_with_a_proxy_that_takes_no_part():
    """The first one of the run has no part in this workload."""
    made = made_report({'b': bursts(10), 'c': bursts(20)}, 'pingpong')
    made['proxies'] = ['a', 'b', 'c']
    assert f'| {workloads.WORKLOADS["pingpong"].title} | CPU µs a message | - | - |' in \
        report.document(made)
    assert report.complete(made)


def test_overview_and_notes():
    made = made_report({'a': bursts(*[10] * 5), 'b': bursts(*[20] * 5), 'c': bursts(None)})
    text = report.document(made)
    assert f'| {workloads.WORKLOADS["keepalive"].title} | CPU µs a request | 0.50 (0.50-0.50) | - |' \
        in text
    assert '1 bursts had errors' in text and 'Some CPU' in text and 'b 1.0' in text
    assert not report.complete(made)
    assert report.complete(made_report({'a': bursts(1), 'b': bursts(1)}))
    assert not re.search(r'[ \t]$', text, re.M)


def test_an_idle_proxy_core_is_told():
    slow = bursts(10)
    slow[0].update(proxy_busy=0.7, proxy_demand=0.72)
    text = report.document(made_report({'a': slow}))
    assert '| 70 % * |' in text and 'not the bottleneck' in text
    assert 'not the bottleneck' not in report.document(made_report({'a': bursts(10)}))
    assert 'not the bottleneck' not in report.document(made_report({'a': slow}, 'rate'))


def test_only_what_is_between_the_markers_is_replaced():
    text = f'before\n{report.BEGIN}\nold\n\nolder\n{report.END}\nafter, without a newline'
    once = report.replace_between(text, 'new\n\nlines\n')
    assert once == f'before\n{report.BEGIN}\nnew\n\nlines\n{report.END}\nafter, without a newline'
    assert report.replace_between(once, 'new\n\nlines\n') == once


@pytest.mark.parametrize('text', ['', report.BEGIN, f'{report.END}\n{report.BEGIN}',
                                  f'{report.BEGIN}\n{report.END}\n{report.BEGIN}'])
def test_without_its_markers_a_document_is_left_alone(text):
    with pytest.raises(processes.Trouble):
        report.replace_between(text, 'new')


def test_the_markers_are_in_the_document():
    text = DOC.read_text()
    head, tail = text.split(report.BEGIN)[0], text.split(report.END)[1]
    out = report.replace_between(text, 'new')
    assert out == f'{head}{report.BEGIN}\nnew\n{report.END}{tail}'


# --- the same work for all --------------------------------------------------------------------

class Served:
    """A proxy with the configuration of bench/compare/proxies.py before three scripted backends."""

    def __init__(self, name, kind=Backend):
        self.proxy = proxies.find(name, {'ringproxy': RINGPROXY})
        assert self.proxy, f'{name} is not installed'
        self.backends = [kind(f'b{i}') for i in range(3)]

    @contextlib.contextmanager
    def running(self, bulk=False, tcp=False):
        try:
            with processes.Stage() as stage:
                job = proxies.Job(stage.new_folder(), stage.free_port(),
                                  tuple(b.port for b in self.backends),
                                  measure.most_connections() + 100, tcp, bulk)
                with stage.running(self.proxy.command(job), min(os.sched_getaffinity(0)),
                                   job.folder, self.proxy.exit_code) as child:
                    harness.wait_until(
                        lambda: harness.accepts(job.port) or not child.running(), 'the proxy')
                    yield job.port
        finally:
            for b in self.backends:
                b.stop()

    def connections(self):
        return sum(b.connections for b in self.backends)


def ask(port, keys):
    """Who answered, a name a key, all over one connection."""
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=20 * SLOW)
    out = []
    for key in keys:
        connection.request('GET', '/path?q', headers={'X-Key': key})
        answer = connection.getresponse()
        out.append(answer.read().decode())
        assert answer.status == 200 and 'Via' in answer.headers and not answer.will_close
    connection.close()
    return out


all_that_read = pytest.mark.parametrize('name', ['ringproxy', 'haproxy', 'nginx'])


@all_that_read
@pytest.mark.parametrize('bulk', [False, True])
def test_each_proxy_does_the_same_work(name, bulk):
    served = Served(name)
    keys = [f'key{i}' for i in range(20)]
    with served.running(bulk) as port:
        owners = ask(port, keys)
        assert ask(port, keys) == owners and len(set(owners)) > 1
        for b in served.backends:
            assert b.connections <= 1, f'{b.name}: {b.connections} connections, one after another'
            for request in b.served():
                assert request.target == '/path?q'
                assert request.get('X-Forwarded-For') == '127.0.0.1'
                assert request.get('X-Forwarded-Proto') == 'http'
                assert request.get('X-Forwarded-Host') == request.get('Host') == \
                    f'127.0.0.1:{port}'
                assert request.get('Via').startswith('1.1 ')


@all_that_read
def test_connections_to_backends_are_kept_under_load(name):
    """64 clients at once need at most as many connections to a backend, however much they ask."""
    served = Served(name)
    with served.running() as port, concurrent.futures.ThreadPoolExecutor(64) as pool:
        list(pool.map(lambda i: ask(port, [f'key{i}-{k}' for k in range(30)]), range(64)))
        assert sum(len(b.served()) for b in served.backends) == 64 * 30
        assert served.connections() <= 64 * 3


def meet(port, source):
    """Which backend a client of that address meets; a MiB goes there and back unchanged."""
    data = os.urandom(1 << 20)
    with socket.create_connection(('127.0.0.1', port), 20 * SLOW, (source, 0)) as s, \
            s.makefile('rb') as reader, concurrent.futures.ThreadPoolExecutor(1) as writer:
        who = reader.readline()
        sent = writer.submit(s.sendall, data)
        assert reader.read(len(data)) == data
        sent.result()
    return who


@all_that_read
@pytest.mark.parametrize('bulk', [False, True])
def test_each_proxy_carries_tcp_by_the_address_of_the_client(name, bulk):
    served = Served(name, TcpBackend)
    sources = [f'127.0.{i}.{i + 1}' for i in range(20)]
    with served.running(bulk, tcp=True) as port:
        owners = [meet(port, s) for s in sources]
        assert [meet(port, s) for s in sources] == owners and len(set(owners)) > 1


@contextlib.contextmanager
def one_answer(data):
    """A server that says this to one client, and closes: its port."""
    with socket.create_server(('127.0.0.1', 0)) as listener, \
            concurrent.futures.ThreadPoolExecutor(1) as pool:
        listener.settimeout(20 * SLOW)

        def serve():
            with listener.accept()[0] as s:
                s.recv(100)
                s.sendall(data)
        done = pool.submit(serve)
        yield listener.getsockname()[1]
        done.result()


@pytest.mark.parametrize('data,trouble', [
    (b'start', None), (b'stark', processes.Trouble), (b'star', ConnectionError)])
def test_bytes_through_a_proxy_are_looked_at_before_a_burst(data, trouble):
    with one_answer(data) as port, \
            pytest.raises(trouble) if trouble else contextlib.nullcontext():
        measure.check_bytes(port, *measure.TCP_CHECKS['echo'])


@pytest.mark.parametrize('arguments,there,missing', [
    ('--with-stream --with-x', False, None),
    ('--modules-path={} --with-stream=dynamic', True, None),
    ('--modules-path={} --with-stream=dynamic', False, 'libnginx-mod-stream'),
    ('--with-stream_ssl_module', False, 'libnginx-mod-stream')])
def test_nginx_without_its_module_is_left_out_of_tcp_alone(arguments, there, missing, tmp_path, capsys):
    program = tmp_path / 'nginx'
    program.write_text(f'#!/bin/sh\necho "configure arguments: {arguments.format(tmp_path)}" >&2\n')
    program.chmod(0o755)
    if there:
        (tmp_path / 'ngx_stream_module.so').touch()
    nginx = proxies.find(f'nginx@{program}', {})
    assert (nginx.missing(tcp=True), nginx.missing(tcp=False)) == (missing, None)
    compare = load_compare()
    assert compare.takes_part(nginx, workloads.WORKLOADS['pingpong']) == (missing is None)
    assert compare.takes_part(nginx, workloads.WORKLOADS['keepalive'])
    assert ('left out of pingpong' in capsys.readouterr().err) == (missing is not None)


# --- runs of it -------------------------------------------------------------------------------

class Runs:
    """bench/compare/compare with its temporary folder in one of ours."""

    def __init__(self, folder):
        self.temporary = folder / 'temporary'
        self.temporary.mkdir()
        self.env = {**os.environ, 'TMPDIR': str(self.temporary), 'RINGPROXY': RINGPROXY,
                    'RINGBENCH': RINGBENCH, 'FORWARDER': FORWARDER}

    def start(self, *arguments, cores=None, **more):
        env = {**self.env, **more}
        return subprocess.Popen(
            [sys.executable, str(COMPARE), *map(str, arguments)], env=env, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None)

    def run(self, *arguments, **more):
        process = self.start(*arguments, **more)
        out, err = process.communicate(timeout=300 * SLOW)
        self.check_nothing_left()
        return process.returncode, out, err

    def processes(self):
        """Those that work in our temporary folder: {pid: command line}."""
        out = {}
        for entry in filter(str.isdigit, os.listdir('/proc')):
            try:
                if os.readlink(f'/proc/{entry}/cwd').startswith(str(self.temporary)):
                    out[int(entry)] = pathlib.Path(f'/proc/{entry}/cmdline').read_bytes().split(b'\0')
            except OSError:  # not ours to look at, or gone
                pass
        return out

    def check_nothing_left(self):
        assert self.processes() == {}
        assert list(self.temporary.iterdir()) == []


@pytest.fixture
def runs(tmp_path):
    return Runs(tmp_path)


SHORT = ('--rounds', 1, '--tries', 1, '--secs', 0.2)


@two_cores
def test_a_tiny_run_has_figures_of_all_and_fills_the_document(runs, tmp_path):
    doc, result = tmp_path / 'copy.md', tmp_path / 'result.json'
    shutil.copy(DOC, doc)
    code, out, err = runs.run(*SHORT, '--workloads', 'keepalive,close', '--json', result,
                              '--write', '--doc', doc)
    assert code == 0, err
    told = json.loads(result.read_text())
    assert list(told['workloads']) == ['keepalive', 'close'] and told['proxies'] == list(ALL)
    for name, one in told['workloads'].items():
        for proxy in ALL:
            (burst,) = one['rounds'][proxy]
            assert burst['ok'] and burst['errors'] == 0, (name, proxy, burst)
            for key in ('answered', 'per_s', 'cpu_us', 'p50_us', 'p99_us', 'proxy_busy'):
                assert burst[key] > 0, (name, proxy, key, burst)
            ratios = one['summary'][proxy]['ratios']
            assert ratios == {} if proxy == ALL[0] else all(r > 0 for (r,) in ratios.values())
    before, after = DOC.read_text(), doc.read_text()
    assert after == report.replace_between(before, out)
    assert after == report.replace_between(after, out)
    assert after.split(report.BEGIN)[0] == before.split(report.BEGIN)[0]
    assert after.split(report.END)[1] == before.split(report.END)[1]
    for proxy in ALL:
        assert re.search(rf'^\| {proxy} \| [\d.,]+ \|', out, re.M)


@two_cores
def test_a_tiny_run_of_tcp_has_figures_of_all(runs, tmp_path):
    result = tmp_path / 'result.json'
    code, out, err = runs.run(*SHORT, '--workloads', 'pingpong,bulk', '--json', result)
    assert code == 0, err
    told = json.loads(result.read_text())['workloads']
    assert list(told) == ['pingpong', 'bulk']
    for name, keys in (('pingpong', ('answered', 'p50_us', 'p99_us')), ('bulk', ('bytes',))):
        for proxy in ALL:
            (burst,) = told[name]['rounds'][proxy]
            assert burst['ok'] and burst['errors'] == 0, (name, proxy, burst)
            for key in (*keys, 'per_s', 'cpu_us', 'proxy_busy'):
                assert burst[key] > 0, (name, proxy, key, burst)
            ratios = told[name]['summary'][proxy]['ratios']
            assert ratios == {} if proxy == ALL[0] else all(r > 0 for (r,) in ratios.values())
    assert 'splice-auto' in out


@two_cores
@pytest.mark.parametrize('workload', ['post', 'large', 'rate', 'pingpong', 'bulk'])
def test_the_other_loads_run_without_errors(workload, runs, tmp_path):
    result = tmp_path / 'result.json'
    code, out, err = runs.run(*SHORT, '--workloads', workload, '--rate', 200, '--json', result,
                              '--proxies', 'ringproxy,forwarder-splice')
    assert code == 0, err
    rounds = json.loads(result.read_text())['workloads'][workload]['rounds']
    assert all(b['errors'] == 0 and b['per_s'] > 0 for (b,) in rounds.values())
    assert ('200 requests a second' in out) == (workload == 'rate')


@two_cores
def test_memory_of_idle_connections(runs, tmp_path):
    result = tmp_path / 'result.json'
    code, out, err = runs.run(*SHORT, '--workloads', 'idle', '--idle-connections', 1000,
                              '--json', result)
    assert code == 0, err
    one = json.loads(result.read_text())['workloads']['idle']
    for proxy in ALL:
        (burst,) = one['rounds'][proxy]
        assert burst['bytes_per_connection'] > 0 and burst['connections'] == 1000
    assert '| ringproxy |' in out


@two_cores
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_nothing_behind(runs, number):
    process = runs.start('--secs', 500, '--workloads', 'keepalive', '--proxies', 'nginx,ringproxy')
    try:
        seen = harness.wait_until(
            lambda: process.poll() is not None or (
                sum(b'http' in c for c in runs.processes().values()) == 1 and
                runs.processes()), 'a load to run', 30)
        assert process.poll() is None, process.communicate()
        assert len(seen) >= 4, seen  # load, backends, nginx and its worker
        process.send_signal(number)
        out, err = process.communicate(timeout=60 * SLOW)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 128 + number and out == '', (out, err)
    runs.check_nothing_left()


def test_one_core_is_refused(runs):
    code, out, err = runs.run(cores={min(os.sched_getaffinity(0))})
    assert code == 1 and out == '' and 'at least two cores' in err


@two_cores
def test_a_proxy_that_does_not_work_is_an_error_and_writes_nothing(runs, tmp_path):
    doc = tmp_path / 'copy.md'
    shutil.copy(DOC, doc)
    code, out, err = runs.run(*SHORT, '--workloads', 'keepalive', '--write', '--doc', doc,
                              '--proxies', 'forwarder,ringproxy@/bin/false')
    assert code == 1 and 'false did not start' in err and 'nothing was written' in err
    assert '| forwarder |' in out and '| ringproxy@/bin/false | - | - |' in out
    assert doc.read_text() == DOC.read_text()


def test_a_package_that_is_missing_is_named_and_its_proxy_left_out(monkeypatch, capsys):
    compare = load_compare()
    monkeypatch.setattr(shutil, 'which', lambda *_, **__: None)
    asked = types.SimpleNamespace(proxies='haproxy,forwarder,nginx', ringproxy=RINGPROXY,
                                  forwarder=FORWARDER)
    assert [p.name for p in compare.find_proxies(asked)] == ['forwarder']
    err = capsys.readouterr().err
    assert 'haproxy is left out' in err and 'apt-get install nginx' in err
    asked.proxies = 'nginx'
    with pytest.raises(processes.Trouble, match='none'):
        compare.find_proxies(asked)


@pytest.mark.parametrize('arguments,said', [
    (['--proxies', 'squid'], 'no such proxy: squid'),
    (['--proxies', 'ringproxy@'], 'no such proxy: ringproxy@'),
    (['--workloads', 'keepalive,tcp'], 'no such workload: tcp'),
    (['--rounds', '0'], 'not within 1 to 1000'),
    (['--secs', 'x'], 'invalid float value'),
])
def test_bad_usage(runs, arguments, said):
    code, out, err = runs.run(*arguments, cores=None)
    assert (code, out) == (2, '') and said in err


def test_a_document_without_markers_is_told_at_once(runs, tmp_path):
    doc = tmp_path / 'plain.md'
    doc.write_text('nothing\n')
    code, out, err = runs.run('--write', '--doc', doc)
    assert (code, out) == (1, '') and report.BEGIN in err and doc.read_text() == 'nothing\n'
