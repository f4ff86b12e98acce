"""What a hostile job tries: each a few lines of Python that return something true, or raise nothing, once they are out.

They run inside a job, one process each, and some of them outside as well, to see that they would work there. Names that
they find: `t` (the targets, by name), `libc`, `call(name, *arguments)` for a system call, and the usual modules.
"""

from __future__ import annotations

PREAMBLE = r'''
import array, ctypes, errno, fcntl, glob, json, mmap, os, platform, resource, signal, socket, stat, struct, subprocess
import sys, termios, time
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
NUMBERS = {
    "x86_64": {
        "add_key": 248, "bpf": 321, "clone3": 435, "fsopen": 430, "init_module": 175, "io_uring_setup": 425,
        "ioperm": 173, "kexec_load": 246, "keyctl": 250, "memfd_create": 319, "mount": 165, "msgget": 68,
        "open_by_handle_at": 304, "open_tree": 428, "perf_event_open": 298, "pidfd_getfd": 438, "pidfd_open": 434,
        "pivot_root": 155,
        "process_vm_readv": 310, "ptrace": 101, "reboot": 169, "sethostname": 170, "setns": 308, "shmget": 29,
        "swapon": 167, "syslog": 103, "umount2": 166, "unshare": 272, "userfaultfd": 323,
    },
    "aarch64": {
        "add_key": 217, "bpf": 280, "clone3": 435, "fsopen": 430, "init_module": 105, "io_uring_setup": 425,
        "ioperm": -1, "kexec_load": 104, "keyctl": 219, "memfd_create": 279, "mount": 40, "msgget": 186,
        "open_by_handle_at": 265, "open_tree": 428, "perf_event_open": 241, "pidfd_getfd": 438, "pidfd_open": 434,
        "pivot_root": 41,
        "process_vm_readv": 270, "ptrace": 117, "reboot": 142, "sethostname": 161, "setns": 268, "shmget": 194,
        "swapon": 224, "syslog": 116, "umount2": 39, "unshare": 97, "userfaultfd": 282,
    },
}[platform.machine()]


def call(name, *arguments):
    """A system call. Raises OSError."""
    given = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    answer = libc.syscall(ctypes.c_long(NUMBERS[name]), *given)
    if answer < 0:
        raise OSError(ctypes.get_errno(), name)
    return answer


def opened(path, flags=os.O_RDONLY):
    os.close(os.open(path, flags))
    return path


def wrote(path, text, flags=0):
    fd = os.open(path, os.O_WRONLY | flags)
    return os.write(fd, text.encode())


def connected(family, address, kind=socket.SOCK_STREAM):
    with socket.socket(family, kind) as one:
        one.settimeout(2)
        one.connect(address)
    return address


def tried(name, body):
    """How it went, in a process of its own: "held", "open: …" or "broken: …"."""
    here, there = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(here)
            signal.alarm(6)
            space = dict(globals())
            exec("def attack():\n" + "\n".join("    " + line for line in body.splitlines()), space)
            try:
                got = space["attack"]()
                said = f"open: {got!r}" if got else "held"
            except OSError as error:
                said = f"held: {error}"
            except BaseException as error:
                said = f"broken: {error!r}"
            os.write(there, said[:300].encode(errors="replace"))
        finally:
            os._exit(0)
    os.close(there)
    said = b""
    while chunk := os.read(here, 1000):
        said += chunk
    os.close(here)
    os.waitpid(pid, 0)
    return said.decode(errors="replace") or "broken: it said nothing"
'''

