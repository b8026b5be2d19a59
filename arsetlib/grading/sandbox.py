"""A sandbox for learners' code: bubblewrap's namespaces, limits of the operating system, and a watch over totals.

With bubblewrap (Linux) a learner's code sees `/usr`, Python, this library and the sample data, all read-only, and one
writable folder in memory. It sees no network, no other process and none of your files, and it has no privileges. The
system limits each process; a watching thread limits all of them together and stops them.

==================  ==================  ===================  ===============
limit               Linux, bubblewrap   Linux, `--trust`     macOS, `--trust`
==================  ==================  ===================  ===============
files, network      isolated            open                 open
other processes     not visible         open                 open
system calls        filtered            open                 open
time                each and total      each and total       each
memory              each and total      each and total       no limit
disk                total, in memory    each file            each file
processes           counted             counted              no limit
output              200 kB are kept     200 kB are kept      200 kB are kept
==================  ==================  ===================  ===============

Linux includes WSL 2 on Windows, and containers that allow namespaces. Windows itself is refused. Known gaps: the watch
looks 20 times a second, so a process may exceed a total for that long; kernel buffers (pipes, sockets) are limited only
by the number of open files; and learners can read the public checks, as everybody can.
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
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import arsetlib
from arsetlib.errors import ArsetError
from arsetlib.grading import seccomp
from arsetlib.grading.limits import Limits, process_tree
from arsetlib.translation import N_

__all__ = ["Sandbox", "SandboxError", "View", "find_bwrap", "protection", "require", "why_unprotected"]

SCRATCH = "/tmp"  # noqa: S108 -- inside the sandbox: the writable folder in memory
RUNNER = Path(__file__).with_name("notebook_runner.py")
FIRST_UID, UIDS = 60706, 470  # used by no user and no service: see https://systemd.io/UIDS-GIDS
TIMED_OUT = N_("it took too long by the clock and was stopped")
MAX_OUTPUT = 200_000  # bytes kept of what a learner's code prints
WATCH_INTERVAL = 0.05  # s
SYSTEM_FOLDERS = ("/bin", "/lib", "/lib32", "/lib64", "/sbin")
ETC_FILES = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime", "/etc/fonts", "/etc/mime.types")


class SandboxError(ArsetError, RuntimeError):
    """Learners' code cannot be run safely on this machine, or not at all."""


@dataclass(frozen=True)
class View:
    """What a submission sees of this machine, read-only.

    Attributes:
        data: Folder of the sample data.
        private: Files and folders that are hidden, even inside what is visible.
        files: Further files: path here → path in the sandbox.
    """

    data: Path
    private: tuple[Path, ...] = ()
    files: dict[str, str] = field(default_factory=dict)


@cache
def find_bwrap() -> str | None:
    """Path of the program bubblewrap (Linux only)."""
    return shutil.which("bwrap") if sys.platform == "linux" else None


