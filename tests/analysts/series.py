"""What DuckDB says of the days from one date to another: members that were active on the day, on the 7 and on the 30 days that
end with it and are not deleted at its end, by the rules of docs/SEMANTICS.md. As JSON, with the seconds it took.

usage: series.py FOLDER ZONE TYPES FROM TO, where TYPES is a comma list, or empty for all activity."""

import json
import sys
import tempfile
import time

import duckdb

FOLDER, ZONE, TYPES, FROM, TO = sys.argv[1:]
THREADS = 2
FILES = f"'{FOLDER}/*.parquet'"
ACTIVITY = TYPES.split(",") if TYPES else [
    "login", "token_refresh", "tenant_switch", "signup_complete", "estimated_activity"
]

# A day on which a member was active is its latest one from that day until the next one, for 30 days at most. An estimate is
# that only as long as nothing was observed. Days on which the member is deleted are taken away again.
SERIES = f"""
WITH events AS (
    SELECT member, type, (occurred_at AT TIME ZONE '{ZONE}')::DATE AS day, occurred_at, id FROM {FILES}
), seen AS (
    SELECT member, day, bool_or(type <> 'estimated_activity') AS observed
    FROM events WHERE type IN ({", ".join(map(repr, ACTIVITY))}) GROUP BY member, day
), counting AS (
    SELECT member, day FROM seen
    QUALIFY observed OR coalesce(day < min(day) FILTER (observed) OVER (PARTITION BY member), true)
), latest AS (
    SELECT member, day, least(day + 29, lead(day) OVER (PARTITION BY member ORDER BY day) - 1) AS until
    FROM counting WHERE day BETWEEN DATE '{FROM}' - 29 AND DATE '{TO}'
), deleted AS (
    SELECT member, day AS since, coalesce(lead(day) OVER decisions - 1, DATE '{TO}') AS until, type FROM events
    WHERE type IN ('user_deleted', 'user_restored')
    WINDOW decisions AS (PARTITION BY member ORDER BY occurred_at, id)
    QUALIFY type = 'user_deleted'
), counted AS (
    SELECT day, day AS since, until, count(*) AS members FROM latest GROUP BY ALL
    UNION ALL
    SELECT day, greatest(day, since) AS since, least(latest.until, deleted.until) AS until, -count(*) AS members
    FROM latest JOIN deleted USING (member) GROUP BY ALL
), days AS (
    SELECT unnest(generate_series(DATE '{FROM}', DATE '{TO}', INTERVAL 1 DAY))::DATE AS date
)
SELECT date::VARCHAR,
       coalesce(sum(members) FILTER (day = date), 0)::BIGINT,
       coalesce(sum(members) FILTER (day > date - 7), 0)::BIGINT,
       coalesce(sum(members), 0)::BIGINT
FROM days LEFT JOIN counted ON date BETWEEN since AND until GROUP BY date ORDER BY date
"""

with tempfile.TemporaryDirectory() as spilled:
    duckdb.sql(f"SET threads = {THREADS}; SET temp_directory = '{spilled}'")
    started = time.perf_counter()
    rows = duckdb.sql(SERIES).fetchall()
    seconds = time.perf_counter() - started
    events = duckdb.sql(f"SELECT count(*) FROM {FILES}").fetchall()[0][0]
print(json.dumps({"seconds": seconds, "events": events, "rows": rows}))
