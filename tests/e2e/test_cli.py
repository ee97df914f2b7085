"""The commands that need no network: check, route, help."""

import re
import shlex
import signal
import subprocess

import pytest

import harness
import pace
from harness import RINGBENCH, flow, route, run

POOL = '''pools:
  - name: {name}
    when_down: {when_down}
    backends:
      - {{name: {p}1, address: 127.0.0.1:1}}
      - {{name: {p}2, address: 127.0.0.1:2, weight: 2}}
      - {{name: {p}3, address: 127.0.0.1:3}}
    standbys:
      - {{name: {p}s, address: 127.0.0.1:4}}
'''


@pytest.fixture
def config(tmp_path):
    def write(when_down='next', second=False):
        path = tmp_path / 'ringproxy.yaml'
        text = 'listeners:\n  - {name: web, listen: 127.0.0.1:1, pool: a}\n'
        text += POOL.format(name='a', p='a', when_down=when_down)
        if second:
            text += POOL.format(name='b', p='b', when_down=when_down).replace('pools:\n', '')
        path.write_text(text)
        return path
    return write


KEYS = [f'k{i}' for i in range(300)]


def test_version_and_help():
    done = run('--version')
    assert done.returncode == 0 and re.fullmatch(r'ringproxy \d+\.\d+\.\d+\n', done.stdout)
    done = run('--help')
    assert done.returncode == 0 and done.stderr == ''
    for word in ('run', 'check', 'route', 'demo', '-c'):
        assert word in done.stdout
    done = run('--version', program=RINGBENCH)
    assert done.returncode == 0 and re.fullmatch(r'ringbench \d+\.\d+\.\d+\n', done.stdout)
    done = run('--help', program=RINGBENCH)
    assert done.returncode == 0 and 'serve' in done.stdout and 'ring' in done.stdout
    assert run('nonsense', program=RINGBENCH).returncode == 2


@pytest.mark.parametrize('command', ['demo', 'run', 'status', 'reload', 'check', 'route', 'plan'])
def test_each_command_has_help(command):
    for option in ('--help', '-h'):
        done = run(command, option)
        assert done.returncode == 0 and done.stderr == ''
        forms = [line for line in done.stdout.splitlines() if line.startswith('  ringproxy ')]
        assert len(forms) == (2 if command == 'plan' else 1)
        assert all(form.split()[1] == command for form in forms)


@pytest.mark.parametrize('command', ['run', 'status', 'reload', 'check', 'route'])
def test_an_unknown_option_is_named(command):
    done = run(command, '--nonsense')
    assert done.returncode == 2 and done.stdout == ''
    assert done.stderr == f"ringproxy {command}: unknown option --nonsense\nTry 'ringproxy --help'.\n"
    assert f'ringproxy {command}: -c needs a ' in run(command, '-c').stderr


def test_check_of_a_good_file(config, tmp_path):
    done = run('check', '-c', config())
    assert done.returncode == 0 and done.stderr == ''
    assert 'listener web: http on 127.0.0.1:1, pool a\n' in done.stdout
    path = tmp_path / 'tcp.yaml'
    path.write_text(config().read_text().replace('pool: a}', 'pool: a, mode: tcp}'))
    assert 'listener web: tcp on 127.0.0.1:1, pool a\n' in run('check', '-c', path).stdout


def test_route_prints_key_tab_backend(config):
    done = run('route', '-c', config(), 'one', 'two words', 'one')
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [line.split('\t')[0] for line in lines] == ['one', 'two words', 'one']
    assert lines[0] == lines[2]
    assert all(line.split('\t')[1] in ('a1', 'a2', 'a3') for line in lines)


def test_route_reads_keys_from_stdin(config):
    path = config()
    given = run('route', '-c', path, *KEYS).stdout
    assert run('route', '-c', path, stdin='\n'.join(KEYS).encode()).stdout == given
    assert run('route', '-c', path, stdin='\n'.join(KEYS).encode() + b'\n').stdout == given
    empty = run('route', '-c', path, stdin=b'')
    assert (empty.returncode, empty.stdout) == (0, '')


def test_route_is_the_frozen_ring(tmp_path):
    """Version 1 of the layout never changes: these keys were placed by another
    program from its definition."""
    path = tmp_path / 'ringproxy.yaml'
    backends = [{'name': f'cache-{i}', 'address': f'127.0.0.1:{i}'} for i in range(1, 6)]
    path.write_text('listeners:\n  - {name: web, listen: 127.0.0.1:99, pool: p}\npools:\n'
                    f'  - {{name: p, ring: {{vnodes: 160}}, backends: {flow(backends)}}}\n')
    frozen = dict(FROZEN)
    assert route(path, list(frozen)) == frozen


