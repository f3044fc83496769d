"""Fuzzing guided by coverage, with atheris: `make fuzz`, or `python -m tests.fuzz --seconds 60 [TARGET ...]`.

All targets share the time.  What is found is written to `fuzz-TARGET-...` in the working directory and named, and the exit
status is 1; `python -m tests.fuzz --input FILE TARGET` runs it once more.  Inputs that reach new code are only kept with
`--keep`, in the corpus that `test_corpus.py` replays.
"""

import argparse
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

TARGETS = ("head", "frames", "requests", "sockets")
CORPUS = Path(__file__).parent / "corpus"
INSTRUMENTED = ["chat", "web", "websockets"]
LONGEST = 4096  # bytes of an input
MOST = 60  # lines of what libFuzzer tells of a fault


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz the inbound wire.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all unless given")
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together")
    parser.add_argument("--keep", action="store_true", help="add to the corpus what reaches new code")
    parser.add_argument("--input", type=Path, help="run the target on this file alone")
    parser.add_argument("--child", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _fuzz(options.child[0], options.child[1:])
    targets = options.targets or list(TARGETS)
    if strange := [target for target in targets if target not in TARGETS]:
        parser.error(f"no such target: {', '.join(strange)}")
    if options.input is not None:
        return max(_run(target, str(options.input)) for target in targets)
    seconds = max(1, options.seconds // len(targets))
    failed = [target for target in targets if not _search(target, seconds, keep=options.keep)]
    for target in failed:
        print(f"{target}: a fault was found; its input is in ./fuzz-{target}-*", flush=True)
    return 1 if failed else 0


def _search(target: str, seconds: int, *, keep: bool) -> bool:
    """Fuzz one target; return whether nothing was found."""
    with tempfile.TemporaryDirectory() as scratch:
        folders = [str(CORPUS / target)] if keep else [scratch, str(CORPUS / target)]
        return not _run(
            target,
            f"-max_total_time={seconds}",
            f"-max_len={LONGEST}",
            "-timeout=10",
            "-rss_limit_mb=1024",
            f"-artifact_prefix=fuzz-{target}-",
            *folders,
        )


def _run(target: str, *arguments: str) -> int:
    """Run libFuzzer in a process of its own, because it never returns; say what it found, or how much it tried."""
    command = [sys.executable, "-m", "tests.fuzz", "--child", target, *arguments]
    done = subprocess.run(
        command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    lines = [line for line in done.stdout.splitlines() if not line.startswith(("INFO:", "WARNING:", "#"))]
    print(f"== {target}", *lines[-MOST:] if done.returncode else lines[-1:], sep="\n", flush=True)
    return done.returncode


def _fuzz(target: str, arguments: list[str]) -> None:
    """Run libFuzzer.  Does not return."""
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is wanted: pip install -r requirements-fuzz.txt (Linux on x86-64, Python 3.11 to 3.13)")
    with atheris.instrument_imports(include=INSTRUMENTED):
        module = import_module(f"tests.fuzz.{target}")
    myself = f"{sys.executable} -m tests.fuzz --child {target}"  # which libFuzzer calls by a shell, to merge
    atheris.Setup([myself, *arguments], module.one)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
