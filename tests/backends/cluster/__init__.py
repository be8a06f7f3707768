"""A real Kubernetes cluster for the tests: one node, everything in namespaces and a folder of its own.

``build.sh`` makes its programs, ``cluster.py`` starts it. By hand::

    tests/backends/cluster/build.sh
    python -m tests.backends.cluster.cluster
"""
