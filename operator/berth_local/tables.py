"""The API server's tables as text, laid out as kubectl lays them out."""

from collections.abc import Sequence

from berth_local.agent.client import ApiClient
from berth_local.agent.plan.objects import Object

ACCEPT = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


async def table(client: ApiClient, path: str, *, wide: bool = False) -> str:
    """Return what `kubectl get` prints for a path, without a final newline."""
    return render(await client.get(path, accept=ACCEPT), wide=wide)


def render(answer: Object, *, wide: bool = False) -> str:
    """Return a Table object as aligned text; columns of lower priority only when `wide`."""
    columns = answer.get("columnDefinitions") or []
    shown = [number for number, column in enumerate(columns) if wide or not column.get("priority")]
    rows = [[str(columns[number]["name"]).upper() for number in shown]]
    for row in answer.get("rows") or ():
        rows.append([_text(row["cells"][number]) for number in shown])
    return "\n".join(_aligned(rows))


def _text(cell: object) -> str:
    return "" if cell is None else str(cell)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
