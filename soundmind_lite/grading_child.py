"""The two processes that `grading` starts: the learner's, which runs a submission, and the judge, which runs the library's checks.

They share no memory. What a learner hands to `exercises.check` reaches the judge as plain data, and each function in it as a stand-in that asks the
learner's process for every result. So the learner's code never meets a check, its cases or its verdict, and an object that calls itself equal to
everything arrives as plain data without that trick. `student FOLDER WORK [HIDE …]` runs cells in FOLDER, which lies in WORK; `judge` waits for what
the grader forwards. What holds the learner's process stands in `grading_walls`, the grader's end of the line in `grading_peer`.
"""
import builtins
import itertools
import json
import os
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path, PurePath

from .grading_walls import NO_WALLS, behind_walls, limit_memory, no_sockets, unreadable_for_others

LIMIT = 4_000_000  # bytes of one message; the largest that the course's own exercises send has a few kB
MOST = 100_000  # numbers of a tensor, or elements of an iterator, that are worth sending
STRANGE = "sent something to the grader that isn't its language"


class Channel:
    """JSON lines over what were standard input and output. Both lead nowhere afterwards, so that nothing printed reaches the grader."""

    def __init__(self):
        self.source, self.sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
        nowhere = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nowhere, standard)

    def send(self, **message) -> None:
        """Raises ValueError for a message that is larger than anything an exercise asks for."""
        line = json.dumps(message).encode()
        if len(line) > LIMIT:
            raise ValueError(f"{len(line):,} bytes are too many for an exercise; the limit is {LIMIT:,}")
        self.sink.write(line + b"\n")
        self.sink.flush()

    def receive(self) -> dict:
        line = self.source.readline()
        if not line:  # the grader is gone
            os._exit(0)
        return json.loads(line)


class Foreign:
    """Stands for an object that is no plain data: keeps how it prints, whether it is true, and its number or its elements."""

    def __init__(self, words: str, truth: bool, number: float | None, items: list | None):
        self.words, self.truth, self.number, self.items = words, truth, number, items

    def __repr__(self) -> str:
        return self.words

    def __bool__(self) -> bool:
        return self.truth

    def __float__(self) -> float:
        if self.number is None:
            raise TypeError(f"{self.words} is no number")
        return self.number

    def __iter__(self):
        if self.items is None:
            raise TypeError(f"{type(self).__name__!r} object is not iterable")
        return iter(self.items)


def attempt(function: Callable, *arguments):
    """The function's result, or None where the object has no such thing or fails at it."""
    try:
        return function(*arguments)
    except Exception:
        return None


def encode(value, functions: list):
    """The value in JSON's own types; a function becomes its place in `functions`, to which it is appended."""
    import numpy
    import torch

    if value is None or isinstance(value, bool | str | float) or (isinstance(value, int) and abs(value) < 10**300):
        return value
    if value is ...:
        return {"is": "ellipsis"}
    if isinstance(value, dict):
        return {"is": "dict", "items": [[encode(key, functions), encode(item, functions)] for key, item in value.items()]}
    for kind in (list, tuple, set, frozenset):
        if isinstance(value, kind):
            return {"is": kind.__name__, "items": [encode(item, functions) for item in value]}
    if isinstance(value, PurePath):
        return {"is": "path", "text": str(value)}
    if isinstance(value, torch.Tensor) and value.numel() <= MOST and not value.is_complex():
        flat = value.detach().cpu().flatten().tolist()
        return {"is": "tensor", "dtype": str(value.dtype).removeprefix("torch."), "shape": list(value.shape), "values": flat}
    if isinstance(value, numpy.ndarray | numpy.generic) and value.dtype.kind in "biuf" and value.size <= MOST:
        return {"is": "array", "dtype": value.dtype.name, "shape": list(value.shape), "values": value.flatten().tolist()}
    if callable(value):
        functions.append(value)
        return {"is": "function", "place": len(functions) - 1, "name": str(getattr(value, "__name__", type(value).__name__))[:80]}
    items = attempt(lambda: [encode(item, functions) for item in itertools.islice(value, MOST)])
    facts = dict(words=(attempt(repr, value) or "?")[:300], truth=attempt(bool, value) is not False, number=attempt(float, value), items=items)
    return {"is": "foreign", "type": re.sub(r"\W", "_", type(value).__name__)[:80], **facts}


