import covalent as ct

ex = ct.executor.NoisyExecutor(word="boo")


@ct.electron(executor=ex)
def square(x):
    return x * x


@ct.electron(executor="noisy")
def increment(x):
    return x + 1


@ct.electron
@ct.lattice
def below(x):
    return square(x)


@ct.lattice
def workflow(x):
    return increment(square(x)), below(x)


result = ct.get_result(ct.dispatch(workflow)(3), wait=True)
print(result.status, result.result)
print(ex.short_name(), "noisy" in ct.executor._executor_manager.list_executors(print_names=False))
