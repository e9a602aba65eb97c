import covalent as ct


def prepare(x):
    return x


@ct.electron(deps_bash=ct.DepsBash(["ls"]))
def a():
    pass


@ct.electron
def b():
    pass


@ct.electron(
    call_before=[ct.DepsCall(prepare, args=[1], retval_keyword="y"), ct.DepsBash("pwd")],
    call_after=ct.DepsCall(prepare, kwargs={"x": 2}),
    deps_pip=ct.DepsPip(["cloudpickle"]),
)
def c(y=0):
    return y


@ct.lattice(deps_bash=ct.DepsBash(["ls -l"]))
def workflow():
    a()
    b()
    return c()


def show(graph):
    for node in (0, 1, 2):
        hooks = graph.get_node_value(node, "metadata")["hooks"]
        deps = hooks.get("deps") or {}
        print(node, sorted(deps), ct.DepsBash().from_dict(deps["bash"]).commands if "bash" in deps else None)
        for name in ("call_before", "call_after"):
            for one in hooks.get(name) or []:
                made = (ct.DepsBash() if one["type"] == "DepsBash" else ct.DepsCall()).from_dict(one)
                print(name, one["type"], made.retval_keyword, getattr(made, "commands", None))
        if "pip" in deps:
            print(ct.DepsPip().from_dict(deps["pip"]).packages)


workflow.build_graph()
show(workflow.transport_graph)
show(workflow.transport_graph)
print(sorted(workflow.transport_graph._graph.nodes[0]["metadata"]["hooks"]["deps"]))
print(a.electron_object.metadata["hooks"]["deps"]["bash"]["attributes"]["commands"])
