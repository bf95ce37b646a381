"""dlt: loads the list into DuckDB with the source `rest_api`, which finds pages and types itself."""

import tempfile

import dlt
import duckdb
import httpx2
from dlt.sources.rest_api import rest_api_source

from stored import TOKEN, URL, check, stored


def main() -> None:
    source = rest_api_source(
        {
            "client": {"base_url": f"{URL}/api/user/", "auth": {"token": TOKEN}},
            "resources": ["conversations"],
        }
    )
    warehouse = duckdb.connect(":memory:")
    with tempfile.TemporaryDirectory() as directory:
        destination = dlt.destinations.duckdb(warehouse)
        pipeline = dlt.pipeline(
            "convodb", pipelines_dir=directory, destination=destination, dataset_name="api"
        )
        pipeline.run(source)
    rows = warehouse.sql("select id from api.conversations order by created_at").fetchall()
    [(costs,)] = warehouse.sql("select sum(total_cost) from api.conversations").fetchall()
    expected = stored()
    check([row[0] for row in rows], [item["id"] for item in expected[::-1]], "the rows")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    statistics = httpx2.get(f"{URL}/api/user/conversations/stats", headers=headers).json()
    check(round(costs, 9), statistics["total"]["total_cost"], "the sum of the costs")


if __name__ == "__main__":
    main()
