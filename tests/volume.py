"""A volume of Databricks, imitated: a folder in which files may only be written from their first to their last byte.

    python tests/volume.py "train keras" WORK      prints what the command did there that a volume refuses

There, nothing may be opened for update or append, linked or renamed. Whatever is written must come from
``folders.put``, which copies a finished file: so TIFF, Keras, NumPy and zip, which go back in their files, have to
write elsewhere.
"""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


def watch(volume: str, wrong: list[str], whole: set[str]) -> None:
    """Note what a volume would refuse in ``wrong``, and in ``whole`` what was put, from now on."""

    def hook(event, args):
        if event == "open" and isinstance(args[0], str | bytes | os.PathLike):
            name, flags = os.fsdecode(args[0]), args[2]
            if not name.startswith(volume) or not flags & (os.O_WRONLY | os.O_RDWR) or name.endswith(".lock"):
                return
            if flags & (os.O_RDWR | os.O_APPEND) or not puts(sys._getframe()):
                wrong.append(f"opened to change: {name[len(volume) :]}")
            whole.add(name)
        elif event == "os.rename" and os.fsdecode(args[1]).startswith(volume):
            wrong.append(f"renamed: {os.fsdecode(args[1])[len(volume) :]}")
        elif event in ("os.link", "os.symlink", "os.truncate") and os.fsdecode(args[-3]).startswith(volume):
            wrong.append(f"{event}: {os.fsdecode(args[-3])[len(volume) :]}")

    sys.addaudithook(hook)


def puts(frame) -> bool:
    """Whether ``folders`` is copying a finished file."""
    while frame is not None:
        if frame.f_code.co_name == "_copy_to_volume":
            return True
        frame = frame.f_back
    return False


def main() -> int:
    import kill_drill

    from arsetlib import folders

    name, work = sys.argv[1], Path(sys.argv[2])
    folders.VOLUMES = str(work / "Volumes")
    out = work / "Volumes" / "out"
    out.parent.mkdir(parents=True)
    drill = kill_drill.DRILLS[name](work)
    wrong, whole = [], set()
    watch(str(out), wrong, whole)
    drill.call(out)
    files = {str(file) for file in out.rglob("*") if file.is_file()}
    wrong += [f"written by another library: {file[len(str(out)) :]}" for file in sorted(files - whole)]
    print(json.dumps({"files": len(files), "wrong": wrong}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
