"""What training takes care of: what was set, odd data, damage, two at once, full disks."""

import dataclasses
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from conftest import randn, three, tiny_mlp

from companion import checkpoint, data, denoisers, objectives, training
from companion.identity import digest

DATA = randn(200, 2, dtype=torch.float32)
GOAL = objectives.DenoisingScoreMatching()


def fit(denoiser=None, goal=GOAL, samples=DATA, **options):
    """A short training."""
    network = tiny_mlp() if denoiser is None else denoiser
    return training.fit(network, goal, samples, **{"steps": 5, "batch_size": 8, **options})


# --- what the caller had set ---


def test_frozen_layers_stay_as_they_are():
    net = tiny_mlp(output=0.1)
    net.network.output.requires_grad_(False)
    done = fit(net, steps=20)
    for other in (done.denoiser, done.last):
        assert torch.equal(other.network.output.weight, net.network.output.weight)
    assert not torch.equal(done.last.network.input.weight, net.network.input.weight)
    again = fit(done.denoiser, steps=20)  # it goes on as it was
    assert torch.equal(again.last.network.output.weight, net.network.output.weight)
    assert not torch.equal(again.last.network.input.weight, done.last.network.input.weight)
    stack = fit([net, net], steps=20)
    assert torch.equal(stack.last[0].network.output.weight, net.network.output.weight)


def test_all_frozen_is_an_error():
    with pytest.raises(ValueError, match="denoiser: got one whose parameters are all frozen"):
        fit(tiny_mlp().requires_grad_(False))


def test_what_was_set_apart_stays_in_evaluation_mode():
    net = denoisers.Preconditioned(torch.nn.Sequential())
    net.network = Noisy()
    net.network.drop.eval()
    assert not fit(net).last.network.was_training and Noisy.calls


class Noisy(torch.nn.Module):
    """A network with dropout that remembers its mode in training."""

    calls = 0

    def __init__(self):
        super().__init__()
        self.linear, self.drop = torch.nn.Linear(2, 2), torch.nn.Dropout(0.5)
        self.norm = torch.nn.BatchNorm1d(2)

    def forward(self, x, c_noise):
        """Answer."""
        if self.training:
            self.was_training = self.drop.training
            Noisy.calls += 1
        return self.norm(self.drop(self.linear(x)))


def test_buffers_of_the_average_are_those_of_training():
    net = denoisers.Preconditioned(Noisy())
    done = fit(net, steps=20)
    assert torch.equal(done.denoiser.network.norm.running_var, done.last.network.norm.running_var)
    assert not torch.equal(done.denoiser.network.norm.running_var, net.network.norm.running_var)


def test_tied_parameters_do_not_stack():
    net = tiny_mlp()
    net.twice = net.network.output
    fit(net)
    net.other = torch.nn.Linear(2, 2)
    net.again = torch.nn.Linear(2, 2)
    net.again.weight = net.other.weight
    with pytest.raises(ValueError, match="denoisers: got tied parameters"):
        training.Stack([net, net])


def test_callers_accelerator_still_works():
    from accelerate import Accelerator

    own = Accelerator(cpu=True)
    state = own.state
    fit()
    assert own.state is state or own.state.num_processes == 1
    own.wait_for_everyone()
    model = own.prepare(torch.nn.Linear(2, 2))
    own.backward(model(torch.ones(1, 2)).sum())
    assert Accelerator(cpu=True).mixed_precision == "no"


def test_under_no_grad_and_inference_mode():
    expected = fit(seed=3).losses
    with torch.no_grad():
        assert torch.equal(fit(seed=3).losses, expected)
    with torch.inference_mode():
        assert torch.equal(fit(seed=3).losses, expected)


# --- precision ---


def test_what_was_asked_for_is_done_or_refused():
    with pytest.raises(ValueError, match="mixed_precision: got 'fp16' without a GPU"):
        fit(mixed_precision="fp16", device="cpu")
    with pytest.raises(ValueError, match="mixed_precision: got 'bf16' for several"):
        fit([tiny_mlp(), tiny_mlp(1)], mixed_precision="bf16")
    assert fit(mixed_precision="bf16", device="cpu").config["mixed_precision"] == "bf16"


# --- data ---


def test_one_bad_number_is_named():
    bad = DATA.clone()
    bad[17, 1] = float("nan")
    with pytest.raises(ValueError, match=r"data: got nan at position \(17, 1\)"):
        fit(samples=bad)


def test_arrays_and_maps_are_data_too(tmp_path):
    expected = fit(seed=1).losses
    assert torch.equal(fit(samples=DATA.numpy(), seed=1).losses, expected)
    np.save(tmp_path / "data.npy", DATA.numpy())
    mapped = np.load(tmp_path / "data.npy", mmap_mode="c")
    assert torch.equal(fit(samples=mapped, seed=1).losses, expected)


class Pictures(torch.utils.data.Dataset):
    """Samples with their numbers."""

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index], index


class Stream(torch.utils.data.IterableDataset):
    """Samples without an end."""

    def __iter__(self):
        return iter(DATA)


def test_data_sets_and_whole_numbers_are_data_too(tmp_path):
    expected = fit(seed=1).losses
    for samples in (torch.utils.data.TensorDataset(DATA), Pictures(list(DATA.numpy())),
        data.FrozenNoise(DATA, 0.0)):  # fmt: skip
        assert torch.equal(fit(samples=samples, seed=1).losses, expected)
    bytes_ = (DATA * 60 + 128).clamp(0, 255).to(torch.uint8)
    expected = fit(samples=bytes_.float() / 127.5 - 1, seed=1).losses
    np.save(tmp_path / "bytes.npy", bytes_.numpy())
    for samples in (bytes_, bytes_.numpy(), np.load(tmp_path / "bytes.npy", mmap_mode="r"),
        Pictures(list(bytes_))):  # fmt: skip
        assert torch.equal(fit(samples=samples, seed=1).losses, expected)
    sets = [bytes_[:50], bytes_[50:]]
    stack = fit([tiny_mlp(), tiny_mlp(1)], samples=sets, seed=1)
    assert torch.allclose(stack.losses[:, 0], fit(samples=sets[0], seed=1).losses, rtol=1e-3)
    with pytest.raises(ValueError, match="data: got samples of types"):
        fit([tiny_mlp(), tiny_mlp(1)], samples=[bytes_, DATA])


