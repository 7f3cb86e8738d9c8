"""What chapter 1 says in words: in short, section by section, and its limits.

What was found is chosen by verdicts and filled in from results.
"""

from __future__ import annotations

from collections.abc import Mapping

from companion.experiments.claims import MARKS, Claims
from companion.experiments.contested import UNDECIDED
from companion.experiments.extra_noise.arms import C_ARMS, EXTRA, FREE, TRAINED
from companion.experiments.extra_noise.chains import (
    EPS_ARMS,
    PLAIN,
    gains,
    has,
    image_effect,
    improvements,
    lengths,
    perturbed,
    versus_free,
)
from companion.experiments.extra_noise.digits import SIZES, DigitNetworks, held_out
from companion.experiments.extra_noise.effects import Effect
from companion.experiments.extra_noise.errors import DigitErrors
from companion.experiments.extra_noise.image_verdict import contested
from companion.experiments.extra_noise.images import ImageTrial
from companion.experiments.extra_noise.longer import LongerTraining
from companion.experiments.extra_noise.paper_verdicts import image_free, image_quality
from companion.experiments.extra_noise.reasons import FEW, KINDS, Reason
from companion.experiments.extra_noise.samples import RingSamples
from companion.experiments.extra_noise.verdicts import Trial, problems, trial, verdicts
from companion.experiments.in_short import InShort, choose
from companion.experiments.results import Results
from companion.experiments.session import Session
from companion.experiments.words import Text, listing

__all__ = ["answers", "box", "in_short", "limits", "listing", "mentor", "on_images"]


# --- in short -------------------------------------------------------------------------------------


def in_short(session: Session) -> InShort:
    """Run what the claims rest on, or take it from memory, and say it in six lines."""
    few = trial(session).regularization
    return box(
        session.published(verdicts(session)), problems(session), few, session.records(ImageTrial)
    )


def box(
    claims: Claims,
    known: Mapping[str, Results],
    few: Reason,
    images: Mapping[str, Results | None],
) -> InShort:
    """Say the chapter in six lines.

    Parameters
    ----------
    claims : Claims of the chapter
    known : dict, problem -> samples; those of ``problems``
    few : Reason
        Regularization, for what noise on the data does on few digits.
    images : records
    """
    of = {claim.id: claim for claim in claims}
    improves, beyond = of["extra-perturbation"], of["extra-perturbation-free"]
    (name, steps), effects = deciding(known)
    return InShort(
        method="input perturbation",
        what="In training, the network's input gets more noise than the network is told. So the "
        "label is too small by a constant factor; in the paper's form (target ε) the network also "
        "removes less noise.",
        works=f"{improves.answer} {beyond.answer}",
        use=use(beyond.verdict, effects[FREE], steps, few),
        avoid=avoid(beyond.verdict, effects["against"]),
        number=f"Distance of samples to the data, {name}, {steps} steps: trained with it "
        f"{_short(effects[TRAINED])}; the plain network with that label and scale, for free, "
        f"{effects[FREE]}.",
        caveat=caveat(images),
        claims=claims,
    )


def deciding(known: Mapping[str, Results]) -> tuple[tuple[str, int], dict[str, Effect]]:
    """Return where input perturbation gains most clearly, and three effects on the distance there.

    Returns
    -------
    Problem and chain; and TRAINED and FREE against the plain network at the same strength, and
    "against": trained against free.
    """
    plain, _ = improvements(known)
    number, listed = len(plain) * len(EPS_ARMS), []
    for name, results in known.items():
        gained = gains(results, number)
        for arm in EPS_ARMS:
            for n in lengths(results):
                if has(results, FREE, arm, steps=n):
                    effects = {way: gained[way, arm, n] for way in (TRAINED, FREE)}
                    effects["against"] = versus_free(results, arm, number)[n]
                    listed.append(((name, n), effects))
    return max(listed, key=lambda case: max(_low(case[1][way]) for way in (TRAINED, FREE)))


def _low(effect: Effect) -> float:
    return effect.low if effect.finite else -1e9


def use(beyond: str, free: Effect, steps: int, few: Reason) -> str:
    """Where training with it pays, where its free rival does, and where noise on the data does."""
    if free.holds:
        rival = (
            f"You sample in about {steps} steps: ask a network that you have at a larger label and "
            "remove less, for free."
        )
    else:
        rival = "Nothing here speaks for it."
    train = "You can train a network, and sample where it beats relabelling."
    first = choose(beyond, {"supported": train, "depends": train, "else": rival})
    if few.conditions("C").get(f"{FEW} digits") != "supported":
        return first
    return f"{first} With few data, noise on the data helps: {_error(few)}."


def _error(few: Reason) -> str:
    return f"held-out error {_short(few.best('C', f'{FEW} digits'))} on {FEW} digits"