# key, owner: computed once with another XXH3 and a search over all points
FROZEN = [
    ('user-1', 'cache-3'),
    ('user-2', 'cache-2'),
    ('a', 'cache-4'),
    ('session/42', 'cache-1'),
    ('Ä', 'cache-4'),
    ('k' * 300, 'cache-1'),
    ('0', 'cache-3'),
    ('hello world', 'cache-2'),
    ('127.0.0.1', 'cache-5'),
    ('::1', 'cache-1'),
    ('/index.html', 'cache-1'),
    ('abc123', 'cache-3'),
    ('zzz', 'cache-3'),
]


def test_route_down_uses_the_standby_then_the_next(config):
    path = config()
    home = route(path, KEYS)
    assert set(home.values()) == {'a1', 'a2', 'a3'}
    down = route(path, KEYS, '--down', 'a1')
    assert down == {k: 'as' if v == 'a1' else v for k, v in home.items()}
    both = route(path, KEYS, '--down', 'a1', '--down', 'as')
    assert {k for k in KEYS if both[k] != home[k]} == {k for k in KEYS if home[k] == 'a1'}
    assert set(both.values()) == {'a2', 'a3'}
    nobody = route(path, KEYS, *[x for n in ('a1', 'a2', 'a3', 'as') for x in ('--down', n)])
    assert set(nobody.values()) == {'-'}


def test_route_down_as_if_not_in_the_file(config, tmp_path):
    """when_down: next moves keys exactly as if the backend were not configured."""
    path = config()
    both = route(path, KEYS, '--down', 'a2', '--down', 'as')
    text = '\n'.join(line for line in path.read_text().splitlines() if 'name: a2' not in line)
    other = tmp_path / 'without.yaml'
    other.write_text(text + '\n')
    assert route(other, KEYS) == both


def test_route_when_down_fail(config):
    path = config(when_down='fail')
    home = route(path, KEYS)
    both = route(path, KEYS, '--down', 'a3', '--down', 'as')
    assert both == {k: '-' if v == 'a3' else v for k, v in home.items()}


def test_route_among_several_pools(config):
    path = config(second=True)
    assert run('route', '-c', path, 'x').returncode == 2
    assert run('route', '-c', path, '--pool', 'nothing', 'x').returncode == 2
    done = run('route', '-c', path, '--pool', 'b', 'x')
    assert done.returncode == 0 and re.fullmatch(r'x\tb[123]\n', done.stdout)


@pytest.mark.parametrize('arguments', [['--down', 'nobody'], ['--pool', 'nothing'], ['--nonsense']])
def test_route_refuses_unknown_names(config, arguments):
    done = run('route', '-c', config(), *arguments, 'x')
    assert done.returncode == 2 and done.stdout == ''
    assert arguments[-1] in done.stderr


def test_route_takes_any_bytes_as_key(config):
    path = config()
    odd = ['', ' ', 'Ä', 'a\tb', 'x' * 100000, '-c', '--down']
    done = run('route', '-c', path, '--', *[k for k in odd if k])
    assert done.returncode == 0
    assert [line.rpartition('\t')[0] for line in done.stdout.splitlines()] == [k for k in odd if k]


def test_order_in_the_file_is_nothing(tmp_path):
    backends = [{'name': f'b{i}', 'address': f'127.0.0.1:{i}', 'weight': i} for i in range(1, 8)]
    standbys = [{'name': f's{i}', 'address': f'127.0.0.1:{i + 20}'} for i in range(1, 4)]
    answers = []
    for turn in (1, -1):
        path = tmp_path / f'{turn}.yaml'
        path.write_text(harness.yaml_text(
            {}, [{'name': 'web', 'listen': '127.0.0.1:99', 'pool': 'p'}],
            [{'name': 'p', 'backends': backends[::turn], 'standbys': standbys[::turn]}]))
        answers.append([route(path, KEYS), route(path, KEYS, '--down', 'b7', '--down', 'b2'),
                        route(path, KEYS, '--down', 'b7', '--down', 'b2', '--down', 's1',
                              '--down', 'b1')])
    assert answers[0] == answers[1]


def test_demo_serves_and_ends_well(tmp_path):
    demo = harness.Daemon([harness.RINGPROXY, 'demo'], tmp_path, 'demo').start()
    try:
        text = harness.wait_until(
            lambda: not demo.running() or ('curl' in demo.out() and demo.out()), 'the curl line')
        assert demo.running(), demo.err()
        line = next(line for line in text.splitlines() if line.lstrip().startswith('curl'))
        port = int(re.search(r'http://127\.0\.0\.1:(\d+)', line).group(1))
        harness.wait_until(lambda: harness.accepts(port), 'the demo to listen')
        arguments = shlex.split(line)
        answers = set()
        for _ in range(5):
            done = subprocess.run([*arguments, '-s', '-m', '10'], capture_output=True, text=True,
                                  check=True, timeout=pace.upper(30))
            answers.add(done.stdout.strip())
        assert len(answers) == 1 and answers.pop()
        demo.signal(signal.SIGINT)
        code = demo.wait()
        assert code == 0 and not harness.SANITIZER_REPORT.search(demo.err()), demo.err()
    finally:
        demo.kill()