def decode(data, stand_in: Callable | None = None):
    """The value again; `stand_in(place, name)` makes its functions. Raises Exception of any kind for what `encode` never writes."""
    import numpy
    import torch

    if not isinstance(data, dict):
        return data
    kind = data["is"]
    if kind == "dict":
        return {decode(key, stand_in): decode(item, stand_in) for key, item in data["items"]}
    if kind in ("list", "tuple", "set", "frozenset"):
        return getattr(builtins, kind)(decode(item, stand_in) for item in data["items"])
    if kind == "ellipsis":
        return ...
    if kind == "path":
        return Path(data["text"])
    if kind == "tensor":
        return torch.tensor(data["values"], dtype=getattr(torch, data["dtype"])).reshape(data["shape"])
    if kind == "array":
        return numpy.array(data["values"], dtype=data["dtype"]).reshape(data["shape"])[()]
    if kind == "function":
        return stand_in(data["place"], data["name"])
    items = data["items"] if data["items"] is None else [decode(item, stand_in) for item in data["items"]]
    return type(data["type"], (Foreign,), {})(data["words"], data["truth"], data["number"], items)


def words(error: BaseException) -> str:
    """What the error says, at most 300 characters of it; "" for one that fails even at that."""
    return (attempt(str, error) or "")[:300]


def rebuilt(name: str, message: str) -> Exception:
    """The learner's exception as one with the same class name and message; a built-in class, which checks may catch, stays what it is."""
    known = getattr(builtins, name, None)
    if isinstance(known, type) and issubclass(known, Exception):
        error = attempt(known, message)
        if error is not None and str(error) == message:
            return error
    return type(re.sub(r"\W", "_", name), (Exception,), {})(message)


def judge() -> None:
    """Answers each value that the grader forwards with a verdict, and asks for the results of functions on the way."""
    unreadable_for_others()
    channel = Channel()
    from soundmind_lite import exercises
    from soundmind_lite.checking import outcome

    def stand_in(place: int, name: str) -> Callable:
        def function(*arguments, **named):
            channel.send(kind="call", place=place, arguments=encode(arguments, []), named=encode(named, []))
            reply = channel.receive()
            if reply["kind"] == "raised":
                raise rebuilt(reply["type"], reply["message"])
            return decode(reply["value"], stand_in)

        function.__name__ = function.__qualname__ = name
        return function

    limit_memory()
    channel.send(kind="ready", walls="")
    while True:
        order = channel.receive()
        number = order["exercise"]
        try:
            right, remark = outcome(number, exercises.CHECKS[f"check_{number.replace('.', '_')}"], decode(order["value"], stand_in))
        except Exception as error:  # a value that the check can't even look at
            right, remark = False, f"The check can't read what was handed over ({type(error).__name__}: {words(error)})."
        channel.send(kind="verdict", right=right, remark=remark)


def student(folder: str, work: str, *hide: str) -> None:
    """Runs the cells that the grader sends; reports which failed, and what they hand to `exercises.check`."""
    channel = Channel()
    walls = behind_walls(work, hide) if sys.platform == "linux" else NO_WALLS
    os.chdir(folder)
    sys.path.append(folder)  # last, so that a learner's file never stands in for a package
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    from soundmind_lite import exercises

    busy = threading.Lock()

    def check(number: str, solution) -> None:
        """Hands the solution to the grader. Raises as the course's own check does, and RuntimeError if it is called while a check runs."""
        if f"check_{number.replace('.', '_')}" not in exercises.CHECKS:
            raise ValueError(f"there is no exercise {number!r}")
        if not busy.acquire(blocking=False):
            raise RuntimeError("exercises.check was called while another check was running")
        try:
            functions: list[Callable] = []
            channel.send(kind="check", exercise=number, value=encode(solution, functions))
            while (order := channel.receive())["kind"] == "call":
                try:
                    result = functions[order["place"]](*decode(order["arguments"]), **decode(order["named"]))
                    channel.send(kind="result", value=encode(result, functions))
                except BaseException as error:  # sys.exit() in an answer is a wrong answer, too
                    channel.send(kind="raised", type=type(error).__name__, message=words(error))
        finally:
            busy.release()

    exercises.check = check
    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell.instance(config=config)
    shell.enable_gui = lambda *_, **__: None  # %matplotlib inline asks for it
    shell.showtraceback = lambda *_, **__: None  # nobody reads it, and hostile exceptions fail while they print
    limit_memory()
    if walls == NO_WALLS:
        sys.addaudithook(no_sockets)
    channel.send(kind="ready", walls=walls)
    for number, source in enumerate(channel.receive()["cells"], 1):
        channel.send(kind="cell", cell=number)
        try:
            result = shell.run_cell(source)
            error = result.error_before_exec or result.error_in_exec
        except BaseException as raised:
            error = raised
        if error is not None:
            channel.send(kind="failed", cell=number, why=": ".join(filter(None, (type(error).__name__, words(error)))))
    channel.send(kind="end")
    os._exit(0)  # threads that a learner left behind don't keep it


if __name__ == "__main__":
    judge() if sys.argv[1] == "judge" else student(*sys.argv[2:])
