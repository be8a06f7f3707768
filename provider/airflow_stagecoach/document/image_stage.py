"""``image:`` stages: one container of any image."""

# pydantic evaluates the annotations of models when it runs:
# ruff: noqa: TC001, TC003

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, PlainValidator, WithJsonSchema

from airflow_stagecoach.document.container_values import command_value, image_value, in_words, words
from airflow_stagecoach.document.fields import FilledText
from airflow_stagecoach.document.model import fault, habit_of
from airflow_stagecoach.document.stage import Stage, present
from airflow_stagecoach.expressions import ExpressionSyntaxError

#: Words by which a shell would join or divert programs.
_SHELL_SIGNS = frozenset({"|", "||", "&&", "&", ";", ">", ">>", "<", "<<", "2>", "2>&1", "&>"})

#: Stands for the end of a line where that shall part no words.
_NO_SPACE = "\x01"

#: What to write where a script is meant.
_WITH_SHELL = "write entrypoint: [sh, -c] and the script as the one item of command"

#: Settings of the place, which people write at the container.
_OF_THE_PLACE = (
    *("volumes", "volume", "mounts", "mount", "network", "user", "pull", "platform", "gpus", "shm-size"),
    *("privileged", "cap-add", "cap-drop", "extra-hosts", "auto-remove", "host", "tls", "conn", "ship"),
)

#: Words of Docker, Kubernetes, GitHub, GitLab and of Airflow's operators -> what to write here.
_HABITS = {
    **dict.fromkeys(("args", "arguments", "cmd", "run-args"), "write command"),
    "cmds": "write entrypoint",
    "with": "write entrypoint and command on the stage itself",
    "script": _WITH_SHELL,
    "shell": _WITH_SHELL,
    **dict.fromkeys(("environment", "envs", "env-vars"), "write env"),
    **dict.fromkeys(("workdir", "working-dir"), "write working-directory"),
    **{
        key: f"write it in runs-on: {{type: docker, with: {{{key}: ...}}}} of the job"
        for key in _OF_THE_PLACE
    },
    **dict.fromkeys(
        ("ports", "health", "options"), "a container that others use is a service: write services"
    ),
    "tag": "write image: NAME:TAG",
    "container-name": "it has a name that is found again: leave it out",
}


def program_value(value: Any) -> str | list[str]:
    """A program or its arguments: a list, or a text that is parted into words. No shell looks at it.

    What makes sense only for a shell is refused: several lines, ``|``, ``>`` and the like.
    """
    command = command_value(value)
    if isinstance(command, list):
        return command
    try:
        parted = words(command)
        # A line that ends inside quotes is part of a word; any other one parts two.
        lines = len(parted) - len(words(command.strip().replace("\n", _NO_SPACE)))
    except ExpressionSyntaxError:
        return command  # The checks tell what is wrong.
    if lines:
        raise fault("bad-command", "several lines are a script, but no shell runs here", _WITH_SHELL)
    for word in parted:
        if word in _SHELL_SIGNS:
            message = f"'{word}' is meant for a shell, but no shell runs here"
            raise fault("bad-command", message, f"{_WITH_SHELL}; to give it to the program write a list")
    return command


_PROGRAM_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "minItems": 1, "items": {"type": ["string", "integer"]}},
    ]
}
Image = Annotated[str, PlainValidator(image_value), WithJsonSchema({"type": "string", "minLength": 1})]
Program = Annotated[str | list[str], PlainValidator(program_value), WithJsonSchema(_PROGRAM_SCHEMA)]


class ImageStage(Stage):
    """Runs a container of any image; neither Python nor a shell need be in it."""

    kind = "image"
    noun = "image stage"

    image: Image = Field(description="the image, such as alpine:3.20")
    entrypoint: Program | None = Field(None, description="the program, in place of the image's own")
    command: Program | None = Field(
        None, description="arguments of the program, in place of the image's own: a list, or a text in words"
    )
    working_directory: FilledText | None = Field(
        None, description="where it starts, the scratch folder of the leg if absent"
    )

    @classmethod
    def unknown_key(cls, key: str, data: Mapping[str, Any]) -> tuple[str, str | None]:
        """As for every stage, with the words that containers have elsewhere."""
        message, hint = super().unknown_key(key, data)
        own = habit_of(_HABITS, key, data)
        if own == "write command" and "command" in data:
            own = "the program is `entrypoint` here, as in Docker, and its arguments are `command`"
        return message, own or hint

    def spec_fields(self) -> dict[str, Any]:
        """The image and what it runs, in words."""
        return present(
            image=self.image,
            entrypoint=None if self.entrypoint is None else in_words(self.entrypoint),
            command=None if self.command is None else in_words(self.command),
            working_directory=self.working_directory,
        )
