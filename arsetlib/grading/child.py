"""The process in the sandbox: runs the code cells of a notebook, then hands over plain values.

A learner's code runs in this very process and can change anything in it. Nothing here is trusted by the grader, and
nothing worth reading is told to it: no expected value, no hidden check, no verdict.

    python -s -P child.py '{"path": […], "limits": {…}}'      messages on standard input and output, see talk.py
"""

import json
import sys
import time


class Slow(BaseException):
    """Ends what takes too long; no `except Exception` catches it."""


def main():
    settings = json.loads(sys.argv[1])
    limit(settings["limits"])
    sys.path += [folder for folder in settings["path"] if folder not in sys.path]
    from arsetlib import orphans
    from arsetlib.grading import talk

    if settings.get("parent"):
        orphans.end_with(settings["parent"])
    requests, replies = talk.take_over()
    serve(lambda: talk.receive(requests), lambda message: talk.send(replies, message), talk.TalkError)


def limit(limits):
    """Set what the system offers of {"RLIMIT_…": value}; for good, the learner's code cannot lift it."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for name, value in limits.items():
        try:
            resource.setrlimit(getattr(resource, name), (value, value))
        except (AttributeError, ValueError, OSError):  # macOS knows, or keeps, fewer
            continue


def serve(receive, send, ended):
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
                reply["value"] = run(shell, request["cells"], request["seconds"], request["wall"])
            elif request["do"] == "get":
                reply["value"] = encoded(shell.user_ns.get(request["name"]))
            else:
                reply |= call(shell.user_ns.get(request["name"]), request)
            send(reply)
        except ended:
            send({"id": request["id"], "no": "plain", "text": "Expected a smaller value: it does not fit a message."})
        except Refused as refused:
            send({"id": request["id"], "no": refused.args[0], "text": refused.args[1][:2000]})


class Refused(Exception):
    """An answer that cannot be handed over: which kind of reason, and words."""


def start_shell():
    """IPython without a kernel: cells may use magics and shell commands, figures are drawn to nowhere."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    class Shell(InteractiveShell):
        def enable_gui(self, gui=None):
            pass

    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.update({"colors": "NoColor", "xmode": "Plain"})
    stand_in_for_checks()
    return Shell.instance(config=config)


def stand_in_for_checks():
    """Cells that check an answer, ours or otter's, run on at once: the grader asks for no verdict of theirs."""
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


def run(shell, cells, seconds, wall):
    """Run cells in order, on after one that fails; what failed, and whether the time was up.

    Returns:
        {"failed": [[number of the cell, error], …], "stopped": number of the cell where time was up, or None}.
    """
    failed, clock, began = [], time.process_time(), time.monotonic()
    for number, source in enumerate(cells, 1):
        left = seconds - (time.process_time() - clock), wall - (time.monotonic() - began)
        if min(left) <= 0:
            return {"failed": failed, "stopped": number}
        try:
            problem = within(*left, lambda source=source: shell.run_cell(source, store_history=False))
            problem = problem.error_before_exec or problem.error_in_exec
        except BaseException as raised:
            problem = raised
        flush()
        if isinstance(problem, Slow):
            return {"failed": failed, "stopped": number}
        if problem is not None and len(failed) < 100:
            failed.append([number, told(problem)])
    return {"failed": failed, "stopped": None}


def call(function, request):
    """Call a function of the notebook: its value, and the arguments as they are after it."""
    from arsetlib.grading import answers

    if not callable(function) or isinstance(function, type):
        raise Refused("function", type(function).__name__)
    args, kwargs = answers.decode(request["args"])
    try:
        value = within(request["seconds"], request["wall"], lambda: function(*args, **kwargs))
    except Slow:
        raise Refused("slow", "") from None
    except BaseException as problem:
        raise Refused("raised", told(problem)) from None
    given = [list(args), kwargs]
    try:
        given = answers.encode(given)
    except answers.AnswerError:
        given = None  # what was plain no longer is: it was changed
    return {"value": encoded(value), "args": given}


def encoded(value):
    from arsetlib.grading import answers

    if value is ...:
        return None
    try:
        return within(5, 10, lambda: answers.encode(value))
    except answers.AnswerError as problem:
        raise Refused("plain", str(problem)) from None
    except BaseException as problem:  # an object of the learner's that plays another
        raise Refused("plain", f"Expected a plain value, received one that cannot be read: {told(problem)}") from None


def within(seconds, wall, work):
    """Do ``work`` within so much time of the processor, and by the clock; raises `Slow` after it, again and again."""
    import signal

    if not hasattr(signal, "setitimer"):
        return work()

    def end(number, frame):
        raise Slow

    timers = ((signal.ITIMER_PROF, signal.SIGPROF, seconds), (signal.ITIMER_REAL, signal.SIGALRM, wall))
    try:
        for timer, number, time_left in timers:
            signal.signal(number, end)
            signal.setitimer(timer, max(0.01, time_left), 0.5)
        return work()
    finally:
        for timer, number, _ in timers:
            signal.signal(number, signal.SIG_IGN)
            signal.setitimer(timer, 0)


def flush():
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except Exception:  # the learner's code may have closed or replaced them
        return


def told(problem):
    try:
        return f"{type(problem).__name__}: {problem}"[:500]
    except BaseException:
        return "an error that cannot be told"


if __name__ == "__main__":
    main()
