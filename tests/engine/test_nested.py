"""Output shapes of nested stages; most are documents of an older engine with their observed outcomes."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.engine.harness import Ran, bash, empty, named, python, run, shape


def nest(spec: dict[str, Any], **unit: Any) -> Ran:
    return run({"id": "n", **spec}, **unit)


def outputs(ran: Ran) -> Any:
    return shape(ran.only["outputs"])


class TestForeach:
    def test_inner_outputs(self) -> None:
        ran = nest(
            {
                "kind": "foreach",
                "foreach": [1, 2],
                "stages": [
                    python("foo: str = 'baz${{ item }}'", id="prep"),
                    python("bar = '${{ stages.prep.outputs.foo }}!'", id="use", **{"if": "${{ item }} == 2"}),
                ],
            }
        )
        assert ran.state == "success"
        assert outputs(ran) == {
            "items": [1, 2],
            "foreach": {
                "1": {
                    "state": "success",
                    "item": 1,
                    "stages": {
                        "prep": {"outputs": {"foo": "baz1"}, "state": "success"},
                        "use": {"outputs": {}, "state": "skipped"},
                    },
                },
                "2": {
                    "state": "success",
                    "item": 2,
                    "stages": {
                        "prep": {"outputs": {"foo": "baz2"}, "state": "success"},
                        "use": {"outputs": {"bar": "baz2!"}, "state": "success"},
                    },
                },
            },
        }

    def test_some_skipped_is_success(self) -> None:
        inner = empty(id="a", echo="hello", **{"if": "${{ item }} == 3"})
        ran = nest({"kind": "foreach", "foreach": [1, 2, 3], "stages": [inner], "concurrent": 3})
        assert ran.state == "success"
        assert [entry["state"] for entry in ran.outputs["foreach"].values()] == [
            "skipped",
            "skipped",
            "success",
        ]

    def test_all_skipped_is_skipped_and_keeps_its_outputs(self) -> None:
        ran = nest({"kind": "foreach", "foreach": [1], "stages": [empty(id="a", **{"if": False})]})
        assert ran.state == "skipped"
        assert outputs(ran) == {
            "items": [1],
            "foreach": {
                "1": {"state": "skipped", "item": 1, "stages": {"a": {"outputs": {}, "state": "skipped"}}}
            },
        }

    def test_nothing_to_do_is_success(self) -> None:
        assert nest({"kind": "foreach", "foreach": [], "stages": [empty(id="a")]}).outputs == {
            "items": [],
            "foreach": {},
        }

    @pytest.mark.parametrize(
        ("items", "got"),
        [
            ("1, 2, 3", "a text that is no list in JSON"),
            ("{}", "a text that is no list in JSON"),
            ({"a": 1}, "a map"),
            (5, "a whole number"),
            (None, "null"),
            ("${{ params.text }}", "a text that is no list in JSON"),
        ],
    )
    def test_what_is_no_list_fails_without_outputs(self, items: Any, got: str) -> None:
        ran = nest(
            {"kind": "foreach", "foreach": items, "stages": [empty(id="a")]},
            contexts={"params": {"text": "x"}},
        )
        assert ran.error["message"] == f"foreach: needs a list (or its JSON text), not {got}"
        assert ran.only["outputs"] == {}

    def test_a_list_of_the_run_and_json_text(self) -> None:
        stages = [python("v=${{ item }}*2", id="a")]
        contexts = {"params": {"l": [1, 2], "t": "[3]"}}
        ran = nest({"kind": "foreach", "foreach": "${{ params.l }}", "stages": stages}, contexts=contexts)
        assert [e["stages"]["a"]["outputs"]["v"] for e in ran.outputs["foreach"].values()] == [2, 4]
        ran = nest({"kind": "foreach", "foreach": "${{ params.t }}", "stages": stages}, contexts=contexts)
        assert ran.outputs["items"] == [3]

    @pytest.mark.parametrize("items", [["a", "a"], [1, "1"], [{"k": 1}], [[1]]])
    def test_items_without_a_name_of_their_own_need_the_index(self, items: Any) -> None:
        stages = [python("v = ${{ item }}", id="a")]
        error = nest({"kind": "foreach", "foreach": items, "stages": stages}).error
        assert "use-index-as-key" in error["message"]
        ran = nest({"kind": "foreach", "foreach": items, "stages": stages, "use_index_as_key": True})
        assert list(ran.outputs["foreach"]) == [str(at) for at in range(len(items))]
        assert [entry["item"] for entry in ran.outputs["foreach"].values()] == items

    def test_keys_are_texts(self) -> None:
        ran = nest({"kind": "foreach", "foreach": [1, 0.5, True, None, "x"], "stages": [empty(id="a")]})
        assert list(ran.outputs["foreach"]) == ["1", "0.5", "true", "null", "x"]

    def test_after_a_failure_the_rest_is_left_out(self) -> None:
        ran = nest(
            {
                "kind": "foreach",
                "foreach": [1, 2, 3],
                "stages": [python("if ${{ item }} == 2: raise ValueError('two')", id="a")],
            }
        )
        assert ran.error["message"] == "item 2: stage a: ValueError: two"
        assert list(ran.only["outputs"]["foreach"]) == ["1", "2"]
        assert ran.only["outputs"]["foreach"]["2"]["stages"]["a"]["error"]["type"] == "ValueError"

    def test_running_items_finish_when_another_fails(self) -> None:
        stages = [bash("[ ${{ item }} = 1 ] && exit 1; sleep 0.3; echo done", id="a")]
        ran = nest({"kind": "foreach", "foreach": [1, 2, 3], "concurrent": 2, "stages": stages})
        entries = ran.only["outputs"]["foreach"]
        assert list(entries) == ["1", "2"]
        assert entries["2"]["stages"]["a"]["outputs"]["stdout"] == "done"

    def test_concurrent_items_run_together_but_not_more(self) -> None:
        ran = nest(
            {
                "kind": "foreach",
                "foreach": [1, 2, 3, 4],
                "concurrent": 2,
                "stages": [bash("sleep 0.4", id="a")],
            }
        )
        assert ran.state == "success"
        assert 0.75 < ran.seconds < 1.5

    def test_contexts(self) -> None:
        stages = [
            python(
                "v = '${{ item }}${{ loop }}${{ params.p }}${{ stages.first.outputs.o }}', item, loop", id="a"
            ),
        ]
        ran = run(
            python("o = 1", id="first"),
            {"kind": "foreach", "id": "f", "foreach": ["x", "y"], "stages": stages},
            contexts={"params": {"p": "P"}},
        )
        entries = ran.stages["f"]["outputs"]["foreach"]
        assert entries["x"]["stages"]["a"]["outputs"]["v"] == ["x0P1", "x", 0]
        assert entries["y"]["stages"]["a"]["outputs"]["v"] == ["y1P1", "y", 1]

    def test_later_stages_reach_inner_outputs(self) -> None:
        ran = run(
            {"kind": "foreach", "id": "f", "foreach": [2], "stages": [python("v = 'in'", id="q")]},
            bash("echo ${{ stages.f.outputs.foreach.2.stages.q.outputs.v }}", id="b"),
        )
        assert ran.stages["b"]["outputs"]["stdout"] == "in"

    @pytest.mark.parametrize("concurrent", [0, -1, "x", True, 1.5])
    def test_concurrent_must_be_a_number(self, concurrent: Any) -> None:
        error = nest({"kind": "foreach", "foreach": [1], "concurrent": concurrent, "stages": []}).error
        assert error["message"].startswith("concurrent:")


class TestUntil:
    def test_items_count_loops(self) -> None:
        ran = nest(
            {"kind": "until", "item": 1, "until": "${{ item }} > 2", "stages": [empty(id="e", echo="hello")]}
        )
        inner = {"e": {"outputs": {}, "state": "success"}}
        assert outputs(ran) == {
            "until": {
                "1": {"state": "success", "loop": 1, "item": 1, "stages": inner},
                "2": {"state": "success", "loop": 2, "item": 2, "stages": inner},
            }
        }

    def test_an_inner_output_is_the_next_item(self) -> None:
        stages = [
            python("item = ${{ item }} * 2", id="a"),
            python("x = 1", id="b"),
        ]
        ran = nest({"kind": "until", "item": 3, "until": "item > 20", "stages": stages})
        assert [entry["item"] for entry in ran.outputs["until"].values()] == [3, 6, 12]

    def test_the_first_item_is_zero_by_default(self) -> None:
        ran = nest({"kind": "until", "until": "true", "stages": [empty(id="a")]})
        assert [entry["item"] for entry in ran.outputs["until"].values()] == [0]

    def test_the_condition_sees_the_next_loop_and_the_stages(self) -> None:
        stages = [python("done = ${{ loop }} == 2", id="a")]
        ran = nest({"kind": "until", "until": "stages.a.outputs.done && loop == 3", "stages": stages})
        assert list(ran.outputs["until"]) == ["1", "2"]

    def test_no_boolean_fails_and_keeps_the_loop(self) -> None:
        ran = nest({"kind": "until", "item": 1, "until": "'demo'", "stages": [empty(id="e")]})
        assert ran.state == "failed"
        assert outputs(ran) == {
            "until": {
                "1": {
                    "state": "success",
                    "loop": 1,
                    "item": 1,
                    "stages": {"e": {"outputs": {}, "state": "success"}},
                }
            }
        }

    def test_too_many_loops(self) -> None:
        ran = nest({"kind": "until", "until": "false", "max_loop": 3, "stages": [empty(id="e")]})
        assert ran.error["type"] == "LoopLimit"
        assert "3 loops" in ran.error["message"]
        assert list(ran.only["outputs"]["until"]) == ["1", "2", "3"]
        assert len(nest({"kind": "until", "until": "false", "stages": []}).only["outputs"]["until"]) == 10

    def test_a_failing_loop_ends_it(self) -> None:
        stages = [python("if ${{ loop }} == 2: 1/0", id="a")]
        ran = nest({"kind": "until", "until": "false", "stages": stages})
        assert ran.error["message"] == "loop 2: stage a: ZeroDivisionError: division by zero"
        assert [e["state"] for e in ran.only["outputs"]["until"].values()] == ["success", "failed"]


class TestCase:
    @staticmethod
    def spec(*match: Any, **keys: Any) -> dict[str, Any]:
        return {"kind": "case", "case": "${{ params.v }}", "match": list(match), **keys}

    @staticmethod
    def stage(name: str) -> list[dict[str, Any]]:
        return [python(f"got = '{name} ${{{{ case }}}}'", id=name)]

    @pytest.mark.parametrize(
        ("value", "got"),
        [
            ("bar", "text bar"),
            (1, "number 1"),
            (1.0, "number 1"),
            ("1", "digit 1"),
            (True, "yes true"),
            ("other", "default _"),
            (None, "default _"),
        ],
    )
    def test_the_match_is_strict(self, value: Any, got: str) -> None:
        ran = nest(
            self.spec(
                {"case": "_", "stages": self.stage("default")},
                {"case": "bar", "stages": self.stage("text")},
                {"case": True, "stages": self.stage("yes")},
                {"case": 1, "stages": self.stage("number")},
                {"case": "${{ '1' }}", "stages": self.stage("digit")},
            ),
            contexts={"params": {"v": value}},
        )
        name = got.split()[0]
        assert outputs(ran)["stages"] == {name: {"state": "success", "outputs": {"got": got}}}

    @pytest.mark.parametrize("default", ["_", "else"])
    def test_default(self, default: str) -> None:
        stages = [python("got = 'other ${{ params.v }}'", id="other")]
        entry = {"else": stages} if default == "else" else {"case": "_", "stages": stages}
        ran = nest(self.spec({"case": "bar", "stages": []}, entry), contexts={"params": {"v": "test"}})
        assert outputs(ran) == {
            "case": "_",
            "stages": {"other": {"outputs": {"got": "other test"}, "state": "success"}},
        }

    def test_no_match(self) -> None:
        contexts = {"params": {"v": "test"}}
        ran = nest(self.spec({"case": "bar", "stages": []}), contexts=contexts)
        assert ran.error["type"] == "NoMatch"
        assert ran.only["outputs"] == {}
        ran = nest(self.spec({"case": "bar", "stages": []}, skip_not_match=True), contexts=contexts)
        assert ran.state == "skipped"
        assert ran.only["outputs"] == {}

    def test_failure_keeps_outputs(self) -> None:
        ran = nest(self.spec({"else": [python("1/0", id="z")]}), contexts={"params": {"v": 1}})
        assert ran.error["message"] == "case _: stage z: ZeroDivisionError: division by zero"
        assert outputs(ran) == {"case": "_", "stages": {"z": {"state": "failed", "outputs": {}}}}

    def test_skipped_inside(self) -> None:
        ran = nest(self.spec({"else": [empty(id="z", **{"if": "1 == 2"})]}), contexts={"params": {"v": 1}})
        assert ran.state == "skipped"


class TestParallel:
    def test_branches(self) -> None:
        ran = nest(
            {
                "kind": "parallel",
                "parallel": {
                    "branch01": [
                        empty(id="a", echo="hello", sleep=0.1),
                        empty(id="s", echo="hello", **{"if": "${{ branch | rstr }} == 'branch02'"}),
                    ],
                    "branch02": [python("v='${{ branch }}'", id="b")],
                },
            }
        )
        assert outputs(ran) == {
            "workers": 2,
            "parallel": {
                "branch02": {
                    "state": "success",
                    "branch": "branch02",
                    "stages": {"b": {"outputs": {"v": "branch02"}, "state": "success"}},
                },
                "branch01": {
                    "state": "success",
                    "branch": "branch01",
                    "stages": {
                        "a": {"outputs": {}, "state": "success"},
                        "s": {"outputs": {}, "state": "skipped"},
                    },
                },
            },
        }

    @pytest.mark.parametrize("workers", [1, 2])
    def test_all_run_also_when_one_fails(self, workers: int) -> None:
        ran = nest(
            {
                "kind": "parallel",
                "max_workers": workers,
                "parallel": {
                    "branch01": [{"kind": "raise", "raise": "inside", "id": "r"}],
                    "branch02": [empty(id="b", echo="hello")],
                },
            }
        )
        assert ran.error["message"] == "branch branch01: stage r: inside"
        assert outputs(ran) == {
            "workers": workers,
            "parallel": {
                "branch01": {
                    "state": "failed",
                    "branch": "branch01",
                    "stages": {"r": {"outputs": {}, "state": "failed"}},
                },
                "branch02": {
                    "state": "success",
                    "branch": "branch02",
                    "stages": {"b": {"outputs": {}, "state": "success"}},
                },
            },
        }

    def test_at_the_same_time(self) -> None:
        branch = [bash("sleep 0.5", id="s")]
        ran = nest(
            {"kind": "parallel", "max_workers": "${{ params.n }}", "parallel": dict.fromkeys("abc", branch)},
            contexts={"params": {"n": 3}},
        )
        assert ran.outputs["workers"] == 3
        assert ran.seconds < 1.2

    def test_branches_do_not_see_each_other(self) -> None:
        ran = nest(
            {
                "kind": "parallel",
                "max_workers": 1,
                "parallel": {
                    "a": [python("x = 1", id="one")],
                    "b": [python("y = ${{ stages.one.outputs.x }}", id="two")],
                },
            }
        )
        assert ran.only["outputs"]["parallel"]["b"]["state"] == "failed"


class TestAllKinds:
    def test_nested_in_nested_and_its_place_for_triggers(self) -> None:
        asked: list[Any] = []

        def trigger(dag_id: str, params: dict[str, Any], path: str) -> dict[str, Any]:
            asked.append((dag_id, params, path))
            return {"state": "success", "outputs": {"params": params, "jobs": {}}}

        inner = {
            "kind": "trigger",
            "id": "t",
            "trigger": "routing-${{ item }}-workflow",
            "params": {"n": "${{ item }}"},
        }
        stage = {
            "kind": "parallel",
            "parallel": {"main": [{"kind": "foreach", "id": "f", "foreach": [1, 2], "stages": [inner]}]},
        }
        ran = nest(stage, trigger=trigger)
        assert asked == [
            ("routing-1-workflow", {"n": 1}, "n/parallel.main/f/foreach.1/t"),
            ("routing-2-workflow", {"n": 2}, "n/parallel.main/f/foreach.2/t"),
        ]
        entry = ran.outputs["parallel"]["main"]["stages"]["f"]["outputs"]["foreach"]["2"]
        assert entry["stages"]["t"]["outputs"] == {"params": {"n": 2}, "jobs": {}}

    @pytest.mark.parametrize(
        ("state", "ends"), [("failed", "failed"), ("skipped", "skipped"), ("success", "success")]
    )
    def test_a_triggered_workflow_hands_back_its_state_and_outputs(self, state: str, ends: str) -> None:
        ran = nest(
            {"kind": "trigger", "trigger": "child"},
            trigger=lambda *_: {"state": state, "outputs": {"jobs": {"a": 1}}},
        )
        assert ran.state == ends
        assert ran.only["outputs"] == {"jobs": {"a": 1}}

    def test_a_repeated_trigger_is_another_run(self) -> None:
        paths: list[str] = []

        def trigger(dag_id: str, params: dict[str, Any], path: str) -> dict[str, Any]:
            paths.append(path)
            return {"state": "success" if len(paths) > 1 else "failed", "outputs": {}}

        inner = {"kind": "trigger", "id": "t", "trigger": "child", "retry": {"max": 2, "delay": 0}}
        assert (
            nest({"kind": "foreach", "foreach": [1], "stages": [inner]}, trigger=trigger).state == "success"
        )
        assert paths == ["n/foreach.1/t", "n/foreach.1/t~2"]

    def test_waiting_for_a_triggered_workflow_can_time_out(self) -> None:
        def trigger(*_: Any) -> dict[str, Any]:
            time.sleep(60)
            return {"state": "success"}

        ran = nest(
            {"kind": "trigger", "trigger": "child", "timeout": 0.3}, trigger=trigger, enforce_timeouts=True
        )
        assert ran.error["type"] == "TimedOut"

    def test_without_a_trigger_hook(self) -> None:
        assert nest({"kind": "trigger", "trigger": "child"}).error["type"] == "TriggerUnavailable"

    def test_env_comes_from_outside_and_grows(self) -> None:
        ran = nest(
            {
                "kind": "foreach",
                "foreach": ["x"],
                "env": {"B": "${{ env.A }}b"},
                "stages": [bash("echo $A $B $C", id="s", env={"C": "${{ env.B }}${{ item }}"})],
            },
            env=[{"A": "a"}],
        )
        assert ran.outputs["foreach"]["x"]["stages"]["s"]["outputs"]["stdout"] == "a ab abx"

    def test_status_functions_judge_the_own_list(self) -> None:
        stages = [python("1/0", id="a"), empty(id="b"), python("x = 1", id="c", **{"if": "failure()"})]
        ran = nest({"kind": "foreach", "foreach": [1], "stages": stages})
        inner = ran.only["outputs"]["foreach"]["1"]["stages"]
        assert [inner[name]["state"] for name in "abc"] == ["failed", "upstream_failed", "success"]
        assert ran.state == "failed"

    def test_outer_timeout_keeps_what_was_reached(self) -> None:
        ran = nest(
            {
                "kind": "foreach",
                "foreach": [0, 60],
                "stages": [bash("sleep ${{ item }}", id="s")],
                "timeout": 0.6,
            },
            enforce_timeouts=True,
        )
        assert ran.error["type"] == "TimedOut"
        assert ran.seconds < 4
        entries = ran.only["outputs"]["foreach"]
        assert [entry["state"] for entry in entries.values()] == ["success", "failed"]
        assert entries["60"]["stages"]["s"]["error"]["type"] == "TimedOut"

    def test_outer_timeout_of_concurrent_branches(self) -> None:
        branch = [bash("sleep 60", id="s")]
        ran = nest(
            {"kind": "parallel", "parallel": {"a": branch, "b": branch}, "timeout": 0.4},
            enforce_timeouts=True,
        )
        assert ran.error["type"] == "TimedOut"
        assert ran.seconds < 4

    def test_inner_timeouts_always_hold(self) -> None:
        ran = nest({"kind": "foreach", "foreach": [1], "stages": [bash("sleep 60", id="s", timeout=0.3)]})
        assert ran.error["message"] == "item 1: stage s: it ran longer than its timeout of 0.3 s"

    def test_inner_stages_are_folded_in_the_log(self) -> None:
        ran = nest(
            {
                "kind": "foreach",
                "foreach": [1, 2],
                "stages": [empty(id="a", name="Say ${{ item }}", echo="hi")],
            }
        )
        assert ran.texts == [
            "::group::n / 1 / Say 1", "hi", "::endgroup::", "::group::n / 2 / Say 2", "hi", "::endgroup::",
        ]  # fmt: skip

    def test_groups_of_concurrent_stages_do_not_interleave(self) -> None:
        branch = [bash("for i in 1 2 3 4 5; do echo ${{ branch }}$i; sleep 0.05; done", id="s")]
        ran = nest({"kind": "parallel", "max_workers": 3, "parallel": dict.fromkeys("abc", branch)})
        inside: str | None = None
        seen: list[str] = []
        for text in ran.texts:
            if text.startswith("::group::"):
                assert inside is None
                inside = text.split(" / ")[1]
            elif text == "::endgroup::":
                inside = None
            else:
                assert text[0] == inside
                seen.append(text)
        assert sorted(seen) == [f"{branch}{at}" for branch in "abc" for at in range(1, 6)]

    def test_the_nearest_item_counts(self) -> None:
        deep = {
            "kind": "foreach",
            "id": "in",
            "foreach": ["x"],
            "stages": [python("v = '${{ item }}'", id="s")],
        }
        ran = nest({"kind": "foreach", "foreach": ["o"], "stages": [deep]})
        inner = ran.outputs["foreach"]["o"]["stages"]["in"]["outputs"]["foreach"]["x"]
        assert inner["stages"]["s"]["outputs"]["v"] == "x"

    def test_continue_on_error_of_an_item(self) -> None:
        ran = nest(
            {"kind": "foreach", "foreach": [1, 2], "stages": [python("1/0", id="s", continue_on_error=True)]}
        )
        assert ran.state == "success"
        assert list(ran.outputs["foreach"]) == ["1", "2"]
        assert ran.outputs["foreach"]["1"]["stages"]["s"]["outputs"] == {"outcome": "failure"}

    def test_outer_retry_runs_all_again(self) -> None:
        started = time.monotonic()
        stages = named(
            [python("import os\nn = len(os.listdir('.'))\nopen(f'{n}', 'w').close()\nif n < 2: 1/0")]
        )
        ran = run(
            {"kind": "foreach", "foreach": [1], "stages": stages, "retry": {"max": 3, "delay": 0}},
            enforce_retries=True,
        )
        assert ran.state == "success"
        assert ran.only["tries"] == 3
        assert time.monotonic() - started < 3
