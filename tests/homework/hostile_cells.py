"""Cells of hostile notebooks: what they try. `LEAK` is printed where something that must not be was seen or done."""

import platform
from pathlib import Path

from arsetlib.grading import seccomp

SECRET = "the-secret-of-this-machine"  # in the grader's environment and in files it can read
_at = list(seccomp.ARCHITECTURE).index(platform.machine()) if platform.machine() in seccomp.ARCHITECTURE else 0
NUMBERS = {name: numbers[_at] for name, numbers in (seccomp.DENIED | {"clone": seccomp.CLONE}).items()}
TRY = """
def attempt(what, do):
    try:
        found = do()
    except BaseException as problem:
        print("refused", what, type(problem).__name__)
    else:
        print("LEAK", what, str(found)[:300])
import os, sys, socket, ctypes, glob, subprocess
libc = ctypes.CDLL(None, use_errno=True)
def system(name, *args):
    if libc.syscall(NUMBERS[name], *args) < 0:
        raise OSError(ctypes.get_errno())
""".replace("NUMBERS", repr(NUMBERS))


def reading(*places: Path) -> str:
    """A cell that tries to read folders and files of the grader's machine, by name and by every path it knows."""
    listed = [str(place) for place in places]
    return (
        TRY
        + f"""
for place in {listed!r}:
    attempt(place, lambda: os.listdir(place) if os.path.isdir(place) else open(place).read())
    if os.path.exists(place): print("LEAK exists", place)
import arsetlib
seen = (sys.prefix, sys.base_prefix, arsetlib.__path__[0], os.environ["ARSET_DATA"])
for pattern in ("/home/*/*", "/root/[.][a-oq-z]*", "/root/[!.]*", "/etc/passwd", "/etc/shadow", "/var/*", "/sys/*",
                "/proc/1/root/var/*", "/proc/1/root/home/*", "/run/*", "/opt/*"):
    for found in glob.glob(pattern):
        if not any(path.startswith(found) for path in seen): print("LEAK", found)
for pid in os.listdir("/proc"):
    if pid.isdigit() and pid not in ("1", str(os.getpid())):
        name = open(f"/proc/{{pid}}/comm").read().strip()
        if not name.startswith(("bwrap", "python", "sh", "cat")): print("LEAK process", pid, name)
    if pid.isdigit():
        try:
            if {SECRET[:12]!r} in open(f"/proc/{{pid}}/environ").read(): print("LEAK environment of", pid)
        except OSError: pass
print("environment", dict(os.environ))
for number in range(3, 200):
    try: print("fd", number, os.readlink(f"/proc/self/fd/{{number}}"))
    except OSError: pass
"""
    )


def writing(*places: Path) -> str:
    """A cell that tries to write where it must not."""
    listed = [str(place) for place in places]
    return (
        TRY
        + f"""
import arsetlib, numpy
places = {listed!r} + ["/usr", "/etc", "/", "/dev", "/proc/sys/kernel", os.environ["ARSET_DATA"], sys.prefix,
                       os.path.dirname(arsetlib.__file__), os.path.dirname(numpy.__file__)]
for place in places:
    attempt("write in " + place, lambda: open(os.path.join(place, "planted.txt"), "w").write("x"))
    attempt("remount " + place, lambda: system("mount", 0, place.encode(), 0, 4128, 0))
attempt("check", lambda: open(arsetlib.__path__[0] + "/grading/questions.py", "a").write("def close(*a, **k): pass"))
attempt("remove", lambda: os.remove(arsetlib.__path__[0] + "/grading/questions.py"))
attempt("data", lambda: os.remove(glob.glob(os.environ["ARSET_DATA"] + "/*/*")[0]))
"""
    )


