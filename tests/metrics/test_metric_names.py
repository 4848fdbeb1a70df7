import subprocess
import sys


def test_the_list_of_metrics_needs_neither_torch_nor_numpy():
    code = (
        "import sys; from pushforward.metrics.catalogue import METRICS; "
        "assert METRICS and all(METRICS.values()); print({'torch', 'numpy', 'scipy'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
