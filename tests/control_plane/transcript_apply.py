"""Steps about a custom kind: server-side apply, watches, deletion."""

from control_plane.transcript import APPLY, BOATS, MERGE, Step, applied, boat

B1 = f"{BOATS}/b1"

APPLYING = [
    Step(
        "apply",
        code=201,
        **applied("a1", "one", sail="ab", crew=3, parts=[{"name": "x", "size": 1}, {"name": "y"}]),
    ),
    Step(
        "apply the same again",
        **applied("a1", "one", sail="ab", crew=3, parts=[{"name": "x", "size": 1}, {"name": "y"}]),
        says={"metadata.resourceVersion": "{apply:metadata.resourceVersion}"},
    ),
    Step(
        "another applies another part",
        **applied("a1", "two", parts=[{"name": "z", "size": 9}], tags={"a": "b"}),
        says={"spec.parts.2.name": "z", "spec.parts.0.size": 1},
    ),
    Step("another applies the same value", **applied("a1", "three", sail="ab")),
    Step("another applies another value", code=409, **applied("a1", "four", sail="no", crew=9)),
    Step(
        "and insists",
        **applied("a1", "four", force=True, sail="no"),
        says={"spec.sail": "no", "spec.crew": 3},
    ),
    Step(
        "the first leaves fields out",
        **applied("a1", "one", crew=3, parts=[{"name": "x"}]),
        says={"spec.parts.0": {"name": "x"}, "spec.parts.1": {"name": "z", "size": 9}},
    ),
    Step(
        "the second leaves all",
        **applied("a1", "two"),
        says={"spec.tags": None, "spec.parts": [{"name": "x"}]},
    ),
    Step(
        "an update takes a field over",
        "PATCH",
        f"{BOATS}/a1",
        {"spec": {"crew": 5}},
        200,
        type=MERGE,
        query={"fieldManager": "hand"},
    ),
    Step("which the first then misses", code=409, **applied("a1", "one", crew=3, parts=[{"name": "x"}])),
    Step(
        "apply the status",
        **applied("a1", "harbour", sub="/status", phase="afloat"),
        says={"status.phase": "afloat"},
    ),
    Step(
        "apply a list", code=201, **applied("a3", "one", sail="ab", parts=[{"name": name} for name in "abcd"])
    ),
    Step(
        "another applies two of it, in another order",
        **applied("a3", "two", parts=[{"name": "d"}, {"name": "b"}]),
    ),
    Step(
        "and one new with one old",
        **applied("a3", "two", parts=[{"name": "new"}, {"name": "c"}]),
        says={"spec.parts.1": {"name": "new"}},
    ),
    Step("apply an unknown field", code=500, **applied("a1", "one", anchor=1)),
    Step("apply a wrong type", code=500, **applied("a1", "one", crew="many")),
    Step("apply with no manager", "PATCH", f"{BOATS}/a1", boat("a1", sail="ab"), 422, type=APPLY),
    Step(
        "apply half of an object",
        "PATCH",
        f"{BOATS}/a1",
        b"{a: [",
        400,
        type=APPLY,
        query={"fieldManager": "one"},
    ),
    Step(
        "apply to another name",
        "PATCH",
        f"{BOATS}/a1",
        boat("a2", sail="no"),
        400,
        type=APPLY,
        query={"fieldManager": "one"},
    ),
    Step("force what is no apply", "PATCH", f"{BOATS}/a1", {}, 422, type=MERGE, query={"force": "true"}),
]

WATCHING = [
    Step("make one to watch", "POST", BOATS, boat("w1", meta={"labels": {"watch": "yes"}}, sail="ab"), 201),
    Step("change it", "PATCH", f"{BOATS}/w1", {"spec": {"crew": 4}}, type=MERGE),
    Step("take its label", "PATCH", f"{BOATS}/w1", {"metadata": {"labels": None}}, type=MERGE),
    Step("give it back", "PATCH", f"{BOATS}/w1", {"metadata": {"labels": {"watch": "yes"}}}, type=MERGE),
    Step(
        "a finalizer holds it",
        "PATCH",
        f"{BOATS}/w1",
        {"metadata": {"finalizers": ["harbor.example/hold"]}},
        type=MERGE,
    ),
    Step(
        "delete it",
        "DELETE",
        f"{BOATS}/w1",
        says={"metadata.finalizers": ["harbor.example/hold"], "kind": "Boat"},
    ),
    Step("it is still there", "GET", f"{BOATS}/w1", says={"metadata.generation": 3}),
    Step("let it go", "PATCH", f"{BOATS}/w1", {"metadata": {"finalizers": None}}, type=MERGE),
    Step("it is gone", "GET", f"{BOATS}/w1", code=404),
    Step(
        "what happened to it",
        "GET",
        BOATS,
        watch=True,
        query={
            "labelSelector": "watch=yes",
            "resourceVersion": "{make one to watch:metadata.resourceVersion}",
        },
        says={"0.type": "MODIFIED", "1.type": "DELETED", "2.type": "ADDED", "5.type": "DELETED"},
    ),
    Step(
        "what is there now",
        "GET",
        BOATS,
        watch=True,
        query={"fieldSelector": "metadata.name=old"},
        says={"0.type": "ADDED"},
    ),
    Step(
        "watch from too long ago",
        "GET",
        BOATS,
        watch=True,
        query={"resourceVersion": "1"},
        says={"0.object.code": 410},
    ),
    Step("delete by another uid", "DELETE", B1, {"preconditions": {"uid": "x"}}, 409),
    Step("delete in an unknown way", "DELETE", B1, {"propagationPolicy": "Sideways"}, 422),
    Step("delete", "DELETE", B1, says={"status": "Success", "details.kind": "boats"}),
    Step("delete again", "DELETE", B1, code=404),
    Step("delete all", "DELETE", BOATS, query={"labelSelector": "!nothing"}, says={"kind": "BoatList"}),
    Step("none is left", "GET", BOATS, says={"items": []}),
]
