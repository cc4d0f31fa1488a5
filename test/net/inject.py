#!/usr/bin/env python3
"""inject.py PID CALL: makes a process that waits in a system call make another one, and says what came of it:

    killed by SIGSYS        its filter does not allow the call
    returned -13            it ran, and the kernel refused (13 = EACCES)
    returned 0              it ran

By ptrace, so the filter, the capabilities and Landlock judge the call as if the process had made it itself.
CALL: execve, open-read (/etc/hostname), open-write, socket, ptrace, setuid, mount, bpf. x86-64 only.
"""
import ctypes
import os
import platform
import signal
import sys

NUMBERS = {"execve": 59, "open-read": 257, "open-write": 257, "socket": 41, "ptrace": 101, "setuid": 105,
           "mount": 165, "bpf": 321, "fork": 57, "getpid": 39}
ATTACH, DETACH, GETREGS, SETREGS, POKE, SYSCALL = 16, 17, 12, 13, 4, 24
FIELDS = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base "
          "gs_base ds es fs gs").split()
libc = ctypes.CDLL(None, use_errno=True)


class Regs(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in FIELDS]


def ptrace(what, pid, address=0, data=0):
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    if libc.ptrace(what, pid, address, data) < 0:
        raise OSError(ctypes.get_errno(), f"ptrace {what}: {os.strerror(ctypes.get_errno())}")


def poke(pid, address, text):
    octets = text.encode() + bytes(8 - len(text.encode()) % 8)
    for i in range(0, len(octets), 8):
        ptrace(POKE, pid, address + i, int.from_bytes(octets[i:i + 8], "little"))


def arguments(pid, call, scratch):
    """Six registers' values; strings go below the red zone of the stack."""
    if call.startswith("open"):
        poke(pid, scratch, "/etc/hostname" if call == "open-read" else "/tmp/shrike-inject")
        return [2 ** 64 - 100, scratch, 0 if call == "open-read" else 0o101, 0o600, 0, 0]
    if call == "execve":
        poke(pid, scratch, "/bin/true")
        return [scratch, 0, 0, 0, 0, 0]
    if call == "socket":
        return [2, 1, 0, 0, 0, 0]
    if call == "mount":
        poke(pid, scratch, "/proc")
        return [0, scratch, 0, 4096, 0, 0]
    return [0] * 6


def next_stop(pid):
    """Runs on to the next system call's beginning or end: None, or how the process ended."""
    ptrace(SYSCALL, pid)
    while True:
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            return f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
        if os.WIFEXITED(status):
            return f"exited {os.WEXITSTATUS(status)}"
        if os.WSTOPSIG(status) == signal.SIGTRAP:
            return None
        ptrace(SYSCALL, pid, 0, os.WSTOPSIG(status) if os.WSTOPSIG(status) != signal.SIGSTOP else 0)


def main():
    if platform.machine() != "x86_64" or len(sys.argv) != 3 or sys.argv[2] not in NUMBERS:
        sys.exit(__doc__)
    pid, call = int(sys.argv[1]), sys.argv[2]
    ptrace(ATTACH, pid)
    os.waitpid(pid, 0)
    regs = Regs()
    ptrace(GETREGS, pid, 0, ctypes.addressof(regs))
    before = Regs.from_buffer_copy(regs)
    if ctypes.c_longlong(regs.orig_rax).value < 0:
        ptrace(DETACH, pid)
        sys.exit("inject: the process is not in a system call")
    values = arguments(pid, call, (regs.rsp - 1024) & ~0xF)
    for name, value in zip(("rdi", "rsi", "rdx", "r10", "r8", "r9"), values):
        setattr(regs, name, value)
    regs.rax, regs.orig_rax, regs.rip = NUMBERS[call], 2 ** 64 - 1, regs.rip - 2  # the instruction is two octets
    ptrace(SETREGS, pid, 0, ctypes.addressof(regs))
    ended = next_stop(pid) or next_stop(pid)
    if not ended:
        ptrace(GETREGS, pid, 0, ctypes.addressof(regs))
        value = ctypes.c_longlong(regs.rax).value
        before.rax, before.orig_rax = 2 ** 64 - 4, 2 ** 64 - 1  # the call it was in was interrupted (EINTR)
        ptrace(SETREGS, pid, 0, ctypes.addressof(before))
        # A filter's verdict is a signal that arrives after the call's end.
        ended = next_stop(pid)
    print(ended or f"returned {value}")
    if not ended:
        ptrace(DETACH, pid)


main()
