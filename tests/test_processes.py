"""Work in several processes: from any program, and with Ctrl-C left to the one that started them."""

import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from arsetlib import processes

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = """
from functools import partial
import multiprocessing
from arsetlib import processes
print("once")
{before}
with processes.workers(2) as results:
    print(sorted(results([partial(max, 1, 2), partial(pow, 2, 5)])))
"""


@pytest.mark.parametrize(
    "before",
    ["", "multiprocessing.set_start_method('spawn')", "multiprocessing.set_start_method('forkserver', force=True)"],
)
def test_a_script_without_a_main_guard_may_use_processes_and_runs_once(tmp_path, before):
    (tmp_path / "script.py").write_text(SCRIPT.format(before=before), encoding="utf-8")
    command = [sys.executable, "-W", "error", str(tmp_path / "script.py")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert (done.stdout, done.stderr) == ("once\n[2, 32]\n", "")


def test_so_may_a_program_from_standard_input():
    done = subprocess.run(
        [sys.executable, "-"], input=SCRIPT.format(before=""), capture_output=True, text=True, cwd=ROOT
    )
    assert (done.stdout, done.stderr) == ("once\n[2, 32]\n", "")


def test_a_process_that_may_start_no_others_does_all_itself():
    code = (
        "import multiprocessing as m, os\nfrom arsetlib import processes\n"
        "def run():\n"
        "    with processes.workers(2) as results: print(*results([os.getpid]) , os.getpid())\n"
        "m.set_start_method('fork')\np = m.Process(target=run, daemon=True)\np.start()\np.join()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    one, other = done.stdout.split()
    assert one == other


def test_an_error_of_a_task_is_raised_here():
    with pytest.raises(ZeroDivisionError), processes.workers(2) as results:
        list(results([partial(divmod, 1, 0)]))


@pytest.mark.skipif(sys.platform == "win32", reason="no signal to a group of processes there")
@pytest.mark.parametrize("seconds", [0.05, 1.5])  # while the processes start, and while they work
def test_ctrl_c_is_one_error_and_not_one_for_each_process(seconds):
    code = (
        "from functools import partial\nimport time\nfrom arsetlib import processes\n"
        "with processes.workers(2) as results:\n"
        "    print('up', flush=True)\n    list(results([partial(time.sleep, 2)] * 4))"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        start_new_session=True,
    )  # fmt: skip
    assert running.stdout.readline() == "up\n"
    time.sleep(seconds)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does
    errors = running.communicate(timeout=60)[1]
    assert len(re.findall("^Traceback", errors, re.MULTILINE)) == 1, errors
    assert errors.endswith("KeyboardInterrupt\n")


def test_only_this_module_starts_python_processes_of_a_pool():
    others = [f for f in (ROOT / "arsetlib").rglob("*.py") if f.name != "processes.py" and "student" not in f.parts]
    found = [
        f.name for f in others if re.search(r"ProcessPoolExecutor|import multiprocessing|get_context", f.read_text())
    ]
    assert found == []
