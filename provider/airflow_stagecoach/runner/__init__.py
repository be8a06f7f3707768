"""``stagecoach runner``: runs jobs of ``runs-on: self-hosted`` on the machine that it is started on.

A small HTTP service that needs no Airflow. What it was given stands in its folder, so
that it may be stopped, killed and started again while jobs run.
"""
