import covalent as ct
from pathlib import Path

script = Path.cwd() / "functions.sh"
script.write_text('greet() { greeting="$1 and $2"; }\n')
task = ct.Lepton(
    language="bash",
    library_name=str(script),
    function_name="greet",
    argtypes=[(str, ct.Lepton.OUTPUT)],
    named_outputs=["greeting"],
)


@ct.lattice
def workflow(a, b):
    return task(a, b)


result = ct.dispatch_sync(workflow)("one", "two")
print(result.status, result.result, result.get_node_result(0)["node_name"])
