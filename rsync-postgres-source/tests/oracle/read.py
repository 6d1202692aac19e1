"""Reads a query through ADBC and prints each row as a JSON array of texts, as PostgreSQL would print them.

Usage: read.py URL QUERY
"""

import datetime
import decimal
import json
import sys
import uuid

import adbc_driver_postgresql.dbapi


def text(value):
    if value is None:
        return None
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    if isinstance(value, datetime.datetime):
        zone = "" if value.tzinfo is None else "+00"
        if value.tzinfo is not None:
            value = value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
        return value.isoformat(sep=" ").rjust(len("0001-01-01 00:00:00"), "0") + zone
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, list):
        quoted = (
            "NULL" if item is None else '"' + text(item).replace("\\", "\\\\").replace('"', '\\"') + '"'
            for item in value
        )
        return "{" + ",".join(quoted) + "}"
    if isinstance(value, (int, str, decimal.Decimal, datetime.time, uuid.UUID)):
        return str(value)
    raise TypeError(f"no text for {type(value)}")


def main():
    url, query = sys.argv[1:]
    with adbc_driver_postgresql.dbapi.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        table = cursor.fetch_arrow_table()
    print(table.schema, file=sys.stderr)
    columns = [[text(value) for value in column.to_pylist()] for column in table.columns]
    for row in zip(*columns):
        print(json.dumps(row))


main()
