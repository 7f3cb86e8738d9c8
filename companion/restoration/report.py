"""``report.html``: pictures, the diagnosis of the noise, and the comparison, in one file."""

from __future__ import annotations

import base64
from html import escape
from typing import Any

import numpy as np

from companion.data.folders import Folder
from companion.restoration.diagnosis import Noise
from companion.restoration.pipeline import Restored, Restorer, describe

SHOWN = 8
"""Pictures that the report shows; the files hold all."""

WIDEST = 512
"""Pixels of a shown picture; larger ones are cut in the middle, so that noise stays visible."""

STYLE = """
:root{color-scheme:light dark;--line:#ccc;--soft:#666}
@media(prefers-color-scheme:dark){:root{--line:#444;--soft:#aaa}}
body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:0 auto;padding:1rem}
h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2rem}
.row{display:grid;grid-template-columns:repeat(2,1fr);gap:.5rem}
@media(min-width:45rem){.row{grid-template-columns:repeat(5,1fr)}}
figure{margin:0}img{width:100%;height:auto;image-rendering:pixelated}
figcaption,.soft{color:var(--soft);font-size:.85rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
td,th{padding:.2rem .7rem;border-bottom:1px solid var(--line);text-align:right}
td:first-child,th:first-child{text-align:left}
.best{font-weight:700}svg text{font-size:12px;fill:currentColor}
"""


def page(
    noisy: Folder,
    noise: Noise,
    restorer: Restorer,
    restored: list[Restored],
    findings: Any,
    seconds: float,
    model: bool = False,
) -> str:
    """Return the report as HTML; ``model`` says whether there is a generator too."""
    count = f"{len(noisy)} picture{'s' if len(noisy) != 1 else ''}"
    skipped = f", {len(noisy.skipped)} skipped" if noisy.skipped else ""
    seen = "did not see" if findings.held_out else "saw too, as there is little else"
    parts = [
        f"<h1>{count} of {escape(noisy.path.name)} restored{skipped}</h1>",
        f"<p>{escape(findings.summary)}</p>",
        "<h2>The noise</h2>",
        f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in noise.sentences)}</ul>",
        _scatter(noise),
        "<h2>Pictures</h2>",
        "<p>The uncertainty of a pixel is by how much its clean value may differ from the restored "
        "one: its posterior standard deviation, in grey values. Black is certain. Samples are "
        "clean pictures that may lie behind the noisy one, one as likely as the other: where they "
        "differ, the noise has hidden what is there.</p>",
        "".join(_pictures(one) for one in restored[:SHOWN]),
        _more(restored),
        "<h2>Comparison without clean images</h2>",
        "<p>Noise removed, in decibels: more is better, and at 10 dB a tenth of the noise's power "
        f"is left. Measured on places that the training {seen}. "
        "<em>Hidden pixels</em>: some pixels are hidden from a method, and its answer there is "
        "compared with their noisy values (J-invariance). It needs no noise level, but every "
        "method does worse without those pixels. <em>SURE</em>: Stein's estimate with all pixels "
        "seen. It is right if the noise is white and Gaussian, of the level above.</p>",
        _comparison(findings.without_truth),
        _truth(findings.with_truth),
        "".join(f"<p>{escape(note)}</p>" for note in findings.notes),
        _skipped(noisy),
        "<h2>How</h2>",
        f"<p>{escape(describe(restorer))} Restored as the mean over eight turns and mirrorings. "
        "Uncertainty is by Tweedie's formula of second order; samples are Gaussian, with that "
        f"covariance. {seconds / 60:.1f} minutes in all.</p>",
        _files(model),
    ]
    title = f"<title>Restored: {escape(noisy.path.name)}</title>"
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    body = "\n".join(part for part in parts if part)
    return (
        f'<!doctype html><html lang="en"><head>{head}{title}<style>{STYLE}</style></head>'
        f"<body><main>{body}</main></body></html>"
    )


def _files(model: bool) -> str:
    """What stands beside the report."""
    files = {
        "denoised/": "the restored pictures, each in its own format",
        "uncertainty/": "a map for each picture: TIFF, in grey values",
        "samples/": "posterior samples of the first pictures",
        "restorer/": "the trained network",
    }
    if model:
        files["model/"] = (
            "a generator of new clean images, for diffusers alone and for this package; its "
            "README.md says how to load it. It also needs levels below the noise of the data, "
            "which are taught by consistency; noisy pictures alone cannot tell whether that helped"
        )
    files |= {"noise.csv": "the noise levels", "comparison.csv": "the table above"}
    rows = "".join(f"<li><code>{name}</code> {escape(what)}</li>" for name, what in files.items())
    return f"<h2>Files</h2><ul>{rows}</ul>"


