/* Definitions that show while a term is pointed at, has the focus, or has been tapped.

They are in the page, hidden, so that screen readers have them as descriptions and the site has set
their mathematics before anyone looks. Escape dismisses; the pointer may move onto a definition;
a first tap shows it and a second follows the link. */
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const GRACE = 250; // milliseconds to move the pointer from a term to its definition
  const GAP = 6; // pixels between the two
  let shown = null; // the term whose definition shows
  let tapped = false; // whether the press that becomes a click found the definition hidden
  let leaving = 0;

  const tipOf = (term) => document.getElementById(term.getAttribute("aria-describedby"));

  /* Above the term where there is room, below it otherwise, and never past an edge. */
  function place(term, tip) {
    const frame = tip.parentElement.getBoundingClientRect();
    const [word] = term.getClientRects();
    const { width, height } = tip.getBoundingClientRect();
    const above = word.top - GAP - height > 0;
    const bottom = above ? word.top - GAP : word.bottom + GAP + height;
    const left = Math.min(word.left, document.documentElement.clientWidth - width - GAP);
    tip.style.bottom = `${frame.bottom - bottom}px`;
    tip.style.left = `${Math.max(left, GAP) - frame.left}px`;
  }

  function show(term) {
    clearTimeout(leaving);
    if (shown !== term) {
      hide();
      shown = term;
      place(term, tipOf(term));
      tipOf(term).classList.add("glossary-tip-shown");
    }
  }

  function hide() {
    clearTimeout(leaving);
    if (shown) tipOf(shown).classList.remove("glossary-tip-shown");
    shown = null;
  }

  function leave() {
    clearTimeout(leaving);
    leaving = setTimeout(hide, GRACE);
  }

  function isMouse(event) {
    return event.pointerType === "mouse";
  }

  for (const term of document.querySelectorAll(".glossary-term")) {
    const tip = tipOf(term);
    term.addEventListener("pointerenter", (event) => { if (isMouse(event)) show(term); });
    term.addEventListener("pointerleave", (event) => { if (isMouse(event)) leave(); });
    tip.addEventListener("pointerenter", () => clearTimeout(leaving));
    tip.addEventListener("pointerleave", (event) => { if (isMouse(event)) leave(); });
    term.addEventListener("pointerdown", (event) => {
      tapped = !isMouse(event) && shown !== term;
    });
    term.addEventListener("click", (event) => {
      if (tapped) {
        event.preventDefault();
        show(term);
      }
      tapped = false;
    });
    term.addEventListener("focus", () => show(term));
    term.addEventListener("blur", hide);
  }
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  document.addEventListener("pointerdown", (event) => {
    if (!event.target.closest(".glossary-term, .glossary-tip")) hide();
  });
});