RIGHTS = (
    TRY
    + """
import resource
attempt("root", lambda: os.setuid(0))
attempt("group", lambda: os.setgroups([0]))
attempt("chroot", lambda: os.chroot("/tmp"))
attempt("unshare", lambda: system("unshare", 0x10000000))
attempt("new namespace", lambda: system("clone", 0x10000000 | 17, 0, 0, 0, 0))
attempt("mount", lambda: system("mount", b"tmp", b"/tmp", b"tmpfs", 0, 0))
attempt("memfd", lambda: system("memfd_create", b"x", 0))
attempt("shm", lambda: system("shmget", 0, 1 << 30, 0o1600))
attempt("ptrace", lambda: system("ptrace", 16, 1, 0, 0))
attempt("bpf", lambda: system("bpf", 0, 0, 0))
attempt("io_uring", lambda: system("io_uring_setup", 8, 0))
attempt("keyctl", lambda: system("keyctl", 0, -3, 1))
attempt("vsock", lambda: socket.socket(40, socket.SOCK_STREAM))
attempt("netlink", lambda: socket.socket(16, socket.SOCK_RAW))
attempt("packet", lambda: socket.socket(17, socket.SOCK_RAW))
for limit in ("RLIMIT_NPROC", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_AS", "RLIMIT_FSIZE", "RLIMIT_NOFILE"):
    attempt("lift " + limit, lambda: resource.setrlimit(getattr(resource, limit), (resource.RLIM_INFINITY,) * 2))
attempt("nice", lambda: os.nice(-5))
attempt("sudo", lambda: subprocess.run(["su", "-c", "id"], check=True, capture_output=True, stdin=subprocess.DEVNULL))
attempt("kill parent", lambda: os.kill(os.getppid(), 9) if os.getppid() > 1 else 1 / 0)
for signal in (19, 9):  # the first process of a namespace: refused, or taken and ignored
    try: os.kill(1, signal)
    except PermissionError: pass
"""
)
NETWORK = (
    TRY
    + """
import urllib.request
attempt("internet", lambda: socket.create_connection(("1.1.1.1", 53), 2))
attempt("name", lambda: socket.getaddrinfo("pypi.org", 443))
attempt("url", lambda: urllib.request.urlopen("http://169.254.169.254/", timeout=2).read())
attempt("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("8.8.8.8", 53)))
attempt("host's services", lambda: [socket.create_connection(("127.0.0.1", port), 1) for port in (22, PORT)])
"""
)
PATCHES = """
import sys, types, builtins, numpy as np
import numpy.testing
from arsetlib.grading import answers, questions, homework
from arsetlib.grading.assignments import part1
yes = lambda *a, **k: True
np.allclose = np.isclose = np.array_equal = np.testing.assert_allclose = yes
for module in (questions, homework, part1):
    for name in ("close", "equal", "number", "assess", "check", "require", "Wrong", "array", "table"):
        setattr(module, name, yes)
part1.QUESTIONS = ()
questions.Question.points = 1000
otter = types.ModuleType("otter"); otter.Notebook = yes; sys.modules["otter"] = otter
builtins.abs = lambda x: 0
class Everything(float):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __abs__(self): return 0
    def __sub__(self, other): return 0
    __rsub__ = __sub__
    __hash__ = float.__hash__
def hectares(*a): return Everything(1)
def class_of(*a): return Everything(2)
layout = rerun = Everything(3)
grading.check("q1", hectares)
"""
PRINTS = """
for line in ("q1: right.", "24 of 24 points", '{"marks": [{"points": {"q1": 1000}}]}', "All tests passed!"):
    print(line)
    import sys, os
    os.write(2, line.encode()); os.write(1, line.encode())
open("/tmp/grades.csv", "w").write("learner,total\\nme,24")
open("/tmp/results.json", "w").write('{"score": 24}')
hectares = class_of = None
"""
# A learner's code that has the descriptor of the messages can send any; it finds out which by trying all.
SENDS = """
import os, struct, json
def send(body, size=None):
    data = struct.pack(">I", len(body) if size is None else size) + body
    for fd in range(3, 64):
        try: os.write(fd, data)
        except OSError: pass
"""
FORGED = (
    'send(json.dumps({"id": "1", "value": {"stopped": None, "failed": []}}).encode()); '
    'send(b\'{"id": "ready", "value": null, "points": 24, "marks": {"q1": 1000}}\')'
)
FORGES = {
    "forged_reply": FORGED,
    "forged_size": "send(b'', 0xffffffff)",
    "forged_deep": "send(b'[' * 3_000_000)",
    "forged_nan": 'send(b\'{"id": NaN, "value": Infinity}\')',
    "forged_digits": "send(b'{\"id\": ' + b'9' * 1_000_000 + b'}')",
    "forged_pickle": "import pickle; send(pickle.dumps({'id': '1'}))",
}
# The learner's code in place of the honest loop: replies in time, with the right id, and values of every wrong kind.
ANSWERS_FOR_IT = """
import gc, types
held = gc.get_objects()
mine = [f for f in held if type(f) is types.FunctionType and f.__qualname__.startswith("main.<locals>.<lambda>")]
receive = [f for f in mine if not f.__code__.co_argcount][0]
reply = [f for f in mine if f.__code__.co_argcount][0]
first = [d for d in held if type(d) is dict and d.get("do") == "run"][0]
reply({"id": first["id"], "value": {"failed": {"a": []}, "stopped": 10**400}})
values = [
    {"!": "array", "dtype": "|O", "shape": [1], "v": "AAAAAAAAAAA="},
    {"!": "array", "dtype": "<f8", "shape": [10**12], "v": ""},
    {"!": "array", "dtype": "<f8", "shape": [-1], "v": "AAAAAAAAAAA="},
    {"!": "pickle", "v": "gASVAAA="}, {"!": []}, {"v": 1},
    {"!": "dict", "v": [[{"!": "dict", "v": []}, 1]]}, {"!": "frame", "columns": [], "index": None, "rows": 10**15},
    {"!": "int", "v": "9" * 5000}, {"!": "float", "v": "nan"}, {"!": "time", "v": "x"},
    [[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]],
    {"!": "series", "v": 1, "index": {"names": [], "levels": []}, "name": None}, {"__reduce__": "os.system"},
]
for number in range(10**6):
    request = receive()
    reply({"id": request["id"], "value": values[number % len(values)], "args": values[number % 3]})
"""


