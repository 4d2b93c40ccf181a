"""Steps about a custom kind: validation, versions, status, patches, lists and tables."""

from control_plane.transcript import (
    BOATS,
    JSON_PATCH,
    MERGE,
    OLD_BOATS,
    STRATEGIC,
    TABLE,
    Step,
    boat,
)

B1 = f"{BOATS}/b1"

VALIDATION = [
    Step(
        "many faults at once",
        "POST",
        BOATS,
        code=422,
        says={"reason": "Invalid"},
        body=boat(
            "b1", sail="TOO-LONG-FOR-IT", rig="raft", crew=11, names=["a", "b", "a"], launched="yesterday"
        ),
    ),
    Step("wrong types", "POST", BOATS, boat("b1", sail=3, crew="x", length=[1], tags={"a": 1}), 422),
    Step(
        "a required field is missing", "POST", BOATS, boat("b1"), 422, {"details.causes.0.field": "spec.sail"}
    ),
    Step("null where null is not allowed", "POST", BOATS, boat("b1", sail=None), 422),
    Step(
        "two parts of one name",
        "POST",
        BOATS,
        boat("b1", sail="ab", parts=[{"name": "a"}, {"name": "a"}]),
        422,
    ),
    Step("a bad name", "POST", BOATS, boat("B_1", sail="ab"), 422),
    Step("no name", "POST", BOATS, boat("", sail="ab"), 422),
    Step("bad labels", "POST", BOATS, boat("b1", meta={"labels": {"a b": "c", "d": "e f"}}, sail="ab"), 422),
    Step(
        "another apiVersion",
        "POST",
        BOATS,
        boat("b1", version="v2", sail="ab"),
        400,
        {"reason": "BadRequest"},
    ),
    Step("another kind", "POST", BOATS, boat("b1", sail="ab") | {"kind": "Ship"}, 422),
    Step("another namespace", "POST", BOATS, boat("b1", meta={"namespace": "default"}, sail="ab"), 400),
    Step(
        "a namespace that is not there",
        "POST",
        BOATS.replace("conformance", "nowhere"),
        boat("b1", sail="ab"),
        404,
    ),
    Step("half of an object", "POST", BOATS, b'{"apiVersion":', 400, {"reason": "BadRequest"}),
    Step("a list for an object", "POST", BOATS, b"[]", 400),
    Step("a content type that is unknown", "POST", BOATS, b"{}", 415, type="text/plain"),
    Step(
        "an unknown field, strictly",
        "POST",
        BOATS,
        boat("b1", sail="ab", anchor=1) | {"flag": 1},
        400,
        query={"fieldValidation": "Strict"},
    ),
    Step(
        "an unknown validation", "POST", BOATS, boat("b1", sail="ab"), 422, query={"fieldValidation": "Hard"}
    ),
    Step("an unknown path", "GET", BOATS.replace("boats", "rafts"), code=404),
]

