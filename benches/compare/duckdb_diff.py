#!/usr/bin/env python3
"""What DuckDB costs for the same comparison: duckdb_diff.py (prepare|memory|parquet) ROWS FOLDER

The earlier version is kept as a Parquet file of keys and 64-bit row hashes, which `prepare` makes. `memory` and `parquet`
join it with the new version and write the new file. With `memory` the new version is an Arrow table before the clock
starts; with `parquet` the whole process is on the clock.
"""
import json
import resource
import sys
import time

import duckdb

COLUMNS = "email, name, is_active, visits, score, ltv, birth, updated_at, tier, phone, attrs"


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main():
    mode, rows, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    first, second = (f"{folder}/v{version}_{rows}.parquet" for version in (1, 2))
    state, new_state = f"{folder}/duckdb_{rows}.parquet", f"{folder}/duckdb_{rows}.new.parquet"
    db = duckdb.connect()
    db.execute("set threads = 2")
    db.execute("set preserve_insertion_order = false")
    if mode == "prepare":
        db.execute(f"copy (select id, hash({COLUMNS}) as row from read_parquet('{first}')) to '{state}' (format parquet)")
        return
    source = f"read_parquet('{second}')"
    clock, wall = 0.0, time.monotonic()
    if mode == "memory":
        import pyarrow.parquet

        db.register("arriving", pyarrow.parquet.read_table(second))
        source = "arriving"
        clock, wall = cpu(), time.monotonic()
    db.execute(f"create temp table fresh as select id, hash({COLUMNS}) as row from {source}")
    db.execute(
        f"""create temp table difference as
            select coalesce(fresh.id, known.id) as id,
                   case when known.id is null then 'added' when fresh.id is null then 'removed' else 'changed' end as kind
            from read_parquet('{state}') as known full join fresh on known.id = fresh.id
            where known.id is null or fresh.id is null or known.row <> fresh.row"""
    )
    db.execute(f"copy fresh to '{new_state}' (format parquet)")
    found = {kind: db.sql(f"select id from difference where kind = '{kind}'").to_arrow_table().num_rows
             for kind in ("added", "changed", "removed")}
    spent, took = cpu() - clock, time.monotonic() - wall
    ok = found == {"added": rows // 1000, "changed": rows // 100, "removed": rows // 1000}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"version": duckdb.__version__, "cpu_s": round(spent, 3), "wall_s": round(took, 3),
                      "peak_rss_mib": round(peak, 1), "ok": ok}))


main()
