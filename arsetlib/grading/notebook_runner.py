"""The process inside the sandbox: it runs the code cells of a notebook, then sends the values of its answers.

Learners' code runs in this same process and can change anything in it. So the grader trusts nothing that comes from
here, and this process never receives an expected value, a hidden check or a result.

    python -s -P notebook_runner.py '{"path": […], "limits": {…}}'      messages as in protocol.py
"""

import json
import sys
import time


class TimeLimit(BaseException):
    """Ends code that takes too long; `except Exception` does not catch it."""


class Refusal(Exception):
    """A value that cannot be sent: the kind of reason, and the reason in words."""


def main():
    settings = json.loads(sys.argv[1])
    set_limits(settings["limits"])
    sys.path += [folder for folder in settings["path"] if folder not in sys.path]
    from arsetlib import processes
    from arsetlib.grading import protocol

    if settings.get("parent"):
        processes.end_with(settings["parent"])
    requests, replies = protocol.take_over_stdio()
    serve(lambda: protocol.receive(requests), lambda reply: protocol.send(replies, reply), protocol.ProtocolError)


def set_limits(limits):
    """Apply {"RLIMIT_…": value} where the system knows them. They are final: the learner's code cannot raise them."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for name, value in limits.items():
        try:
            resource.setrlimit(getattr(resource, name), (value, value))
        except (AttributeError, ValueError, OSError):  # macOS has fewer
            continue


def serve(receive, send, ended):
    """Answer requests until the grader closes the channel; ``ended`` is the exception that says so."""
    shell = None
    send({"id": "ready", "value": None})
    while True:
        try:
            request = receive()
        except ended:
            return
        reply = {"id": request["id"]}
        try:
            if request["do"] == "run":
                shell = start_shell()
                reply["value"] = run_cells(shell, request["cells"], request["seconds"], request["wall"])
            elif request["do"] == "get":
                reply["value"] = encode(shell.user_ns.get(request["name"]))
            else:
                reply |= call(shell.user_ns.get(request["name"]), request)
            send(reply)
        except ended:
            send({"id": request["id"], "no": "plain", "text": "Expected a smaller value: it does not fit a message."})
        except Refusal as refusal:
            send({"id": request["id"], "no": refusal.args[0], "text": refusal.args[1][:2000]})


def start_shell():
    """IPython without a kernel: cells may use magics and shell commands; figures are drawn but not shown."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    class Shell(InteractiveShell):
        def enable_gui(self, gui=None):
            pass

    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.update({"colors": "NoColor", "xmode": "Plain"})
    skip_checks()
    return Shell.instance(config=config)


def skip_checks():
    """Cells that call a check, ours or otter's, do nothing here: the grader does not use their result."""
    import types

    from arsetlib.grading import homework, questions

    class Notebook:
        def __init__(self, *args, **kwargs):
            pass

        def __getattr__(self, name):
            return lambda *args, **kwargs: None

    homework.check = lambda key, answer: questions.Result(key, True)
    otter = types.ModuleType("otter")
    otter.Notebook = Notebook
    sys.modules["otter"] = otter


def run_cells(shell, cells, seconds, wall):
    """Run cells in order; a cell that fails does not stop the next ones.

    Returns:
        {"failed": [[number of the cell, error], …], "stopped": number of the cell where time was up, or None}.
    """
    failed, cpu_start, wall_start = [], time.process_time(), time.monotonic()
    for number, source in enumerate(cells, 1):
        time_left = seconds - (time.process_time() - cpu_start), wall - (time.monotonic() - wall_start)
        if min(time_left) <= 0:
            return {"failed": failed, "stopped": number}
        try:
            result = call_within(*time_left, lambda source=source: shell.run_cell(source, store_history=False))
            error = result.error_before_exec or result.error_in_exec
        except BaseException as raised:
            error = raised
        flush()
        if isinstance(error, TimeLimit):
            return {"failed": failed, "stopped": number}
        if error is not None and len(failed) < 100:
            failed.append([number, error_text(error)])
    return {"failed": failed, "stopped": None}


def call(function, request):
    """Call a function of the notebook: its value, and its arguments as they are afterwards."""
    from arsetlib.grading import answers

    if not callable(function) or isinstance(function, type):
        raise Refusal("function", type(function).__name__)
    args, kwargs = answers.decode(request["args"])
    try:
        value = call_within(request["seconds"], request["wall"], lambda: function(*args, **kwargs))
    except TimeLimit:
        raise Refusal("slow", "") from None
    except BaseException as error:
        raise Refusal("raised", error_text(error)) from None
    arguments = [list(args), kwargs]
    try:
        arguments = answers.encode(arguments)
    except answers.AnswerError:
        arguments = None  # they were plain values before, so the function changed them
    return {"value": encode(value), "args": arguments}


def encode(value):
    """A value as a message can hold it."""
    from arsetlib.grading import answers

    if value is ...:
        return None
    try:
        return call_within(5, 10, lambda: answers.encode(value))
    except answers.AnswerError as error:
        raise Refusal("plain", str(error)) from None
    except BaseException as error:  # an object of the learner's own class
        raise Refusal(
            "plain", f"Expected a plain value, received one that cannot be read: {error_text(error)}"
        ) from None


def call_within(seconds, wall, function):
    """Call with a limit on processor time and on time by the clock; raises `TimeLimit`, repeatedly, after either."""
    import signal

    if not hasattr(signal, "setitimer"):
        return function()

    def end(number, frame):
        raise TimeLimit

    timers = ((signal.ITIMER_PROF, signal.SIGPROF, seconds), (signal.ITIMER_REAL, signal.SIGALRM, wall))
    try:
        for timer, number, time_left in timers:
            signal.signal(number, end)
            signal.setitimer(timer, max(0.01, time_left), 0.5)
        return function()
    finally:
        for timer, number, _ in timers:
            signal.signal(number, signal.SIG_IGN)
            signal.setitimer(timer, 0)


def flush():
    """Write out what the cells printed."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except Exception:  # the learner's code may have closed or replaced them
        return


def error_text(error):
    """Type and message of an error, whatever its own methods do."""
    try:
        return f"{type(error).__name__}: {error}"[:500]
    except BaseException:
        return "an error without a readable message"


if __name__ == "__main__":
    main()
