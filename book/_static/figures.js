// A click or tap on a figure shows it large, in place of opening its file: as wide as the window allows, at least as wide
// as on a desktop's page, so that its text can be read on a phone. A key, a click or a tap closes it.
const PAGE_WIDTH = 728;

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("article a.image-reference");
  const image = link?.querySelector("img");
  // A modified click means what it always means: open in a new tab, save.
  if (!image || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();

  const dialog = document.createElement("dialog");
  dialog.className = "fb-enlarged";
  dialog.setAttribute("aria-label", "Enlarged figure");
  const close = document.createElement("button");
  close.type = "button";
  close.textContent = "Close";
  const large = new Image();
  large.src = link.href;
  large.alt = image.alt;
  large.className = image.className;
  const room = document.documentElement.clientWidth - 40;
  large.style.width = `${Math.max(PAGE_WIDTH, Math.min(image.naturalWidth, room))}px`;
  dialog.append(close, large);
  dialog.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal(); // focuses the button, gives the focus back to the link afterwards, and closes on Escape
});
