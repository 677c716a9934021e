"""The README's table is written from a run: every number with its adaptive one, and what it is made of."""

import readme_table
import synthetic

from ironbind.core.default_budgets import HEADLINE
from ironbind.recipes.demo import SPLIT


def test_every_input_has_a_line_of_the_numbers_that_were_measured():
    result = synthetic.result()
    result.record |= {"cpu_seconds": 290.4}
    table = readme_table.table(result)
    wanted = {"modality": "audio", "space": "waveform", "calibration": "infonce", "metric": "top1", "task": "zero_shot"}
    number = result.value(threat_model="adaptive", eps="0.8/255", **wanted)
    (line,) = [line for line in table.splitlines() if line.startswith("| audio (waveform)")]
    assert line.rstrip("* |").endswith(f"{number:.1f}")
    for said in ("n = ", "Wilson intervals of at most", "5 min of CPU time"):
        assert said in table


def test_it_is_the_demo_at_one_radius_with_more_samples():
    for job in readme_table.jobs(readme_table.SAMPLES):
        assert job.data.options["split"] == SPLIT
        assert job.data.options["n"] >= 300
        assert not job.extra_tasks
        assert {len(radii) for radii in job.budgets.values()} == {1}
        assert set(job.budgets) == set(job.spaces)
        if job.modality == "image":
            assert job.budgets["pixels"][0].written == HEADLINE
