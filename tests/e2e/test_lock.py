"""`ringproxy lock`: exit codes, signals, what happens when the lock is lost. docs/lock.md."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

import locked
import pace
from harness import wait_until
from locked import Locked, alive, epoch, holder, key, wait_gone

# Says the time again and again, whatever it is sent.
STUBBORN = '''
import signal, sys, time
for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(s, lambda n, _: print(f"got {n}", flush=True))
print("ready", flush=True)
with open(sys.argv[1], "w") as f:
    while True:
        f.seek(0)
        f.write(f"{time.monotonic():20.6f}")
        f.flush()
        time.sleep(0.002)
'''

# Two processes of one group; each tells of the signal, the inner one first.
TWO = '''
import os, signal, sys
number = int(sys.argv[1])
signal.pthread_sigmask(signal.SIG_BLOCK, {number})
inner = os.fork()
if inner == 0:
    print("inner ready", flush=True)
signal.sigwait({number})
if inner:
    os.wait()
print("outer" if inner else "inner", flush=True)
sys.exit(3)
'''


@pytest.fixture
def lock(redis, tmp_path):
    """lock(arguments...) starts one on the Redis of the test."""
    made = []

    def start(*arguments, url=None, **more):
        made.append(Locked(tmp_path, url or redis.url(), *arguments, **more))
        return made[-1]
    yield start
    for one in made:
        one.close()


@pytest.fixture
def ttl():
    """One that a slow machine keeps: (seconds, as an option has it)."""
    seconds = pace.stretched(1.0)
    return seconds, f'--ttl={pace.ms(seconds)}'


def stubborn(tmp_path):
    """The arguments of such a command, and where its last time stands."""
    path = tmp_path / 'stamp'
    return ['--', sys.executable, '-c', STUBBORN, path], path


# --- exit codes -------------------------------------------------------------------------------

@pytest.mark.parametrize('command, code', [
    (['true'], 0), (['sh', '-c', 'exit 7'], 7), (['sh', '-c', 'kill -9 $$'], 137),
    (['sh', '-c', 'kill -TERM $$'], 143), (['sh', '-c', 'exit 75'], 75),
    (['/no/such/command'], 127), (['no-such-command'], 127), (['/etc/passwd'], 126), (['/tmp'], 126)])
def test_the_exit_code_is_the_commands(redis, command, code):
    done = locked.run(redis.url(), 'a', '--', *command)
    assert done.returncode == code, done.stderr
    assert (code in (126, 127)) == (command[0] in done.stderr)
    assert holder(redis, 'a') is None


@pytest.mark.parametrize('arguments, word', [
    ([], 'NAME'), (['--', 'true'], 'NAME'), (['a'], 'command'), (['a', '--'], 'command'), (['a', '--', ''], 'command'),
    (['a', 'b', '--', 'true'], 'unexpected b'), (['a{b}', '--', 'true'], 'NAME'), (['', '--', 'true'], 'NAME'),
    (['a b', '--', 'true'], 'NAME'), (['x' * 201, '--', 'true'], 'NAME'), (['a\nb', '--', 'true'], 'NAME'),
    (['--ttl', '499ms', 'a', '--', 'true'], '500ms to 24h'), (['--ttl', '25h', 'a', '--', 'true'], '500ms to 24h'),
    (['--ttl', '10', 'a', '--', 'true'], '500ms to 24h'), (['a', '--ttl', '--', 'true'], '--ttl needs a value'),
    (['--wait', '30', 'a', '--', 'true'], '--wait 30'), (['--wait', '-1s', 'a', '--', 'true'], '--wait -1s'),
    (['--nonsense', 'a', '--', 'true'], '--nonsense'), (['-x', 'a', '--', 'true'], '-x'),
    (['--redis', 'http://h', 'a', '--', 'true'], '--redis')])
def test_bad_usage_is_told(arguments, word):
    done = locked.run('redis://127.0.0.1:1', *arguments)
    assert done.returncode == 2 and word in done.stderr, done
    assert 'true' not in done.stdout


def test_without_a_redis_it_says_where_one_could_be_named():
    done = locked.run(None, 'a', '--', 'true')
    assert done.returncode == 2 and 'RINGPROXY_REDIS' in done.stderr and '--redis' in done.stderr


def test_the_same_name_within_itself_is_refused(redis):
    program = locked.RINGPROXY
    done = locked.run(redis.url(), 'a', '--', program, 'lock', 'a', '--', 'true')
    assert done.returncode == 2 and 'itself' in done.stderr
    assert locked.run(redis.url(), 'a', '--', program, 'lock', 'b', '--', 'sh', '-c', 'exit 9').returncode == 9


def test_options_may_stand_behind_the_name_and_those_of_the_command_are_its_own(redis):
    done = locked.run(None, 'a', '--wait', '5s', '--redis', redis.url(), '--', 'printf', '%s,%s', '--ttl', '--')
    assert (done.returncode, done.stdout) == (0, '--ttl,--')


def test_the_command_gets_name_epoch_and_stdin(redis):
    for _ in range(2):
        done = locked.run(redis.url(), 'some/thing.v1:x@y-z_1', '--', 'sh', '-c',
                          'cat; echo "$RINGPROXY_LOCK_NAME $RINGPROXY_LOCK_EPOCH"', stdin=b'words\n')
        assert done.returncode == 0
        words, line = done.stdout.splitlines()
        assert words == 'words'
        assert line == f'some/thing.v1:x@y-z_1 {epoch(redis, "some/thing.v1:x@y-z_1")}'
    assert abs(epoch(redis, 'some/thing.v1:x@y-z_1') - time.time() * 1000) < pace.upper(60) * 1000


def test_a_unix_socket_will_do(redis):
    assert locked.run(f'unix:{redis.path}', 'a', '--', 'true').returncode == 0


# --- no lock ----------------------------------------------------------------------------------

def test_without_the_lock_the_command_never_runs_and_the_holder_is_named(redis, lock, tmp_path):
    first = lock('a', '--', 'sh', '-c', 'echo ready; exec sleep 100').says('ready')
    who = holder(redis, 'a')
    assert who.endswith(f'/{first.pid}')
    begin = time.monotonic()
    done = locked.run(redis.url(), '--wait', '1200ms', 'a', '--', 'touch', tmp_path / 'ran')
    assert done.returncode == 75 and time.monotonic() - begin >= 1.2
    assert re.search(rf'held by {re.escape(who)} for \d+ s', done.stderr), done.stderr
    done = locked.run(redis.url(), '--wait', '0', 'a', '--', 'touch', tmp_path / 'ran')
    assert done.returncode == 75 and f'held by {who}' in done.stderr
    assert not (tmp_path / 'ran').exists() and holder(redis, 'a') == who


@pytest.mark.parametrize('wait', ['0', '300ms'])
def test_no_redis_is_no_lock(wait, tmp_path):
    begin = time.monotonic()
    done = locked.run(f'redis://:secret@127.0.0.1:{locked.closed_port()}', '--wait', wait, 'a', '--',
                      'touch', tmp_path / 'ran')
    assert done.returncode == 75 and 'refused' in done.stderr and 'secret' not in done.stderr
    assert time.monotonic() - begin >= (0.3 if wait != '0' else 0)
    assert not (tmp_path / 'ran').exists()


def test_a_redis_that_comes_while_one_waits_is_found(rig, lock):
    from fleet import Redis
    later = Redis(rig.folder, 'later')
    rig.daemons.append(later)
    one = lock('-v', '--wait', '60s', 'a', '--', 'echo', 'done', url=later.url()).says('refused')
    later.start()
    assert one.wait() == 0 and 'done' in one.out()


def test_a_lock_set_by_hand_is_held(redis, tmp_path):
    redis.call('SET', key('a'), 'me\x1b[2J')
    done = locked.run(redis.url(), '--wait', '0', 'a', '--', 'touch', tmp_path / 'ran')
    assert done.returncode == 75 and key('a') in done.stderr and '\x1b' not in done.stderr
    assert redis.call('GET', key('a')) == b'me\x1b[2J'


def test_who_waits_gets_it_when_it_is_released(lock):
    first = lock('a', '--', 'sh', '-c', 'echo ready; exec sleep 100').says('ready')
    second = lock('-v', 'a', '--', 'echo', 'mine').says('held by')
    assert second.running()
    first.signal(signal.SIGTERM)
    assert first.wait() == 143
    assert second.wait() == 0 and 'mine' in second.out()


def test_who_waits_gets_it_when_the_holder_is_no_more(redis, lock, ttl):
    seconds, option = ttl
    first = lock(option, 'a', '--', 'sh', '-c', 'echo ready; exec sleep 100').says('ready')
    second = lock('-v', option, 'a', '--', 'sh', '-c', 'echo $RINGPROXY_LOCK_EPOCH').says('held by')
    left = redis.call('PTTL', key('a')) / 1000
    begin = time.monotonic()
    old = epoch(redis, 'a')
    first.kill()
    assert second.wait() == 0
    assert int(second.out()) > old
    assert time.monotonic() - begin < pace.upper(seconds + 0.5) and left <= seconds


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT,
                                    signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_ends_the_waiting(redis, lock, number, tmp_path):
    redis.call('SET', key('a'), 'taken', 'PX', 60000)
    one = lock('-v', '--wait', '60s', 'a', '--', 'touch', tmp_path / 'ran').says('held by')
    one.signal(number)
    assert one.wait() == 128 + number
    redis.call('DEL', key('a'))
    assert not (tmp_path / 'ran').exists() and holder(redis, 'a') is None


def test_a_signal_ends_the_waiting_for_a_silent_redis(redis, lock, tmp_path):
    redis.pause()
    one = lock('-v', '--wait', '60s', '--ttl', '3s', 'a', '--', 'touch', tmp_path / 'ran').says('no answer')
    one.signal(signal.SIGTERM)
    assert one.wait() == 143
    redis.resume()
    assert not (tmp_path / 'ran').exists()


# --- while the command runs -------------------------------------------------------------------

@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT,
                                    signal.SIGUSR1, signal.SIGUSR2])
def test_signals_go_on_to_all_that_the_command_started(redis, lock, number):
    one = lock('a', '--', sys.executable, '-c', TWO, str(int(number))).says('inner ready')
    one.signal(number)
    assert one.wait() == 3
    assert one.out().split()[-2:] == ['inner', 'outer'] and holder(redis, 'a') is None


def test_an_ignored_signal_changes_nothing(redis, lock):
    one = lock('a', '--', 'sh', '-c', 'trap "" TERM; echo ready; sleep 1; exit 4').says('ready')
    one.signal(signal.SIGTERM)
    assert one.wait() == 4


def test_what_was_ignored_stays_so(lock):
    one = lock('a', '--', 'sh', '-c', 'echo ready; sleep 0.5', prefix=['nohup']).says('ready')
    one.signal(signal.SIGHUP)
    assert one.wait() == 0, one.err()


def test_it_is_renewed(redis, lock, ttl):
    seconds, option = ttl
    one = lock(option, 'a', '--', 'sh', '-c', f'echo ready; sleep {1.5 * seconds}').says('ready')
    value = redis.call('GET', key('a'))
    while one.running():
        found = redis.call('GET', key('a'))
        assert found in (value, None) and (found or one.wait() is not None)
    assert one.wait() == 0, one.err()


def test_a_command_that_was_stopped_goes_on(redis, lock):
    one = lock('-v', 'a', '--', 'sh', '-c', 'echo ready $$; sleep 0.5; echo end').says('ready')
    pid = int(one.out().split()[1])
    for number in (signal.SIGSTOP, signal.SIGTSTP):
        os.kill(pid, number)
    assert one.wait() == 0 and 'end' in one.out()


def test_the_command_does_not_outlive_a_killed_holder(lock):
    one = lock('a', '--', 'sh', '-c', 'echo ready $$; exec sleep 100').says('ready')
    pid = int(one.out().split()[1])
    one.kill()
    wait_gone(pid)


def test_the_command_of_one_killed_while_it_waits_never_runs(redis, lock, tmp_path):
    redis.call('SET', key('a'), 'taken', 'PX', 60000)
    one = lock('-v', 'a', '--', 'touch', tmp_path / 'ran').says('held by')
    child = int(pathlib.Path(f'/proc/{one.pid}/task/{one.pid}/children').read_text().split()[0])
    one.kill()
    wait_gone(child)
    assert not (tmp_path / 'ran').exists()


# --- the lock is lost -------------------------------------------------------------------------

@pytest.mark.parametrize('how', ['DEL', 'FLUSHALL', 'another'])
def test_told_that_it_is_lost_the_command_is_stopped(redis, lock, ttl, how):
    one = lock(ttl[1], 'a', '--', 'sh', '-c',
               'trap "echo stopping; exit 0" TERM; echo ready; while :; do sleep 0.02; done').says('ready')
    if how == 'another':
        redis.call('SET', key('a'), 'another', 'PX', 60000)
    elif how == 'DEL':
        redis.call('DEL', key('a'))
    else:
        redis.flush()
    assert one.wait() == 69
    assert 'stopping' in one.out() and 'lost the lock' in one.err()
    assert redis.call('GET', key('a')) == (b'another' if how == 'another' else None)


def test_a_command_that_does_not_stop_is_killed_with_all_that_it_started(redis, lock, ttl, tmp_path):
    command, path = stubborn(tmp_path)
    one = lock(ttl[1], 'a', '--', 'sh', '-c', f'"$@" & wait', 'sh', *command[1:]).says('ready')
    redis.call('DEL', key('a'))
    assert one.wait() == 69 and 'got 15' in one.out()
    last = float(path.read_text())
    wait_until(lambda: time.monotonic() > last + 0.05, 'a while')
    assert float(path.read_text()) == last


@pytest.mark.parametrize('how', ['killed', 'stopped', 'hole', 'refuse'])
def test_without_answers_the_command_is_gone_before_another_can_have_the_lock(redis, relays, lock, ttl, how, tmp_path):
    seconds, option = ttl
    relay = relays(redis.port)
    command, path = stubborn(tmp_path)
    one = lock(option, 'a', *command, url=redis.url(relay.port)).says('ready')
    cut = time.monotonic()
    {'killed': redis.kill, 'stopped': redis.pause, 'hole': relay.hole, 'refuse': relay.refuse}[how]()
    done_by = time.monotonic()
    assert one.wait() == 69
    assert 'got 15' in one.out() and 'last renewed' in one.err()
    # it lived on for at least half of the time, and ended before the ttl was over
    assert cut + seconds / 3 < float(path.read_text()) < done_by + seconds
    if how == 'stopped':
        redis.resume()


def test_a_short_absence_of_redis_is_survived(redis, relays, lock):
    seconds = pace.stretched(1.5)
    relay = relays(redis.port)
    one = lock(f'--ttl={pace.ms(seconds)}', '-v', 'a', '--', 'sh', '-c', f'echo ready; sleep {1.5 * seconds}',
               url=redis.url(relay.port)).says('ready')
    said = one.err().count('\n')
    relay.refuse()
    wait_until(lambda: one.err().count('\n') > said, 'the loss of the connection')
    relay.passes()
    assert one.wait() == 0, one.err()


def test_a_holder_that_was_stopped_looks_at_the_clock_first(redis, lock, ttl, tmp_path):
    seconds, option = ttl
    command, path = stubborn(tmp_path)
    one = lock(option, 'a', *command).says('ready')
    old = epoch(redis, 'a')
    one.signal(signal.SIGSTOP)
    next_one = lock(option, 'a', '--', 'sh', '-c', 'echo $RINGPROXY_LOCK_EPOCH; exec sleep 100').says('\n')
    assert int(next_one.out()) > old
    value = redis.call('GET', key('a'))
    one.signal(signal.SIGCONT)
    assert one.wait() == 69
    assert 'stopped' in one.err() and 'got 15' not in one.out()  # no time left for that: killed at once
    assert redis.call('GET', key('a')) == value


def test_what_ended_after_its_time_is_told_so(redis, lock, ttl, tmp_path):
    seconds, option = ttl
    os.mkfifo(tmp_path / 'go')
    one = lock(option, 'b', '--', 'sh', '-c', 'echo ready $$; read x < go; exit 0').says('ready')
    pid = int(one.out().split()[1])
    one.signal(signal.SIGSTOP)
    wait_until(lambda: holder(redis, 'b') is None, 'the lock to run out')
    with open(tmp_path / 'go', 'w', encoding='ascii') as go:
        go.write('\n')
    wait_until(lambda: not alive(pid), 'the command')
    one.signal(signal.SIGCONT)
    assert one.wait() == 69 and 'after the lock' in one.err()


def test_epochs_grow_when_redis_forgets_all(redis):
    epochs = []
    for _ in range(3):
        for _ in range(2):
            done = locked.run(redis.url(), 'a', '--', 'sh', '-c', 'echo $RINGPROXY_LOCK_EPOCH')
            epochs.append(int(done.stdout))
        redis.restart()
    assert epochs == sorted(set(epochs))


# --- exclusion --------------------------------------------------------------------------------

def test_two_never_have_it_at_once(redis, lock, tmp_path):
    """Each makes a folder, which fails if there is one, and removes it."""
    rounds, several = 6, 4
    script = f'''for i in $(seq {rounds}); do
        "$RP" lock --wait 60s a -- sh -c 'mkdir held || exit 9; sleep 0.01; rmdir held; echo $RINGPROXY_LOCK_EPOCH' || exit
    done'''
    crowd = [subprocess.Popen(['sh', '-c', script], cwd=tmp_path, stdout=subprocess.PIPE,
                              env=locked.environment(redis.url(), RP=locked.RINGPROXY)) for _ in range(several)]
    epochs = []
    for one in crowd:
        out, _ = one.communicate(timeout=pace.upper(60))
        assert one.returncode == 0
        own = [int(w) for w in out.split()]
        assert own == sorted(own)
        epochs += own
    assert len(set(epochs)) == rounds * several