@pytest.mark.parametrize(
    "samples, message",
    [
        (DATA.double(), "data: got torch.float64 for a denoiser of torch.float32"),
        ((DATA * 50).to(torch.int16), "127.5 - 1"),
        ([1.0, 2.0], "data: got a sequence of 2"),
        (Stream(), r"data: got .* whose samples have no number"),
        (Pictures(["one", "two"]), "data: got 'one' as sample 0 of the Dataset"),
        (Pictures([DATA[0], DATA[0, :1]]), "allowed is one shape and type"),
        (Pictures([]), "data: got samples of none"),
        ((DATA * 50).to(torch.uint8)[:0], "data: got Tensor"),
        (DATA[:0], "data: got"),
    ],
)
def test_other_data_are_refused_with_what_to_do(samples, message):
    with pytest.raises(ValueError, match=message):
        fit(samples=samples)


def test_seeds_of_numpy_are_seeds():
    assert torch.equal(fit(seed=np.int64(3)).losses, fit(seed=3).losses)
    with pytest.raises(ValueError, match=r"seed: got 1\.5"):
        fit(seed=1.5)
    with pytest.raises(TypeError, match="lr: got '1e-3'"):
        fit(lr="1e-3")


# --- identity ---


def test_content_is_the_identity_and_not_the_text():
    a, b = tiny_mlp(0, output=0.1), tiny_mlp(1, output=0.1)
    assert repr(a) == repr(b) and digest(a) != digest(b)
    assert digest(a) == digest(tiny_mlp(0, output=0.1))

    @dataclasses.dataclass
    class Holder:
        teacher: object

        def __repr__(self):
            return "Holder"

    assert digest(Holder(a)) != digest(Holder(b)) and digest(Holder(a)) == digest(Holder(a))
    assert digest(three().denoiser) == digest(three().denoiser)
    assert digest(three().denoiser) != digest(data.mixture("ring").denoiser)
    assert digest(lambda x: x + 1) != digest(lambda x: x + 2)
    assert digest(adder(1)) != digest(adder(2)) and digest(adder(1)) == digest(adder(1))
    assert digest({"a": 1, "b": [torch.ones(2)]}) == digest({"b": [torch.ones(2)], "a": 1})
    own = {"a": 1}
    own["self"] = own
    assert digest(own)


def adder(number):
    """A function that holds a number."""
    return lambda x: x + number


def test_what_cannot_be_told_apart_tomorrow_is_refused_before_training(tmp_path):
    space = {}
    exec("def made(denoiser, batch, _=None): return (denoiser(batch, 1.0)**2).mean(1)", space)
    fit(goal=space["made"])
    with pytest.raises(TypeError, match=r"objective: the source of made is not known"):
        fit(goal=space["made"], checkpoint=tmp_path)
    with pytest.raises(TypeError, match=r"value: got .*Generator"):
        digest(torch.Generator())


def test_another_teacher_is_another_run(tmp_path):
    def goal(teacher):
        def objective(denoiser, batch, generator=None):
            return (denoiser(batch, 1.0) - teacher(batch, 1.0)).square().mean(1)

        return objective

    first = fit(goal=goal(tiny_mlp(1, output=0.3)), checkpoint=tmp_path)
    again = fit(goal=goal(tiny_mlp(1, output=0.3)), checkpoint=tmp_path)
    assert torch.equal(first.losses, again.losses)
    with pytest.raises(ValueError, match=r"another run.*objectives"):
        fit(goal=goal(tiny_mlp(2, output=0.3)), checkpoint=tmp_path)


# --- files ---


def test_a_flipped_bit_is_noticed(tmp_path):
    fit(checkpoint=tmp_path)
    path = tmp_path / checkpoint.FILE
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(checkpoint.DamagedCheckpoint, match="content is not what was written"):
        fit(checkpoint=tmp_path)


def test_a_folder_that_cannot_be_written_is_known_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"checkpoint: the folder .*file/deep cannot be written"):
        fit(steps=10**6, checkpoint=tmp_path / "file" / "deep")


def test_a_full_disk_loses_no_work(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.warns(RuntimeWarning, match=r"checkpoint.safetensors of .* MB .*No space left"):
        done = fit(checkpoint=tmp_path, seed=2)
    assert torch.equal(done.losses, fit(seed=2).losses)
    assert not list(tmp_path.glob("*.partial"))


TWO = """
import sys, torch
torch.set_num_threads(1)
from companion import denoisers, networks, objectives, training
net = networks.seeded(lambda: denoisers.Preconditioned(networks.MLP(2, 16)), 0)
data = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
goal, folder = objectives.DenoisingScoreMatching(), sys.argv[1]
fit = training.fit(net, goal, data, steps=300, checkpoint=folder, checkpoint_every=20)
print(float(fit.losses.sum()))
"""


def test_two_processes_in_one_folder_come_to_the_same_result(tmp_path):
    script = tmp_path / "two.py"
    script.write_text(textwrap.dedent(TWO))
    command = [sys.executable, script, tmp_path / "folder"]
    environment = {**os.environ, "COMPANION_PROGRESS": "0"}
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0] == said[1] != ""
