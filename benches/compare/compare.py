#!/usr/bin/env python3
"""The engine beside DuckDB on the same two versions of a table, in turns, medians: compare.py [ROWS ...] [OPTION ...]

    benches/compare/compare.py                       # 1,000,000 rows, 3 rounds
    benches/compare/compare.py 1000000 5000000 --rounds 5
    benches/compare/compare.py 1000000 --data FOLDER # v1_ROWS.parquet and v2_ROWS.parquet instead of our own rows

Builds `engine_state`, makes a virtual environment with the pinned versions below (needs network once), writes the Parquet
files and runs. Everything lies in --work (default: target/compare). Needs Python 3.9, cargo, and 1.5 GB of disk a million
rows while states are made. Linux.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
import venv

PACKAGES = ["duckdb==2.0.0", "pyarrow==26.0.1"]
HERE = pathlib.Path(__file__).resolve().parent
WORKSPACE = HERE.parent.parent


def python(work):
    folder = work / "venv"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([folder / "bin/python", "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (folder / "ready").touch()
    return folder / "bin/python"


def engine_state():
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", WORKSPACE / "target"))
    subprocess.run(["cargo", "build", "--release", "-p", "rsync-benches", "--bin", "engine_state"], cwd=WORKSPACE, check=True)
    return target / "release/engine_state"


def run(command):
    """The command's last line of JSON, with CPU seconds and peak memory of the whole process beside it."""
    started = time.monotonic()
    child = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE)
    output = child.stdout.read().decode()
    _, status, used = os.wait4(child.pid, 0)
    if os.waitstatus_to_exitcode(status):
        sys.exit(f"failed: {command}")
    result = json.loads(output.splitlines()[-1])
    if not result["ok"]:
        sys.exit(f"wrong result: {command}: {result}")
    return result | {"process_cpu_s": used.ru_utime + used.ru_stime, "process_wall_s": time.monotonic() - started,
                     "process_rss_mib": used.ru_maxrss / 1024}


def median(samples, name):
    return statistics.median(sample[name] for sample in samples)


def compare(rows, options, engine, interpreter):
    data = options.data or options.work / "data"
    data.mkdir(parents=True, exist_ok=True)
    if not (data / f"v2_{rows}.parquet").exists():
        subprocess.run([engine, "export", str(rows), data], check=True)
    state = options.work / "data"
    state.mkdir(parents=True, exist_ok=True)
    for version in (1, 2):
        link = state / f"v{version}_{rows}.parquet"
        if not link.exists():
            link.symlink_to((data / link.name).resolve())
    shared = ["--data", state, "--dir", options.work / "state", "--plan-only"]
    subprocess.run([engine, "prepare", str(rows), *shared], check=True)
    subprocess.run([interpreter, HERE / "duckdb_diff.py", "prepare", str(rows), state], check=True)
    tasks = {
        "duckdb memory": [interpreter, HERE / "duckdb_diff.py", "memory", rows, state],
        "engine memory": [engine, "diff", rows, *shared],
        "duckdb parquet": [interpreter, HERE / "duckdb_diff.py", "parquet", rows, state],
        "engine parquet": [engine, "diff", rows, *shared, "--stream"],
    }
    samples = {name: [] for name in tasks}
    for _ in range(options.rounds):
        for name, command in tasks.items():
            samples[name].append(run(command))
            print(json.dumps({"rows": rows, "task": name} | samples[name][-1]), file=sys.stderr)
    print(f"\n### {rows:,} rows, medians of {options.rounds} rounds\n")
    print("| new version | engine CPU s | DuckDB CPU s | engine / DuckDB, per round | engine peak MiB | DuckDB peak MiB |")
    print("|---|---|---|---|---|---|")
    for place, ours, theirs in (("in memory as Arrow", "plan_cpu_s", "cpu_s"), ("in a Parquet file", "process_cpu_s", "process_cpu_s")):
        kind = "memory" if theirs == "cpu_s" else "parquet"
        engine_, duckdb_ = samples[f"engine {kind}"], samples[f"duckdb {kind}"]
        ratios = ", ".join(f"{a[ours] / b[theirs]:.2f}" for a, b in zip(engine_, duckdb_))
        print(f"| {place} | {median(engine_, ours):.3f} | {median(duckdb_, theirs):.3f} | {ratios} "
              f"| {median(engine_, 'process_rss_mib'):.0f} | {median(duckdb_, 'process_rss_mib'):.0f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", type=int, default=[1_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--engine", type=pathlib.Path, help="an engine_state that was built before")
    parser.add_argument("--work", type=pathlib.Path, default=WORKSPACE / "target/compare")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    options.work = options.work.resolve()
    engine, interpreter = options.engine or engine_state(), python(options.work)
    for rows in options.rows:
        compare(rows, options, engine, interpreter)


main()
