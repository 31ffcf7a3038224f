"""SQL text, one statement a file, read through `warehouse/sql_files.py`.

`templates/` are view statements for tables that the settings name, `views/` and `marts/` are views of every
catalogue, `checks/` return failing rows, `examples/` answer what a practitioner asks, `report/` feeds the report.
No Python belongs here.
"""
