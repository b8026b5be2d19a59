"""A process that can do no harm: bubblewrap's namespaces, limits of the system, a watch over what those do not count.

With bubblewrap (Linux) a learner's code sees `/usr`, Python, this library and the sample data, all read-only, and one
folder in memory to write to; no network, no other process, no file of yours. It runs as a user without rights. Each
process is limited by the system, and all together by a watch that ends them.

==================  ==================  ===================  ===============
is limited          Linux, bubblewrap   Linux, `--trust`     macOS, `--trust`
==================  ==================  ===================  ===============
files, network      own, none           open                 open
other processes     not seen            open                 open
system calls        filtered            open                 open
processor, clock    each and all        each and all         each
memory              each and all        each and all         not kept
disk                all, in memory      each file            each file
processes           counted             counted              no
output              kept to 200 kB      kept to 200 kB       kept to 200 kB
==================  ==================  ===================  ===============

Linux means also WSL 2 on Windows and containers that allow namespaces; Windows itself is refused. What falls short: the
watch looks every twentieth of a second, so a burst may be over a limit for that long; buffers of the kernel (pipes,
sockets) are bounded by the number of open files only; and whoever is graded sees the public checks, as everybody does.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

import arsetlib
from arsetlib.errors import ArsetError
from arsetlib.grading import seccomp
from arsetlib.grading.watch import family, over

SCRATCH = "/tmp"  # noqa: S108 -- inside the sandbox: a folder in memory, of this submission alone
CHILD = Path(__file__).with_name("child.py")
FIRST_UID, UIDS = 60706, 470  # no user's, no service's: see https://systemd.io/UIDS-GIDS
TOO_LONG = "it took too long by the clock and was stopped"
OUTPUT = 200_000  # bytes kept of what a learner's code prints
SYSTEM = ("/bin", "/lib", "/lib32", "/lib64", "/sbin")
ETC = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime", "/etc/fonts", "/etc/mime.types")


class SandboxError(ArsetError, RuntimeError):
    """Learners' code cannot be run safely on this machine, or not at all."""


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    Attributes:
        seconds: Of the processor, for all cells of the notebook; half as much again for its functions.
        memory_mb: Of all its processes together, MB.
        disk_mb: Of all files it writes, MB; they are in memory.
        processes: And threads, at one time.
        files: Written in all; an eighth of a hundred of them may be open in one process.
    """

    seconds: float = 60
    memory_mb: int = 2048
    disk_mb: int = 256
    processes: int = 48
    files: int = 10_000

    @property
    def wall(self) -> float:
        """Seconds by the clock from start to end: a busy machine is no fault of a learner's."""
        return 3 * self.seconds + 60

    def of_system(self) -> dict[str, int]:
        """The limits that the system itself keeps, for each process."""
        mega = 1 << 20
        held = {
            "RLIMIT_CORE": 0, "RLIMIT_CPU": int(2 * self.seconds + 1), "RLIMIT_DATA": self.memory_mb * mega,
            "RLIMIT_AS": (self.memory_mb + 4096) * mega, "RLIMIT_FSIZE": self.disk_mb * mega, "RLIMIT_NOFILE": 128,
            "RLIMIT_MEMLOCK": 1 << 16, "RLIMIT_MSGQUEUE": 0, "RLIMIT_SIGPENDING": 256,
        }  # fmt: skip
        if find_bwrap() is None:  # elsewhere these count what the user's other programs have, too
            return {name: value for name, value in held.items() if name not in ("RLIMIT_MSGQUEUE", "RLIMIT_SIGPENDING")}
        # Since Linux 5.14 a namespace counts its own; before, and without one of users, all of a user's count.
        own = os.geteuid() == 0 or tuple(map(int, os.uname().release.split("-")[0].split(".")[:2])) >= (5, 14)
        return held | {"RLIMIT_NPROC": self.processes + (0 if own else 4096)}


@dataclass(frozen=True)
class View:
    """What a submission sees of the machine, read-only: the data; nothing of ``private``, even inside what it sees."""

    data: Path
    private: tuple[Path, ...] = ()
    files: dict[str, str] = field(default_factory=dict)  # a file here: its name in the sandbox


@cache
def find_bwrap() -> str | None:
    """Where bubblewrap is, on Linux."""
    return shutil.which("bwrap") if sys.platform == "linux" else None


