import covalent as ct
import tempfile
from pathlib import Path

folder = tempfile.mkdtemp()


@ct.electron
def write(name, text):
    import time

    time.sleep(0.3)
    Path(folder, name).write_text(text)


@ct.electron
def read():
    return sorted(path.read_text() for path in Path(folder).iterdir())


@ct.electron
def last(x):
    return x


@ct.lattice
def workflow():
    first, second = write("a", "one"), write("b", "two")
    texts = read()
    ct.wait(texts, [first, second])
    end = last(texts).wait_for(first)
    return end


result = ct.get_result(ct.dispatch(workflow)(), wait=True)
print(result.status, result.result)
graph = result.lattice.transport_graph
print(sorted(data["edge_name"] for _, _, data in graph._graph.edges(data=True) if "wait" in data["edge_name"])[:2])
