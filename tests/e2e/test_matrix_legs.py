"""Matrix jobs: legs, their names, what followers see, max-parallel, one task per leg."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from e2e_client import Client, Run

LEGS = r"""
legs:
  type: Workflow
  jobs:
    split:
      stages:
        - name: Split
          id: split
          run: |
            parts, none = ["a", "b"], []
            extra = [{"part": "z", "mode": "slow", "note": "added"}, {"part": "a", "note": "noted"}]
            many = list(range(1025))
    work:
      needs: split
      strategy:
        matrix: {part: "${{ needs.split.outputs.parts }}", mode: [fast, slow]}
        include: "${{ needs.split.outputs.extra }}"
        exclude: [{part: b, mode: slow}]
      stages:
        - name: "Work on ${{ matrix.part }}"
          id: work
          if: "${{ matrix.part != 'b' }}"
          run: word = "${{ matrix.part }}-${{ matrix.mode }}"
        - name: Check
          id: check
          run: |
            number = ${{ strategy.job-index }}
            note = matrix.get("note")
            if matrix.part == "z":
                raise ValueError("z is bad")
      outputs: {word: "${{ stages.work.outputs.word }}", number: "${{ stages.check.outputs.number }}"}
    look:
      needs: work
      if: always()
      stages:
        - name: Look
          id: look
          run: |
            legs = ${{ needs.work.legs }}
            word = ${{ needs.work.outputs.word }}
            number = ${{ needs.work.outputs.number }}
            result_of_work = ${{ needs.work.result }}
    empty:
      needs: split
      strategy: {matrix: {part: "${{ needs.split.outputs.none }}"}}
      stages: [{name: Never, id: never, echo: never}]
    after-empty:
      needs: empty
      if: "always()"
      stages: [{name: After, id: after, run: "how = ${{ needs.empty.result }}\nlegs = ${{ needs.empty.legs }}"}]
    too-many:
      needs: split
      strategy: {matrix: {part: "${{ needs.split.outputs.many }}"}}
      stages: [{name: Never, id: never, echo: never}]
    no-list:
      needs: split
      strategy: {matrix: {part: "${{ needs.split.outputs.extra[0].part }}"}}
      stages: [{name: Never, id: never, echo: never}]
    together:
      granularity: job
      strategy: {matrix: {n: [1, 2]}}
      stages:
        - {name: One, id: one, bash: 'echo "one of $N" > kept; cat kept', env: {N: "${{ matrix.n }}"}}
        - {name: Two, id: two, bash: cat kept}
        - {name: Three, id: three, if: "${{ matrix.n == 2 }}", raise: "no ${{ matrix.n }}", continue-on-error: true}
      outputs: {text: "${{ stages.two.outputs.stdout }}"}
    after-together:
      needs: together
      stages: [{name: Look, id: look, run: "texts = [leg['outputs']['text'] for leg in ${{ needs.together.legs }}]"}]
    together-fails:
      granularity: job
      stages:
        - {name: One, id: one, echo: one}
        - {name: Two, id: two, raise: two is bad}
        - {name: Three, id: three, if: "failure()", echo: cleaned}
"""


@pytest.fixture(scope="module")
def run(client: Client) -> Run:
    client.drop("legs.yaml", LEGS)
    client.wait_for_dag("legs")
    return client.run("legs", timeout=300)


def names(client: Client, run: Run, task_id: str) -> list[Any]:
    tasks = client.tasks(run)
    return [task.name for (name, _), task in sorted(tasks.items()) if name == task_id]


def test_legs_and_names(client: Client, run: Run) -> None:
    assert run.state == "failed"
    states = client.states(run)
    assert states["work.work"] == ["success", "success", "skipped", "success"]
    assert states["work.check"] == ["success", "success", "success", "failed"]
    assert names(client, run, "work.check") == [
        "a / fast / noted",
        "a / slow / noted",
        "b / fast",
        "z / slow / added",
    ]
    assert client.rendered(run, "work.work", map_index=0)["stage"]["name"] == "Work on a"


def test_what_followers_see(client: Client, run: Run) -> None:
    seen = client.xcom(run, "look.look")
    assert seen["result_of_work"] == "failure"
    assert [(leg["matrix"]["part"], leg["matrix"]["mode"], leg["result"]) for leg in seen["legs"]] == [
        ("a", "fast", "success"),
        ("a", "slow", "success"),
        ("b", "fast", "success"),
        ("z", "slow", "failure"),
    ]
    assert seen["legs"][0]["outputs"] == {"word": "a-fast", "number": 0}
    assert seen["legs"][2]["outputs"] == {"number": 2}
    assert (seen["word"], seen["number"]) == ("a-slow", 2), "each from the last successful leg that has it"


def test_empty_and_impossible_matrices(client: Client, run: Run) -> None:
    states = client.states(run)
    assert states["empty.never"] == "skipped"
    assert client.xcom(run, "after-empty.after") == {"how": "skipped", "legs": []}
    for job in ("too-many", "no-list"):
        assert states[f"{job}.__gate__"] == "failed"
        assert states[f"{job}.never"] == "upstream_failed"
    log = client.log(run, "too-many.__gate__")
    assert "1025" in log
    assert "1024" in log
    assert "must be a list" in client.log(run, "no-list.__gate__")


def test_one_task_for_each_leg(client: Client, run: Run) -> None:
    states = client.states(run)
    assert states["together.__stages__"] == ["success", "success"]
    assert names(client, run, "together.__stages__") == ["1", "2"]
    assert client.xcom(run, "after-together.look") == {"texts": ["one of 1", "one of 2"]}
    log = client.log(run, "together.__stages__", map_index=1)
    assert log.index("One") < log.index("one of 2") < log.index("Two") < log.index("no 2")
    assert log.count("::group::") == log.count("::endgroup::")
    assert log.count("::group::") >= 4
    assert states["together-fails.__stages__"] == "failed"
    failed = client.log(run, "together-fails.__stages__")
    assert "two is bad" in failed
    assert "cleaned" in failed
