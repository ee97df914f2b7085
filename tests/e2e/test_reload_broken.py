"""What a reload refuses: each mistake that the tests of the configuration know, and files that are no
files. The old configuration serves meanwhile, and the answer says what is wrong, as the log does."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time

import pytest

import harness
from client import get
from harness import wait_until
from test_config_api import NOBODY
from test_reload_keys import FACTS

HUGE = 16 << 20


def broken_files():
    """(text, errors) of tests/lib/broken_configs.h"""
    done = subprocess.run([FACTS, 'broken'], capture_output=True, check=True)
    parts = iter(done.stdout.split(b'\0'))
    for text in parts:
        if not (n := next(parts, None)):
            return
        yield text, [next(parts).decode() for _ in range(int(n))]


class Site:
    def __init__(self, rig, **more):
        self.b1 = rig.backend('b1')
        self.proxy = rig.proxy([self.b1], **more)
        self.path, self.port, self.admin = self.proxy.config, self.proxy.port, self.proxy.admin
        self.good = self.path.read_text()

    def reload(self):
        status, _, text = self.admin.request('POST', '/reload')
        return status, json.loads(text)

    def check_refused(self, *words):
        """One error, with these words in it."""
        status, document = self.reload()
        assert status == 422 and len(document['errors']) == 1, document
        assert all(w in document['errors'][0] for w in words), (words, document)
        assert document['errors'][0].startswith(f'{self.path}:1:1: (document): '), document
        self.check_serves()

    def check_serves(self, generation=1):
        assert self.admin.json('/status')['generation'] == generation
        assert get(self.port).text == 'b1'

    def check_mends(self):
        if self.path.is_dir():
            self.path.rmdir()
        self.path.unlink(missing_ok=True)
        self.path.write_text(self.good)
        assert self.reload()[0] == 200
        self.check_serves(2)


@pytest.mark.skipif(not FACTS.exists(), reason='config_facts was not built, only ringproxy')
def test_each_mistake_is_refused_with_its_lines(rig):
    s, logged = Site(rig), []
    files = list(broken_files())
    assert len(files) > 100
    for n, (text, lines) in enumerate(files, 1):
        s.path.write_bytes(text)
        status, document = s.reload()
        lines = [line.replace('t.yaml', str(s.path), 1) for line in lines]
        assert status == 422 and document['errors'] == lines, text
        logged += lines
        if n % 20 == 0:
            s.check_serves()
    wait_until(lambda: s.proxy.err().count('event="reload refused"') == len(files), 'the last line')
    assert s.proxy.err().count('event="configuration error"') == len(logged)
    assert s.admin.metric('ringproxy_reloads_total', result='refused') == len(files)
    s.check_mends()


def deleted(path):
    path.unlink()


def directory(path):
    path.unlink()
    path.mkdir()


def fifo(path):
    path.unlink()
    os.mkfifo(path)


def dangling(path):
    path.unlink()
    path.symlink_to('nowhere')


def device(path):
    path.unlink()
    path.symlink_to('/dev/zero')


def empty(path):
    path.write_text('')


def cut(path):
    text = path.read_text()
    path.write_text(text[:len(text) // 2].rstrip() + ' [')


def huge(path):
    with open(path, 'r+b') as f:
        f.truncate(HUGE + 1)


@pytest.mark.parametrize('spoil, words', [
    (deleted, 'No such file'), (directory, 'directory'), (fifo, 'egular file'), (dangling, 'No such file'),
    (device, 'egular file'), (empty, 'the file is empty'), (huge, '16MiB')])
def test_what_is_no_file_to_read_is_refused(rig, spoil, words):
    s = Site(rig)
    spoil(s.path)
    try:
        s.check_refused(words)
        s.proxy.signal(harness.signal.SIGHUP)
        wait_until(lambda: s.proxy.err().count('event="reload refused"') == 2, 'the signal to be answered')
        s.check_serves()
    finally:
        s.check_mends()


def test_half_a_file_is_refused(rig):
    s = Site(rig)
    cut(s.path)
    status, document = s.reload()
    assert status == 422 and document['errors'], document
    s.check_serves()
    s.check_mends()


def test_a_file_that_may_not_be_read_is_refused(rig):
    """To root all may be read; so the proxy runs as somebody else then."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix='reload_broken.', dir='/tmp'))
    try:
        os.chmod(folder, 0o755)
        s = Site(rig, start=False)
        s.path = s.proxy.config = folder / 'ringproxy.yaml'
        s.path.write_text(s.good)
        os.chmod(s.path, 0o644)
        s.proxy.argv = [harness.RINGPROXY, 'run', '-c', str(s.path)]
        if os.geteuid() == 0:
            s.proxy.argv[:0] = ['setpriv', f'--reuid={NOBODY}', f'--regid={NOBODY}', '--clear-groups']
        s.proxy.start()
        os.chmod(s.path, 0)
        s.check_refused('Permission denied')
        os.chmod(s.path, 0o644)
        assert s.reload()[0] == 200
        s.proxy.stop()
    finally:
        shutil.rmtree(folder)
        s.proxy.starts = 0  # the fixture need not show the file


class Writer:
    """Writes one text after the other into the same file, all the time and in pieces."""

    def __init__(self, path, texts):
        self.path, self.texts, self.rounds, self.ends = path, texts, 0, threading.Event()
        self.rested = 0  # the longest time between two pieces
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        last = time.monotonic()
        with open(self.path, 'r+b', buffering=0) as f:
            while not self.ends.is_set():
                for text in self.texts:
                    for at in range(0, len(text), 65536):
                        os.pwrite(f.fileno(), text[at:at + 65536], at)
                        self.rested = max(self.rested, time.monotonic() - last)
                        last = time.monotonic()
                self.rounds += 1

    def stop(self):
        self.ends.set()
        self.thread.join()


def test_a_file_that_is_being_written_is_never_read_as_a_mixture(rig):
    """Of two texts of one length one is read, or the file is said to have changed. Of a writer that rests
    amid a text for longer than the kernel's clock takes for a tick nobody can tell."""
    s, seen = Site(rig), set()
    filler = '# ' + 'x' * 400_000 + '\n'
    texts = [f'{filler}{s.good}{filler}x-end: {n}\n'.replace('name: web', f'name: w{n}') .encode()
             for n in (1, 2)]
    s.path.write_bytes(texts[0])
    writer = Writer(s.path, texts)
    try:
        for _ in range(15):
            status, document = s.reload()
            if status == 200:
                _, _, text = s.admin.request('GET', '/config')
                assert text.encode() in texts or writer.rested > 0.01
            else:
                assert 'it changes while it is read' in document['errors'][0], document
            seen.add(status)
            assert get(s.port).text == 'b1'
    finally:
        writer.stop()
    assert writer.rounds > 0 and 422 in seen, seen
    s.path.write_text(s.good)
    assert s.reload()[0] == 200
