"""The command line: ``stagecoach COMMAND``, and the same as ``airflow stagecoach COMMAND``.

Each command is a module with ``add_arguments(parser)`` and ``run(args) -> int``
(the exit code). A module is imported when its command is used, or its help is asked for.
"""
