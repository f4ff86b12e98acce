"""The system calls that a job may not make: a filter as bwrap takes it, for what no namespace and no right keeps apart.

Most of what could hurt needs a capability, and a job has none. This is the rest: key rings, which all jobs of one user
would share; sockets of a virtual machine, which know no network namespace; the first process of the sandbox, which
holds it together; rings of calls and other young doors that the kernel's faults come through.
"""

from __future__ import annotations

import errno
import platform
import struct

# Number of each call by machine, and the audit name of the machine.
_MACHINES = {
    "x86_64": (
        0xC000003E,
        {
            "add_key": 248, "bpf": 321, "clone": 56, "clone3": 435, "io_uring_enter": 426, "io_uring_register": 427,
            "io_uring_setup": 425, "ioctl": 16, "keyctl": 250, "memfd_create": 319, "memfd_secret": 447, "msgget": 68,
            "perf_event_open": 298, "pidfd_getfd": 438, "process_vm_readv": 310, "process_vm_writev": 311,
            "ptrace": 101, "request_key": 249, "semget": 64, "setns": 308, "shmget": 29, "socket": 41, "unshare": 272,
            "userfaultfd": 323,
        },
    ),
    "aarch64": (
        0xC00000B7,
        {
            "add_key": 217, "bpf": 280, "clone": 220, "clone3": 435, "io_uring_enter": 426, "io_uring_register": 427,
            "io_uring_setup": 425, "ioctl": 29, "keyctl": 219, "memfd_create": 279, "memfd_secret": 447, "msgget": 186,
            "perf_event_open": 241, "pidfd_getfd": 438, "process_vm_readv": 270, "process_vm_writev": 271,
            "ptrace": 117, "request_key": 218, "semget": 190, "setns": 268, "shmget": 194, "socket": 198,
            "unshare": 97, "userfaultfd": 282,
        },
    ),
}  # fmt: skip
_NEVER = (
    "add_key",
    "bpf",
    "keyctl",
    "perf_event_open",
    "pidfd_getfd",
    "request_key",
    "setns",
    "unshare",
    "userfaultfd",
)
# A program that finds these missing does without: they are younger than some kernels that it runs on.
_MISSING = ("clone3", "io_uring_enter", "io_uring_register", "io_uring_setup", "memfd_secret")
# Memory that belongs to no process, which only a cgroup counts.
_UNCOUNTED = ("memfd_create", "msgget", "semget", "shmget")
_FAMILIES = (1, 2, 10, 16)  # Unix, IPv4, IPv6, netlink: all that a network namespace keeps apart
_NAMESPACES = 0x7E020000  # every flag of clone that makes one
_TYPES = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: words in the mouth of a terminal
_ATTACHES = (16, 0x4206)  # PTRACE_ATTACH, PTRACE_SEIZE
_X32 = 0x40000000
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # where struct seccomp_data has them
_LOAD, _JEQ, _JGE, _JSET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW = 0x7FFF0000


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def _refuse(number: int = errno.EPERM) -> bytes:
    return _step(_RETURN, 0x00050000 | number)


def _argument(place: int) -> bytes:
    """The lower half of an argument, which is all of what is asked about here."""
    return _step(_LOAD, _ARGUMENTS + 8 * place)


def _when(call: int, body: list[bytes]) -> list[bytes]:
    """`body` for this call alone. Where it comes to its end, the call is allowed."""
    body = [*body, _step(_RETURN, _ALLOW)]
    return [_step(_JEQ, call, 0, len(body)), *body]


def program(*, counted: bool, machine: str = "") -> bytes:
    """The filter, as struct sock_filter after another. `counted`: a cgroup counts the job's memory.

    Empty on machines whose calls aren't known here.
    """
    known = _MACHINES.get(machine or platform.machine())
    if not known:
        return b""
    arch, number = known
    # Another machine's calls have other numbers: programs of 32 bits don't run.
    steps = [_step(_LOAD, _ARCH), _step(_JEQ, arch, 1, 0), _refuse(errno.ENOSYS), _step(_LOAD, _NUMBER)]
    steps += [_step(_JGE, _X32, 0, 1), _refuse(errno.ENOSYS)]
    for name in _NEVER:
        steps += [_step(_JEQ, number[name], 0, 1), _refuse()]
    for name in (*_MISSING, *(() if counted else _UNCOUNTED)):
        steps += [_step(_JEQ, number[name], 0, 1), _refuse(errno.ENOSYS)]
    families = [step for family in _FAMILIES for step in (_step(_JEQ, family, 0, 1), _step(_RETURN, _ALLOW))]
    steps += _when(number["socket"], [_argument(0), *families, _refuse(errno.EAFNOSUPPORT)])
    steps += _when(number["clone"], [_argument(0), _step(_JSET, _NAMESPACES, 0, 1), _refuse()])
    types = [step for request in _TYPES for step in (_step(_JEQ, request, 0, 1), _refuse())]
    steps += _when(number["ioctl"], [_argument(1), *types])
    first = [_step(_JEQ, 1, 0, 1), _refuse()]  # the sandbox's first process
    for name in ("process_vm_readv", "process_vm_writev"):
        steps += _when(number[name], [_argument(0), *first])
    attach = [_step(_JEQ, _ATTACHES[0], 1, 0), _step(_JEQ, _ATTACHES[1], 0, len(first) + 1)]
    steps += _when(number["ptrace"], [_argument(0), *attach, _argument(1), *first])
    return b"".join([*steps, _step(_RETURN, _ALLOW)])
