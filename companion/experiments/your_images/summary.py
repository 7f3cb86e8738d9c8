"""What chapter 9 says in short, filled in from results and chosen by verdicts."""

from __future__ import annotations

from companion.experiments.claims import Claims
from companion.experiments.in_short import InShort, choose
from companion.experiments.results import Results
from companion.experiments.session import Session
from companion.experiments.your_images.race import OURS, RIVALS, Race
from companion.experiments.your_images.verdicts import gains, verdicts

__all__ = ["box", "in_short"]


def in_short(session: Session) -> InShort:
    """Run what it rests on, or take it from memory, and say it in six lines."""
    return box(session.run(Race), session.published(verdicts(session)))


def box(race: Results, claims: Claims) -> InShort:
    """Say the chapter in six lines, from results and claims."""
    found = {claim.id: claim for claim in claims}
    level = race.settings["watched"]
    best = max(
        RIVALS, key=lambda r: race.grid("picture", measure="psnr", level=level, method=r).mean()
    )
    mean = race.grid("picture", measure="psnr", level=level, method=OURS).mean()
    long_run = found["images-over-bm3d"]
    return InShort(
        method="denoising a folder of images",
        what="One command takes a folder of noisy images and writes clean ones. It learns from the "
        "noisy images alone, by the ambient loss of chapter 2; no clean image is needed.",
        works=choose(
            found["images-over-filters"].verdict,
            {
                "supported": "Yes: at every noise level tried it is above the usual filters.",
                "depends": "In part: it is above the usual filters at some noise levels only.",
                "inconclusive": "Perhaps: the pictures here are too few to be sure.",
                "else": "No: a usual filter does as well here.",
            },
        )
        + " "
        + choose(
            long_run.verdict,
            {
                "supported": "In ten minutes it is level with BM3D on different pictures.",
                "not supported": "In ten minutes it stays below BM3D.",
                "inconclusive": "Against BM3D ten minutes do not decide.",
                "else": "The ten-minute run against BM3D is not recorded yet.",
            },
        ),
        use="You have several noisy images, white noise, no clean ones, and ten minutes. Photon "
        "noise is handled too, but was not measured here.",
        avoid="The noise is correlated, as after JPEG or demosaicing, or a false detail is worse "
        "than noise. In a hurry, this tool's own filter, without training, is nearly as good.",
        number=f"Mean PSNR at noise {level:g} of 255: {mean:.1f} dB, and "
        f"{gains(race, best, level=level):.1f} dB more than {best}, the best of three usual "
        "filters. BM3D is compared in the longer runs.",
        caveat=f"Live: {len(race.labels('picture'))} pieces of {race.settings['side']} pixels and "
        f"{race.settings['steps']} training steps, far fewer than in ten minutes, so the tool is "
        "close to the filter that it starts from.",
        claims=claims,
    )
