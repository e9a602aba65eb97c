import covalent as ct


@ct.electron
def load(n):
    return list(range(n))


@ct.electron
def total(numbers):
    return sum(numbers)


@ct.lattice
def workflow(n):
    numbers = load(n=n)
    return {"total": total(numbers), "numbers": numbers, "n": n}


result = ct.get_result(ct.dispatch(workflow)(4), wait=True)
print(result.status, result.result)
print(result.inputs.get_deserialized())