LIFE = [
    Step(
        "create, with an unknown field and a status",
        "POST",
        BOATS,
        code=201,
        body=boat("b1", meta={"labels": {"port": "a"}}, sail="ab", anchor=1, note=None)
        | {"status": {"phase": "x"}},
        says={"spec.crew": 2, "metadata.generation": 1, "spec.anchor": None, "status": None},
    ),
    Step("create again", "POST", BOATS, boat("b1", sail="ab"), 409, {"reason": "AlreadyExists"}),
    Step("create, but only try", "POST", BOATS, boat("b0", sail="ab"), 201, query={"dryRun": "All"}),
    Step("what was only tried is not there", "GET", f"{BOATS}/b0", code=404),
    Step(
        "create by prefix", "POST", BOATS, {**boat("", sail="cd"), "metadata": {"generateName": "gen-"}}, 201
    ),
    Step("get", "GET", B1, says={"spec.sail": "ab"}),
    Step("get in the old version", "GET", f"{OLD_BOATS}/b1", says={"apiVersion": "harbor.example/v1alpha1"}),
    Step("create in the old version", "POST", OLD_BOATS, boat("old", version="v1alpha1", sail="ef"), 201),
    Step("get it in the new version", "GET", f"{BOATS}/old", says={"apiVersion": "harbor.example/v1"}),
    Step("replace without a revision", "PUT", B1, boat("b1", sail="xy"), 422),
    Step("replace at an old revision", "PUT", B1, boat("b1", meta={"resourceVersion": "1"}, sail="xy"), 409),
    Step(
        "replace",
        "PUT",
        B1,
        boat("b1", meta={"resourceVersion": "{get:metadata.resourceVersion}"}, sail="xy", crew=3),
        says={"metadata.generation": 2, "metadata.labels": None},
    ),
    Step("replace by another name", "PUT", B1, boat("b2", sail="xy"), 400),
    Step(
        "replace what is not there",
        "PUT",
        f"{BOATS}/b9",
        boat("b9", meta={"resourceVersion": "1"}, sail="xy"),
        404,
    ),
    Step(
        "write the status",
        "PATCH",
        f"{B1}/status",
        type=MERGE,
        query={"fieldManager": "harbour"},
        body={
            "spec": {"sail": "zz"},
            "status": {"phase": "afloat", "conditions": [{"type": "Afloat", "status": "True"}]},
        },
        says={"spec.sail": "xy", "status.phase": "afloat", "metadata.generation": 2},
    ),
    Step(
        "the spec's path leaves the status",
        "PATCH",
        B1,
        {"status": {"phase": "sunk"}},
        200,
        {"status.phase": "afloat"},
        MERGE,
    ),
    Step(
        "merge patch", "PATCH", B1, {"spec": {"crew": None, "tags": {"a": "b"}}}, 200, {"spec.crew": 2}, MERGE
    ),
    Step(
        "merge patch at an old revision",
        "PATCH",
        B1,
        {"metadata": {"resourceVersion": "1"}, "spec": {"crew": 4}},
        409,
        type=MERGE,
    ),
    Step("merge patch that breaks a rule", "PATCH", B1, {"spec": {"crew": 99}}, 422, type=MERGE),
    Step(
        "merge patch that changes nothing",
        "PATCH",
        B1,
        {"spec": {"crew": 2}},
        200,
        {"metadata.resourceVersion": "{merge patch:metadata.resourceVersion}"},
        MERGE,
    ),
    Step(
        "JSON patch",
        "PATCH",
        B1,
        [{"op": "add", "path": "/spec/names", "value": ["a"]}],
        200,
        {"metadata.generation": 4},
        JSON_PATCH,
    ),
    Step(
        "JSON patch whose test fails",
        "PATCH",
        B1,
        [{"op": "test", "path": "/spec/sail", "value": "no"}],
        422,
        type=JSON_PATCH,
    ),
    Step(
        "JSON patch of what is not there",
        "PATCH",
        B1,
        [{"op": "replace", "path": "/spec/x/y", "value": 1}],
        422,
        type=JSON_PATCH,
    ),
    Step("JSON patch that is none", "PATCH", B1, {}, 400, type=JSON_PATCH),
    Step("strategic merge patch", "PATCH", B1, {}, 415, {"reason": "UnsupportedMediaType"}, STRATEGIC),
    Step("patch the name", "PATCH", B1, {"metadata": {"name": "b2"}}, 400, type=MERGE),
    Step("patch what is not there", "PATCH", f"{BOATS}/b9", {}, 404, type=MERGE),
    Step("as a table", "GET", B1, accept=TABLE, says={"kind": "Table", "columnDefinitions.2.name": "Crew"}),
    Step("all as a table", "GET", BOATS, accept=TABLE, says={"rows.0.cells.0": "b1"}),
    Step(
        "select by label",
        "GET",
        BOATS,
        query={"labelSelector": "!port,a notin (b)"},
        says={"items.0.metadata.name": "b1"},
    ),
    Step(
        "select by name",
        "GET",
        BOATS,
        query={"fieldSelector": "metadata.name=b1"},
        says={"items.0.metadata.name": "b1"},
    ),
    Step(
        "select by a field of its own",
        "GET",
        BOATS,
        query={"fieldSelector": "spec.sail=ef"},
        says={"items.0.metadata.name": "old"},
    ),
    Step("select by another field", "GET", BOATS, query={"fieldSelector": "spec.crew=1"}, code=400),
    Step(
        "the first page",
        "GET",
        BOATS,
        query={"limit": "1"},
        says={"metadata.remainingItemCount": 2, "items.0.metadata.name": "b1"},
    ),
    Step("a page from nowhere", "GET", BOATS, query={"limit": "1", "continue": "zzz"}, code=400),
    Step("a revision that is no number", "GET", BOATS, query={"resourceVersion": "abc"}, code=400),
]
