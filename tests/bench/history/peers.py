"""The fastest known queries of DuckDB and of ClickHouse (chdb) for the days from one date to another, straight from the segments:
members that were active on the day, on the 7 and on the 30 days that end with it, by the rules of docs/SEMANTICS.md. Prints the
best time of each engine in seconds, with two threads. Reading the files is part of it, starting the engine is not.

usage: peers.py DATA --tz ZONE --from DATE --to DATE [--types T,...] [--engine duckdb|clickhouse|both] [--repeat N] [--json]
needs: pip install duckdb chdb

Both queries count sets of members as bits: a set is cut into parts of members with neighbouring numbers, and a part of a day is
one value that engines can join with those of other days.

- observed on the day, or on some of the 7 or 30 days: a union, o;
- with an estimate on them, e, which counts without an observation by the end of the day (c, a union over all days until then);
- without the absent at the end of the day, a: those whose last decision says that they are deleted or left out.

Ids order only decisions about a member of one instant that differ. The queries count those, and read no ids. If there are any,
the question is asked again with ids, and the time is that of both.

The zone is given as the few pieces of time in which its offset does not change: both engines add a constant much faster than
they look a zone up. Retracted batches are not looked at. A zone whose clock goes back past midnight is not either."""

import argparse
import json
import os
import time
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

THREADS = 2
BEFORE = 30  # Days before the first row: 29 of its window, and one that stands for all earlier.
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
# The order of ids is that of their bytes, which a UUID of ClickHouse does not have.
COLUMNS = "type String, member UInt32, occurred_at DateTime64(6), counts Nullable(Bool), id FixedString(16)"


class Question:
    """The dates and types that are asked for, and the zone as `pieces`: (instant at which the piece ends, offset), in µs."""

    greatest = 2**32 - 1  # Of the members, if it is known: ClickHouse groups faster by numbers of 16 bits.

    def __init__(self, folder, zone, first, last, types):
        self.files = f"'{os.path.abspath(folder)}/segments/*.parquet'"
        self.first, self.last, self.types = first, last, types
        self.base = first - timedelta(days=BEFORE)
        self.days = (last - self.base).days + 1
        zone = ZoneInfo(zone)

        def offset(at):
            return (EPOCH + at * MICROSECOND).astimezone(zone).utcoffset() // MICROSECOND

        hour, second = 3_600_000_000, 1_000_000
        at, end = self.midnight(self.base) - 48 * hour, self.midnight(last) + 72 * hour
        self.pieces = []
        while at < end:
            if offset(at) != offset(at + hour):
                changed = next(t for t in range(at, at + hour + 1, second) if offset(t) != offset(at))
                self.pieces.append((changed, offset(at)))
            at += hour
        self.pieces.append((None, offset(end)))
        self.begins, self.ends = self.start(self.base + timedelta(days=1)), self.start(last + timedelta(days=1))

    @staticmethod
    def midnight(day):
        """Of the date in UTC, in µs."""
        return (day - EPOCH.date()) // MICROSECOND

    def start(self, day):
        """The first instant of the zone that shows the date or a later one, in µs."""
        starts = ((self.midnight(day) - offset, until) for until, offset in self.pieces)
        began = None
        for start, until in starts:
            if until is None or start < until:
                return start if began is None else max(start, began)
            began = until

    def local(self, micros):
        """SQL for the clock of the zone at an instant, in µs."""
        *changes, (_, final) = self.pieces
        changes = [f"WHEN {micros} < {until} THEN {offset}" for until, offset in changes]
        return f"{micros} + " + (f"CASE {' '.join(changes)} ELSE {final} END" if changes else str(final))


