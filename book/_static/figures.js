// A figure opens at its full size when it is chosen. Without this script its link opens the picture alone.
document.addEventListener("DOMContentLoaded", () => {
  const links = document.querySelectorAll("a.nop-enlarge");
  if (!links.length || !window.HTMLDialogElement) return;
  const dialog = document.createElement("dialog");
  dialog.className = "nop-large";
  dialog.innerHTML = '<button type="button" autofocus>Close</button><div tabindex="0" role="region"><img></div>';
  const [button, frame] = dialog.children;
  const shown = frame.firstChild;
  button.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  links.forEach((link) =>
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      const image = link.querySelector("img");
      shown.src = link.href;
      shown.alt = image.alt;
      dialog.setAttribute("aria-label", "Figure, enlarged");
      frame.setAttribute("aria-label", "The figure; scroll to see all of it");
      dialog.showModal();
      frame.scrollTo(0, 0);
    }),
  );
});