# What is really there, and opens for whoever tries it outside.
REACH = {
    "the site's settings": "return open(t['secret']).read()",
    "the settings by walking up": "return open('/work/' + '../' * 20 + t['secret'].lstrip('/')).read()",
    "the settings by a symbolic link": "os.symlink(t['secret'], t['here'] + '/link'); return open(t['here'] + '/link').read()",  # noqa: E501
    "the settings by a hard link": "os.link(t['secret'], t['secret'] + '.more'); return os.unlink(t['secret'] + '.more') is None",  # noqa: E501
    "another run's work": "return open(t['other'] + '/work/out').read()",
    "another run's log": "return open(t['other'] + '/out.log').read()",
    "its own orders": "return opened(t['mine'] + '/job.json')",
    "the folder of all runs": "return os.listdir(t['runs'])",
    "the site's code": "return os.listdir(t['repository'] + '/src')",
    "the environment of the site": "return b'=' in open(f\"/proc/{t['pid']}/environ\", 'rb').read()",
    "the memory map of the site": "return open(f\"/proc/{t['pid']}/maps\").read()",
    "the files that the site has open": "return os.listdir(f\"/proc/{t['pid']}/fd\")",
    "the root folder of the site": "return os.listdir(f\"/proc/{t['pid']}/root\")",
    "a signal to the site": "os.kill(t['pid'], 0); return 'there'",
    "a signal to the group of the site": "os.killpg(t['group'], 0); return 'there'",
    "a handle of the site's process": "return call('pidfd_open', t['pid'], 0)",
    "the database by its socket": "return connected(socket.AF_UNIX, t['postgres'])",
    "a socket with an abstract name": "return connected(socket.AF_UNIX, t['abstract'])",
    "a port of this machine": "return connected(socket.AF_INET, ('127.0.0.1', t['port']))",
    "a port of this machine by its other name": "return connected(socket.AF_INET, ('0.0.0.0', t['port']))",
    "shared memory of another process": "return opened('/dev/shm/' + t['shared'])",
    "a System V segment of another process": "return call('shmget', t['segment'], 0, 0) >= 0 and 'there'",
    "a file in /tmp of another process": "return opened(t['temporary'])",
    "a named pipe of another process": "return opened(t['pipe'], os.O_RDWR)",
}