def duckdb_query(question, ids):
    """One scan makes `seen`, a bit string for each day and part of 16,384 members, apart for estimates; before the window there
    is one for all. Another makes `decisions`, from which follow the spans of days at whose end a member is `absent`, and bit
    strings of these. `windows` joins them over days, and the end counts bits."""
    q, in_sql = question, lambda micros: f"TIMESTAMPTZ '{EPOCH + micros * MICROSECOND}'"
    begins, ends, base = in_sql(q.begins), in_sql(q.ends), f"DATE '{q.base}'"
    day = f"make_timestamp({q.local('epoch_us(occurred_at)')})::DATE"
    part, bits = "member >> 14", "bitstring_agg((member & 16383)::UINTEGER, 0, 16383)"
    # A range is tested faster than a list: these have all five types, and the four that are observed.
    activity, observed = (f"type BETWEEN '{least}' AND 'token_refresh'" for least in ("estimated_activity", "login"))
    if q.types:
        activity = f"type IN ({', '.join(map(repr, q.types))})"
    estimates = not q.types

    def latest(decides):
        return f"max({'(occurred_at, id)' if ids else 'occurred_at'}) FILTER ({decides})"

    def holds(yes, no):
        decided = f"CASE WHEN {no} IS NULL THEN {yes} IS NOT NULL OR NULL ELSE coalesce({yes} > {no}, false) END"
        return f"coalesce(last_value({decided} IGNORE NULLS) OVER days, false)"

    def over(bitmap, days):
        return f"bit_or({bitmap}) OVER (PARTITION BY part ORDER BY day ROWS {days} PRECEDING)"

    def windows(bitmap):
        return f"{bitmap}, {over(bitmap, 6)} AS {bitmap}7, {over(bitmap, 29)} AS {bitmap}30"

    def without(bitmap, others):
        return f"coalesce(sum(bit_count({bitmap})), 0) - coalesce(sum(bit_count({bitmap} & {others})), 0)"

    def count(window):
        return without(f"o{window}", "a") + (f" + {without(f'e{window}', 'x')}" if estimates else "")

    return f"""
WITH seen AS MATERIALIZED (
    SELECT {part} AS part, {day} AS day, {"type < 'f'" if estimates else "false"} AS estimated, {bits} AS bits FROM {q.files}
    WHERE {activity} AND occurred_at >= {begins} AND occurred_at < {ends} GROUP BY ALL
    {f'''UNION ALL
    SELECT {part}, {base}, false, {bits} FROM {q.files} WHERE {observed} AND occurred_at < {begins} GROUP BY ALL
    ''' if estimates else ""}
), decided AS MATERIALIZED (
    SELECT member, greatest({day}, {base}) AS day,
           {latest("type = 'user_deleted'")} AS gone, {latest("type = 'user_restored'")} AS back,
           {latest("counts = false")} AS left_out, {latest("counts")} AS taken_in
    FROM {q.files} WHERE (type >= 'user_deleted' OR counts IS NOT NULL) AND occurred_at < {ends} GROUP BY ALL
), spans AS (
    SELECT member, greatest(day, DATE '{q.first}') AS since, coalesce(lead(day) OVER days - 1, DATE '{q.last}') AS until
    FROM decided WINDOW days AS (PARTITION BY member ORDER BY day)
    QUALIFY {holds("gone", "back")} OR {holds("left_out", "taken_in")}
), absent AS (
    SELECT {part} AS part, day, {bits} AS a
    FROM (SELECT member, unnest(range(since, until + 1, INTERVAL 1 DAY))::DATE AS day FROM spans) GROUP BY ALL
), days AS (
    SELECT part, day, o, {"e, " if estimates else ""}a
    FROM (SELECT DISTINCT part FROM seen)
    CROSS JOIN (SELECT unnest(range({base}, DATE '{q.last}' + 1, INTERVAL 1 DAY))::DATE AS day)
    LEFT JOIN (SELECT part, day, bits AS o FROM seen WHERE NOT estimated) USING (part, day)
    {"LEFT JOIN (SELECT part, day, bits AS e FROM seen WHERE estimated) USING (part, day)" if estimates else ""}
    LEFT JOIN absent USING (part, day)
), windows AS (
    SELECT day, {windows("o")}, {f"{windows('e')}, {over('o', 'UNBOUNDED')} AS c, " if estimates else ""}a FROM days
), rows AS (
    SELECT *{", CASE WHEN e30 IS NOT NULL THEN coalesce(c | a, c, a) END AS x" if estimates else ""}
    FROM windows WHERE day >= DATE '{q.first}'
), ties AS (
    SELECT count(*) AS ties FROM decided WHERE gone = back OR left_out = taken_in
)
SELECT day::VARCHAR, ({count("")})::BIGINT, ({count("7")})::BIGINT, ({count("30")})::BIGINT, any_value(ties)
FROM rows CROSS JOIN ties GROUP BY day ORDER BY day
"""


