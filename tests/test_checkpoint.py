import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import randn, tiny_mlp

from companion import checkpoint, objectives, training
from companion.experiments import Results
from companion.stack import Stack

OBJECTIVE = objectives.DenoisingScoreMatching()
DATA = randn(500, 2, dtype=torch.float32)


def equal(a, b):
    """Whether two modules have the same weights, bit for bit."""
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


# --- weights as arrays


def test_weights_come_back_from_the_arrays_of_results(tmp_path):
    single, stack = tiny_mlp(1, output=0.3), Stack([tiny_mlp(s, output=0.3) for s in (2, 3, 4)])
    arrays = checkpoint.to_arrays({"single": single, "stack": stack}) | {"points": DATA.numpy()}
    np.savez_compressed(tmp_path / "arrays.npz", **Results(pd.DataFrame(), arrays).arrays)
    with np.load(tmp_path / "arrays.npz") as file:
        arrays = dict(file)
    untrained = tiny_mlp(9)
    before = checkpoint.digest(untrained)
    for name, module in (("single", single), ("stack", stack)):
        again = checkpoint.from_arrays(arrays, untrained, name)
        assert type(again) is type(module) and equal(again, module)
        assert not again.training and not any(p.requires_grad for p in again.parameters())
    assert checkpoint.digest(untrained) == before
    x = randn(12, 2, dtype=torch.float32)
    assert torch.equal(again(x, 0.3), stack(x, 0.3))
    assert equal(again[1], stack[1])


def test_weights_of_one_module_need_no_name():
    net = tiny_mlp(1, output=0.3)
    arrays = checkpoint.to_arrays(net)
    assert "network.output.weight" in arrays
    with torch.no_grad():
        net.network.output.weight.zero_()  # the arrays are copies
    assert checkpoint.from_arrays(arrays, net).network.output.weight.any()
    half = {name: array.astype(np.float16) for name, array in arrays.items()}
    again = checkpoint.from_arrays(half, net)
    assert again.network.output.weight.dtype == torch.float32


def test_a_stack_of_one_stays_a_stack():
    stack = Stack([tiny_mlp(1, output=0.3)])
    again = checkpoint.from_arrays(checkpoint.to_arrays(stack), stack)
    assert isinstance(again, Stack) and len(again) == 1 and equal(again, stack)


def test_arrays_of_another_architecture_are_refused():
    arrays = checkpoint.to_arrays({"plain": tiny_mlp(width=16)})
    with pytest.raises(ValueError, match=r"noise\.weight.*\(16, 16\).*allowed is \(32, 16\)"):
        checkpoint.from_arrays(arrays, tiny_mlp(width=32), "plain")
    with pytest.raises(ValueError, match=r"no 'other\.network.*'plain\.network"):
        checkpoint.from_arrays(arrays, tiny_mlp(width=16), "other")
    with pytest.raises(ValueError, match=r"no 'plain\.network\.hidden\.2\.weight'"):
        checkpoint.from_arrays(arrays, tiny_mlp(width=16, depth=3), "plain")


def test_digests_tell_bits_and_shapes_apart():
    x = torch.arange(6.0)
    other = x.clone()
    other[3] = torch.nextafter(other[3], torch.tensor(9.0))
    digests = {checkpoint.digest(v) for v in (x, other, x.view(2, 3), x.double())}
    assert len(digests) == 4 and checkpoint.digest(x.clone()) in digests
    assert checkpoint.digest(tiny_mlp(1)) == checkpoint.digest(tiny_mlp(1))
    assert checkpoint.digest(tiny_mlp(1)) != checkpoint.digest(tiny_mlp(2))
    hidden = tiny_mlp(1)
    hidden._scale = 2.0  # diffusers keeps settings under such names
    assert checkpoint.digest(hidden) != checkpoint.digest(tiny_mlp(1))


# --- resuming


RUN = """
import sys, torch
torch.set_num_threads(1)
from pathlib import Path
from companion import training, objectives, denoisers, networks, noise
steps, speed, kind, *places = sys.argv[1:]
steps, slow, stacked = int(steps), speed == "slow", kind == "stack"
data = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))

class Objective(objectives.DenoisingScoreMatching):
    def __call__(self, denoiser, batch, generator=None):
        if slow:
            import time
            time.sleep(0.02)
        return super().__call__(denoiser, batch, generator)
    def __repr__(self):
        return "Objective"

def make(seed):
    return networks.seeded(lambda: denoisers.Preconditioned(networks.MLP(2, 16, dropout=0.1)), seed)
for folder, out in zip(places[::2], places[1::2]):
    torch.manual_seed(0)
    nets = [make(0), make(1)] if stacked else make(0)
    fit = training.fit(
        nets, Objective(), data, steps=steps, checkpoint=Path(folder), checkpoint_every=5
    )
    torch.save((fit.losses, fit.denoiser.state_dict(), fit.last.state_dict()), out)
"""


@pytest.mark.parametrize("kind", ["one", "stack"])
def test_a_killed_run_resumes_to_the_same_result(tmp_path, kind):
    script = tmp_path / "run.py"
    script.write_text(textwrap.dedent(RUN))

    def command(speed, *places):
        return [sys.executable, script, "120", speed, kind, *(tmp_path / name for name in places)]

    killed = subprocess.Popen(command("slow", "killed", "never"))
    file = tmp_path / "killed" / checkpoint.FILE
    deadline = time.monotonic() + 60
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.3)
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "never").exists()

    subprocess.run(command("fast", "killed", "resumed", "whole", "straight"), check=True)
    resumed, straight = torch.load(tmp_path / "resumed"), torch.load(tmp_path / "straight")
    assert torch.equal(resumed[0], straight[0])
    for a, b in zip(resumed[1:], straight[1:]):
        assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    left = {p.name for p in file.parent.iterdir()} - {checkpoint.LOCK}
    assert left == {checkpoint.FILE}


def test_a_finished_run_is_not_repeated(tmp_path):
    first = training.fit(tiny_mlp(), OBJECTIVE, DATA, steps=20, checkpoint=tmp_path)
    again = training.fit(tiny_mlp(), OBJECTIVE, DATA, steps=20, checkpoint=tmp_path)
    assert equal(first.denoiser, again.denoiser)
    assert again.seconds == pytest.approx(first.seconds, rel=0.5)


def test_checkpoints_of_another_run_or_damaged_are_refused(tmp_path):
    training.fit(tiny_mlp(), OBJECTIVE, DATA, steps=10, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"another run.*'lr': 0\.5"):
        training.fit(tiny_mlp(), OBJECTIVE, DATA, steps=10, lr=0.5, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"another run.*data"):
        training.fit(tiny_mlp(), OBJECTIVE, DATA[:100], steps=10, checkpoint=tmp_path)
    path = tmp_path / checkpoint.FILE
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors is damaged.*delete it"):
        training.fit(tiny_mlp(), OBJECTIVE, DATA, steps=10, checkpoint=tmp_path)
