"""Jobs that are ready to be done with a text, one file per job; the file's name is the job's.

A file has what every task has (one Request tagged with the name, `RIGHT`, `run`), and says more:

    RESULT: type[msgspec.Struct]                what comes back; its JSON Schema is the job's
    WORDS: dict[Language, dict[str, str]]       what the model is told, in each language
    EXAMPLE: dict[str, Any]                     fields of a request that shows what it does

The Request's own fields carry their types and, in `Meta`, what they are: the terminal makes
options of them, HTTP reads JSON into them, the reference prints them. The first one is what the
work is done with. `run` yields one `Answered`, then `Done`.

Where a result is no row of a table, a file may also say how it becomes one in CSV:
`table_columns(asked)`, from the fields that are asked of all rows, and `table_row(result)`.
"""

from dimora.core.shelf import Shelf

SHELF = Shelf("dimora.tasks.ready")
