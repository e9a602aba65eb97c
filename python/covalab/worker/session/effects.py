"""Effects of a cell outside of its names: files and settings that it may change, files or all names that it may read.

Pure, and on the safe side: a cell that may read waits for one that may have written. What is wrongly found costs a
wait, what is missed would cost last week's file.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Container
from typing import Final

_WRITES: Final = re.compile(
    r"""get_ipython\(\)\.(system|getoutput|run_cell_magic)  # ! and %%bash
    |\bopen\( | \.to_[a-z]+\( | save | dump\( | \.write | mkdir | makedirs | touch\( | unlink | remove\( | rename
    |rmtree | shutil | subprocess | os\.system | popen | sqlite | connect\( | chdir | '%?cd\b | extract
    |copy(file|tree)?\(
    """,
    re.VERBOSE | re.IGNORECASE,
)
_READS: Final = re.compile(
    r"""read | load | exists | glob | listdir | scandir | Path\( | \bis_(file|dir)\( | getsize | \.stat\(
    |\.(csv|tsv|json|txt|npy|npz|png|jpe?g|pkl|pickle|db|sqlite|py|parquet|feather|xlsx?|h5|hdf5|nc|zip|gz|html?|md|ya?ml)\b
    """,
    re.VERBOSE | re.IGNORECASE,
)


def may_write(tree: ast.Module) -> bool:
    """Return whether code may write files.

    Examples
    --------
    >>> may_write(ast.parse("df.to_csv('x.csv')")), may_write(ast.parse("df.mean()"))
    (True, False)
    """
    return _WRITES.search(ast.unparse(tree)) is not None


_SETS: Final = {
    kind: re.compile(pattern, re.VERBOSE)
    for kind, pattern in {
        "matplotlib": r"""rcParams | \brc\( | style\.use | \bset_(theme|style|palette|context)\(
            |\b(sns|seaborn)\.set\(""",
        "numpy": r"seterr | set_printoptions",
        "pandas": r"(re)?set_option\( | \boptions\.[\w.]+\ *=(?!=)",
        "": r"""[gs]etcontext\( | filterwarnings | simplefilter | resetwarnings | setrecursionlimit
            |environ\[[^\]]+\]\ *=(?!=) | environ\.(update|setdefault|pop|clear) | (un)?putenv | unsetenv | setlocale
            |\bset_(config|options|default_dtype|int_max_str_digits)\( | sys\.(path|argv)
            |\.setLevel\( | logging\.(disable|basicConfig) | captureWarnings | templates\.default | \bConfig\.
            |run_line_magic\('(config|env|set_env|precision|pprint|pylab|load_ext)' | ast_node_interactivity
            """,
    }.items()
}
"""By the package whose settings they are; `""`: of the process, or of any other package."""


def settings_set(tree: ast.Module) -> set[str]:
    """Return whose settings code may change, which any other code may use.

    Examples
    --------
    >>> settings_set(ast.parse("np.seterr(divide='ignore')")), settings_set(ast.parse("pd.options.display.width = 3"))
    ({'numpy'}, {'pandas'})
    >>> settings_set(ast.parse("x = pd.options.display.width == 3; os.path.join('a', os.environ['B'])"))
    set()
    """
    text = ast.unparse(tree)
    return {kind for kind, pattern in _SETS.items() if pattern.search(text)}


_LISTS: Final = re.compile(
    r"""\b(globals|locals)\(\) | \b(vars|dir)\(\) | \b(eval|exec)\((?!['"])
    |\.(user_ns|ev|ex|user_global_ns)\b | \bmodules\[ | \b__main__\b
    |run_line_magic\('(who|whos|who_ls|psearch)'
    """,
    re.VERBOSE,
)


def lists_names(tree: ast.Module) -> bool:
    """Return whether code may look at names that it does not mention.

    Examples
    --------
    >>> lists_names(ast.parse("'x' in globals()")), lists_names(ast.parse("dir(x); vars(x)['y']; eval('x + 1')"))
    (True, False)
    """
    return _LISTS.search(ast.unparse(tree)) is not None


def may_read(tree: ast.Module, loaded: Container[str] = sys.modules) -> bool:
    r"""Return whether code may read files, modules that are not `loaded` among them.

    Examples
    --------
    >>> may_read(ast.parse("pd.read_csv('x.csv')")), may_read(ast.parse("import helper_that_is_new"))
    (True, True)
    >>> may_read(ast.parse("import ast\nx = y + 1"))
    False
    """
    text = ast.unparse(tree)
    if _WRITES.search(text) or _READS.search(text):
        return True
    modules = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    tops = {module.partition(".")[0] for module in modules}
    return any(top not in loaded and top not in sys.stdlib_module_names for top in tops)