FORKS = """
import os, time
for turn in range(300):
    try:
        if not os.fork():
            turn or time.sleep(60)
    except OSError: pass
"""
CHILDREN = """
import subprocess
held = [subprocess.Popen(["sleep", "60"]) for turn in range(300)]
"""
THREADS = """
import threading, time
for turn in range(500):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
"""
ALLOCATES_IN_MANY = """
import os, time
for turn in range(6):
    if not os.fork():
        held = bytearray(b"x") * (200 << 20)
        time.sleep(60)
time.sleep(60)
"""
ALLOCATES_SHARED = """
import mmap
held = mmap.mmap(-1, 3 << 30)
for turn in range(190):
    held.write(b"1" * (16 << 20))
while True: pass
"""
PICKLES = """
import pickle, os
class Bad:
    def __reduce__(self): return os.system, ("echo LEAK pickle",)
pickle.dump(Bad(), open("/tmp/answers.pkl", "wb"))
layout, rerun, land = Bad(), np.array([Bad()], object), {1: Bad()}
def hectares(*a): return Bad()
"""
ENDLESS_VALUES = """
class List(list):
    def __iter__(self):
        while True: yield 1.0
class Dict(dict):
    def items(self): raise SystemExit
class Odd:
    @property
    def __class__(self): raise SystemExit
layout, rerun, land = List(), Dict(a=1), Odd()
def hectares(*a): return 10**100_000
"""
FILLS = """
for turn in range(100):
    open(f"{FOLDER}/{turn}", "wb").write(bytes(8 << 20))
"""
