import covalent as ct


@ct.electron
def task(x):
    return x


def with_executor(name):
    @ct.lattice(executor=name)
    def workflow(x):
        return task(x)

    workflow.build_graph(1)
    return workflow


first, second = with_executor("local"), with_executor("dask")
print([one.transport_graph.get_node_value(0, "metadata")["executor"] for one in (first, second)])
print([ct.get_result(ct.dispatch(one)(4), wait=True).result for one in (first, second)])
