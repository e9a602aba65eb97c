import covalent as ct
from pathlib import Path

Path("requirements.txt").write_text("cloudpickle\n")
dependency = ct.DepsPip(packages=["cloudpickle"])
print(dependency.packages, ct.DepsPip(reqs_path="requirements.txt").requirements_content.split())


@ct.electron(deps_pip=dependency)
def version():
    import cloudpickle

    return bool(cloudpickle.__version__)


@ct.lattice
def workflow():
    return version()


workflow.build_graph()
print(workflow.transport_graph.get_node_value(0, "metadata")["hooks"]["deps"]["pip"]["attributes"]["packages"])