def clickhouse_query(question, ids):
    """One scan makes of each part of 128 members an array with a number of 128 bits for each day (the first of them for all before
    the window), behind these the same for estimates, and the list of decisions. An event that is no activity has a place beyond
    the array, where -Resample drops it: that is much faster than to filter rows. So is the first letter of a type.

    The rest is arithmetic with arrays. `smear` joins each day with the one k days before. A decision that changes something adds
    the bit of its member to its day, or takes it away, and the sums of these from the first day on are the sets `a`."""
    q, beyond, estimates = question, 10_000, not question.types

    def day(instant):
        return f"toUInt16(greatest(({q.local(f'toUnixTimestamp64Micro({instant})')} - {q.midnight(q.base)}) / 86400000000, 0))"

    # Activity begins with e, which is an estimate, l, s or t; all else with b or u.
    slot = f"{q.days} * (ascii(type) = 101) + {beyond} * ((ascii(type) < 101) + (ascii(type) > 116))"
    if q.types:
        slot = f"{beyond} * (type NOT IN ({', '.join(map(repr, q.types))}))"
    slot = f"toUInt16({day('occurred_at')} + {slot})"
    bit = "bitShiftLeft(toUInt128(1), bitAnd({}, 127))"
    smears = [(2, "", 1), (4, 2, 2), (7, 4, 3), (8, 4, 4), (16, 8, 8), (30, 16, 14)]

    def windows(bitmap):
        return ", ".join(f"smear({bitmap}{of}, {k}) AS {bitmap}{window}" for window, of, k in smears)

    def cut(array):
        return f"arraySlice({array}, {BEFORE + 1})"

    def count(window):
        if not estimates:
            return f"arrayMap((o, a) -> bitCount(bitAnd(o, bitNot(a))), {cut(f'o{window}')}, a)"
        counted = "bitCount(bitAnd(bitOr(o, bitAnd(e, bitNot(c))), bitNot(a)))"
        return f"arrayMap((o, e, c, a) -> {counted}, {cut(f'o{window}')}, {cut(f'e{window}')}, c, a)"

    def sums(of_deletion):
        places = f"arrayMap(d -> if(d.1 = {of_deletion}, {day('d.3')}, {beyond}), decided)"
        return cut(f"arrayCumSum(arrayReduce('sumResample(0, {q.days}, 1)', changes, {places}))")

    c, doubled = "o30", 30
    while doubled < q.days:
        c, doubled = f"smear({c}, {doubled})", 2 * doubled
    return f"""
WITH (days, k) -> arrayMap((x, y) -> bitOr(x, y), days, arrayShiftRight(days, k)) AS smear
SELECT toString(toDate('{q.first}') + row.1 - 1), row.2, row.3, row.4, ties
FROM (
    SELECT sumForEach({count("")}) AS active, sumForEach({count(7)}) AS wau, sumForEach({count(30)}) AS mau, sum(tied) AS ties
    FROM (
        SELECT slots_o AS o, {windows("o")},
               {f"slots_e AS e, {windows('e')}, {cut(c)} AS c," if estimates else ""}
               arrayMap((x, y) -> bitOr(x, y), {sums("true")}, {sums("false")}) AS a,
               arrayCount((d, p) -> (d.1, d.2, d.3) = (p.1, p.2, p.3) AND d.4 != p.4, decided, previous) AS tied
        FROM (
            SELECT arraySlice(slots, 1, {q.days}) AS slots_o, arraySlice(slots, {q.days + 1}) AS slots_e,
                   arrayMap(
                       d -> (d.3 >= 'user_deleted', d.1, d.2, if(d.3 >= 'user_deleted', d.3 = 'user_deleted', ifNull(NOT d.4, false)),
                             {"d.5" if ids else "0"}),
                       decisions
                   ) AS told,
                   arraySort(d -> (d.1, d.2, d.3, d.5, d.4), told) AS decided,
                   arrayShiftRight(decided, 1) AS previous,
                   arrayMap((d, p) -> d.4 != (p.4 AND p.1 = d.1 AND p.2 = d.2), decided, previous) AS changed,
                   arrayMap(
                       (d, is) -> toUInt128(is * if(d.4, 1, -1)) * {bit.format("d.2")}, decided, changed
                   ) AS changes
            FROM (
                SELECT toUInt{16 if q.greatest < 2**23 else 32}(bitShiftRight(member, 7)) AS part,
                       groupBitOrResample(0, {q.days * (1 + estimates)}, 1)({bit.format("member")}, {slot}) AS slots,
                       groupArrayIf(
                           (member, occurred_at, type, counts{", id" if ids else ""}), type >= 'user_deleted' OR counts IS NOT NULL
                       ) AS decisions
                FROM file({q.files}, Parquet, '{COLUMNS}')
                WHERE occurred_at < fromUnixTimestamp64Micro({q.ends}) GROUP BY part
            )
        )
    )
) ARRAY JOIN arrayZip(arrayEnumerate(active), active, wau, mau) AS row
ORDER BY 1
SETTINGS max_threads = {THREADS}, max_block_size = 512, optimize_move_to_prewhere = 0, use_parquet_metadata_cache = 0
"""


