// Shows what a link leads to, in a box beside it, when a pointer rests on the link or the keyboard reaches it: a term of
// the glossary, an equation, a figure, a paper. Escape closes the box.
//
// What is on this page is copied from it. For another page its script in _static/previews is loaded: a page that was
// opened from disk can load scripts, but no other pages. tools/reading_aids.py writes these scripts.
(function () {
  "use strict";

  const TARGETS = 'dt[id^="term-"], div.math[id], figure[id], div.citation[id]';
  const NAMED = /^(term-|equation-|fig-|id\d)/; // how their ids begin
  const LINKS = 'a.reference.internal[href*="#"]';
  const REST = 250; // milliseconds before a box opens, and before it closes
  const scripts = new URL("previews/", document.currentScript.src);
  const root = new URL("../", new URL(".", document.currentScript.src));
  const loaded = new Map();
  let box, shown, timer;

  /** The script with the previews of a page; without one, nothing is shown. */
  function load(name) {
    if (!loaded.has(name)) {
      loaded.set(
        name,
        new Promise((resolve) => {
          const script = document.createElement("script");
          script.src = new URL(`${name}.js`, scripts).href;
          script.onload = resolve;
          script.onerror = resolve;
          document.head.append(script);
        }),
      );
    }
    return loaded.get(name);
  }

  function fromHere(id) {
    const target = document.getElementById(id);
    if (!target?.matches(TARGETS)) return null;
    const pieces = [target];
    if (target.tagName === "DT") {
      let next = target;
      while (next && next.tagName !== "DD") next = next.nextElementSibling;
      if (next) pieces.push(next);
    }
    const content = document.createElement("div");
    content.append(...pieces.map((piece) => piece.cloneNode(true)));
    return content;
  }

  async function fromElsewhere(url, id) {
    if (!NAMED.test(id)) return null;
    const name = decodeURI(url.pathname.slice(root.pathname.length)).replace(/\.html$/, "");
    await load(name);
    const html = globalThis.fewbits?.previews?.[name]?.[id];
    if (!html) return null;
    const content = document.createElement("div");
    content.innerHTML = html;
    for (const image of content.querySelectorAll("img")) image.src = new URL(image.getAttribute("src"), url).href;
    return content;
  }

  /** Text to look at: no links, no ids, no controls, and of an interactive figure its picture. */
  function plain(content) {
    content.querySelectorAll(".headerlink, .backrefs, .label, .fb-live, button").forEach((each) => each.remove());
    content.querySelectorAll("a").forEach((link) => link.replaceWith(...link.childNodes));
    for (const element of content.querySelectorAll("[id]")) element.removeAttribute("id");
    content.querySelectorAll(".fb-on").forEach((each) => each.classList.remove("fb-on"));
    content.querySelectorAll("[tabindex]").forEach((each) => each.removeAttribute("tabindex"));
    return content;
  }

  function place(link) {
    const [line] = link.getClientRects();
    const { width, height } = box.getBoundingClientRect();
    const edge = document.documentElement;
    const left = Math.max(8, Math.min(line.left, edge.clientWidth - width - 8));
    const below = line.bottom + 6;
    const top = below + height > edge.clientHeight && line.top - 6 - height > 0 ? line.top - 6 - height : below;
    Object.assign(box.style, { left: `${left}px`, top: `${top}px` });
  }

  async function show(link) {
    if (shown === link) return;
    const url = new URL(link.href);
    const id = decodeURIComponent(url.hash.slice(1));
    const here = url.pathname === location.pathname;
    shown = link;
    const content = here ? fromHere(id) : await fromElsewhere(url, id);
    if (shown !== link) return;
    hide();
    if (!content) return;
    shown = link;
    box ??= make();
    box.replaceChildren(plain(content));
    box.hidden = false;
    if (!here) await globalThis.MathJax?.typesetPromise?.([box]);
    if (shown !== link) return;
    for (const image of box.querySelectorAll("img")) image.addEventListener("load", () => shown === link && place(link));
    place(link);
    // The box says what the title says, and more.
    if (link.title) link.dataset.title = link.title;
    link.removeAttribute("title");
    link.setAttribute("aria-describedby", box.id);
  }

  function hide() {
    clearTimeout(timer);
    if (box) box.hidden = true;
    if (shown) {
      shown.removeAttribute("aria-describedby");
      if (shown.dataset.title) shown.title = shown.dataset.title;
    }
    shown = undefined;
  }

  function later(action) {
    clearTimeout(timer);
    timer = setTimeout(action, REST);
  }

  function make() {
    const made = document.createElement("div");
    made.id = "fb-preview";
    made.className = "fb-preview";
    made.setAttribute("role", "tooltip");
    made.addEventListener("pointerenter", () => clearTimeout(timer));
    made.addEventListener("pointerleave", () => later(hide));
    document.querySelector("article").append(made);
    return made;
  }

  const linkOf = (event) => (event.target instanceof Element ? event.target.closest(LINKS) : null);

  function start() {
    const article = document.querySelector("article");
    if (!article) return;
    article.addEventListener("pointerover", (event) => {
      const link = linkOf(event);
      if (link && event.pointerType !== "touch") later(() => show(link));
    });
    article.addEventListener("pointerout", (event) => {
      if (linkOf(event)) later(hide);
    });
    article.addEventListener("focusin", (event) => {
      const link = linkOf(event);
      if (link?.matches(":focus-visible")) show(link);
    });
    article.addEventListener("focusout", (event) => linkOf(event) && hide());
    document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
    document.addEventListener("scroll", hide, { passive: true });
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
