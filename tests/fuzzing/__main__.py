"""Read damaged files for some minutes and keep those that come out wrong: ``make fuzz MINUTES=…``."""

from __future__ import annotations

import argparse
import random
import re
import tempfile
import time
from collections import Counter
from pathlib import Path

from fuzzing.harness import Reader
from fuzzing.mutations import mutate
from fuzzing.seeds import Seed, make_seeds

FOUND = Path(__file__).parent / "found"


def main() -> int:
    """Return 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("minutes", type=float)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--kinds", nargs="*", help="only these kinds of files")
    parser.add_argument("--found", type=Path, default=FOUND, help="where findings are kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fuzz") as folder, Reader() as reader:
        seeds = [seed for seed in make_seeds(Path(folder)) if seed.kind in (options.kinds or (seed.kind,))]
        by_kind = {kind: [seed for seed in seeds if seed.kind == kind] for kind in {s.kind for s in seeds}}
        for seed in seeds:
            _check(reader, Path(folder), seed, seed.data, options.found, "valid")
        counts, found, begun = Counter[str](), dict[str, str](), time.monotonic()
        rng = random.Random(options.seed)
        kinds = sorted(by_kind)
        while time.monotonic() - begun < 60 * options.minutes:
            kind = rng.choice(kinds)
            seed = rng.choice(by_kind[kind])
            data = mutate(kind, seed.data, rng)
            counts[kind] += 1
            wrong = _check(reader, Path(folder), seed, data, options.found, "")
            if wrong and (what := _gist(kind, wrong)) not in found:
                found[what] = wrong
                place = options.found / kind
                place.mkdir(parents=True, exist_ok=True)
                number = len(list(place.iterdir()))
                (place / f"{number:03}-{seed.name}").write_bytes(data)
                print(f"{kind}/{number:03}-{seed.name}: {wrong}", flush=True)
            if counts.total() % 1000 == 0:
                _report(counts, found, time.monotonic() - begun)
        _report(counts, found, time.monotonic() - begun)
        for kind, number in sorted(counts.items()):
            print(f"{kind:16} {number:7}")
    return bool(found)


def _check(reader: Reader, folder: Path, seed: Seed, data: bytes, found: Path, what: str) -> str:
    path = folder / seed.kind / seed.name
    path.write_bytes(data)
    wrong = reader.check(seed.kind, path)
    if what and wrong:
        print(f"{seed.kind}: a {what} file: {wrong}", flush=True)
    return wrong


def _gist(kind: str, wrong: str) -> str:
    """What makes two findings the same: the kind of file, of error, and the place in the code."""
    return f"{kind} {wrong.partition(':')[0]} {re.findall(r'[(]([^()]*)[)]$', wrong)}"


def _report(counts: Counter[str], found: dict[str, str], seconds: float) -> None:
    total = counts.total()
    print(
        f"{total} files of {len(counts)} kinds in {seconds:.0f} s, {total / seconds:.0f} a second, "
        f"{len(found)} findings",
        flush=True,
    )


if __name__ == "__main__":
    raise SystemExit(main())
