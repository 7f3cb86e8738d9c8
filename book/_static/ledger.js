// The ledger's filter: words, source and verdict. Without this script the whole table is shown.
(() => {
  const form = document.getElementById("ledger-filter");
  const rows = [...document.querySelectorAll("#ledger tbody tr")];
  const fold = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase(); // 'frechet' finds 'Fréchet'
  const shut = (node) => node.nodeName === "DETAILS"; // the entry of BibTeX says nothing that the line does not
  const said = (cell) => [...cell.childNodes].filter((node) => !shut(node)).map((node) => node.textContent).join(" ");
  const texts = rows.map((row) => fold([...row.cells].map(said).join(" ")));
  const show = () => {
    const words = fold(form.words.value).split(/\s+/).filter(Boolean);
    const source = form.source.value;
    const verdicts = [...form.querySelectorAll("[name=verdict]:checked")].map((box) => box.value);
    let shown = 0;
    rows.forEach((row, i) => {
      const fits =
        verdicts.includes(row.dataset.verdict) &&
        (!source || row.dataset.source === source) &&
        words.every((word) => texts[i].includes(word));
      row.hidden = !fits;
      shown += fits;
    });
    form.shown.value = shown ? `${shown} of ${rows.length} shown` : `0 of ${rows.length} shown: no line has all of this.`;
    form.all.hidden = shown === rows.length;
  };
  // A sign above, or a link from elsewhere, leads to a line that the filter may be hiding.
  const reveal = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (target && target.hidden) {
      form.reset();
      show();
      target.scrollIntoView();
    }
  };
  // A site whose address was not known when it was built knows it here.
  for (const row of location.protocol.startsWith("http") ? rows : []) {
    const entry = row.querySelector("details pre");
    if (entry && !entry.textContent.includes("  url ")) {
      const url = `${location.origin}${location.pathname}#${row.id}`;
      entry.textContent = entry.textContent.replace(/}$/, `  url          = {${url}},\n}`);
    }
  }
  form.hidden = false;
  form.addEventListener("input", show);
  form.addEventListener("reset", () => setTimeout(show)); // after the fields are as they were
  form.addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", reveal);
  show();
})();
