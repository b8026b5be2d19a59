"""A filter of system calls (seccomp) for the sandbox: it denies what homework never needs.

Denied are: new namespaces (they reach kernel code that ordinary users do not), memory that is counted for no process
(memfd, System V), tracing of other processes, kernel keys, BPF, and all sockets but local and internet ones. Internet
sockets reach nothing, because the sandbox has an empty network of its own; a virtual machine's vsock would get out.
"""

from __future__ import annotations

import errno
import platform
import struct
import sys

__all__ = ["filter_program"]

# Names: (number on x86_64, number on aarch64)
DENIED = {
    "acct": (163, 89), "add_key": (248, 217), "bpf": (321, 280), "chroot": (161, 51), "clock_settime": (227, 112),
    "delete_module": (176, 106), "fanotify_init": (300, 262), "finit_module": (313, 273), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fsopen": (430, 430), "fspick": (433, 433), "init_module": (175, 105),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "io_uring_setup": (425, 425), "kcmp": (312, 272),
    "kexec_file_load": (320, 294), "kexec_load": (246, 104), "keyctl": (250, 219), "memfd_create": (319, 279),
    "memfd_secret": (447, 447), "mount": (165, 40), "mount_setattr": (442, 442), "move_mount": (429, 429),
    "mq_open": (240, 180), "msgget": (68, 186), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "open_tree": (428, 428), "perf_event_open": (298, 241), "pidfd_getfd": (438, 438), "pivot_root": (155, 41),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "ptrace": (101, 117), "quotactl": (179, 60),
    "reboot": (169, 142), "request_key": (249, 218), "semget": (64, 190), "setns": (308, 268),
    "settimeofday": (164, 170), "shmat": (30, 196), "shmget": (29, 194), "swapon": (167, 224), "syslog": (103, 116),
    "umount2": (166, 39), "unshare": (272, 97), "userfaultfd": (323, 282), "vmsplice": (278, 75),
}  # fmt: skip
CLONE, SOCKET, CLONE3 = (56, 220), (41, 198), (435, 435)
ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
NAMESPACES = 0x7E020000  # CLONE_NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET
FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6
LOAD, EQUAL, ATLEAST, ANY, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCH, FIRST = 0, 4, 16  # offsets in struct seccomp_data; FIRST is the low half of the first argument
ALLOW, ERROR, KILL = 0x7FFF0000, 0x00050000, 0x80000000


def filter_program(machine: str | None = None) -> bytes | None:
    """The filter as ``bwrap --seccomp`` reads it; None for a processor whose system calls are not listed here.

    Args:
        machine: "x86_64" or "aarch64"; by default this one.
    """
    machine = machine or platform.machine()
    if machine not in ARCHITECTURE or sys.byteorder != "little":
        return None
    column = list(ARCHITECTURE).index(machine)
    # (operation, value, label if true, label if false); None is the next line.
    lines: list[tuple[int, int, str | None, str | None]]
    lines = [(LOAD, ARCH, None, None), (EQUAL, ARCHITECTURE[machine], None, "kill"), (LOAD, NUMBER, None, None)]
    if machine == "x86_64":
        lines.append((ATLEAST, 0x40000000, "deny", None))  # the x32 numbers of the same calls
    lines += [(EQUAL, CLONE3[column], "absent", None), (EQUAL, CLONE[column], "clone", None)]
    lines += [(EQUAL, SOCKET[column], "socket", None)]
    lines += [(EQUAL, numbers[column], "deny", None) for numbers in DENIED.values()]
    labels = {}
    for label, block in (
        ("allow", [(RETURN, ALLOW, None, None)]),
        ("clone", [(LOAD, FIRST, None, None), (ANY, NAMESPACES, "deny", "allow2")]),
        ("socket", [(LOAD, FIRST, None, None), *((EQUAL, f, "allow2", None) for f in FAMILIES)]),
        ("deny", [(RETURN, ERROR | errno.EPERM, None, None)]),
        ("absent", [(RETURN, ERROR | errno.ENOSYS, None, None)]),  # glibc then uses clone
        ("kill", [(RETURN, KILL, None, None)]),
        ("allow2", [(RETURN, ALLOW, None, None)]),
    ):
        labels[label] = len(lines)
        lines += block
    program = b""
    for position, (operation, value, yes, no) in enumerate(lines):
        jumps = [0 if label is None else labels[label] - position - 1 for label in (yes, no)]
        program += struct.pack("<HBBI", operation, *jumps, value)
    return program