@cache
def why_unprotected() -> str:
    """Why learners' code would run without protection here; empty where it is protected."""
    if sys.platform == "win32":
        return "There is no sandbox for Windows: run it in WSL 2 with bubblewrap."
    if sys.platform != "linux":
        return f"There is no sandbox for {sys.platform}: it takes Linux (a virtual machine or a container will do)."
    if find_bwrap() is None:
        return (
            "bubblewrap is not installed: sudo apt-get install bubblewrap (or dnf, pacman, zypper install bubblewrap)."
        )
    with subprocess.Popen(
        [*_bwrap(Limits(), View(Path("/usr"))), sys.executable, "-c", "print('in')"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment(View(Path("/usr"))),
    ) as trial:  # fmt: skip
        out, errors = trial.communicate(timeout=60)
    if out == b"in\n":
        return ""
    words = errors.decode(errors="replace").strip()[-300:]
    return (
        f"bubblewrap (0.7 or newer is needed) cannot make a sandbox here: {words}. Does this container or kernel "
        "forbid namespaces? Try another machine, or on Ubuntu the AppArmor profile bwrap-userns-restrict."
    )


def protection() -> str:
    """What is enforced on this machine, in words."""
    if not why_unprotected():
        user = "an unused user id" if os.geteuid() == 0 else "a user namespace"
        filtered = "a filter of system calls" if seccomp.program() else "no filter of system calls on this processor"
        return (
            f"bubblewrap: no network, own processes and files only, {user}, {filtered}; "
            "limits on time, memory, disk, processes and output."
        )
    if sys.platform == "linux":
        return "NO sandbox: limits on time, memory, file size and number of processes; files and network are open."
    return "NO sandbox: limits on time and file size (macOS keeps none on memory); files, network, processes are open."


def require(trust: bool) -> None:
    """Refuse to go on without protection, unless told to trust the submissions.

    Raises:
        SandboxError: There is none; says why and what to do.
    """
    if sys.platform == "win32":
        raise SandboxError(why_unprotected())
    if not trust and why_unprotected():
        raise SandboxError(
            f"Refusing to run submissions unprotected. {why_unprotected()} "
            "With --trust they run with all the rights you have: only for notebooks that you wrote or read yourself. "
            f"Enforced then: {protection()}"
        )


def _bwrap(limits: Limits, view: View) -> list[str]:
    """The command that makes the sandbox; what is to run in it follows."""
    size = limits.disk_mb << 20
    command = [find_bwrap(), "--die-with-parent", "--new-session", "--hostname", "sandbox", "--cap-drop", "ALL"]
    root = os.geteuid() == 0
    if root:  # with real rights, to mount what only root can read; setpriv gives them up
        command += ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
        command += [word for right in ("SETUID", "SETGID", "SETPCAP") for word in ("--cap-add", f"CAP_{right}")]
    else:
        command += ["--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534"]
    command += ["--perms", "0777", "--size", str(size), "--tmpfs", SCRATCH, "--ro-bind", "/usr", "/usr"]
    for path in map(Path, SYSTEM):
        if path.is_symlink():
            command += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            command += ["--ro-bind", str(path), str(path)]
    for path in ETC:
        command += ["--ro-bind-try", path, path]
    shown = _visible(view)
    above = {parent for path in shown for parent in path.parents} - {Path("/"), Path("/usr"), Path(SCRATCH)}
    for path in sorted(above, key=lambda path: len(path.parts)):
        command += ["--perms", "0755", "--dir", str(path)]  # else only root could pass
    for path in shown:
        command += ["--ro-bind", str(path), str(path)]
    covered = []
    for path in (path.resolve() for path in view.private if path.exists()):
        for folder in (Path("/usr"), *shown):
            if path.is_relative_to(folder.resolve()):  # by whatever links it was named
                inside = str(folder / path.relative_to(folder.resolve()))
                command += ["--tmpfs", inside] if path.is_dir() else ["--ro-bind", os.devnull, inside]
                covered += ["--remount-ro", inside] if path.is_dir() else []
    for here, there in view.files.items():
        command += ["--perms", "0777", "--dir", os.path.dirname(there), "--ro-bind", here, there]
    command += ["--proc", "/proc", "--dev", "/dev"]
    command += ["--perms", "0777", "--size", str(min(size, 64 << 20)), "--tmpfs", "/dev/shm"]  # noqa: S108
    command += [*covered, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", SCRATCH, "--"]
    if root:
        uid = str(_unused_uid())
        command += ["setpriv", "--reuid", uid, "--regid", uid, "--clear-groups", "--inh-caps=-all"]
        command += ["--bounding-set=-all", "--no-new-privs"]
    return command


@cache
def _unused_uid() -> int:
    """A user id that nobody has; each grader its own, so that the number of processes is its own."""
    import pwd  # not on Windows

    for step in range(UIDS):
        uid = FIRST_UID + (os.getpid() + step) % UIDS
        try:
            pwd.getpwuid(uid)
        except KeyError:
            return uid
    raise SandboxError(f"Every user id from {FIRST_UID} to {FIRST_UID + UIDS} is in use.")


def _visible(view: View) -> list[Path]:
    """Python's folders, this package and the data; parents first."""
    package = Path(arsetlib.__file__).parent
    found = {Path(sys.prefix), Path(sys.base_prefix), Path(sysconfig.get_path("purelib")), package, view.data}
    found |= {Path(entry) for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")}
    for path in found:
        if path == Path("/") or path == Path.home():
            raise SandboxError(f"{path} would be open to submissions. Install Python in a folder of its own.")
    folders = {path.absolute() for path in found if path.exists()} | {Path("/usr")}
    inside = {path for path in folders if folders & set(path.parents)}
    return sorted(folders - inside - {Path("/usr")})


def _environment(view: View) -> dict[str, str]:
    """All variables that a learner's code sees: none of yours."""
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA")}
    own = {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin", "HOME": SCRATCH, "TMPDIR": SCRATCH,
        "USER": "learner", "LOGNAME": "learner", "LANG": "C.UTF-8", "TZ": "UTC", "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1", "IPYTHONDIR": f"{SCRATCH}/.ipython", "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": f"{SCRATCH}/.matplotlib", "ARSET_DATA": str(view.data.absolute()),
    }  # fmt: skip
    return threads | own


class Sandbox:
    """One submission's process, its messages, and the watch over it.

    Use as a context: at its end nothing of the submission runs any more.

    Args:
        limits: What it may use.
        view: What it sees.
        scratch: A folder to start in, given only where it may run unprotected.

    Raises:
        SandboxError: It would run unprotected, and there is no ``scratch``.
    """

    def __init__(self, limits: Limits, view: View, scratch: Path | None = None):
        require(trust=scratch is not None)
        self.limits, self.why, self._output, self._end = limits, "", bytearray(), time.monotonic() + limits.wall
        settings = {"path": [str(Path(arsetlib.__file__).parent.parent)], "limits": limits.of_system()}
        command = [sys.executable, "-s", "-P", str(CHILD), json.dumps(settings)]
        environment, rules = _environment(view), ()
        if not why_unprotected():
            wrap = _bwrap(limits, view)
            filtered = seccomp.program()
            if filtered:
                rules, end = os.pipe()
                os.write(end, filtered)
                os.close(end)
                wrap[1:1] = ["--seccomp", str(rules)]
                rules = (rules,)
            command = wrap + command
        else:
            settings["parent"] = os.getpid()  # in the sandbox bwrap sees to it, and numbers are others
            command[-1] = json.dumps(settings)
            environment |= {name: str(scratch) for name in ("HOME", "TMPDIR", "IPYTHONDIR", "MPLCONFIGDIR")}
            environment |= {name: os.environ[name] for name in ("SYSTEMROOT", "PATH") if name in os.environ}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, env=environment,
            cwd=scratch, pass_fds=rules, start_new_session=True,
        )  # fmt: skip
        for descriptor in rules:
            os.close(descriptor)
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._listen, self._watch)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *problem) -> None:
        self.stop("")
        self.process.wait()
        for thread in self._threads:
            thread.join(10)
        for pipe in (self.process.stdin, self.process.stdout):
            pipe.close()

    @property
    def requests(self) -> int:
        """Where to write messages for the process."""
        return self.process.stdin.fileno()

    @property
    def replies(self) -> int:
        """Where to read what it answers."""
        return self.process.stdout.fileno()

    @property
    def output(self) -> str:
        """What it has printed, as far as it is kept."""
        return bytes(self._output).decode("utf-8", errors="replace")

    def limit(self, seconds: float) -> None:
        """It has so long, by the clock, before it is stopped; never longer than in all."""
        self._until = min(self._end, time.monotonic() + seconds)

    _until, _stopped = float("inf"), False

    def stop(self, why: str) -> None:
        """End all its processes. The first reason given is kept."""
        if self.process.poll() is not None:
            return
        self.why, self._stopped = self.why or why, True
        if why_unprotected():
            with contextlib.suppress(OSError):
                os.killpg(self.process.pid, signal.SIGKILL)
        else:  # the first process of the namespace: its end is that of all in it, and bwrap sees it off
            for first in family(self.process.pid)[1:2]:
                with contextlib.suppress(OSError):
                    os.kill(first, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(2)
        self.process.kill()

    def _listen(self) -> None:
        """Read what it prints, keep the beginning."""
        with self.process.stderr as pipe:
            while part := pipe.read(1 << 16):
                if len(self._output) < OUTPUT:
                    self._output += part[: OUTPUT - len(self._output)]

    def _watch(self) -> None:
        """Stop it where all its processes together are over a limit."""
        while not self._stopped and self.process.poll() is None:
            if time.monotonic() > min(self._end, self._until):
                self.stop(TOO_LONG)
            elif sys.platform == "linux":
                why = over(self.process.pid, self.limits)
                if why:
                    self.stop(why)
            time.sleep(0.05)


def describe(limits: Limits) -> str:
    """The limits in one line."""
    return ", ".join(f"{name} {value:g}" for name, value in asdict(limits).items())