def _short(effect: Effect) -> str:
    """An effect without its strength."""
    return str(effect).partition(" (")[0]


def avoid(beyond: str, against: Effect) -> str:
    """Where not to train with it, and what to use instead."""
    if beyond == "supported":
        return "You cannot train: relabelling an ordinary network is free, but gains less."
    worse = against.finite and against.high < 0
    more = f", and in the case below training is worse by {_short(against)}" if worse else ""
    return f"You would have to train for it: relabelling an ordinary network is free{more}."


def caveat(images: Mapping[str, Results | None]) -> str:
    """What limits it: small networks, and what the records on images say."""
    height, width = held_out(1).shape[-2:]
    small = f"Small networks, on a ring and on digits of {height} × {width} pixels."
    judged = contested(images)
    if judged.verdict != UNDECIDED:
        return f"{small} On images: {judged.answer}"
    for title, record in images.items():
        if record is None:
            continue
        first, seeds = min(lengths(record)), record.settings["seeds"]
        trained = TRAINED, perturbed(record)
        effect = image_effect(record, "Frechet distance", trained, PLAIN, {"steps": first})
        if effect is not None:
            told = f"{title}, {seeds} seeds, {first} steps: Fréchet distance {_short(effect)}"
            return f"{small} {told} by training with it."
    return f"{small} Images are not recorded yet."


# --- section by section ---------------------------------------------------------------------------


def answers(claims: Claims, *names: str) -> Text:
    """Return the answers of some claims with the signs of their verdicts, a line each."""
    of = {claim.id: claim for claim in claims}
    lines = [f"- {MARKS[of[n].verdict]} **{of[n].answer}**" for n in names]
    return Text("\n".join(lines))


def on_images(session: Session) -> Text:
    """Return what the records on images say of input perturbation, a line each."""
    lines = []
    for title, record in session.records(ImageTrial).items():
        if record is not None:
            told = "; ".join(filter(None, (image_quality(record), image_free(record))))
            seeds = record.settings["seeds"]
            lines.append(f"- **{title}**, {seeds} seeds, change of the Fréchet distance: {told}.")
    return Text("\n".join(lines) or "On images nothing is recorded yet.")


def mentor(tried: Trial) -> Text:
    """Return the sentence that the mentor would have liked to give."""
    parts = []
    for reason in tried.reasons:
        holds = ", ".join(reason.kinds("supported"))
        partly = ", ".join(
            name
            for kind, name in KINDS.items()
            if "supported" in reason.conditions(kind).values()
            and reason.verdict(kind) != "supported"
        )
        who = " and ".join(filter(None, [holds, partly and f"in some conditions {partly}"]))
        parts.append(f"> - {reason.does}: {who or 'none of them for certain'};")
    return Text(
        "\n".join(
            [
                "> 'It depends on which noise you mean. Of the noise levels (A), the network's "
                "input (B), the data (C) and the sampler (D), these do what the chat-bot says, as "
                "far as measured:",
                ">",
                *parts,
                ">",
                "> So ask of each reason which noise it is about, and what does the same for "
                "free.'",
            ]
        )
    )


def limits(session: Session) -> Text:
    """Return the limits of the chapter, with the settings of the run."""
    digits, longer = session.run(DigitNetworks).settings, session.run(LongerTraining).settings
    levels = session.run(DigitErrors).settings["levels"]
    height, width = held_out(1).shape[-2:]
    chains, others = (
        ", ".join(map(str, lengths(session.run(e)))) for e in (RingSamples, LongerTraining)
    )
    gammas, stds = (
        " and ".join(f"{arm.strength:g}" for arm in arms) for arms in (EPS_ARMS, C_ARMS)
    )
    times = longer["steps"] // digits["steps"]
    return Text(
        f"""
- **Size.** Small networks, trained for {digits["steps"]} steps, on a ring and on digits of
  {height} × {width} pixels. They underfit more than they overfit.
- **Data.** Training sets of {" and ".join(map(str, SIZES))} digits. Imperfect data are outliers
  here; missing pixels are not tried.
- **Levels and chains.** Errors at {len(levels)} noise levels from σ = {min(levels):g} to
  {max(levels):g}. Chains of {chains} steps; after the longer training, of {others}.
- **Training time.** Input perturbation was also tried after {times} times the steps. Every other
  verdict is about the shorter training.
- **Strengths.** γ = {gammas} for B, s = {stds} for C: {len(EXTRA)} conditions, chosen before.
- **Seeds.** {digits["seeds"]} for each master seed. Where they leave an interval wide the verdict
  is *inconclusive*, with the effect that they could have shown.
- **Weight.** That of DDPM's loss for all conditions; on images that of EDM.
- **Scale.** Exposure bias at the scale of the paper's networks may be larger than here.
"""
    )
