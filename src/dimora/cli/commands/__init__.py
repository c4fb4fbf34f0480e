"""One file per command; the file's name is the command's name, its docstring its line of help."""
