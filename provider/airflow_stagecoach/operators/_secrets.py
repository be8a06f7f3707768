"""Secret values in a task: hidden by the engine's rule, and by what Airflow was told to mask."""

from __future__ import annotations

from airflow_stagecoach.engine import secrets


class Hider(secrets.Hider):
    """The engine's, which knows Airflow's masker too."""

    def masked(self, text: str) -> str:
        """A text without secret values, and without what anybody in this process told Airflow to mask."""
        from airflow.sdk._shared.secrets_masker import redact

        return self.text(str(redact(text)))
