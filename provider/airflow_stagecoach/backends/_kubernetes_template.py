"""What an author writes in Kubernetes' own words: checked against its API, and merged with our pod.

The SDK drops fields that it does not know without a word. So every field is looked up in its models
first. The merge is that of Airflow's provider: lists of volumes, mounts and variables are joined,
of anything else ours counts where both say something.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

from airflow_stagecoach.backends._kubernetes_settings import STAGE, stage_container
from airflow_stagecoach.backends.failures import BackendFailure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_stagecoach.backends._kubernetes_settings import KubernetesConfig

#: Fields of a template that ours replace -> what to write instead.
_OURS = {
    ("metadata", "name"): "pods are named after the workflow and its stages",
    ("metadata", "generateName"): "pods are named after the workflow and its stages",
    ("spec", "terminationGracePeriodSeconds"): "stopped work has ten seconds",
}
_OURS_IN_CONTAINER = {
    "command": "the stages are what runs; for a program that starts it write entrypoint",
    "args": "the stages are what runs; for a program that starts it write entrypoint",
    "workingDir": "write working-dir",
    "terminationMessagePath": "it carries the result",
    "terminationMessagePolicy": "it carries the result",
}

_LIST = re.compile(r"list\[(.+)\]")
_MAP = re.compile(r"dict[(\[]str, (.+)[)\]]")
_PLAIN: dict[str, tuple[tuple[type, ...], str]] = {
    "str": ((str,), "text"),
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
}


def merged(settings: KubernetesConfig, ours: dict[str, Any]) -> dict[str, Any]:
    """Our pod with what the author says of it in Kubernetes' own words.

    :param ours: metadata and spec
    :return: metadata and spec, as the API takes them
    :raises BackendFailure: a field does not exist, has the wrong type, or is ours to say
    """
    template = settings.template
    own = {
        "pod": template,
        "volumes": [entry.source for entry in settings.volumes],
        "tolerations": settings.tolerations,
        "affinity": settings.affinity or {},
    }
    if not any(own.values()):
        return ours
    kinds = {
        "pod": "V1PodTemplateSpec",
        "volumes": "list[V1Volume]",
        "tolerations": "list[V1Toleration]",
        "affinity": "V1Affinity",
    }
    problems = [text for key, value in own.items() for text in _problems(value, kinds[key], key)]
    problems += _replaced(template)
    if problems:
        raise BackendFailure("; ".join(problems), category="configuration", reason="InvalidPod")
    if not template:
        return ours
    aliases = (template.get("spec") or {}).get("hostAliases")
    if aliases and "hostAliases" in ours["spec"]:  # The merge would take one of the lists.
        ours = {**ours, "spec": {**ours["spec"], "hostAliases": [*aliases, *ours["spec"]["hostAliases"]]}}
    return _reconciled(_with_stage_first(template), ours)


def _reconciled(template: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
    from kubernetes.client import ApiClient

    pods = [PodGenerator.deserialize_model_dict(one) for one in (template, ours)]
    both = ApiClient().sanitize_for_serialization(PodGenerator.reconcile_pods(*pods))
    return {"metadata": both["metadata"], "spec": both["spec"]}


def _with_stage_first(template: dict[str, Any]) -> dict[str, Any]:
    """The template with our container at the place where the merge looks for it."""
    spec = template.get("spec") or {}
    stage = stage_container(template)
    others = [one for one in spec.get("containers") or () if one is not stage]
    return {**template, "spec": {**spec, "containers": [{**stage, "name": STAGE}, *others]}}


def _replaced(template: Mapping[str, Any]) -> Iterator[str]:
    """What a template says that would not hold."""
    for (part, field), hint in _OURS.items():
        if field in (template.get(part) or {}):
            yield f"pod.{part}.{field} cannot be set: {hint}"
    policy = (template.get("spec") or {}).get("restartPolicy", "Never")
    if policy != "Never":
        yield "pod.spec.restartPolicy can only be Never: write retry at the stage or the job"
    for field in stage_container(dict(template)):
        if field in _OURS_IN_CONTAINER:
            yield f"{field} of our container in pod cannot be set: {_OURS_IN_CONTAINER[field]}"


def _problems(value: Any, kind: str, path: str) -> Iterator[str]:
    """What does not fit into a type of the SDK's models, by path.

    :param kind: as the models name it: ``str``, ``list[V1Volume]``, ``dict(str, str)``, ``V1Pod``
    """
    if value is None or kind in ("object", "datetime"):
        return
    if kind in _PLAIN:
        types, words = _PLAIN[kind]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            yield f"{path}: expected {words}, found {_found(value)}"
    elif items := _LIST.fullmatch(kind):
        if not isinstance(value, list):
            yield f"{path}: expected a list, found {_found(value)}"
            return
        for number, item in enumerate(value):
            yield from _problems(item, items[1], f"{path}[{number}]")
    elif values := _MAP.fullmatch(kind):
        if not isinstance(value, dict):
            yield f"{path}: expected a map, found {_found(value)}"
            return
        for key, item in value.items():
            # Quantities are texts to the models, and numbers in what people write.
            if not (values[1] == "str" and path.endswith((".limits", ".requests"))):
                yield from _problems(item, values[1], f"{path}.{key}")
    elif not isinstance(value, dict):
        yield f"{path}: expected a map, found {_found(value)}"
    else:
        yield from _problems_of_model(value, kind, path)


def _problems_of_model(value: dict[Any, Any], kind: str, path: str) -> Iterator[str]:
    from kubernetes.client import models

    model: Any = getattr(models, kind)
    fields = {model.attribute_map[name]: type_ for name, type_ in model.openapi_types.items()}
    for key, item in value.items():
        if key in fields:
            yield from _problems(item, fields[key], f"{path}.{key}")
            continue
        near = difflib.get_close_matches(re.sub(r"_(\w)", lambda m: m[1].upper(), str(key)), fields, 1, 0.6)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(fields))}"
        yield f"{path}.{key} is no field of Kubernetes: {hint}"


def _found(value: Any) -> str:
    """A value by its type alone: it may be secret."""
    names = {str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list"}
    return names.get(type(value), "a map" if isinstance(value, dict) else "something else")
