"""The same jobs and stages in Python: a whole workflow, and a stage in a handwritten Airflow DAG."""

from __future__ import annotations

from airflow.sdk import DAG, task

from airflow_stagecoach import BashStage, Job, Param, PyStage, StageOperator, Strategy, Workflow, build_dag

# A whole workflow. What is wrong with it is told with the names that are used here.
city_report = build_dag(
    Workflow(
        name="city-report",
        desc="Greets cities and counts them; a workflow that is written in Python.",
        tags=["example", "python"],
        params={"greeting": Param(type="str", default="Hello")},
        jobs=[
            Job(
                id="greet",
                name="Greet a city",
                strategy=Strategy(matrix={"city": ["oslo", "lyon", "rome"]}, max_parallel=2),
                stages=[
                    BashStage(
                        name="Greet ${{ matrix.city }}",
                        bash='echo "$TEXT"',
                        env={"TEXT": "${{ params.greeting }}, ${{ matrix.city }}"},
                    )
                ],
            ),
            Job(
                id="count",
                name="Count",
                needs=["greet"],
                stages=[PyStage(name="Count", run="cities = len(${{ needs.greet.legs }})")],
            ),
        ],
    )
)

# A stage as one task of a handwritten DAG. It reads what other tasks returned as `stages.<task id>.outputs`.
with DAG(
    "stage-by-hand",
    schedule=None,
    description="A bash stage between tasks written in Python",
    tags=["example", "python"],
    params={"name": "world"},
):

    @task
    def measure() -> dict[str, int]:
        """Give something to report."""
        return {"total": 42}

    @task
    def shout(outputs: dict[str, str]) -> str:
        """Read the outputs of the stage, which are what its task returns."""
        return outputs["stdout"].upper()

    report = StageOperator(
        task_id="report",
        stage=BashStage(
            name="Report",
            bash='echo "$TEXT"',
            env={"TEXT": "${{ params.name }}: ${{ stages.measure.outputs.total }}"},
        ),
    )
    measure() >> report >> shout(report.output)  # type: ignore[arg-type]  # Airflow gives the value later
