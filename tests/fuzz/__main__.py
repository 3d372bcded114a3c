"""`python -m tests.fuzz`: bend tokens on all cores until so many were tried, or one got through.

The seed is said first; `--seed S --batch B` plays one batch again, on its own.
"""

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from random import Random, SystemRandom

from tests.fuzz.target import Found, Target

BATCH = 10_000
"""Tokens that one seed and one number say: what is played again after a finding."""
INPUTS = 10_000_000

Outcome = tuple[int, dict[str, int], str | None]
"""Batch, what the tokens were answered, and the finding."""
_target: Target | None = None


def play(seed: int, batch: int) -> Outcome:
    """Try one batch; the same numbers try the same tokens."""
    global _target  # noqa: PLW0603 - made once a process
    target = _target = _target or Target()
    target.codes = Counter()
    rng = Random(f"{seed} {batch}")  # noqa: S311 - to be repeated, not to be secret
    try:
        for _ in range(BATCH):
            target.try_one(rng)
    except Found as found:
        return batch, dict(target.codes), f"{found}: {found.token!r}"
    return batch, dict(target.codes), None


def run(seed: int, batches: range, jobs: int) -> Iterator[Outcome]:
    """Play batches on so many processes; yield what came of each as it ends."""
    with ProcessPoolExecutor(jobs) as pool:
        left = iter(batches)
        running: set[Future[Outcome]] = {
            pool.submit(play, seed, batch) for batch in islice(left, 2 * jobs)
        }
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {pool.submit(play, seed, batch) for batch in islice(left, len(done))}
            for each in done:
                yield each.result()


def main(words: Sequence[str] | None = None) -> int:
    """Parse, play, present; 1 if a token got through."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=INPUTS, help="how many tokens to try")
    parser.add_argument("--seed", type=int, default=None, help="by default a new one")
    parser.add_argument("--batch", type=int, default=None, help="play this batch alone")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args(words)
    seed = SystemRandom().randrange(2**32) if args.seed is None else args.seed
    batches = range(-(-args.inputs // BATCH))
    if args.batch is not None:
        batches = range(args.batch, args.batch + 1)
    print(f"fuzz: seed {seed}, {len(batches) * BATCH:,} tokens, {args.jobs} jobs", file=sys.stderr)
    codes, findings = Counter[str](), []
    begun, done = time.monotonic(), 0
    for batch, answered, finding in run(seed, batches, args.jobs):
        codes.update(answered)
        done += BATCH
        if finding:
            findings.append(finding)
            print(f"\nfuzz: --seed {seed} --batch {batch}: {finding}", file=sys.stderr)
        _progress(done, len(batches) * BATCH, time.monotonic() - begun)
    print(file=sys.stderr)
    took_s = round(time.monotonic() - begun, 1)
    print(json.dumps({"seed": seed, "tokens": done, "took_s": took_s, "codes": dict(codes)}))
    print(f"fuzz: {done:,} tokens in {took_s} s, {len(findings)} findings", file=sys.stderr)
    return 1 if findings else 0


def _progress(done: int, of: int, took_s: float) -> None:
    if sys.stderr.isatty() or done % (of // 20 or 1) < BATCH:
        end = "\r" if sys.stderr.isatty() else "\n"
        line = f"fuzz: {done:,} of {of:,}, {done / (took_s or 1):,.0f} a second"
        print(line, end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
