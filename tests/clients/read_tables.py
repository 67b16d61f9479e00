"""Reads tables with readers that are not Lastseen's, and prints what they hold.

    read_tables.py DIRECTORY

Each file is named KIND-NUMBER.EXTENSION. A line of the output is a JSON object: the file, the reader, and the rows under
the columns a, b and c; `null` if the reader refuses the file. A row of another length is `null`. Files that a reader is not
made for are left out.
"""

import csv
import json
import pathlib
import subprocess
import sys

import duckdb

COLUMNS = ["a", "b", "c"]


def say(file, reader, rows):
    print(json.dumps({"file": file.name, "reader": reader, "rows": rows}))


def cells(row):
    return [cell if cell else None for cell in row] if len(row) == len(COLUMNS) else None


def of_csv(file):
    with open(file, newline="", encoding="utf-8-sig") as lines:
        try:
            rows = [row for row in csv.reader(lines, strict=True) if row]
        except csv.Error:
            return None
    return [cells(row) for row in rows[1:]]


def of_duckdb(file):
    columns = ", ".join(f"'{name}': 'VARCHAR'" for name in COLUMNS)
    options = "header=true, delim=',', quote='\"', escape='\"', strict_mode=true, auto_detect=false"
    try:
        rows = duckdb.sql(f"SELECT * FROM read_csv('{file}', {options}, columns={{{columns}}})").fetchall()
    except duckdb.Error:
        return None
    return [cells(list(row)) for row in rows]


def of_tsv(file):
    escapes = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "0": "\0"}

    def unescape(field):
        if field == "\\N":
            return None
        characters, text = iter(field), ""
        for character in characters:
            if character == "\\":
                escaped = next(characters, "\\")
                character = escapes.get(escaped, escaped)
            text += character
        return text or None

    lines = file.read_bytes().decode().split("\n")
    rows = [line.split("\t") for line in lines if line]
    return [[unescape(field) for field in row] if len(row) == len(COLUMNS) else None for row in rows[1:]]


def value(found):
    """A value as text, as a table of texts has it; a number with a fraction as a number."""
    if found is None or found == "":
        return None
    if isinstance(found, bool):
        return "true" if found else "false"
    return str(found) if isinstance(found, int) else found


def of_objects(objects):
    return [[value(row.get(name)) for name in COLUMNS] for row in objects]


def of_json(file):
    return of_objects(json.loads(file.read_text(encoding="utf-8")))


def of_ndjson(file):
    return of_objects(json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line.strip())


def of_jq(file):
    query = "if type == \"array\" then .[] else . end"
    printed = subprocess.run(["jq", "-c", query, str(file)], capture_output=True, check=True, text=True)
    return of_objects(json.loads(line) for line in printed.stdout.split("\n") if line)


READERS = {
    ".csv": {"csv": of_csv, "duckdb": of_duckdb},
    ".tsv": {"split": of_tsv},
    ".json": {"json": of_json, "jq": of_jq},
    ".ndjson": {"json": of_ndjson, "jq": of_jq},
}

for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    for name, read in READERS.get(path.suffix, {}).items():
        say(path, name, read(path))
