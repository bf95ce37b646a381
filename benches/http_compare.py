"""Loads rows into the two other servers and writes what to ask them for.

    http_compare.py ROWS.jsonl DIRECTORY VALUES

Each line of ROWS.jsonl is [owner, item]; VALUES is a JSON object of what is filtered by. Makes DIRECTORY/datasette.db, DIRECTORY/pocketbase/ (with
the `pocketbase` beside this Python) and DIRECTORY/targets.json: for each server, list and depth the
paths to ask for, in the way that its documentation recommends for paging at depth. Both get an
index for each list that is asked for, which begins with the owner and the filter and goes on in
the order of the list.
"""

import json
import math
import os
import sqlite3
import subprocess
import sys
import time
import urllib.parse
import urllib.request

PLACES = 512
PAGE = 15
OWNER = 0
COLUMNS = [
    "owner", "id", "uuid", "assistant_id", "assistant_name", "type", "variables",
    "external_identifier", "message_count", "total_cost", "ai_enabled", "created_at",
    "updated_at", "sender_name", "sender_phone", "customer_name", "customer_phone",
]
NUMBERS = {"owner", "message_count", "total_cost", "ai_enabled"}
FILTERS = {"unfiltered": [], "type": ["type"], "assistant": ["assistant_id"],
           "customer": ["customer_phone"]}


def index(fields, table):
    name = "_".join(["list", *fields])
    columns = ", ".join(["owner", *fields, "created_at desc", "id desc"])
    return f"create index {name} on {table} ({columns})"


def rows(path):
    with open(path) as lines:
        for line in lines:
            owner, item = json.loads(line)
            sender, customer = item.get("whatsapp_sender") or {}, item.get("customer") or {}
            variables = item["variables"] and json.dumps(item["variables"])
            yield (
                # The first 15 characters are what a PocketBase id may be, and are unique.
                owner, item["id"].replace("-", "")[:15], item["id"], item["assistant_id"],
                item["assistant_name"], item["type"], variables or "",
                item.get("external_identifier") or "", item["message_count"], item["total_cost"],
                int(item["ai_enabled"]), item["created_at"], item["updated_at"],
                sender.get("name") or "", sender.get("phone") or "",
                customer.get("name") or "", customer.get("phone") or "",
            )


def insert(database, source):
    names, places = ", ".join(COLUMNS), ", ".join("?" * len(COLUMNS))
    database.executemany(f"insert into conversations ({names}) values ({places})", rows(source))
    database.commit()
    database.execute("analyze")
    database.execute("pragma wal_checkpoint(truncate)")


def datasette(source, directory):
    path = os.path.join(directory, "datasette.db")
    database = sqlite3.connect(path)
    kinds = [f"{c} {'real' if c in NUMBERS else 'text'}" for c in COLUMNS]
    kinds[0], kinds[1] = "owner integer", "id text primary key"
    database.execute(f"create table conversations ({', '.join(kinds)})")
    for fields in FILTERS.values():
        # Its keyset orders equal times by rising key.
        database.execute(index(fields, "conversations").replace("id desc", "id"))
    insert(database, source)
    return database


def post(url, body, token=None):
    headers = {"Content-Type": "application/json", **({"Authorization": token} if token else {})}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def pocketbase(source, directory):
    data = os.path.join(directory, "pocketbase")
    program = os.path.join(os.path.dirname(sys.executable), "pocketbase")
    account = ("bench@example.com", "a-long-password")
    subprocess.run([program, "superuser", "upsert", *account, f"--dir={data}"], check=True)
    base = "http://127.0.0.1:18090"
    server = subprocess.Popen([program, "serve", f"--http={base[7:]}", f"--dir={data}"])
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen(f"{base}/api/health").close()
                break
            except OSError:
                time.sleep(0.1)
        login = {"identity": account[0], "password": account[1]}
        token = post(f"{base}/api/collections/_superusers/auth-with-password", login)["token"]
        fields = [{"name": c, "type": "number" if c in NUMBERS else "text"}
                  for c in COLUMNS if c != "id"]
        indexes = [index(fields, "conversations") for fields in FILTERS.values()]
        collection = {"name": "conversations", "type": "base", "listRule": "", "fields": fields,
                      "indexes": indexes}
        post(f"{base}/api/collections", collection, token)
    finally:
        server.terminate()
        server.wait()
    database = sqlite3.connect(os.path.join(data, "data.db"))
    insert(database, source)
    database.close()


def spread(found):
    """Up to so many places all over a list, each far from the one before."""
    chosen = found[PAGE - 1::max(1, math.ceil(len(found) / PLACES))][:PLACES]
    stride = next(s for s in range(len(chosen) * 2 // 3 + 1, 10**9)
                  if math.gcd(s, len(chosen)) == 1)
    return [chosen[at * stride % len(chosen)] for at in range(len(chosen))]


def query(**parameters):
    return urllib.parse.urlencode(parameters)


def targets(database, values):
    found = {"datasette": {}, "pocketbase": {}, "pocketbase, page number": {}}
    records = "/api/collections/conversations/records?"
    for name, fields in FILTERS.items():
        wanted = {field: values[field] for field in fields}
        where = "".join(f" and {field} = ?" for field in fields)
        keys = {}
        for order in ["asc", "desc"]:
            keys[order] = database.execute(
                f"select created_at, id from conversations where owner = ?{where}"
                f" order by created_at desc, id {order}", (OWNER, *wanted.values())).fetchall()
        # Datasette: `_next` goes on after a sorted value and a key.
        plain = dict(owner__exact=OWNER, **{f"{f}__exact": v for f, v in wanted.items()},
                     _sort_desc="created_at", _size=PAGE, _nocount=1, _nofacet=1, _nosuggest=1)
        after = [query(**plain, _next=f"{at},{key}") for at, key in spread(keys["asc"])]
        path = "/datasette/conversations.json?"
        found["datasette"][name] = {"first": [path + query(**plain)],
                                    "deep": [path + one for one in after]}
        # PocketBase: a filter on what the list is sorted by, or the number of a page.
        terms = [f"owner={OWNER}", *(f"{f}='{v}'" for f, v in wanted.items())]
        plain = dict(sort="-created_at,-id", perPage=PAGE, skipTotal=1)
        ask = lambda terms, **more: records + query(filter=" && ".join(terms), **plain, **more)
        after = [ask([*terms, f"(created_at<'{at}' || (created_at='{at}' && id<'{key}'))"])
                 for at, key in spread(keys["desc"])]
        found["pocketbase"][name] = {"first": [ask(terms)], "deep": after}
        pages = [ask(terms, page=2 + at // PAGE)
                 for at in spread(range(len(keys["desc"])))]
        found["pocketbase, page number"][name] = {"deep": pages}
    return found


def main():
    source, directory, values = sys.argv[1:]
    os.makedirs(directory, exist_ok=True)
    database = datasette(source, directory)
    pocketbase(source, directory)
    found = targets(database, json.loads(values))
    database.close()
    with open(os.path.join(directory, "targets.json"), "w") as out:
        json.dump(found, out)


main()
