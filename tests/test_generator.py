"""A diffusers pipeline folder made from noisy images, and what is drawn from it."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, UNet2DModel

pytest.importorskip("skimage")

from companion import cli, training
from companion.data.folders import folder
from companion.denoisers import from_diffusers
from companion.noise import LogUniform
from companion.objectives import AmbientTweedie
from companion.restoration import generator
from companion.restoration.diagnosis import estimate


def program(text):
    """Run a program as a user does; what it printed."""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    return done.stdout


def test_a_model_folder_works_with_diffusers_and_with_us(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COMPANION_PROGRESS", "0")
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    for i, sigma in enumerate((10.0, 20.0)):
        np.save(tmp_path / "in" / f"{i}.npy", 100 + sigma * rng.standard_normal((40, 40)))
    noisy = folder(tmp_path / "in")
    noise = estimate(noisy, {"0.npy": 10, "1.npy": 20})
    made = generator.train_generator(noisy, noise, steps=2, size=16, progress=False)
    generator.save_generator(*made, tmp_path / "model")
    assert made[2]["sigma_data_noise"] == pytest.approx(20 * 2 / (made[2]["high"] - made[2]["low"]))
    # by both programs of the model's card: of a user of diffusers who has nothing of ours, and ours
    alone, ours = re.findall(
        r"```python\n(.*?)```", (tmp_path / "model" / "README.md").read_text(), re.S
    )
    check = (
        "assert len(images) == 4 and images[0].size == (16, 16)\nprint(pipeline.scheduler.config)"
    )
    without = "import sys; sys.modules['companion'] = None  # cannot be imported\n"
    assert "DDIMScheduler" in program(f"{without}{alone}\n{check}")
    said = program(f"{ours}\n{check}")
    assert "GradientEstimationScheduler" in said and "log_linear" in said
    with pytest.raises(subprocess.CalledProcessError):
        program(without + "from companion import samplers")
    # by the command
    command = ["sample", str(tmp_path / "model"), "-n", "3", "--steps", "2"]
    assert cli.main(command) == 0
    assert "3 images of 1 x 16 x 16" in capsys.readouterr().out
    assert (tmp_path / "model" / "samples.png").exists()
    assert cli.main(command) == 2 and "--overwrite" in capsys.readouterr().err
    assert cli.main(["sample", str(tmp_path)]) == 2
    assert "a diffusers pipeline folder" in capsys.readouterr().err


def test_a_pretrained_network_learns_on_from_noisy_images(tmp_path):
    """The paper's own use: a diffusers network, saved to a disk, fine-tuned by the ambient loss."""
    UNet2DModel(
        sample_size=16, in_channels=1, out_channels=1, norm_num_groups=4, layers_per_block=1,
        block_out_channels=(8, 8), down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
    ).save_pretrained(tmp_path)  # fmt: skip
    unet = UNet2DModel.from_pretrained(tmp_path)
    before = {k: v.clone() for k, v in unet.state_dict().items()}
    denoiser = from_diffusers(unet, DDIMScheduler().alphas_cumprod)
    noisy = torch.randn(32, 1, 16, 16)
    loss = AmbientTweedie(0.5, LogUniform(0.2, 2.0))
    done = training.fit(denoiser, loss, noisy, steps=3, batch_size=8, progress=False)
    after = done.denoiser.unet.state_dict()
    assert any(not torch.equal(before[k], after[k]) for k in before)
    assert done.denoiser(noisy[:2], 0.5).shape == (2, 1, 16, 16)