def _cut(values: np.ndarray) -> np.ndarray:
    """Middle of (C, H, W) values, as (h, w) or (h, w, 3)."""
    height, width = values.shape[1:]
    top, left = max(0, (height - WIDEST) // 2), max(0, (width - WIDEST) // 2)
    part = values[:, top : top + WIDEST, left : left + WIDEST]
    return part[0] if len(part) == 1 else np.moveaxis(part, 0, -1)


def _image(values: np.ndarray, low: float, high: float, what: str, name: str) -> str:
    import imageio.v3 as iio

    scaled = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    pixels = np.rint(255 * scaled).astype(np.uint8)
    code = base64.b64encode(iio.imwrite("<bytes>", pixels, extension=".png") or b"").decode()
    return (
        f'<figure><img alt="{escape(name)}, {what}" src="data:image/png;base64,{code}">'
        f"<figcaption>{what}</figcaption></figure>"
    )


def _pictures(one: Restored) -> str:
    """Noisy, restored, uncertainty and samples of the first page, side by side."""
    from matplotlib import colormaps

    q = one.picture
    clean = _cut(one.values[0])
    low, high = 0.0, 255.0
    if q.dtype != np.uint8:
        low, high = (float(np.quantile(clean, share)) for share in (0.002, 0.998))
    spread = _cut(one.deviation[0])
    spread = spread.mean(-1) if spread.ndim == 3 else spread
    top = max(float(np.quantile(spread, 0.995)), 1e-12)
    coloured = 255 * colormaps["magma"](np.clip(spread / top, 0, 1))[..., :3]
    figures = [
        _image(_cut(q.values[0]), low, high, "noisy", q.name),
        _image(clean, low, high, "restored", q.name),
        _image(coloured, 0, 255, f"uncertainty, 0 to {top:.3g}", q.name),
        *(_image(_cut(s), low, high, f"sample {i + 1}", q.name) for i, s in enumerate(one.samples)),
    ]
    notes = f' <span class="soft">({escape("; ".join(q.notes))})</span>' if q.notes else ""
    return f'<h3>{escape(q.name)}{notes}</h3><div class="row">{"".join(figures)}</div>'


def _more(restored: list[Restored]) -> str:
    more = restored[SHOWN:]
    if not more:
        return ""
    names = ", ".join(escape(one.picture.name) for one in more)
    return f'<p class="soft">And {len(more)} more in denoised/: {names}.</p>'


def _scatter(noise: Noise) -> str:
    """Variance of the noise against grey level, as a small drawing."""
    if len(noise.means) < 2:
        return ""
    x, y = noise.means, noise.variances
    right, top = x.max() * 1.05 or 1.0, y.max() * 1.25 or 1.0
    left = min(0.0, x.min())
    dots = "".join(
        f'<circle r="4" fill="#0072B2" cx="{50 + 380 * (a - left) / (right - left):.0f}" '
        f'cy="{170 - 150 * b / top:.0f}"/>'
        for a, b in zip(x, y)
    )
    return (
        '<figure><svg viewBox="0 0 440 210" style="max-width:28rem;width:100%" role="img" '
        'aria-label="Variance of the noise at grey levels"><path d="M50 15V170H430" fill="none" '
        f'stroke="currentColor"/>{dots}<text x="190" y="203">grey level</text>'
        f'<text x="44" y="188">{left:.3g}</text><text x="430" y="188" text-anchor="end">'
        f'{right:.3g}</text><text x="44" y="174" text-anchor="end">0</text>'
        f'<text x="44" y="26" text-anchor="end">{top:.3g}</text></svg><figcaption>Variance of the '
        "noise at each grey level. Dots on a level line: the noise does not depend on the signal."
        "</figcaption></figure>"
    )


def _table(header: list[str], rows: list[list[str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        "</div>"
    )


def _numbers(values: Any, digits: int) -> list[str]:
    """Texts of some numbers, the largest in bold; none where there is no number."""
    values = np.asarray(values, dtype=float)
    best = np.nanmax(values) if np.isfinite(values).any() else np.nan
    texts = []
    for value in values:
        text = f"{value:.{digits}f}" if np.isfinite(value) else "–"
        texts.append(f'<span class="best">{text}</span>' if value == best else text)
    return texts


def _comparison(table: Any) -> str:
    hidden, stein = _numbers(table["masked"], 2), _numbers(table["sure"], 2)
    rows = [
        [escape(name), a, b, f"{s:.2g}"]
        for name, a, b, s in zip(table.index, hidden, stein, table["seconds"])
    ]
    header = ["method", "hidden pixels, dB", "SURE, dB", "seconds a million values"]
    return _table(header, rows)


def _truth(table: Any) -> str:
    if table is None:
        return ""
    said = []
    for column, title, digits in (("psnr", "PSNR, dB", 2), ("ssim", "SSIM", 3)):
        wide = table.pivot(index="picture", columns="method", values=column)
        wide = wide[list(dict.fromkeys(table["method"]))]
        wide.loc["mean"] = wide.dropna().mean()
        rows = [[escape(str(n)), *_numbers(row, digits)] for n, row in zip(wide.index, wide.values)]
        said.append(
            f"<h2>Against the truth: {title}</h2>{_table(['picture', *wide.columns], rows)}"
        )
    return "".join(said)


def _skipped(noisy: Folder) -> str:
    if not noisy.skipped:
        return ""
    items = "".join(
        f"<li><b>{escape(name)}</b>: {escape(why)}</li>" for name, why in noisy.skipped.items()
    )
    return f"<h2>Skipped files</h2><ul>{items}</ul>"
