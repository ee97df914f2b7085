"""Machines of their own: network namespaces on one bridge, for what two processes on one machine can't
show, as an address that moves.

    with Network() as net:          # skips the test where namespaces are not allowed
        a = net.machine('a')        # a.name, a.ip; eth0 is its way to the others
        a.command([...])            # argv that runs there

The test itself, whatever it starts and the threads that it makes are in a namespace as well, the middle:
it has the bridge, and an address beside those of the machines.
"""

import ctypes
import os
import subprocess
import threading

import pytest

PREFIX = '10.77.0.'
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def enter(path):
    """Of this thread, and of what it makes from now on."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(fd, CLONE_NEWNET) < 0:
            raise OSError(ctypes.get_errno(), f'setns {path}')
    finally:
        os.close(fd)


def ip(*words):
    done = subprocess.run(['ip', *map(str, words)], capture_output=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(map(str, words))}: {done.stderr.decode().strip()}")
    return done.stdout.decode()


class Machine:
    def __init__(self, net, name, number):
        self.net, self.short, self.name, self.ip = net, name, net.full(name), f'{PREFIX}{number}'

    def command(self, argv):
        return ['ip', 'netns', 'exec', self.name, *map(str, argv)]

    def run(self, *argv):
        return subprocess.run(self.command(argv), capture_output=True, check=True).stdout.decode()

    def addresses(self):
        return [line.split()[3].split('/')[0] for line in self.run('ip', '-o', '-4', 'addr').splitlines()]

    def unplug(self):
        ip('-n', self.net.middle, 'link', 'set', f'to-{self.short}', 'down')

    def plug(self):
        ip('-n', self.net.middle, 'link', 'set', f'to-{self.short}', 'up')


class Network:
    def __init__(self):
        self.tag = f'rp{os.getpid()}-{threading.get_native_id()}'
        self.made, self.machines = [], []
        self.middle, self.ip = self.full('m'), f'{PREFIX}1'

    def full(self, name):
        return f'{self.tag}-{name}'

    def _namespace(self, name):
        ip('netns', 'add', name)
        self.made.append(name)
        ip('-n', name, 'link', 'set', 'lo', 'up')

    def __enter__(self):
        if os.geteuid() != 0:
            pytest.skip('network namespaces take root')
        self.home = f'/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net'
        self.home_fd = os.open(self.home, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._namespace(self.middle)
            ip('-n', self.middle, 'link', 'add', 'br0', 'type', 'bridge')
            ip('-n', self.middle, 'addr', 'add', f'{self.ip}/24', 'dev', 'br0')
            ip('-n', self.middle, 'link', 'set', 'br0', 'up')
            enter(f'/run/netns/{self.middle}')
        except (OSError, FileNotFoundError) as e:
            self._remove()
            os.close(self.home_fd)
            pytest.skip(f'network namespaces are not to be had here: {e}')
        return self

    def machine(self, name):
        one = Machine(self, name, len(self.machines) + 2)
        self._namespace(one.name)
        ip('link', 'add', f'to-{name}', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', one.name)
        ip('link', 'set', f'to-{name}', 'master', 'br0', 'up')
        ip('-n', one.name, 'addr', 'add', f'{one.ip}/24', 'dev', 'eth0')
        ip('-n', one.name, 'link', 'set', 'eth0', 'up')
        self.machines.append(one)
        return one

    def _remove(self):
        for name in reversed(self.made):
            subprocess.run(['ip', 'netns', 'del', name], check=False, capture_output=True)
        self.made.clear()

    def __exit__(self, *_):
        if _libc.setns(self.home_fd, CLONE_NEWNET) < 0:
            raise OSError(ctypes.get_errno(), 'setns')
        os.close(self.home_fd)
        self._remove()