def duckdb_engine():
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"SET threads = {THREADS}; SET TimeZone = 'UTC'; SET enable_progress_bar = false")
    return lambda query: connection.execute(query).fetchall()


def clickhouse_engine():
    from chdb.session import Session

    session = Session()
    return lambda query: json.loads(session.query(query, "JSONCompact").data())["data"]


ENGINES = {"duckdb": (duckdb_engine, duckdb_query), "clickhouse": (clickhouse_engine, clickhouse_query)}


def measure(name, repeat, asked):
    """The best time of an engine, and its rows."""
    start, query = ENGINES[name]
    best, ask = None, start()
    if name == "clickhouse":
        [[greatest]] = ask(f"SELECT max(member) FROM file({Question(*asked).files}, Parquet)")
        Question.greatest = int(greatest)
    for _ in range(repeat):
        started = time.perf_counter()
        question = Question(*asked)
        rows = ask(query(question, ids=False))
        if any(int(row[-1]) for row in rows):
            rows = ask(query(question, ids=True))
        seconds = time.perf_counter() - started
        best = seconds if best is None else min(best, seconds)
    counted = {row[0]: [int(number) for number in row[1:4]] for row in rows}
    dates = (question.first + timedelta(days=k) for k in range((question.last - question.first).days + 1))
    return {"seconds": best, "rows": [[str(day), *counted.get(str(day), [0, 0, 0])] for day in dates]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("data")
    parser.add_argument("--tz", default="UTC")
    parser.add_argument("--from", dest="first", type=date.fromisoformat, required=True)
    parser.add_argument("--to", dest="last", type=date.fromisoformat, required=True)
    parser.add_argument("--types", default="", help="a comma list of observed types")
    parser.add_argument("--engine", choices=[*ENGINES, "both"], default="both")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    asked = (options.data, options.tz, options.first, options.last, [name for name in options.types.split(",") if name])
    names = list(ENGINES) if options.engine == "both" else [options.engine]
    measured = {name: measure(name, options.repeat, asked) for name in names}
    if options.json:
        print(json.dumps(measured))
    else:
        for name, of in measured.items():
            print(f"{name}: {of['seconds']:.3f} s")


if __name__ == "__main__":
    main()
