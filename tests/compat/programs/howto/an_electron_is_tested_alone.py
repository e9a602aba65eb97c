import covalent as ct


@ct.electron
def divide(a, b):
    return a / b


try:
    divide(1, 0)
except ZeroDivisionError as error:
    print("raised", error)
result = ct.dispatch_sync(ct.lattice(divide))(6, 4)
print(result.status, result.result)
