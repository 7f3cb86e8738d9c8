// What a search result shows of a page: no raw TeX, no code, and the place of a word whatever its accents.
document.addEventListener("DOMContentLoaded", () => {
  if (typeof Search === "undefined") return;
  const greek = {
    alpha: "α", beta: "β", gamma: "γ", delta: "δ", varepsilon: "ε", epsilon: "ε", theta: "θ", lambda: "λ", mu: "μ", pi: "π", sigma: "σ",
    Sigma: "Σ", nabla: "∇", approx: "≈", cdot: "·", times: "×", ge: "≥", le: "≤", to: "→", infty: "∞", in: "∈", sim: "∼", log: "log", exp: "exp",
  };
  const plain = (tex) =>
    tex
      .replace(/\\[()\[\]]/g, "")
      .replace(/\\([a-zA-Z]+)/g, (_, name) => greek[name] ?? "")
      .replace(/[{}\\]/g, "")
      .replace(/\s+/g, " ");
  const fold = (text) => [...text].map((letter) => letter.normalize("NFD")[0]).join("").toLowerCase();

  Search.htmlToText = (page, anchor) => {
    const parsed = new DOMParser().parseFromString(page, "text/html");
    const main = parsed.querySelector("article.bd-article") ?? parsed.querySelector('[role="main"]') ?? parsed.body;
    const place = (anchor && main.querySelector(anchor)) || main;
    const unread = ".headerlink, script, style, .cell_input, .chapter-links, div.math, .nop-player, summary, #cite-this";
    place.querySelectorAll(unread).forEach((node) => node.remove());
    place.querySelectorAll(".math").forEach((node) => (node.textContent = plain(node.textContent)));
    return place.textContent.replace(/\s+/g, " ").trim();
  };

  Search.makeSearchSummary = (page, words, anchor) => {
    const text = Search.htmlToText(page, anchor);
    if (!text) return null;
    const folded = fold(text);
    const found = [...words].map((word) => folded.indexOf(fold(word))).filter((at) => at >= 0);
    const start = Math.max((found.length ? Math.min(...found) : 0) - 120, 0);
    const summary = document.createElement("p");
    summary.classList.add("context");
    summary.textContent = (start ? "…" : "") + text.slice(start, start + 240).trim() + (start + 240 < text.length ? "…" : "");
    return summary;
  };
});
