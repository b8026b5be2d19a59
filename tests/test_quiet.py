"""What TensorFlow and Spark say when all is well is hidden; every other line reaches the user."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from arsetlib import quiet

ROOT = Path(__file__).resolve().parents[1]
NOISE = [  # as TensorFlow 2.16 to 2.21, Spark 4 and Java 17 to 25 write them
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1795870891.964167    8680 port.cc:153] oneDNN custom operations are on.",
    "W0000 00:00:1795870891.964167    8680 gpu_device.cc:2344] Cannot dlopen some GPU libraries.",
    "2026-11-28 13:00:00.123456: I external/local_xla/xla/tsl/cuda/cudart_stub.cc:32] Could not find cuda drivers",
    "2026-11-28 13:00:00.123456: I tensorflow/core/util/port.cc:153] oneDNN custom operations are on.",
    "To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow with the flags.",
    "E0000 00:00:1733.5  12 cuda_dnn.cc:8579] Unable to register cuDNN factory: Attempting to register factory for",
    "2026-11-28 13:00:00.1: E external/x.cc:467] Unable to register cuFFT factory: Attempting to register factory for",
    "W0000 00:00:1733.5  12 computation_placer.cc:177] computation placer already registered. Please check linkage",
    "E0000 00:00:1733.5  12 computation_placer.cc:177] computation placer already registered. Please check linkage",
    "WARNING: Using incubator modules: jdk.incubator.vector",
    "Using Spark's default log4j profile: org/apache/spark/log4j2-defaults.properties",
    'Setting default log level to "WARN".',
    "To adjust logging level use sc.setLogLevel(newLevel). For SparkR, use setLogLevel(newLevel).",
    "26/11/28 13:02:07 WARN NativeCodeLoader: Unable to load native-hadoop library for your platform... using builtin",
    "26/11/28 13:02:07 WARN Utils: Your hostname, laptop, resolves to a loopback address: 127.0.1.1",
    "WARNING: A terminally deprecated method in sun.misc.Unsafe has been called",
    "WARNING: sun.misc.Unsafe::allocateMemory has been called by io.netty.util.internal.PlatformDependent0",
]
KEPT = [
    "Traceback (most recent call last):",
    "ValueError: my error",
    "WARNING: disk of the user is nearly full",
    "26/11/28 13:09:16 ERROR Executor: Exception in task 0.0 in stage 1.0 (TID 1)",
    "26/11/28 13:09:16 WARN TaskSetManager: Lost task 0.0 in stage 1.0",
    "E0000 00:00:1733.5  12 gpu.cc:1] Failed to allocate 8 GB of GPU memory",
    "F0000 00:00:1733.5  12 check.cc:1] Check failed: a == b",
    "2026-11-28 13:00:00.1: F tensorflow/core/x.cc:3] The TensorFlow library was compiled to use AVX instructions",
    "Illegal instruction",
    "OpenJDK 64-Bit Server VM warning: INFO: os::commit_memory failed; error='Not enough space'",
]


def stderr_of(code: str, **variables: str) -> tuple[str, int]:
    environment = {name: value for name, value in os.environ.items() if name != quiet.VARIABLE} | variables
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    return done.stderr, done.returncode


def said(lines: list[str], **variables: str) -> list[str]:
    code = (
        f"import os\nfrom arsetlib.quiet import quiet\nwith quiet(): os.write(2, {os.linesep.join(lines)!r}.encode())"
    )
    return stderr_of(code, **variables)[0].splitlines()


def test_lines_of_a_normal_start_are_hidden_and_all_others_are_shown_in_their_order():
    mixed = [line for pair in zip(KEPT + NOISE, reversed(KEPT + NOISE), strict=True) for line in pair]
    assert said(mixed) == [line for line in mixed if line in KEPT]


def test_whoever_asks_for_all_messages_of_tensorflow_gets_them():
    assert said(NOISE, TF_CPP_MIN_LOG_LEVEL="0") == NOISE


def test_what_is_written_after_the_block_is_not_read():
    code = f"import os\nfrom arsetlib.quiet import quiet\nwith quiet(): pass\nos.write(2, {NOISE[1]!r}.encode())"
    assert stderr_of(code)[0] == NOISE[1]


@pytest.mark.skipif(sys.platform == "win32", reason="no signals there")
def test_the_last_words_of_a_process_that_crashes_are_not_lost():
    code = (
        "import os\nfrom arsetlib.quiet import quiet\n"
        "with quiet():\n os.write(2, b'Check failed: no such instruction'); os.abort()"
    )
    said, ended = stderr_of(code)
    assert (said, ended) == ("Check failed: no such instruction", -6)


def test_a_process_without_standard_error_is_left_alone():
    code = "import os\nos.close(2)\nfrom arsetlib.quiet import quiet\nwith quiet(): print('done')"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert (done.stdout, done.returncode) == ("done\n", 0)


def tensorflow_that(folder: Path, does: str) -> str:
    """A folder with a small package of that name, to import in place of the large one."""
    (folder / "tensorflow").mkdir()
    (folder / "tensorflow" / "__init__.py").write_text(
        f"import os\nos.write(2, {NOISE[1]!r}.encode() + b'\\n')\n{does}\n"
    )
    return str(folder)


@pytest.mark.parametrize(
    "importing",
    ["import tensorflow", "import multiprocessing as m\nm.Process(target=exec, args=('import tensorflow',)).start()"],
)
def test_importing_tensorflow_says_nothing(tmp_path, importing):
    assert stderr_of(f"import arsetlib\n{importing}", PYTHONPATH=tensorflow_that(tmp_path, "")) == ("", 0)


def test_an_error_of_importing_tensorflow_is_shown(tmp_path):
    does = "raise ImportError('libcudart.so.12: cannot open shared object file')"
    said, ended = stderr_of("import arsetlib\nimport tensorflow", PYTHONPATH=tensorflow_that(tmp_path, does))
    assert said.splitlines()[-1] == "ImportError: libcudart.so.12: cannot open shared object file"
    assert ended == 1


def test_tensorflow_itself_says_nothing_when_keras_imports_it():
    assert stderr_of("import arsetlib, keras") == ("", 0)


@pytest.mark.spark
def test_spark_says_nothing_but_what_failed():
    code = (
        "import pyarrow as pa\nfrom arsetlib import engine\n"
        "def fail(i):\n raise ValueError('the scene has no red band')\n yield\n"
        "spark = engine.session('local[1]')\nspark.range(2).count()\nprint('up', file=__import__('sys').stderr)\n"
        "engine.run(fail, 1, pa.schema([('a', pa.int64())]), spark)"
    )
    words = stderr_of(code)[0]
    assert words.startswith("up\n"), words[:2000]
    assert "ValueError: the scene has no red band" in words.split("\nTraceback")[0]  # from the worker
    assert re.search(r"PythonException: .*\n(.*\n)*.*the scene has no red band", words.split("\nTraceback", 1)[1])
