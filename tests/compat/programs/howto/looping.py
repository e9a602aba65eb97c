import covalent as ct


@ct.electron
def square(x):
    return x * x


@ct.electron
def add_all(values):
    return sum(values)


@ct.lattice
def workflow(numbers):
    done = []
    for number in numbers:
        if number % 2:
            done.append(square(number))
    return add_all(done), len(done)


result = ct.get_result(ct.dispatch(workflow)([1, 2, 3, 4, 5]), wait=True)
print(result.status, result.result)
print([node["node_name"] for node in result.get_all_node_results() if not node["node_name"].startswith(":")])