@cache
def why_unprotected() -> str:
    """Why learners' code would run without protection on this machine; empty where it is protected."""
    if sys.platform == "win32":
        return "There is no sandbox for Windows: run it in WSL 2 with bubblewrap."
    if sys.platform != "linux":
        return f"There is no sandbox for {sys.platform}: use Linux, for instance in a virtual machine or a container."
    if find_bwrap() is None:
        return (
            "bubblewrap is not installed: sudo apt-get install bubblewrap (or dnf, pacman, zypper install bubblewrap)."
        )
    with subprocess.Popen(
        [*_bwrap_command(Limits(), View(Path("/usr"))), sys.executable, "-c", "print('in')"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment(View(Path("/usr"))),
    ) as trial:  # fmt: skip
        out, errors = trial.communicate(timeout=60)
    if out == b"in\n":
        return ""
    error_text = errors.decode(errors="replace").strip()[-300:]
    return (
        f"bubblewrap (0.7 or newer is needed) cannot make a sandbox here: {error_text}. Does this container or kernel "
        "forbid namespaces? Try another machine, or on Ubuntu the AppArmor profile bwrap-userns-restrict."
    )


def protection() -> str:
    """One sentence that says what is enforced on this machine."""
    if not why_unprotected():
        user = "an unused user id" if os.geteuid() == 0 else "a user namespace"
        filtered = "a filter of system calls" if seccomp.filter_program() else "no filter of system calls (processor)"
        return (
            f"Sandbox: bubblewrap with {user}, no network, own processes and files only, {filtered}; "
            "limits on time, memory, disk, processes and output."
        )
    if sys.platform == "linux":
        return "NO sandbox: limits on time, memory, file size and number of processes; files and network are open."
    return "NO sandbox: limits on time and file size (macOS keeps none on memory); files, network, processes are open."


def require(trust: bool) -> None:
    """Refuse to run submissions without a sandbox, unless the caller trusts them.

    Raises:
        SandboxError: There is no sandbox; the message says why and what to do.
    """
    if sys.platform == "win32":
        raise SandboxError(why_unprotected())
    if not trust and why_unprotected():
        raise SandboxError(
            f"Refusing to run submissions unprotected. {why_unprotected()} "
            "With --trust they run with all the rights you have: only for notebooks that you wrote or read yourself. "
            f"Enforced then: {protection()}"
        )


def _bwrap_command(limits: Limits, view: View) -> list[str]:
    """The command that makes the sandbox; append the command that is to run in it."""
    size = limits.disk_mb << 20
    command = [find_bwrap(), "--die-with-parent", "--new-session", "--hostname", "sandbox", "--cap-drop", "ALL"]
    is_root = os.geteuid() == 0
    if is_root:  # bubblewrap needs real rights to mount what only root can read; setpriv drops them afterwards
        command += ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
        command += [word for right in ("SETUID", "SETGID", "SETPCAP") for word in ("--cap-add", f"CAP_{right}")]
    else:
        command += ["--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534"]
    command += ["--perms", "0777", "--size", str(size), "--tmpfs", SCRATCH, "--ro-bind", "/usr", "/usr"]
    for path in map(Path, SYSTEM_FOLDERS):
        if path.is_symlink():
            command += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            command += ["--ro-bind", str(path), str(path)]
    for path in ETC_FILES:
        command += ["--ro-bind-try", path, path]
    visible = _visible_folders(view)
    above = {parent for path in visible for parent in path.parents} - {Path("/"), Path("/usr"), Path(SCRATCH)}
    for path in sorted(above, key=lambda path: len(path.parts)):
        command += ["--perms", "0755", "--dir", str(path)]  # otherwise only root could enter
    for path in visible:
        command += ["--ro-bind", str(path), str(path)]
    make_read_only = []
    for path in (path.resolve() for path in view.private if path.exists()):
        for folder in (Path("/usr"), *visible):
            if path.is_relative_to(folder.resolve()):  # compared without links
                inside = str(folder / path.relative_to(folder.resolve()))
                command += ["--tmpfs", inside] if path.is_dir() else ["--ro-bind", os.devnull, inside]
                make_read_only += ["--remount-ro", inside] if path.is_dir() else []
    for path, name in view.files.items():
        command += ["--perms", "0777", "--dir", os.path.dirname(name), "--ro-bind", path, name]
    command += ["--proc", "/proc", "--dev", "/dev"]
    command += ["--perms", "0777", "--size", str(min(size, 64 << 20)), "--tmpfs", "/dev/shm"]  # noqa: S108
    command += [*make_read_only, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", SCRATCH, "--"]
    if is_root:
        uid = str(_unused_uid())
        command += ["setpriv", "--reuid", uid, "--regid", uid, "--clear-groups", "--inh-caps=-all"]
        command += ["--bounding-set=-all", "--no-new-privs"]
    return command


@cache
def _unused_uid() -> int:
    """A user id that nobody has. Each grader takes its own, so that the number of its processes is counted alone."""
    import pwd  # not on Windows

    for step in range(UIDS):
        uid = FIRST_UID + (os.getpid() + step) % UIDS
        try:
            pwd.getpwuid(uid)
        except KeyError:
            return uid
    raise SandboxError(f"Every user id from {FIRST_UID} to {FIRST_UID + UIDS} is in use.")


def _visible_folders(view: View) -> list[Path]:
    """Folders of Python, this package and the data; none inside another."""
    package = Path(arsetlib.__file__).parent
    paths = {Path(sys.prefix), Path(sys.base_prefix), Path(sysconfig.get_path("purelib")), package, view.data}
    paths |= {Path(entry) for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")}
    for path in paths:
        if path == Path("/") or path == Path.home():
            raise SandboxError(f"{path} would be open to submissions. Install Python in a folder of its own.")
    folders = {path.absolute() for path in paths if path.exists()} | {Path("/usr")}
    inside = {path for path in folders if folders & set(path.parents)}
    return sorted(folders - inside - {Path("/usr")})


def _environment(view: View) -> dict[str, str]:
    """All environment variables of a learner's code; none is taken from yours."""
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA")}
    return threads | {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin", "HOME": SCRATCH, "TMPDIR": SCRATCH,
        "USER": "learner", "LOGNAME": "learner", "LANG": "C.UTF-8", "TZ": "UTC", "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1", "IPYTHONDIR": f"{SCRATCH}/.ipython", "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": f"{SCRATCH}/.matplotlib", "ARSET_DATA": str(view.data.absolute()),
    }  # fmt: skip


class Sandbox:
    """The processes of one submission: how to write to and read from them, and the watch over their use of resources.

    Use it in a ``with`` statement: when that ends, no process of the submission runs any more.

    Args:
        limits: What it may use.
        view: What it sees of this machine.
        scratch: Folder to start in; given only where the submission may run without protection.

    Attributes:
        stop_reason: Why it was stopped; empty where it was not.

    Raises:
        SandboxError: It would run without protection, and there is no ``scratch``.
    """

    def __init__(self, limits: Limits, view: View, scratch: Path | None = None):
        require(trust=scratch is not None)
        self.limits, self.stop_reason, self._output, self._stopped = limits, "", bytearray(), False
        self._deadline, self._reply_deadline = time.monotonic() + limits.wall_seconds, float("inf")
        isolated = not why_unprotected()
        settings = {"path": [str(Path(arsetlib.__file__).parent.parent)], "limits": limits.rlimits(isolated)}
        wrapper, environment, filters = [], _environment(view), ()
        if isolated:
            wrapper = _bwrap_command(limits, view)
            if program := seccomp.filter_program():
                read_end, write_end = os.pipe()
                os.write(write_end, program)
                os.close(write_end)
                wrapper[1:1] = ["--seccomp", str(read_end)]
                filters = (read_end,)
        else:
            settings["parent"] = os.getpid()  # the runner ends with this process; in the sandbox bubblewrap sees to it
            environment |= {name: str(scratch) for name in ("HOME", "TMPDIR", "IPYTHONDIR", "MPLCONFIGDIR")}
            environment |= {name: os.environ[name] for name in ("SYSTEMROOT", "PATH") if name in os.environ}
        self.process = subprocess.Popen(
            [*wrapper, sys.executable, "-s", "-P", str(RUNNER), json.dumps(settings)], env=environment, cwd=scratch,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, pass_fds=filters,
            start_new_session=True,
        )  # fmt: skip
        for descriptor in filters:
            os.close(descriptor)
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._keep_output, self._watch)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *problem: object) -> None:
        self.stop("")
        self.process.wait()
        for thread in self._threads:
            thread.join(10)
        for pipe in (self.process.stdin, self.process.stdout):
            pipe.close()

    @property
    def requests(self) -> int:
        """File descriptor to write messages to the process."""
        return self.process.stdin.fileno()

    @property
    def replies(self) -> int:
        """File descriptor to read its messages from."""
        return self.process.stdout.fileno()

    @property
    def output(self) -> str:
        """The beginning of what it printed, at most 200 kB."""
        return bytes(self._output).decode("utf-8", errors="replace")

    def set_reply_limit(self, seconds: float) -> None:
        """Stop it unless it replies within so many seconds by the clock. The limit of the whole run stays."""
        self._reply_deadline = time.monotonic() + seconds

    def stop(self, reason: str) -> None:
        """End all its processes. The first reason is kept."""
        if self.process.poll() is not None:
            return
        self.stop_reason, self._stopped = self.stop_reason or reason, True
        if why_unprotected():
            with contextlib.suppress(OSError):
                os.killpg(self.process.pid, signal.SIGKILL)
        else:  # when the first process of the namespace ends, all others end too, and bubblewrap notices
            for first in process_tree(self.process.pid)[1:2]:
                with contextlib.suppress(OSError):
                    os.kill(first, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(2)
        self.process.kill()

    def _keep_output(self) -> None:
        with self.process.stderr as pipe:
            while part := pipe.read(1 << 16):
                if len(self._output) < MAX_OUTPUT:
                    self._output += part[: MAX_OUTPUT - len(self._output)]

    def _watch(self) -> None:
        """Stop it when all its processes together exceed a limit."""
        while not self._stopped and self.process.poll() is None:
            if time.monotonic() > min(self._deadline, self._reply_deadline):
                self.stop(TIMED_OUT)
            elif sys.platform == "linux" and (reason := self.limits.exceeded_by(self.process.pid)):
                self.stop(reason)
            time.sleep(WATCH_INTERVAL)
