"""Walls around the process that reads a foreign file: what it may use, and which calls it may make.

The reader calls nothing that a file names, so this is the second wall, not the first.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import struct
import sys

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2

# Classic BPF over struct seccomp_data {int nr; u32 arch; ...}: linux/bpf_common.h, linux/seccomp.h.
_LOAD = 0x20
_JUMP_IF_EQUAL = 0x15
_RETURN = 0x06
_ALLOW = 0x7FFF0000
_FAIL = 0x00050000 | errno.EPERM

# Reading and writing what is already open, memory, signals, and the end. No open, no socket, no
# fork, no exec: those fail with EPERM. Numbers: asm/unistd_64.h and asm-generic/unistd.h.
_X86_64 = {
    "read": 0, "write": 1, "close": 3, "fstat": 5, "lseek": 8, "mmap": 9, "mprotect": 10,
    "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15,
    "pread64": 17, "mremap": 25, "madvise": 28, "exit": 60, "sigaltstack": 131, "futex": 202,
    "restart_syscall": 219, "clock_gettime": 228, "exit_group": 231, "getrandom": 318,
}  # fmt: skip
_AARCH64 = {
    "read": 63, "write": 64, "close": 57, "fstat": 80, "lseek": 62, "mmap": 222, "mprotect": 226,
    "munmap": 215, "brk": 214, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139,
    "pread64": 67, "mremap": 216, "madvise": 233, "exit": 93, "sigaltstack": 132, "futex": 98,
    "restart_syscall": 128, "clock_gettime": 113, "exit_group": 94, "getrandom": 278,
}  # fmt: skip
_MACHINES = {"x86_64": (0xC000003E, _X86_64), "aarch64": (0xC00000B7, _AARCH64)}


def lock_down(*, memory_bytes: int, cpu_seconds: int, file_bytes: int) -> bool:
    """Gives up, for good, what the reader does not need.

    Args:
        memory_bytes: address space.
        cpu_seconds: processor time; over it the kernel ends the process.
        file_bytes: the longest file that may be written.

    Returns:
        Whether system calls are filtered too; false where the kernel or the machine offers no
        filter.
    """
    for name, limit in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 0),  # what is open stays open
    ):
        hard = resource.getrlimit(name)[1]
        value = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(name, (value, value))
    return sys.platform == "linux" and _filter_system_calls()


def _filter_system_calls() -> bool:
    machine = _MACHINES.get(os.uname().machine)
    if machine is None or sys.maxsize <= 2**32:
        return False
    program = _program(*machine)
    code = ctypes.create_string_buffer(program)
    # struct sock_fprog: the number of instructions, then (aligned) their address.
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return False
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0) == 0)


def _program(architecture: int, numbers: dict[str, int]) -> bytes:
    """The filter: this architecture and an allowed number, or EPERM."""
    count = len(numbers)
    steps = [
        (_LOAD, 0, 0, 4),  # arch
        (_JUMP_IF_EQUAL, 0, count + 1, architecture),  # another one: to the failure
        (_LOAD, 0, 0, 0),  # nr
    ]
    for left, number in zip(range(count, 0, -1), numbers.values(), strict=True):
        steps.append((_JUMP_IF_EQUAL, left, 0, number))  # over the failure, to the permission
    steps += [(_RETURN, 0, 0, _FAIL), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("<HBBI", *step) for step in steps)
