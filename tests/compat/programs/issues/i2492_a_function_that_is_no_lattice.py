import covalent as ct


@ct.electron
def mult(a, b):
    return a * b


try:
    ct.dispatch(mult)(1, 2)
    print("dispatched")
except (AttributeError, TypeError):
    print("refused")
result = ct.get_result(ct.dispatch(ct.lattice(mult))(3, 2), wait=True)
print(result.status, result.result)
