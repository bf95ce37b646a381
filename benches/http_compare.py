"""Loads the dataset into Datasette and PocketBase and writes the requests for their pages.

    http_compare.py ROWS.jsonl DIRECTORY VALUES

Each line of ROWS.jsonl is [user, item]; VALUES is a JSON object with the values of the filters.
Creates DIRECTORY/datasette.db, DIRECTORY/pocketbase/ (with the program `pocketbase` next to this
Python) and DIRECTORY/targets.json: the paths to request for each server, list and depth, with the
pagination that the server's documentation recommends for deep pages. Both servers get one index
per list: the user, the fields of the filter, then the order of the list.
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

MAX_STARTS = 512
PAGE = 15
USER = 0
COLUMNS = [
    "user_id", "id", "uuid", "assistant_id", "assistant_name", "type", "variables",
    "external_identifier", "message_count", "total_cost", "ai_enabled", "created_at",
    "updated_at", "sender_name", "sender_phone", "customer_name", "customer_phone",
]
NUMBERS = {"user_id", "message_count", "total_cost", "ai_enabled"}
FILTERS = {"unfiltered": [], "type": ["type"], "assistant": ["assistant_id"],
           "customer": ["customer_phone"]}


def index(fields, table):
    name = "_".join(["list", *fields])
    columns = ", ".join(["user_id", *fields, "created_at desc", "id desc"])
    return f"create index {name} on {table} ({columns})"


def rows(path):
    with open(path) as lines:
        for line in lines:
            user, item = json.loads(line)
            sender, customer = item.get("whatsapp_sender") or {}, item.get("customer") or {}
            variables = item["variables"] and json.dumps(item["variables"])
            yield (
                # A PocketBase id has 15 characters; the first 15 of the id are unique.
                user, item["id"].replace("-", "")[:15], item["id"], item["assistant_id"],
                item["assistant_name"], item["type"], variables or "",
                item.get("external_identifier") or "", item["message_count"], item["total_cost"],
                int(item["ai_enabled"]), item["created_at"], item["updated_at"],
                sender.get("name") or "", sender.get("phone") or "",
                customer.get("name") or "", customer.get("phone") or "",
            )


def insert(database, source):
    names, marks = ", ".join(COLUMNS), ", ".join("?" * len(COLUMNS))
    database.executemany(f"insert into conversations ({names}) values ({marks})", rows(source))
    database.commit()
    database.execute("analyze")
    database.execute("pragma wal_checkpoint(truncate)")


def datasette(source, directory):
    path = os.path.join(directory, "datasette.db")
    database = sqlite3.connect(path)
    kinds = [f"{c} {'real' if c in NUMBERS else 'text'}" for c in COLUMNS]
    kinds[0], kinds[1] = "user_id integer", "id text primary key"
    database.execute(f"create table conversations ({', '.join(kinds)})")
    for fields in FILTERS.values():
        # Its keyset pagination orders rows with equal times by ascending key.
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
        collection = {"name": "conversations", "type": "base", "listRule": "", "createRule": "",
                      "fields": fields, "indexes": indexes}
        post(f"{base}/api/collections", collection, token)
    finally:
        server.terminate()
        server.wait()
    database = sqlite3.connect(os.path.join(data, "data.db"))
    insert(database, source)
    database.close()


def spread(found):
    """Up to MAX_STARTS page starts spread over a list, each far from the previous one."""
    chosen = found[PAGE - 1::max(1, math.ceil(len(found) / MAX_STARTS))][:MAX_STARTS]
    stride = next(s for s in range(len(chosen) * 2 // 3 + 1, 10**9)
                  if math.gcd(s, len(chosen)) == 1)
    return [chosen[at * stride % len(chosen)] for at in range(len(chosen))]


def query(**parameters):
    return urllib.parse.urlencode(parameters)


def targets(database, values):
    found = {"datasette": {}, "pocketbase": {}, "pocketbase, page number": {}}
    records = "/api/collections/conversations/records?"
    for name, fields in FILTERS.items():
        matched = {field: values[field] for field in fields}
        where = "".join(f" and {field} = ?" for field in fields)
        keys = {}
        for order in ["asc", "desc"]:
            keys[order] = database.execute(
                f"select created_at, id from conversations where user_id = ?{where}"
                f" order by created_at desc, id {order}", (USER, *matched.values())).fetchall()
        # Datasette: `_next` continues after a sort value and a key.
        plain = dict(user_id__exact=USER, **{f"{f}__exact": v for f, v in matched.items()},
                     _sort_desc="created_at", _size=PAGE, _nocount=1, _nofacet=1, _nosuggest=1)
        after = [query(**plain, _next=f"{at},{key}") for at, key in spread(keys["asc"])]
        path = "/datasette/conversations.json?"
        found["datasette"][name] = {"first": [path + query(**plain)],
                                    "deep": [path + one for one in after]}
        # PocketBase: a filter on the sort columns, or a page number.
        terms = [f"user_id={USER}", *(f"{f}='{v}'" for f, v in matched.items())]
        plain = dict(sort="-created_at,-id", perPage=PAGE, skipTotal=1)
        path_of = lambda terms, **more: records + query(filter=" && ".join(terms), **plain, **more)
        after = [path_of([*terms, f"(created_at<'{at}' || (created_at='{at}' && id<'{key}'))"])
                 for at, key in spread(keys["desc"])]
        found["pocketbase"][name] = {"first": [path_of(terms)], "deep": after}
        pages = [path_of(terms, page=2 + at // PAGE)
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