# What nobody's job has to do. Whether it would work outside depends on who runs the tests.
ESCAPE = {
    "the settings through /proc/1/root": "return open('/proc/1/root' + t['secret']).read()",
    "the passwords": "return opened('/etc/shadow')",
    "the users of the machine": "return len(open('/etc/passwd').readlines()) > 2",
    "what is set up on the machine": "return [n for n in ('ssh', 'ssl/private', 'systemd', 'crontab', 'resolv.conf') if os.path.exists('/etc/' + n)]",  # noqa: E501
    "homes": "return [p for p in ('/root', '/home', '/var', '/run', '/srv', '/boot', '/sys/kernel') if os.path.exists(p) and os.listdir(p) not in ([], ['.pyenv'], ['.local'])]",  # noqa: E501
    "processes that aren't the job's": "return [p for p in os.listdir('/proc') if p.isdigit() and b'postgres' in open(f'/proc/{p}/cmdline', 'rb').read()]",  # noqa: E501
    "secrets in its environment": "return [n for n in os.environ if n.startswith(('DATABASE', 'DJANGO', 'MADANG_SECRET', 'AWS', 'SSH', 'PYTEST'))]",  # noqa: E501
    "secrets in the environment of its first process": "return open('/proc/1/environ', 'rb').read()",
    "descriptors that were left open": "return [os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd') if int(n) > 2 and os.path.exists(f'/proc/self/fd/{n}') and not os.readlink(f'/proc/self/fd/{n}').startswith(('pipe:', '/proc/', '/work/'))]",  # noqa: E501
    "descriptors of its first process": "return os.listdir('/proc/1/fd')",
    "the root of its first process": "return os.listdir('/proc/1/root')",
    "the folder of its first process": "return os.listdir('/proc/1/cwd')",
    "the memory of its first process": "return opened('/proc/1/mem', os.O_RDWR)",
    "a hold on its first process": "return call('ptrace', 16, 1, 0, 0) == 0 and 'attached'",
    "a hold on its first process, the new way": "return call('ptrace', 0x4206, 1, 0, 0) == 0 and 'attached'",
    "what its first process knows": "part = ctypes.create_string_buffer(8); v = (ctypes.c_void_p * 2)(ctypes.addressof(part), 8); return call('process_vm_readv', 1, ctypes.byref(v), 1, ctypes.byref(v), 1, 0) > 0 and 'read'",  # noqa: E501
    "descriptors by a handle of its first process": "return [n for n in range(10) if call('pidfd_getfd', call('pidfd_open', 1, 0), n, 0) >= 0]",  # noqa: E501
    "the end of its first process": "os.kill(1, signal.SIGKILL); time.sleep(0.2); os.kill(1, 0); return os.getppid() == 0",  # noqa: E501
    "a user namespace": "return call('unshare', 0x10000000) == 0 and 'made'",
    "a mount namespace": "return call('unshare', 0x00020000) == 0 and 'made'",
    "a network namespace": "return call('unshare', 0x40000000) == 0 and 'made'",
    "a user namespace by clone3": "args = (ctypes.c_uint64 * 11)(0x10000000, 0, 0, 0, signal.SIGCHLD); pid = call('clone3', ctypes.byref(args), 88)\nif pid == 0: os._exit(0)\nreturn pid",  # noqa: E501
    "the namespaces of its first process": "return [n for n in os.listdir('/proc/1/ns') if call('setns', os.open(f'/proc/1/ns/{n}', os.O_RDONLY), 0) == 0]",  # noqa: E501
    "a mount": "return call('mount', b'none', b'/tmp', b'tmpfs', 0, None) == 0 and 'mounted'",
    "a mount over its own program": "return call('mount', b'/work', b'/usr', None, 4096, None) == 0 and 'mounted'",
    "a mount that can be written again": "return call('mount', b'none', b'/', None, 32, None) == 0 and 'mounted'",
    "a mount the new way": "return call('fsopen', b'tmpfs', 0) >= 0 and 'opened'",
    "a copy of a mount": "return call('open_tree', -100, b'/', 1) >= 0 and 'opened'",
    "what lies below a mount": "return call('umount2', b'/proc', 2) == 0 and 'gone'",
    "another root": "return call('pivot_root', b'/work', b'/work') == 0 and 'moved'",
    "chroot": "os.chroot('/work'); return 'moved'",
    "a file by its number": "handle = struct.pack('Ii', 8, 1) + bytes(8); return call('open_by_handle_at', os.open('/work', os.O_RDONLY), handle, 0)",  # noqa: E501
    "a disk of the machine": "os.mknod('/work/disk', 0o60600, os.makedev(254, 0)); return opened('/work/disk')",
    "the memory of the machine": "os.mknod('/work/mem', 0o20600, os.makedev(1, 1)); return opened('/work/mem')",
    "devices": "return [n for n in os.listdir('/dev') if n.startswith(('sd', 'vd', 'nvme', 'dm-', 'loop', 'mem', 'kmsg', 'kvm', 'fuse', 'vsock', 'net', 'vhost', 'mapper'))]",  # noqa: E501
    "a new device": "return wrote('/dev/mine', 'x', os.O_CREAT)",
    "the terminal": "return opened('/dev/tty', os.O_RDWR)",
    "words typed at the terminal": "tty = os.open('/dev/tty', os.O_RDWR); return fcntl.ioctl(tty, termios.TIOCSTI, b'x') == b'x'",  # noqa: E501
    "what catches a crash": "return opened('/proc/sys/kernel/core_pattern', os.O_WRONLY)",
    "what loads a module": "return opened('/proc/sys/kernel/modprobe', os.O_WRONLY)",
    "what the kernel does at once": "return opened('/proc/sysrq-trigger', os.O_WRONLY)",
    "who is killed when memory is short": "return wrote('/proc/self/oom_score_adj', '-1000')",
    "whose it is outside": "return wrote('/proc/self/uid_map', '0 0 1')",
    "the kernel's settings": "return [p for p in glob.glob('/proc/sys/*/*') + glob.glob('/proc/sys/*/*/*') if os.path.isfile(p) and os.access(p, os.W_OK)]",  # noqa: E501
    "the kernel's memory": "return opened('/proc/kcore') and open('/proc/kcore', 'rb').read(4)",
    "the kernel's messages": "return call('syslog', 3, ctypes.create_string_buffer(1000), 1000) > 0 and 'read'",
    "a module": "return call('init_module', b'x', 1, b'') == 0 and 'loaded'",
    "another kernel": "return call('kexec_load', 0, 0, 0, 0) == 0 and 'loaded'",
    "a restart": "return call('reboot', -18751827, 672274793, 0x89ABCDEF, 0) == 0 and 'changed'",
    "swap": "return call('swapon', b'/work/swap', 0) == 0 and 'on'",
    "the clock": "time.clock_settime(time.CLOCK_REALTIME, time.time() + 0.001); return 'set'",
    "the name of the machine": "return call('sethostname', b'owned', 5) == 0 and 'named'",
    "ports of the processor": "return NUMBERS['ioperm'] > 0 and call('ioperm', 0x80, 1, 1) == 0 and 'granted'",
    "a program in the kernel": "attr = (ctypes.c_uint32 * 16)(2, 4, 8, 1); return call('bpf', 0, ctypes.byref(attr), 64) >= 0 and 'made'",  # noqa: E501
    "what others do, by counters": "attr = (ctypes.c_uint32 * 32)(1, 128); return call('perf_event_open', ctypes.byref(attr), -1, 0, -1, 0) >= 0 and 'made'",  # noqa: E501
    "a hold on page faults": "return call('userfaultfd', 0) >= 0 and 'made'",
    "a queue past the system calls": "return call('io_uring_setup', 4, (ctypes.c_uint8 * 120)()) >= 0 and 'made'",
    "a key ring": "return call('add_key', b'user', b'madang', b'x', 1, -3) > 0 and 'kept'",
    "keys that others have": "return call('keyctl', 0, -3, 0) > 0 and 'found'",
    "another user": "os.setuid(0); return 'changed'",
    "another group": "os.setgroups([0]); return 'changed'",
    "a file of root": "os.chown('/work', 0, 0); return 'changed'",
    "a capability": "return int(next(l for l in open('/proc/self/status') if l.startswith('CapBnd')).split()[1], 16)",
    "rights by a program that has some": "line = next(l for l in open('/proc/self/status') if l.startswith('NoNewPrivs')); return line.split()[1] != '1'",  # noqa: E501
    "higher limits": "limit = (ctypes.c_uint64 * 2)(2**40, 2**40); return [n for n in (resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC) if libc.setrlimit(n, ctypes.byref(limit)) == 0]",  # noqa: E501
    "a priority above others": "os.nice(-5); return 'raised'",
    "the scheduler": "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)); return 'changed'",
    "a dump of its memory": "return resource.getrlimit(resource.RLIMIT_CORE)[1]",
    "packets as they are": "return socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
    "frames as they are": "return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3)",
    "the machine below by vsock": "return socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)",
    "the kernel's ciphers": "return socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)",
    "another network": "return [n for _, n in socket.if_nameindex() if n != 'lo']",
    "a name": "return socket.gethostbyname('example.com')",
    "the service of the cloud": "return connected(socket.AF_INET, ('169.254.169.254', 80))",
    "an address outside": "return connected(socket.AF_INET, ('8.8.8.8', 53), socket.SOCK_DGRAM)",
    "an address outside by IPv6": "return connected(socket.AF_INET6, ('2001:4860:4860::8888', 53), socket.SOCK_DGRAM)",
    "groups of processes": "return os.path.exists('/sys/fs/cgroup') and os.listdir('/sys/fs/cgroup')",
    "the program of the job": "return wrote('/madang/script', 'x', os.O_APPEND)",
    "the place of the program": "os.rename('/madang/script', '/work/script'); return 'moved'",
    "a file beside its folder": "return wrote('/owned', 'x', os.O_CREAT)",
    "its folder's name": "os.rename('/work', '/elsewhere'); return 'moved'",
    "the system's programs": "return wrote('/usr/bin/owned', 'x', os.O_CREAT)",
    "the site's libraries": "return wrote('/opt/python/owned', 'x', os.O_CREAT)",
    "the files of /etc": "return wrote('/etc/passwd', 'x', os.O_APPEND)",
    "a link out of its folder": "os.link('/madang/script', '/work/hard'); return 'linked'",
    "a link to the users": "os.link('/etc/passwd', '/work/users'); return 'linked'",
}
