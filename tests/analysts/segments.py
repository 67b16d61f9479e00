"""What DuckDB, Polars and pandas say of the segments in a folder, as JSON: how many events there are, how many members
were active in the 30 days before some instants, and when some members were last seen. As docs/ANALYSTS.md does it."""

import glob
import json
import sys

import duckdb
import pandas
import polars

FILES = sys.argv[1] + "/*.parquet"
INSTANTS = ["2016-03-01T00:00:00Z", "2020-02-29T12:00:00Z", "2024-01-01T00:00:00Z", "2026-01-01T00:00:00Z"]
ACTIVITY = ["login", "token_refresh", "tenant_switch", "signup_complete"]
MEMBERS = 50


def instant(value):
    return pandas.Timestamp(value).tz_convert("UTC").strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def in_duckdb():
    duckdb.sql("SET TimeZone = 'UTC'")
    types = {name: kind for name, kind, *_ in duckdb.sql(f"DESCRIBE SELECT * FROM '{FILES}'").fetchall()}
    assert types["id"] == "UUID" and types["occurred_at"] == "TIMESTAMP WITH TIME ZONE", types
    assert types["tenant_id"] == "VARCHAR" and types["confirmed"] == "BOOLEAN", types
    activity = f"FROM '{FILES}' WHERE type IN ({', '.join(map(repr, ACTIVITY))})"
    active = [
        [
            at,
            duckdb.sql(
                f"SELECT count(DISTINCT member) {activity}"
                f" AND occurred_at BETWEEN TIMESTAMPTZ '{at}' - INTERVAL 30 DAY AND TIMESTAMPTZ '{at}'"
            ).fetchall()[0][0],
        ]
        for at in INSTANTS
    ]
    seen = duckdb.sql(
        f"SELECT tenant_id, user_id, max(occurred_at) {activity} GROUP BY ALL ORDER BY ALL LIMIT {MEMBERS}"
    ).fetchall()
    return {
        "events": duckdb.sql(f"SELECT count(*) FROM '{FILES}'").fetchall()[0][0],
        "active": active,
        "last_seen": [[tenant, user, instant(at)] for tenant, user, at in seen],
    }


def in_polars():
    events = polars.scan_parquet(FILES).with_columns(
        polars.col("type", "tenant_id", "user_id").cast(polars.String)
    )
    activity = events.filter(polars.col("type").is_in(ACTIVITY))
    active = []
    for at in INSTANTS:
        end = polars.lit(at).str.to_datetime(time_unit="us", time_zone="UTC")
        within = activity.filter(polars.col("occurred_at").is_between(end - polars.duration(days=30), end))
        active.append([at, within.select(polars.col("member").n_unique()).collect().item()])
    seen = activity.group_by("tenant_id", "user_id").agg(polars.col("occurred_at").max())
    seen = seen.sort("tenant_id", "user_id").limit(MEMBERS).collect().rows()
    return {
        "events": events.select(polars.len()).collect().item(),
        "active": active,
        "last_seen": [[tenant, user, instant(at)] for tenant, user, at in seen],
    }


def in_pandas():
    columns = ["type", "tenant_id", "user_id", "member", "occurred_at"]
    events = pandas.concat(pandas.read_parquet(path, columns=columns) for path in sorted(glob.glob(FILES)))
    events = events.astype({"type": "str", "tenant_id": "str", "user_id": "str"})
    activity = events[events["type"].isin(ACTIVITY)]
    active = []
    for at in INSTANTS:
        end = pandas.Timestamp(at)
        within = activity["occurred_at"].between(end - pandas.Timedelta(days=30), end)
        active.append([at, int(activity["member"][within].nunique())])
    seen = activity.groupby(["tenant_id", "user_id"])["occurred_at"].max().sort_index().head(MEMBERS)
    return {
        "events": len(events),
        "active": active,
        "last_seen": [[tenant, user, instant(at)] for (tenant, user), at in seen.items()],
    }


print(json.dumps({"duckdb": in_duckdb(), "polars": in_polars(), "pandas": in_pandas()}))
