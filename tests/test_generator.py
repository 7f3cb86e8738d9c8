"""A diffusers pipeline folder made from noisy images, and what is drawn from it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel

pytest.importorskip("skimage")

from companion import cli, training
from companion.data.folders import folder
from companion.denoisers import from_diffusers
from companion.noise import LogUniform
from companion.objectives import AmbientTweedie
from companion.restoration import generator
from companion.restoration.diagnosis import estimate


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
    # by a user of diffusers, who has nothing of ours
    pipeline = DDIMPipeline.from_pretrained(tmp_path / "model")
    images = pipeline(batch_size=1, num_inference_steps=2, output_type="np").images
    assert images.shape == (1, 16, 16, 1)
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
