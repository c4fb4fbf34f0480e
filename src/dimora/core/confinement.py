"""Takes from this process what its work does not need: memory, files, programs, the network.

Nothing of it can be taken back. What a system does not offer is left out; the audit hook of Python
is there on all of them.
"""

from __future__ import annotations

import contextlib
import ctypes
import platform
import sys
from typing import Any

_PR_SET_DUMPABLE = 4
_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_MODE_FILTER = 2
_CLONE_NEWUSER_NEWNET = 0x10000000 | 0x40000000

# By machine: how the kernel calls it (linux/audit.h), and the numbers of the system calls
# socket, connect, bind, execve, execveat, ptrace, process_vm_readv, io_uring_setup.
_CALLS = {
    "x86_64": (0xC000003E, (41, 42, 49, 59, 322, 101, 310, 425)),
    "aarch64": (0xC00000B7, (198, 203, 200, 221, 281, 117, 270, 425)),
}
# The second table of calls on x86_64 (x32) begins here; nothing we run uses it.
_X32 = 0x40000000
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE_EPERM = 0x7FFF0000, 0x00050001

_REFUSED_EVENTS = (
    "socket.__new__",
    "socket.connect",
    "socket.bind",
    "subprocess.Popen",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.system",
)


class _Instruction(ctypes.Structure):
    """struct sock_filter of linux/filter.h."""

    _fields_ = [
        ("code", ctypes.c_ushort),
        ("jump_true", ctypes.c_ubyte),
        ("jump_false", ctypes.c_ubyte),
        ("value", ctypes.c_uint32),
    ]


class _Program(ctypes.Structure):
    """struct sock_fprog of linux/filter.h."""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.POINTER(_Instruction))]


def confine(*, memory_bytes: int, open_files: int) -> None:
    """To be called before the first thread is started."""
    _limit(memory_bytes, open_files)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        # Where users may make name spaces: one without a network in it.
        libc.unshare(_CLONE_NEWUSER_NEWNET)
        _filter_calls(libc)
    sys.addaudithook(_refuse)


def allow_seconds(seconds: float) -> None:
    """The kernel ends this process when it has computed for `seconds` more."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        soft = int(used.ru_utime + used.ru_stime + seconds) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _limit(memory_bytes: int, open_files: int) -> None:
    try:
        import resource
    except ImportError:
        return
    wanted = (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_NOFILE, open_files),
        (resource.RLIMIT_CORE, 0),
        # No file grows: neither a temporary one nor anybody else's.
        (resource.RLIMIT_FSIZE, 0),
    )
    for which, most in wanted:
        # macOS knows RLIMIT_AS and does not take it.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(which, (most, most))


def _filter_calls(libc: Any) -> None:
    """seccomp(2), filter mode: the calls of `_CALLS` fail with EPERM."""
    known = _CALLS.get(platform.machine())
    if known is None:
        return
    architecture, numbers = known
    # The last instruction refuses; a jump is told as its distance from the one that follows it.
    last = len(numbers) + 5
    # Offsets into struct seccomp_data: the call's number at 0, the architecture at 4.
    steps = [
        (_LOAD, 0, 0, 4),
        (_IF_EQUAL, 0, last - 2, architecture),
        (_LOAD, 0, 0, 0),
        (_IF_AT_LEAST, last - 4, 0, _X32),
        *((_IF_EQUAL, last - 5 - i, 0, number) for i, number in enumerate(numbers)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE_EPERM),
    ]
    filter_ = (_Instruction * len(steps))(*(_Instruction(*step) for step in steps))
    program = _Program(len(steps), filter_)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)


def _refuse(event: str, _: Any) -> None:
    if event in _REFUSED_EVENTS:
        raise PermissionError(f"{event} is not for this process")
